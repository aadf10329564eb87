"""When the next tick may start: decided by worker 0 alone, from words that others write.

The words of lines 3 to 5 of the control segment are its own. Order of its stores for tick T:

    C_CUT, C_TICK_UNIX_NS, C_CUT_CARGA,           what T takes in, what was set, what precedes it
    C_CUT_SETTINGS, C_PHASES of T & 3             (``corec.world.phases``); T−3's are nobody's now
    in-position table, copy T & 1                 what the world will have applied with T
    journal.lane                                  all of that, if it is anything, and up to where
                                                  ticks may go (``world.journal``)
    tail of in.lane                               T−1 is committed everywhere, its readings are done
                                                  (earlier while the world is paused, or waits for
                                                  what the journal says that T took in)
    C_WRITTEN_DOWN                                up to which C_WRITE_DOWN the journal has what is
                                                  set; also while T waits (``_say``)
    C_GO_TICK = T (release)                       from here on nothing above may change for T
    C_PHASE_NEXT                                  for the leader alone: which tick ``go_if_plain``
                                                  must leave to ``go``; a successor finds it anew

A kill before the last store leaves T undecided: the successor decides it anew, perhaps with more
readings; what the journal says of T then counts instead, and a leader's first tick has it say all.
After it T is decided for good. Which of the two tables counts is said by C_GO_TICK & 1
and by nothing else: with a word of its own, a checkpoint taken after a kill between that word and
C_GO_TICK would say that readings were applied which were not. The table of T−1 is only read here,
so however often T is decided anew, it starts from the truth.
"""

from __future__ import annotations

import time
from typing import Final

import numpy as np
import orjson

from corec import layout as L
from corec.kernels.inputs import bounded_cut, note_positions
from corec.process.runtime import Runtime, float_to_word, word_to_float
from corec.worker import steps
from corec.worker.steps import NOT_NOW, WENT_RING, go_if_plain, let_go, note_cut
from corec.worker.writing_down import set_behind, written_down
from corec.world.past import Retold
from corec.world.phases import next_with_phases, phases_before
from corec.world.writes import Coming
from shm.atomics import spin_until_all_at_least
from shm.killpoint import kill_point

