"""``ModuloAuditoria``: watches the instance, logs what is unusual and raises events for it."""

from __future__ import annotations

import asyncio
import time

from corec import layout as L
from corec.control.status import process_state, processes, sinks
from corec.log import get_logger
from corec.modules.base import ModuloBase

log = get_logger(__name__)

_LOOK_SECONDS = 0.5
_OVERLOAD_EVERY_SECONDS = 10.0


class ModuloAuditoria(ModuloBase):
    """Events ``overload`` (at most one in ten seconds), ``sink_down``, ``sink_up``, ``frozen``."""

    nombre = "auditoria"

    async def inicializar(self) -> None:
        self._overruns = self.nucleus.rt.get(L.C_OVERRUNS)
        self._told = 0.0
        self._sink_reason: dict[str, str | None] = {}
        self._frozen: set[str] = set()

    async def ejecutar(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(_LOOK_SECONDS)

    def look(self) -> None:
        """Compare the words with what they were, and speak of the differences."""
        if self.nucleus.rt.get(L.C_STATE) == L.STATE_STARTING or self.nucleus.rt.get(L.C_STOP):
            return
        self._look_at_overruns()
        self._look_at_sinks()
        self._look_at_processes()

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
                self.nucleus.events.emit("sink_down", {"sink": name, "reason": reason})
            elif reason is None and before is not None:
                log.info("a server is back", sink=name)
                self.nucleus.events.emit("sink_up", {"sink": name})

    def _look_at_processes(self) -> None:
        get = self.nucleus.rt.get
        for one in processes(get(L.C_WORKERS), bool(get(L.C_ACTS))):
            name = f"{one.role} {one.index}"
            frozen = process_state(get, one.slot) == "frozen"
            if frozen and name not in self._frozen:
                log.warning("a process gives no sign of life", process=name)
                self.nucleus.events.emit("frozen", {"role": one.role, "index": one.index})
            (self._frozen.add if frozen else self._frozen.discard)(name)
