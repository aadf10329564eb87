"""``/metrics``: one collector that reads the shared words when it is asked.

Nothing is counted here, so nothing is lost with a nucleus: the counters live in the control segment
and in the blocks, where their writers keep them.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from corec import layout as L
from corec.control.status import persist_lag_ticks
from corec.http.metric_table import METRICS, Described
from corec.proc import resident_bytes
from corec.process.roles import COUNTERS, committed_tick, counted, processes, sinks
from corec.process.runtime import Runtime, Slot, word_to_float
from corec.world.counts import by_slot


class AboutInstance(Protocol):
    """Constant facts for ``corec_info``."""

    @property
    def instance_id(self) -> str: ...
    @property
    def version(self) -> str: ...


class TotalsReader(Protocol):
    """What all blocks add up to (``corec.nucleus.totals``)."""

    def read(self) -> dict[str, Any]: ...


class PaceReader(Protocol):
    """How fast the ticks go (``corec.nucleus.pace``)."""

    @property
    def achieved_hz(self) -> float: ...


_COUNTED: Final = {
    "corec_rows_persisted_total": "rows_persisted",
    "corec_rows_dropped_total": "rows_dropped",
    "corec_spool_bytes": "spool_bytes",
    "corec_messages_dropped_total": "messages_dropped",
    "corec_input_lost_entries_total": "input_lost",
    "corec_alerts_raised_total": "alerts_raised",
    "corec_alerts_open": "alerts_open",
    "corec_tasks_done_total": "tasks_done",
    "corec_task_retries_total": "task_retries",
    "corec_tasks_failed_total": "tasks_failed",
    "corec_tasks_waiting": "tasks_waiting",
}
"""Metric -> the counter of ``corec.process.roles.COUNTERS`` that it shows."""
_BY_WORKER = (
    ("corec_entity_updates_total", "entity_updates"),
    ("corec_entity_failures_total", "failures"),
    ("corec_entity_repairs_total", "repairs"),
)

Sample = tuple[tuple[str, ...], float]


_EVOLUTION: Final = (
    ("corec_evolution_best", "mejor"), ("corec_evolution_mean", "media"),
    ("corec_evolution_diversity", "diversidad"), ("corec_evolution_children_total", "hijos"),
)  # fmt: skip


_MET: Final = (
    ("corec_births_total", "births"), ("corec_deaths_total", "deaths"),
    ("corec_births_without_place_total", "no_room"), ("corec_moves_total", "moves"),
    ("corec_sends_total", "sent"), ("corec_sends_undelivered_total", "undelivered"),
)  # fmt: skip


class InstanceCollector(Collector):
    """Reads one instance; ``by_canal`` gives ``{"out"|"in"|"dead": {canal: count}}``."""

    def __init__(
        self,
        rt: Runtime,
        about: AboutInstance,
        totals: TotalsReader,
        pace: PaceReader,
        by_canal: Callable[[], dict[str, dict[str, int]]],
    ) -> None:
        self.rt = rt
        self._info = (about.instance_id, about.version, platform.python_version())
        self._totals, self._pace = totals, pace
        self._by_canal = by_canal

    def collect(self) -> Iterator[Metric]:
        """Every metric of ``METRICS``, in its order."""
        found: dict[str, list[Sample]] = {name: [] for name in METRICS}
        self._instance(found)
        self._workers(found)
        self._world(found)
        self._lanes(found)
        self._sinks(found)
        self._counted(found)
        self._processes(found)
        for name, described in METRICS.items():
            if described.kind == "histogram":
                yield self._durations(name, described)
                continue
            family = CounterMetricFamily if described.kind == "counter" else GaugeMetricFamily
            metric = family(name, described.help, labels=described.labels)
            for labels, value in found[name]:
                metric.add_metric(list(labels), value)
            yield metric

    def _worker_slots(self, *, gone: bool = False) -> list[tuple[str, Slot]]:
        """The workers; with ``gone`` those who left, too, whose counters stand still: a counter
        that went away and came back would be a jump."""
        count = self.rt.lanes if gone else self.rt.get(L.C_WORKERS)
        return [(str(k), self.rt.slot(L.SLOT_WORKER0 + k)) for k in range(count)]

    def _instance(self, found: dict[str, list[Sample]]) -> None:
        get = self.rt.get
        started = get(L.C_START_MONO_NS)
        uptime = (time.monotonic_ns() - started) / 1e9 if started else 0.0
        found["corec_info"].append((self._info, 1))
        found["corec_entities"].append(((), get(L.C_ENTIDADES)))
        found["corec_blocks"].append(((), get(L.C_BLOCKS)))
        found["corec_paused"].append(((), int(bool(get(L.C_PAUSED)))))
        found["corec_uptime_seconds"].append(((), uptime))
        found["corec_tick"].append(((), committed_tick(get)))
        found["corec_tick_hz"].append(((), word_to_float(get(L.C_TICK_HZ))))
        found["corec_achieved_tick_hz"].append(((), self._pace.achieved_hz))
        found["corec_tick_overruns_total"].append(((), get(L.C_OVERRUNS)))

    def _workers(self, found: dict[str, list[Sample]]) -> None:
        for k, one in enumerate(by_slot(self.rt, blocks=False)):
            found["corec_ticks_total"].append(((str(k),), one["ticks"]))
        for worker, slot in self._worker_slots(gone=True):
            busy, wait = slot.get(L.S_BUSY_NS) / 1e9, slot.get(L.S_WAIT_SINK_NS) / 1e9
            found["corec_worker_busy_seconds_total"].append(((worker,), busy))
            found["corec_worker_wait_seconds_total"].append(((worker,), wait))

    def _world(self, found: dict[str, list[Sample]]) -> None:
        totals = self._totals.read()
        for worker, row in enumerate(totals.get("workers", [])):
            for name, key in _BY_WORKER:
                found[name].append(((str(worker),), row[key]))
        for swarm in totals.get("swarms", []):
            found["corec_swarm_fitness"].append(((swarm["id"],), swarm["fitness"]))
            found["corec_swarm_umbral"].append(((swarm["id"],), swarm["umbral"]))
            for name, key in _MET:
                if key in swarm:
                    found[name].append(((swarm["id"],), swarm[key]))
        for one in totals.get("evolution", []):
            found["corec_evolution_generation"].append(((one["id"],), one["generacion"]))
            for name, key in _EVOLUTION:
                if one[key] is not None:
                    found[name].append(((one["id"],), one[key]))

    def _lanes(self, found: dict[str, list[Sample]]) -> None:
        for name, who, lane in self.rt.shown_lanes():
            found["corec_lane_used_bytes"].append(((who, name), lane.used))
            found["corec_lane_capacity_bytes"].append(((who, name), lane.capacity))

    def _sinks(self, found: dict[str, list[Sample]]) -> None:
        get = self.rt.get
        found["corec_persist_lag_ticks"].append(((), persist_lag_ticks(get)))
        for role, sink in sinks(get):
            slot = self.rt.slot(role.slot)
            up = slot.get(L.S_UP) and not slot.get(L.S_ERROR)
            found["corec_sink_up"].append(((sink.key,), int(bool(up))))
        canales = {str(bloque.canal): 0 for bloque in self.rt.config.bloques}
        for way, counts in self._by_canal().items():
            for canal, count in {**canales, **counts}.items():
                found[f"corec_messages_{way}_total"].append(((canal,), count))

    def _counted(self, found: dict[str, list[Sample]]) -> None:
        get = self.rt.get
        there = {one.role for one in processes(get)}
        for name, counter in _COUNTED.items():
            if COUNTERS[counter][0].name in there:
                found[name].append(((), counted(get, counter)))

    def _processes(self, found: dict[str, list[Sample]]) -> None:
        for one in processes(self.rt.get):
            labels, slot = (one.role, str(one.index)), self.rt.slot(one.slot)
            up = slot.get(L.S_UP)
            memory = resident_bytes(slot.get(L.S_PID)) if up else 0
            found["corec_process_restarts_total"].append((labels, slot.get(L.S_RESTARTS)))
            found["corec_process_up"].append((labels, int(bool(up))))
            parked = slot.get(L.S_STATE) == L.PROC_PARKED
            found["corec_process_parked"].append((labels, int(parked)))
            found["corec_process_resident_memory_bytes"].append((labels, memory))

    def _durations(self, name: str, described: Described) -> HistogramMetricFamily:
        metric = HistogramMetricFamily(name, described.help, labels=described.labels)
        edges = [*(str(edge) for edge in L.TICK_BUCKETS_SECONDS), "+Inf"]
        for worker, slot in self._worker_slots(gone=True):
            below = 0
            buckets: list[tuple[str, float]] = []
            for i, edge in enumerate(edges):
                below += slot.get(L.S_BUCKET0 + i)
                buckets.append((edge, below))
            metric.add_metric([worker], buckets, slot.get(L.S_BUCKET_SUM_NS) / 1e9)
        return metric


def make_registry(collector: InstanceCollector) -> CollectorRegistry:
    """A registry with this instance's metrics and nothing of the nucleus' own interpreter."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return registry
