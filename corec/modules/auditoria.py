"""``ModuloAuditoria``: watches the instance, logs what is unusual and raises events for it.

What the instance does: late ticks, sinks and processes that are gone. What its blocks do: figures
unlike the block's own (``anomalies``), looked for in each row that a block writes, as soon as it is
seen: a look that comes late takes the latest row. Those are alarms on ``…:alertas``, too.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from corec import layout as L
from corec.control.status import process_state, sinks
from corec.log import get_logger
from corec.modules.alarms import Alarms
from corec.modules.anomalies import ROWS_MIN, Anomaly, Audit, figures
from corec.modules.base import ModuloBase
from corec.modules.forest import ISOLATED, LEARN_MAX, Forest, ForestFailed
from corec.process.events import REASON
from corec.process.roles import committed_tick, processes
from corec.world.read import dynamic_words

log = get_logger(__name__)

_LOOK_SECONDS = 0.5
_OVERLOAD_EVERY_SECONDS = 10.0
TOLD_MAX: Final = 10
"""Anomalies of one look that are told one by one; the last says how many more there are."""
SCORE_MAX: Final = 1e6


class ModuloAuditoria(ModuloBase):
    """Events ``overload`` (at most one in ten seconds), ``sink_down``, ``sink_up``, ``frozen``,
    ``anomaly``."""

    nombre = "auditoria"

    async def inicializar(self) -> None:
        rt = self.nucleus.rt
        self._overruns = rt.get(L.C_OVERRUNS)
        self._told = 0.0
        self._sink_reason: dict[str, str | None] = {}
        self._frozen: set[str] = set()
        self._alarms = Alarms(rt)
        self._blocks = Blocks(self)
        self._forest = Forest() if rt.config.auditoria.bosque else None

    async def ejecutar(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._alarms.run())
            while True:
                self.look()
                await self._blocks.look(self._forest)
                await asyncio.sleep(_LOOK_SECONDS)

    async def detener(self) -> None:
        if getattr(self, "_forest", None) is not None:
            assert self._forest is not None
            await self._forest.close()

    def look(self) -> None:
        """Compare the words with what they were, and speak of the differences."""
        if self.resting():
            return
        self._look_at_overruns()
        self._look_at_sinks()
        self._look_at_processes()

    def resting(self) -> bool:
        """Whether the instance starts or stops."""
        get = self.nucleus.rt.get
        return get(L.C_STATE) == L.STATE_STARTING or bool(get(L.C_STOP))

    def _look_at_overruns(self) -> None:
        overruns = self.nucleus.rt.get(L.C_OVERRUNS)
        now = time.monotonic()
        if overruns <= self._overruns or now - self._told < _OVERLOAD_EVERY_SECONDS:
            return
        late = overruns - self._overruns
        self._overruns, self._told = overruns, now
        log.warning("ticks took longer than tick_hz allows", late_ticks=late, total=overruns)
        self.nucleus.events.emit("overload", {"late_ticks": late, "late_ticks_total": overruns})

    def _look_at_sinks(self) -> None:
        for name, sink in sinks(self.nucleus.rt.get, self.nucleus.views.about).items():
            reason = sink["reason"]
            before = self._sink_reason.get(name)
            self._sink_reason[name] = reason
            if reason is not None and before is None:
                log.warning("a server is out of reach", sink=name, reason=reason)
                self.nucleus.events.emit("sink_down", {"sink": name, REASON: reason})
            elif reason is None and before is not None:
                log.info("a server is back", sink=name)
                self.nucleus.events.emit("sink_up", {"sink": name})

    def _look_at_processes(self) -> None:
        get = self.nucleus.rt.get
        for one in processes(get):
            name = f"{one.role} {one.index}"
            frozen = process_state(get, one.slot) == "frozen"
            if frozen and name not in self._frozen:
                log.warning("a process gives no sign of life", process=name)
                self.nucleus.events.emit("frozen", {"role": one.role, "index": one.index})
            (self._frozen.add if frozen else self._frozen.discard)(name)

    def tell(self, found: list[tuple[int, int, dict[str, Any]]]) -> None:
        """Anomalies, (block, tick, what), the worst first: an event and an alarm each."""
        plan, epoch = self.nucleus.rt.plan, self.nucleus.rt.epoch
        for place, (block, tick, what) in enumerate(found[:TOLD_MAX]):
            bloque, swarm = plan.block_id(block), plan.swarms[int(plan.blocks["swarm"][block])]
            if place == TOLD_MAX - 1 and len(found) > TOLD_MAX:
                what = what | {"more": len(found) - TOLD_MAX}
            log.warning("a block is unlike itself", bloque=bloque, **what)
            self.nucleus.events.emit("anomaly", what, bloque=bloque, tick=tick)
            name = f"{epoch:016x}-{tick}-{bloque}-{what.get('column', what['method'])}"
            self._alarms.put({
                "tipo": "anomaly", "tick": tick, "canal": swarm.canal,
                "procesador": swarm.processor.name, "n": 0, "entidades": [], "omitidas": 0,
                "anomaly": {"id": name, "bloque": bloque, **what},
            })  # fmt: skip


class Blocks:
    """The part that looks at blocks."""

    def __init__(self, module: ModuloAuditoria) -> None:
        rt = module.nucleus.rt
        self._module, self._rt = module, rt
        self._n = rt.plan.blocks["entidades"].astype(np.float64)
        rules = rt.config.auditoria
        self._audit = Audit(self._n, rules.filas, rules.umbral)
        self._isolated = np.zeros(rt.plan.n_blocks, bool)
        self._before: NDArray[np.uint64] | None = None
        self._rows = -1
        self._no_forest = False

    async def look(self, forest: Forest | None) -> None:
        """The blocks that have written a row since the last look."""
        rows = committed_tick(self._rt.get) // self._rt.config.persist.every_ticks
        if self._module.resting() or rows == self._rows:
            return
        try:
            now = dynamic_words(self._rt.plan, self._rt.world.words)
        except RuntimeError:
            return  # a block never held still: at the next look
        self._rows = rows
        if self._before is None:
            self._before = now
            return
        before = self._before
        which = np.flatnonzero(now[:, L.D_ROWS] > before[:, L.D_ROWS])
        if not which.size:
            return
        found = figures(before[which], now[which], self._n[which])
        before[which] = now[which]
        ticks = now[:, L.D_TICK].astype(np.int64)
        told: list[tuple[int, int, dict[str, Any]]] = []
        if forest is not None:
            told += await self._look_in(forest, which, found, ticks)
        anomalies = await asyncio.to_thread(self._audit.take, which, found)
        self._module.tell([(a.block, int(ticks[a.block]), _what(a)) for a in anomalies] + told)

    async def _look_in(
        self, forest: Forest, which: NDArray[np.int64], found: NDArray[np.float64],
        ticks: NDArray[np.int64],
    ) -> list[tuple[int, int, dict[str, Any]]]:  # fmt: skip
        known = which[self._audit.held[which] >= ROWS_MIN]
        if not known.size:
            return []
        rows = found[np.isin(which, known)]
        score, median, sigma = self._audit.scores(known, rows)
        past = (self._audit.history[:, known] - median) / sigma
        past = past[np.isfinite(past).all(axis=2)]
        learn = past[:: -(-len(past) // LEARN_MAX)]
        try:
            isolated = await forest.scores(_narrow(learn), _narrow(score))
        except ForestFailed as error:
            if not self._no_forest:
                log.error("the forest is not asked", reason=str(error))
            self._no_forest = True
            return []
        self._no_forest = False
        far = isolated > ISOLATED
        news = known[far & ~self._isolated[known]]
        self._isolated[known] = far
        return [
            (int(b), int(ticks[b]), {"method": "forest", "score": float(isolated[known == b][0])})
            for b in news
        ]


def _narrow(scores: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.clip(np.nan_to_num(scores), -SCORE_MAX, SCORE_MAX).astype(np.float32)


def _what(one: Anomaly) -> dict[str, Any]:
    return {"method": "mad", "column": one.column, "value": one.value, "median": one.median,
            "sigma": one.sigma, "score": one.score}  # fmt: skip
