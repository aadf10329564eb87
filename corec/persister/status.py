"""What the persister shows of itself: state, reason and counters of its slot, and the log.

Only this class writes those words.  Two troubles are kept apart: the database takes nothing, and
the spool takes nothing.  The second is the worse one: nothing can move, so it is shown when both
are there.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from corec import layout as L
from corec.log import get_logger
from corec.persister.spool_format import Extent
from corec.persister.writer import Taken
from corec.process.runtime import Runtime
from corec.process.showing import Showing

FULL_S: Final = 60.0
"""So long what a server said of its room stands for its silence."""

log = get_logger("corec.persister")


class Status:
    """The persister's slot."""

    def __init__(self, rt: Runtime) -> None:
        self._slot = rt.slot(L.SLOT_PERSISTER)
        self._showing = Showing(self._slot)
        self._database = rt.config.db.shown()
        self._away: int | None = None
        self._spool: str | None = None
        self._full_at = -FULL_S
        self._ready = False

    def ready(self) -> None:
        """The database takes rows."""
        if self._away is not None:
            log.info("the database takes rows again")
        self._away, self._ready, self._full_at = None, True, -FULL_S
        self._show()

    def waiting(self, reason: int, text: str) -> None:
        """The database takes nothing; logged once per reason.

        A server without room ends, comes back and ends again: while it is gone in between, that it
        has no room says more than that it can't be reached.
        """
        now = time.monotonic()
        if reason == L.REASON_FULL:
            self._full_at = now
        elif reason == L.REASON_UNREACHABLE and now - self._full_at < FULL_S:
            reason = L.REASON_FULL
        if self._away != reason:
            log.warning(
                "the database takes no rows; they wait in the lanes, then in the spool",
                reason=L.REASON_NAMES[reason],
                error=text,
                database=self._database,
            )
        self._away = reason
        self._show()

    def taken_over(self, taken: Taken, *, last: bool) -> None:
        """Log what a take-over found and moved. The ``last`` one knows up to which tick rows were
        there before: the broker holds new input back until it hears of it."""
        if last:
            ticks = [lane.overlap_tick for lane in taken.plan.lanes.values()]
            self.set(L.P_OVERLAP, 2 + max(ticks, default=-1))
        if taken.other_world:
            log.warning("set an older world's rows aside", tables=taken.changed.aside)
        if taken.changed.back:
            log.info("this world's rows are back", tables=taken.changed.back)
        for what in taken.changed.stuck:
            log.error("rows of this world stay set aside", table=what)
        for lane, lost in taken.plan.behind.items():
            log.error("rows are neither here nor in the database", lane=lane, bytes=lost)

    def lost(self, extents: Sequence[Extent]) -> None:
        """Count and log rows and events that were dropped."""
        self.count(L.P_DROPPED, sum(extent.rows + extent.events for extent in extents))
        for extent in extents:
            log.warning(
                "the spool is full: rows dropped", lane=extent.lane, rows=extent.rows,
                first_tick=extent.first_tick, last_tick=extent.last_tick,
            )  # fmt: skip

    def spool(self, spool_bytes: int, trouble: str | None) -> None:
        """The spool has so many bytes and takes nothing more because of ``trouble``."""
        self.set(L.P_SPOOL_BYTES, spool_bytes)
        if trouble is not None and self._spool != trouble:
            log.warning("the spool takes no rows; they wait in the lanes", reason=trouble)
        elif trouble is None and self._spool is not None:
            log.info("the spool takes rows again")
        self._spool = trouble
        self._show()

    def failed(self, text: str) -> None:
        """The process cannot go on."""
        self._showing.error(L.REASON_SERVER_ERROR)
        log.error("the persister cannot go on", error=text)

    def drained(self) -> None:
        """Everything is written or spooled; the process leaves."""
        self._showing.drained()

    def set(self, word: int, value: int) -> None:
        """Store counter ``L.P_*``."""
        if self._slot.get(L.S_COUNT0 + word) != value:
            self._slot.set(L.S_COUNT0 + word, value)

    def get(self, word: int) -> int:
        """Counter ``L.P_*``."""
        return self._slot.get(L.S_COUNT0 + word)

    def count(self, word: int, more: int) -> None:
        """Add to counter ``L.P_*``."""
        if more:
            self._slot.set(L.S_COUNT0 + word, self.get(word) + more)

    def tick(self, tick: int) -> None:
        """Every row of ticks up to ``tick`` is committed; never goes down."""
        if tick > self._slot.get(L.S_TICK):
            self._slot.set(L.S_TICK, tick)

    def _show(self) -> None:
        if self._spool is not None:
            reason = L.REASON_FULL
        else:
            reason = L.REASON_NONE if self._away is None else self._away
        waits = self._away is not None or self._spool is not None
        self._showing.works(waits=waits, reason=reason, begun=self._ready)
