"""When the next tick may start: decided by worker 0 alone, from words that others write.

The words of lines 3 to 5 of the control segment are its own. Order of its stores for tick T:

    C_CUT, C_TICK_UNIX_NS, C_CUT_CARGA,           what T takes in, what was set, what precedes it
    C_CUT_SETTINGS, C_PHASES of T & 3             (``corec.world.phases``); T−3's are nobody's now
    in-position table, copy T & 1                 what the world will have applied with T
    tail of in.lane                               T−1 is committed everywhere, its readings are done
                                                  (earlier while the world is paused)
    C_GO_TICK = T (release)                       from here on nothing above may change for T
    C_PHASE_NEXT                                  for the leader alone: which tick ``go_if_plain``
                                                  must leave to ``go``; a successor finds it anew

A kill before the last store leaves T undecided: the successor decides it anew, perhaps with more
readings. After it T is decided for good. Which of the two tables counts is said by C_GO_TICK & 1
and by nothing else: with a word of its own, a checkpoint taken after a kill between that word and
C_GO_TICK would say that readings were applied which were not. The table of T−1 is only read here,
so however often T is decided anew, it starts from the truth.
"""

from __future__ import annotations

import time
from typing import Final

import numpy as np

from corec import layout as L
from corec.kernels.inputs import bounded_cut, note_positions
from corec.runtime import Runtime, word_to_float
from corec.worker import steps
from corec.worker.steps import NOT_NOW, WENT_RING, go_if_plain, let_go, note_cut
from corec.world.phases import next_with_phases, phases_before
from shm.atomics import spin_until_all_at_least
from shm.killpoint import kill_point

BEHIND_SECONDS_MAX: Final = 1.0
HOLD_SECONDS_MAX: Final = 30.0
SPINS_FLAT_OUT: Final = 3000


class Pacer:
    """The clock of the ticks: CLOCK_MONOTONIC, so a jump of the wall clock changes nothing."""

    def __init__(self, since_last_seconds: float = 0.0) -> None:
        """``since_last_seconds``: how long ago a predecessor's last tick started."""
        self.due = time.monotonic()
        self.hz = -1.0
        self.since_last_seconds = since_last_seconds

    def wait_seconds(self, hz: float) -> float:
        """How long until the next tick is due (≤ 0: now)."""
        if hz <= 0.0:
            return 0.0
        if hz != self.hz:
            self.hz = hz
            self.due = time.monotonic() + max(0.0, 1.0 / hz - self.since_last_seconds)
            self.since_last_seconds = 0.0
        return self.due - time.monotonic()

    def started(self, hz: float) -> int:
        """Note that a tick starts now; how many deadlines were missed by that.

        A tick misses its own when it is late by a whole period or more. The schedule is kept, so
        late ticks follow at once; when it is more than a second behind, it begins anew from now,
        and every deadline that it gives up is missed, too: a world that is always too slow misses
        ``hz`` a second, however slow it is.
        """
        if hz <= 0.0:
            return 0
        late = time.monotonic() - self.due
        missed = int(late >= 1.0 / hz)
        self.due += 1.0 / hz
        if late > max(BEHIND_SECONDS_MAX, 1.0 / hz):
            self.due = time.monotonic() + 1.0 / hz
            missed += int(late * hz)
        return missed

    def restart(self) -> None:
        """Begin the schedule anew (after a pause)."""
        self.hz = -1.0


