"""What the nucleus shows: one status for the socket, the page and ``/readyz``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from corec import layout as L
from corec.control.folders import BROKER_FILE
from corec.control.status import About, as_float, build_status
from corec.nucleus.errors import Errors
from corec.nucleus.pace import Pace
from corec.nucleus.totals import Totals
from corec.proc import CpuSampler, shares_of
from corec.process.roles import SUPERVISOR, committed_tick, processes
from corec.process.runtime import Runtime

_MEMORY_FRESH_SECONDS = 5.0
_SAMPLE_SECONDS = 1.0
_TICK_STALE_SECONDS_MIN = 5.0
_TICKS_STALE = 20


class Views:
    """Read-only pictures of one running instance."""

    def __init__(self, rt: Runtime, version: str) -> None:
        self.rt = rt
        self.totals = Totals(rt)
        self.pace = Pace()
        info = rt.info
        self.about = About(
            instance_id=rt.config.instance_id,
            folder=str(rt.folder),
            http_url=str(info["http_url"]) if info.get("http_url") else None,
            redis_url=str(info.get("redis_shown") or rt.config.redis.shown()),
            db=str(info.get("db_shown") or rt.config.db.shown()),
            version=version,
            source="nucleus",
        )
        self._cpu = CpuSampler(span_seconds_min=_SAMPLE_SECONDS)
        self._sampled_at = 0.0
        self._memory: dict[str, Any] = {}
        self._memory_at = 0.0
        self._tick_seen = -1
        self.checkpoint: Callable[[], dict[str, Any]] = dict
        self.errors: Errors | None = None
        self._tick_changed = time.monotonic()

    def watch(self) -> None:
        """Look at what has a rate: the tick, CPU time, totals; to be called often."""
        now = time.monotonic()
        tick = committed_tick(self.rt.get)
        if tick != self._tick_seen:
            self._tick_seen, self._tick_changed = tick, now
        get = self.rt.get
        still = bool(get(L.C_PAUSED) or get(L.C_STOP)) or tick >= get(L.C_LIMIT_TICK)
        self.pace.look(now, tick, as_float(get(L.C_TICK_HZ)), still=still)
        if now - self._sampled_at >= _SAMPLE_SECONDS:
            self._sampled_at = now
            members = processes(self.rt.get)
            self._cpu.sample([self.rt.slot(one.slot).get(L.S_PID) for one in members])
            self.totals.read()

    def lanes(self) -> list[dict[str, Any]]:
        """Fill of every lane; ``worker`` is the lane's number, ``all`` or the writing role."""
        return [
            {"lane": name, "worker": who, "used_bytes": lane.used, "capacity_bytes": lane.capacity}
            for name, who, lane in self.rt.shown_lanes()
        ]

    def status(self) -> dict[str, Any]:
        """``status`` without the memory figures that take long to find."""
        status = build_status(self.rt.get, self.about, self._cpu)
        status["achieved_hz"] = round(self.pace.achieved_hz, 3)
        status["behind"] = self.pace.behind
        if self.pace.far_behind and status["state"] == "running":
            status["state"] = "degraded"
        totals = self.totals.read()
        status["ticks_per_second"] = round(self.totals.ticks_per_second, 3)
        status["entity_updates_per_second"] = round(self.totals.updates_per_second, 1)
        for name in ("entity_updates", "failures", "repairs", "messages"):
            status[name] = totals.get(name, 0)
        status["swarms"] = totals.get("swarms", [])
        status["lanes"] = self.lanes()
        status["memory"] = self._memory
        status["checkpoint"] = self.checkpoint()
        status["processor_errors"] = self.errors.compact() if self.errors is not None else []
        return status

    async def status_with_memory(self) -> dict[str, Any]:
        """``status`` with PSS and segment sizes, which are at most five seconds old."""
        if time.monotonic() - self._memory_at > _MEMORY_FRESH_SECONDS or not self._memory:
            self._memory = await asyncio.to_thread(self._measure)
            self._memory_at = time.monotonic()
        return self.status()

    def _measure(self) -> dict[str, Any]:
        get = self.rt.get
        pids = {SUPERVISOR: get(L.C_SUPERVISOR_PID)}
        for one in processes(get):
            pids[f"{one.role} {one.index}"] = self.rt.slot(one.slot).get(L.S_PID)
        by_process = {name: shares_of(pid) for name, pid in pids.items()}
        segments = sum(segment.size for segment in self.rt.segments)
        private = sum(pss.total - pss.shmem for pss in by_process.values())
        return {
            "resident_bytes": sum(pss.total for pss in by_process.values()),
            # the tmpfs holds every page of the world, touched or not
            "reserved_bytes": segments + private,
            "segment_bytes": segments,
            "resident_bytes_by_process": {name: pss.total for name, pss in by_process.items()},
        }

    def by_canal(self) -> dict[str, dict[str, int]]:
        """Messages ``out``, ``in`` and ``dead`` by canal, from the broker's own account."""
        try:
            raw = orjson.loads(Path(self.rt.folder, BROKER_FILE).read_bytes())
        except (OSError, ValueError):
            raw = {}
        found: dict[str, dict[str, int]] = {}
        for way in ("out", "in", "dead"):
            counts = raw.get(way) if isinstance(raw, dict) else None
            found[way] = {
                str(canal): int(n) for canal, n in (counts or {}).items() if isinstance(n, int)
            }
        return found

    def not_ready(self) -> list[str]:
        """Why the instance is not ready; empty when it is."""
        reasons: list[str] = []
        status = build_status(self.rt.get, self.about, self._cpu)
        if status["state"] in ("starting", "draining"):
            reasons.append(f"the instance is {status['state']}")
        reasons += [
            f"{row['role']} {row['index']} is {row['state']}"
            for row in status["processes"]
            if row["state"] in ("down", "frozen", "parked", "starting")
        ]
        reasons += [
            f"{name}: {sink['reason']}"
            for name, sink in status["sinks"].items()
            if not sink["reachable"]
        ]
        if not self._may_stand_still(status):
            self.watch()
            period = 1.0 / status["tick_hz"] if status["tick_hz"] else 0.0
            stale = max(_TICK_STALE_SECONDS_MIN, _TICKS_STALE * period)
            still = time.monotonic() - self._tick_changed
            if still > stale:
                reasons.append(f"no tick was committed for {still:.0f} s")
        return reasons

    def _may_stand_still(self, status: dict[str, Any]) -> bool:
        limit = status["limit_tick"]
        return status["state"] == "paused" or (limit is not None and status["tick"] >= limit)