BEHIND_SECONDS_MAX: Final = 1.0
JOURNAL_WAITS_BYTES: Final = L.MIB
"""Ticks wait while more than that has not come to the disk: its largest record is half as long."""
AHEAD_SECONDS: Final = 0.5
"""So far ahead the journal is told that ticks may go: a disk is asked once in that time for ticks
that have nothing else to say, and a restored world takes in nothing new for as long at most."""
AHEAD_TICKS_FIRST, AHEAD_TICKS_MAX = 16, 4096
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

    def __init__(self, rt: Runtime, workers: int, retold: Retold | None = None) -> None:
        """``retold``: what the journal says of ticks that run again."""
        self.rt, self._retold = rt, retold
        self.control = rt.control
        self.workers = workers
        slots = [L.slot_base(L.SLOT_WORKER0 + k) + L.S_TICK for k in range(workers)]
        self.done_words = np.array(slots, np.int64)
        self.pacer = Pacer(self._since_last_tick())
        self.first = True
        """The journal does not have all of what this leader's ticks run with."""
        self.until = 0
        """The last tick of which the journal was told that it may go."""
        self._said = 0
        """Of which tick ``_say`` spoke last: its record ends what was said."""
        self._told = (rt.get(L.C_GO_TICK), time.monotonic())
        self._writes = Coming(rt)
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
        if found == steps.HELD and self._held():
            return None
        seconds = self._wait_seconds(tick, found)
        if seconds != 0.0:
            self._say(tick)
        return seconds

    def _wait_seconds(self, tick: int, found: int) -> float | None:
        if found == steps.HELD:
            found = steps.may_go(self.control, tick, True)
        else:
            self.held_since = 0.0
        self.paced = found == steps.GO_PACED
        if found == steps.REST:
            steps.rest_at(self.control, tick)
            self._ring()
        if found == steps.PAUSED:
            self.pacer.restart()
            self._release_last(tick)  # room for input while nothing ticks
            self._take_back(tick)
        if found not in (steps.GO, steps.GO_PACED):
            return None
        if self.rt.journal.used > JOURNAL_WAITS_BYTES:
            return None
        if self._follows(tick) and self._fed(tick) is None:
            self._release_last(tick)  # the broker may wait for it
            return None
        if found == steps.GO:
            return 0.0
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
        if self._follows(tick):
            self._say(tick)
        asked = rt.get(L.C_WRITE_DOWN)
        hz = word_to_float(rt.get(L.C_TICK_HZ))
        if self.paced and (missed := self.pacer.started(hz)):
            rt.set(L.C_OVERRUNS, rt.get(L.C_OVERRUNS) + missed)
        before = rt.get(L.C_CUT + (tick - 1 & 3))
        cut = self._fed(tick)
        assert cut is not None  # wait_seconds has seen it
        again = self._retold if self._follows(tick) else None
        phases = phases_before(rt.plan if again is None else again.collects(tick), tick)
        if self._writes.before(tick):
            phases |= L.PHASE_COLLECT
        note_cut(self.control, tick, cut, time.time_ns(), phases)
        if self._follows(tick):
            carga = word_to_float(rt.get(L.C_CARGA))
            carga = carga if rt.past is None else rt.past.carga(tick, carga)
            rt.set(L.C_CUT_CARGA + (tick & 3), float_to_word(carga))
        # the copy of T holds T−2's table: nothing to do if no reading came in either tick
        if cut != before or before != rt.get(L.C_CUT + (tick - 2 & 3)):
            note_positions(rt.inbox.data, before, cut, self.control, tick & 1)
            kill_point("leader.after_positions")
        told = not self._follows(tick) and self._write_down(tick, before, cut, asked)
        self._release(before)
        let_go(self.control, tick)
        if phases or told or self.rt.get(L.C_PHASE_NEXT) == tick:
            self._find_phases(tick + 1)
        self._ring()

    def _find_phases(self, tick: int) -> None:
        """Of which tick on ``go_if_plain`` must leave one to ``go``: for phases, or the journal."""
        if self.first or self._follows(tick):
            self.rt.set(L.C_PHASE_NEXT, tick)
            return
        phases = next_with_phases(self.rt.plan, tick)
        self.rt.set(L.C_PHASE_NEXT, min(phases or self.until + 1, self.until + 1))

    def _follows(self, tick: int) -> bool:
        """Whether the world runs ``tick`` again as the journal says."""
        return tick <= self.rt.get(L.C_FOLLOW)

    def _fed(self, tick: int) -> int | None:
        """Up to where ``tick`` takes in what is in the inbox; None: not all is there that it took
        in when it ran for the first time."""
        rt = self.rt
        before = rt.get(L.C_CUT + (tick - 1 & 3))
        if not self._follows(tick):
            readings_max = rt.config.streams.readings_per_tick
            return int(bounded_cut(rt.inbox.data, before, self._live_end(before), readings_max))
        if rt.past is None or rt.past.cut(tick) is None:
            return before
        ends = (
            f.next_position for f in rt.inbox.frames(before)
            if f.kind == L.KIND_FED_FRAME and f.tick == tick
        )  # fmt: skip
        return next(ends, None)

    def _live_end(self, before: int) -> int:
        """Behind which position a tick takes in no other frame: it has to fit into the inbox again
        when it runs again, with what frames and gaps of other sizes take, and its FED frame."""
        inbox = self.rt.inbox
        if inbox.head - before <= inbox.capacity // 2:
            return inbox.head
        return before + inbox.capacity * 3 // 8  # and one frame more: a quarter at most

    def _write_down(self, tick: int, before: int, cut: int, asked: int) -> bool:
        """What ``tick`` runs with, into the journal, if it is not what the tick before did; whether
        it was told up to where ticks may go. ``asked``: what had been set by then, it runs with."""
        news = tick == self._said or asked != self.rt.get(L.C_WRITTEN_DOWN)
        record = written_down(self.rt, tick, before, cut, whole=self.first, asked=news)
        self.first = False
        ahead = self.ahead(tick)
        # taken back where the pace has fallen: what is told last counts
        if not tick <= self.until <= tick + 2 * ahead or (
            len(record) > 1 and self.until < tick + ahead // 2
        ):
            record["until"] = self.until = tick + ahead
            self._told = (tick, time.monotonic())
        if len(record) > 1:
            pushed = self.rt.journal.push(L.KIND_JOURNAL_FRAME, orjson.dumps(record), tick=tick)
            assert pushed  # ``wait_seconds`` has seen room for the largest
            kill_point("leader.after_journal")
        if asked != self.rt.get(L.C_WRITTEN_DOWN):
            self.rt.set(L.C_WRITTEN_DOWN, asked)
        return "until" in record

    def _take_back(self, tick: int) -> None:
        """Tell the journal that ``tick`` waits, if it was told that more may go: what is changed
        while the world is paused counts from there, and from no later tick."""
        if self.until < tick or self._follows(tick):
            return
        told = orjson.dumps({"tick": tick, "until": tick - 1})
        if self.rt.journal.push(L.KIND_JOURNAL_FRAME, told, tick=tick):
            self.until = tick - 1
            self._find_phases(tick)

    def _say(self, tick: int) -> None:
        """Have the journal say what was set, if somebody waits for that and ``tick`` does not go
        yet: who is told that it counts has it after the loss of the machine, too."""
        asked = self.rt.get(L.C_WRITE_DOWN)
        if asked == self.rt.get(L.C_WRITTEN_DOWN):
            return
        first = max(tick, self.rt.get(L.C_FOLLOW) + 1)
        record = orjson.dumps(set_behind(self.rt, first))
        if self.rt.journal.push(L.KIND_JOURNAL_FRAME, record, tick=first):
            kill_point("leader.said")
            self.until, self._said = first - 1, first
            self.rt.set(L.C_WRITTEN_DOWN, asked)
            self._find_phases(tick)

    def ahead(self, tick: int) -> int:
        """How many ticks from ``tick`` on may go before the journal is told again."""
        if self.rt.get(L.C_PAUSED):
            return min(AHEAD_TICKS_MAX, max(0, self.rt.get(L.C_STEP_LIMIT) - tick))
        hz = word_to_float(self.rt.get(L.C_TICK_HZ))
        if hz <= 0.0:
            last, at = self._told
            seconds = time.monotonic() - at
            if tick - last < AHEAD_TICKS_FIRST or seconds <= 0.0:
                return min(AHEAD_TICKS_MAX, max(AHEAD_TICKS_FIRST, self.until - tick))
            hz = (tick - last) / seconds
        return min(AHEAD_TICKS_MAX, max(1, int(hz * AHEAD_SECONDS)))

    def _release_last(self, tick: int) -> None:
        """Give back what the tick before ``tick`` took in; every worker has committed it."""
        self._release(self.rt.get(L.C_CUT + (tick - 1 & 3)))

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
