"""The input of a world that runs ticks again (``corec.world.past``): as it was cut, tick by tick.

Who writes: the broker, into in.lane. For each tick of the stretch that took something in, one after
the other: its readings, up to where the journal says the tick ended, then a KIND_FED_FRAME with the
tick. What a kill leaves: readings without that frame, which the successor completes from where the
lane says the stream stands; with it, the successor goes on behind it.

Readings that are not in their stream any more are told (``replay_differs``), and the tick runs
without them.
"""

from __future__ import annotations

from typing import Any

from corec import layout as L
from corec.broker.events import Events
from corec.broker.incoming import Incoming, order
from corec.broker.positions import InPosition
from corec.journal.past import Cut
from corec.log import get_logger
from corec.process.events import REASON
from corec.process.runtime import Runtime

log = get_logger(__name__)


class Feed:
    """What of the stretch is still to be put into the inbox."""

    def __init__(self, rt: Runtime, incoming: Incoming, events: Events) -> None:
        self._rt, self._incoming, self._events = rt, incoming, events
        self._cuts: list[Cut] = []
        self._given_up: set[int] = set()
        self._begin = 0
        self._waits = False

    def open(self) -> None:
        """The cursors are open: find where a predecessor was."""
        rt = self._rt
        if rt.past is None:
            return
        fed, self._begin = -1, rt.inbox.tail
        for frame in rt.inbox.frames():
            if frame.kind == L.KIND_FED_FRAME:
                fed, self._begin = max(fed, frame.tick), frame.next_position
        fed = max(fed, rt.get(L.C_GO_TICK))  # behind the look: the leader may go on meanwhile
        grows = rt.get(L.C_GROW_FIRST)
        coming = [cut for cut in rt.past.cuts if cut.tick > fed]
        # what came behind a growth is judged, and fed, when there are the entities that it is for
        self._cuts = [cut for cut in coming if not grows or cut.tick < grows]
        self._waits = len(coming) > len(self._cuts)

    @property
    def active(self) -> bool:
        """Whether there is something left."""
        return bool(self._cuts) or self._waits

    def until(self, canal: int) -> InPosition | None:
        """Up to where the next tick took in this canal; None: nothing of it."""
        found = self._cuts[0].until.get(canal) if self._cuts else None
        return None if found is None else InPosition(*found)

    def behind(self) -> list[int]:
        """The canales of which something is missing for the next tick."""
        return [canal for canal in self._incoming.canales if self._is_behind(canal)]

    def _is_behind(self, canal: int) -> bool:
        until = self.until(canal)
        if until is None or canal in self._given_up:
            return False
        return order(self._incoming.cursors[canal].published) < order(until)

    def turn(self) -> bool:
        """Go on to the next ticks as far as all is there for them; false when there is no room."""
        rt = self._rt
        while self._cuts and not self.behind():
            cut = self._cuts[0]
            readings = sum(
                frame.b for frame in rt.inbox.frames(max(self._begin, rt.inbox.tail))
                if frame.kind == L.KIND_READINGS_FRAME
            )  # fmt: skip
            if not rt.inbox.push(L.KIND_FED_FRAME, b"", tick=cut.tick):
                return False
            self._begin = rt.inbox.head
            rt.doorbells[L.SLOT_WORKER0].ring()
            if readings != cut.readings:
                self._tell(cut, readings)
            self._cuts.pop(0)
            self._given_up.clear()
        return True

    def gone(self, canal: int) -> None:
        """The stream has nothing behind what was read, and the next tick took in more of it."""
        self._given_up.add(canal)

    def _tell(self, cut: Cut, readings: int) -> None:
        detail: dict[str, Any] = {
            "tick": cut.tick, "readings": readings, "expected": cut.readings,
            "canales": sorted(self._given_up),
            REASON: "not all the input that this tick took in is in its streams any more",
        }  # fmt: skip
        log.warning("a tick that runs again is not the same", **detail)
        self._events.emit("replay_differs", cut.tick, detail)
