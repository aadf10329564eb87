"""New input waits while a restored world runs ticks again whose output is out already.

A world that goes on from a checkpoint runs the ticks up to the old ``out_tick`` once more, and what
they emit is dropped: it is in the streams. So what a *new* reading does in such a tick would be
lost, and what an *old* one does in a later tick would come twice. Therefore

* what the journal says of those ticks is taken in as it was, tick by tick (``feed``), and nothing
  else before the last of them is fed;
* input up to ``done:<canal>`` (what the old run had applied by ``out_tick``) is taken in at once:
  there is none of it but where the journal does not reach back to the checkpoint;
* what lies behind it waits until the next tick to go is one that nobody has seen: in the streams,
  nor (``P_OVERLAP``) in the tables.

Old input that did not get in before that is told (``input_repeated``): its output may come twice.
"""

from __future__ import annotations

import time
from typing import Any, Final

from corec import layout as L
from corec.broker.events import Events
from corec.broker.feed import Feed
from corec.broker.incoming import Incoming, Work, order, skipped
from corec.broker.positions import NOWHERE, InPosition, after, parse_id
from corec.broker.state import SinkState
from corec.log import get_logger
from corec.process.events import REASON
from corec.process.runtime import Runtime

log = get_logger(__name__)
ROWS_WAIT_SECONDS: Final = 10.0


class HeldBack:
    """What of the input may be read now."""

    def __init__(
        self, rt: Runtime, incoming: Incoming, events: Events, *, lived: bool, first: bool
    ) -> None:
        """``lived``: the world has written before. ``first``: not in this group of processes, so
        its persister may not have looked at the tables yet."""
        self._rt = rt
        self.feed = Feed(rt, incoming, events)
        self._incoming = incoming
        self._events = events
        self._lived = lived
        self._first = first
        self._holding = False
        self._out_tick = -1
        self._until: dict[int, InPosition] = {}
        self._began = 0.0

    def begin(self, state: SinkState) -> None:
        """``state``: the position hash as it was found; the cursors are open."""
        self.feed.open()
        self._out_tick = state.out_tick
        self._began = time.monotonic()
        for canal in self._incoming.canales:
            applied = state.applied.get(canal)
            self._until[canal] = state.done.get(canal, after(applied) if applied else NOWHERE)
        self._holding = self._lived
        known = self._rt.get(L.C_GO_TICK) < self._tick()
        if self._holding and not self._over() and known:
            log.info("new input waits: what earlier ticks emit is in the streams already",
                     until_tick=self._tick())  # fmt: skip

    def readable(self, canales: list[int]) -> list[int]:
        """Those of ``canales`` that have something which may be read now."""
        if self.feed.active:
            behind = self.feed.behind()
            return [canal for canal in canales if canal in behind]
        if not self._holding or self._over():
            return canales
        return [canal for canal in canales if self._is_behind(canal)]

    def holds(self, canal: int) -> bool:
        """Whether new input of ``canal`` has to wait."""
        return self.feed.active or (self._holding and canal in self._until)

    def cut(
        self, canal: int, raw: list[tuple[bytes, list[bytes]]]
    ) -> list[tuple[bytes, list[bytes]]]:
        """The entries of ``raw`` that may be taken in, at least in part."""
        until = self._bound(canal)
        if until is None:
            return raw
        return [entry for entry in raw if parse_id(entry[0]) <= until.id]

    def limit(self, work: Work) -> int:
        """How many messages of ``work`` may be taken in."""
        until = self._bound(work.canal)
        return work.count if until is None else skipped(work, until)

    def _bound(self, canal: int) -> InPosition | None:
        """Up to where ``canal`` may be taken in now; None: all of it."""
        if self.feed.active:
            return self.feed.until(canal) or NOWHERE
        return self._until[canal] if self._holding else None

    def _is_behind(self, canal: int) -> bool:
        return order(self._incoming.cursors[canal].published) < order(self._until[canal])

    def _tick(self) -> int:
        """The last tick whose output exists."""
        rows = self._rt.slot(L.SLOT_PERSISTER).get(L.S_COUNT0 + L.P_OVERLAP)
        return max(self._out_tick, rows - 2)

    def _over(self) -> bool:
        rows = self._rt.slot(L.SLOT_PERSISTER).get(L.S_COUNT0 + L.P_OVERLAP)
        patient = self._first and time.monotonic() - self._began < ROWS_WAIT_SECONDS
        if (not rows and patient) or self._rt.get(L.C_GO_TICK) < self._tick():
            return False
        self._holding = False
        late = [canal for canal in self._incoming.canales if self._is_behind(canal)]
        if late and self._out_tick >= 0:
            self._tell(late)
        return True

    def _tell(self, late: list[int]) -> None:
        detail: dict[str, Any] = {
            "canales": late, "tick": self._out_tick,
            REASON: "input that was applied before the restore came in later than it did then",
        }  # fmt: skip
        log.warning("messages of input that was applied before may come again", **detail)
        self._events.emit("input_repeated", self._out_tick, detail)
