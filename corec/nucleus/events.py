"""Events of the nucleus: JSON frames in ``events-nucleus.lane``, written by its loop only.

An event never waits: when the lane is full (the database is away and the persister's spool too) it
is dropped, counted, and the next one that fits says how many were.
"""

from __future__ import annotations

from typing import Any

from corec import layout as L
from corec.log import get_logger
from corec.process.events import encode
from corec.process.roles import NUCLEUS, committed_tick
from corec.process.runtime import Runtime

log = get_logger(__name__)


class EventWriter:
    """The producing end of the nucleus' event lane."""

    def __init__(self, rt: Runtime) -> None:
        self.rt = rt
        self.lane = rt.events[NUCLEUS.name]
        self.dropped = 0

    def emit(
        self, tipo: str, detalle: dict[str, Any], *, bloque: str | None = None,
        entidad: int | None = None, tick: int | None = None,
    ) -> bool:  # fmt: skip
        """Publish one event of now, or of ``tick``; false when it was dropped.

        When the persister may have left, a stop being that far, an event is in the log alone: in
        the lane nobody would read it, and it would keep the world in memory.
        """
        if self.rt.get(L.C_STOP) >= L.STOP_SINKS:
            log.warning("an event of the stop itself", tipo=tipo, detalle=detalle)
            return False
        if self.dropped:
            detalle = {**detalle, "events_dropped_before": self.dropped}
        tick = committed_tick(self.rt.get) if tick is None else tick
        payload = encode(tipo, detalle, tick=tick, bloque=bloque, entidad=entidad)
        fits = len(payload) <= self.lane.max_payload
        if not fits or not self.lane.push(L.KIND_EVENT_FRAME, payload, tick=tick):
            self.dropped += 1
            log.warning("event dropped: its lane is full", tipo=tipo, dropped=self.dropped)
            return False
        self.dropped = 0
        self.rt.doorbells[L.SLOT_PERSISTER].ring()
        return True
