"""Events of the broker: JSON frames in ``events-broker.lane``, for the table ``eventos``."""

from __future__ import annotations

from typing import Any

from corec import layout as L
from corec.log import get_logger
from corec.process.events import encode
from corec.process.roles import BROKER
from corec.process.runtime import Runtime

log = get_logger(__name__)


class Events:
    """The producing end of the broker's event lane."""

    def __init__(self, rt: Runtime) -> None:
        self._rt = rt

    def emit(self, kind: str, tick: int, detail: dict[str, Any]) -> None:
        """Publish one event of now; a full lane is logged, the event's counter stands anyway."""
        payload = encode(kind, detail, tick=tick)
        if self._rt.events[BROKER.name].push(L.KIND_EVENT_FRAME, payload, tick=max(0, tick)):
            self._rt.doorbells[L.SLOT_PERSISTER].ring()
        else:
            log.warning("event dropped: its lane is full", kind=kind)