class Leader:
    """Starts ticks. One method decides, one does the stores."""

    def __init__(self, rt: Runtime, workers: int) -> None:
        self.rt = rt
        self.control = rt.control
        self.workers = workers
        slots = [L.slot_base(L.SLOT_WORKER0 + k) + L.S_TICK for k in range(workers)]
        self.done_words = np.array(slots, np.int64)
        self.pacer = Pacer(self._since_last_tick())
        self._find_phases(rt.get(L.C_GO_TICK) + 1)
        self.held_since = 0.0
        self.paced = False

    def _since_last_tick(self) -> float:
        """Seconds since the last tick went, so that a killed leader's successor keeps its pace; 0
        in a world that has not ticked yet. A wall clock that jumped shifts one tick, no more."""
        started = self.rt.get(L.C_TICK_UNIX_NS + (self.rt.get(L.C_GO_TICK) & 3))
        return max(0.0, (time.time_ns() - started) / 1e9) if started else 0.0

    def all_done(self, tick: int, spins: int) -> bool:
        """Whether every worker has committed ``tick``; looks up to ``spins`` times."""
        return bool(spin_until_all_at_least(self.control, self.done_words, tick, spins))

    def wait_seconds(self, tick: int) -> float | None:
        """0 when ``tick`` may start now, seconds until it is due, None while something forbids it.

        Called when every worker has committed ``tick − 1``.
        """
        found = steps.may_go(self.control, tick, False)
        if found == steps.HELD:
            if self._held():
                return None
            found = steps.may_go(self.control, tick, True)
        else:
            self.held_since = 0.0
        self.paced = found == steps.GO_PACED
        if found == steps.REST:
            steps.rest_at(self.control, tick)
            self._ring()
        if found == steps.PAUSED:
            self.pacer.restart()
            # room for input while nothing ticks
            self._release(self.rt.get(L.C_CUT + (tick - 1 & 3)))
        if found == steps.GO:
            return 0.0
        if not self.paced:
            return None
        return max(0.0, self.pacer.wait_seconds(word_to_float(self.rt.get(L.C_TICK_HZ))))

    def _held(self) -> bool:
        """Acknowledge the hold; false when it has lasted too long to be anybody's."""
        request = self.rt.get(L.C_HOLD_REQUEST)
        if self.rt.get(L.C_HOLD_ACK) != request:
            self.held_since = time.monotonic()
            self.rt.set(L.C_HOLD_ACK, request)
            self.rt.doorbells[L.SLOT_NUCLEUS].ring()
        if self.held_since == 0.0:
            self.held_since = time.monotonic()
        return time.monotonic() - self.held_since < HOLD_SECONDS_MAX

    def go(self, tick: int) -> None:
        """Decide the inputs of ``tick`` and let every worker run it."""
        rt = self.rt
        hz = word_to_float(rt.get(L.C_TICK_HZ))
        if self.paced and (missed := self.pacer.started(hz)):
            rt.set(L.C_OVERRUNS, rt.get(L.C_OVERRUNS) + missed)
        before = rt.get(L.C_CUT + (tick - 1 & 3))
        cut = bounded_cut(rt.inbox.data, before, rt.inbox.head, rt.config.streams.readings_per_tick)
        phases = phases_before(rt.plan, tick)
        note_cut(self.control, tick, cut, time.time_ns(), phases)
        # the copy of T holds T−2's table: nothing to do if no reading came in either tick
        if cut != before or before != rt.get(L.C_CUT + (tick - 2 & 3)):
            note_positions(rt.inbox.data, before, cut, self.control, tick & 1)
            kill_point("leader.after_positions")
        self._release(before)
        let_go(self.control, tick)
        if phases:
            self._find_phases(tick + 1)
        self._ring()

    def _find_phases(self, tick: int) -> None:
        self.rt.set(L.C_PHASE_NEXT, next_with_phases(self.rt.plan, tick))

    def _release(self, until: int) -> None:
        """Give the inbox's room up to ``until`` back; every worker has committed what took it."""
        if until != self.rt.inbox.tail:
            self.rt.inbox.release(until)
            self.rt.doorbells[L.SLOT_BROKER].ring()

    def go_at_once(self, tick: int) -> bool:
        """Let ``tick`` go if nothing but the other workers was waited for; else it is ``go``'s."""
        inbox = self.rt.inbox.ctl
        found = go_if_plain(
            self.control, self.done_words, inbox, tick, time.time_ns(), SPINS_FLAT_OUT
        )
        if found == WENT_RING:
            self._ring()
        return found != NOT_NOW

    def _ring(self) -> None:
        for k in range(1, self.workers):
            self.rt.doorbells[L.SLOT_WORKER0 + k].ring()
