"""A stretch of the journal: what each tick took in and what counted in it (``corec.world.past``
says who runs it again, and how)."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace
from typing import NamedTuple

from corec.journal.file import State, Stretch, waits
from corec.plan import Plan


class Cut(NamedTuple):
    """Where a tick's input ended: by canal (ms, seq, next_msg, last)."""

    tick: int
    until: dict[int, tuple[int, int, int, int]]
    readings: int


class Growth(NamedTuple):
    """The world becomes that of ``plan`` before ``first_tick`` (``corec.world.grown``)."""

    first_tick: int
    plan: Plan


class Past:
    """The stretch behind one tick."""

    def __init__(self, stretch: Stretch, until: int = 0) -> None:
        """``until``: the last tick that may have gone, where no record says so."""
        ends = [int(record["until"]) for record in stretch.records if "until" in record]
        records = [record for record in stretch.records if not waits(record)]
        self.last: int = records[-1]["tick"] if records else 0
        """The last tick of which there is a record; 0: there is none."""
        self.until = max(self.last, ends[-1] if ends else until)
        """The last tick that may have gone: nothing of a later one is in a sink."""
        self.cuts: list[Cut] = []
        self._cargas: list[tuple[int, float]] = []
        self.states: list[tuple[int, State]] = [(0, stretch.state)]
        """From which tick on which settings counted."""
        state = stretch.state
        if state.carga is not None:
            self._cargas.append((0, state.carga))
        for record in records:
            tick = int(record["tick"])
            if "in" in record:
                found = {int(c): (at[0], at[1], at[2], at[3]) for c, at in record["in"].items()}
                self.cuts.append(Cut(tick, found, int(record.get("readings", 0))))
            if "carga" in record:
                self._cargas.append((tick, float(record["carga"])))
            state = replace(state)
            if state.follow(record):
                self.states.append((tick, state))
        self.behind = set_behind(stretch, state)
        """What was set to count behind all of them; None: nothing."""
        self.asked = state.asked
        """What ``carga`` comes back to at the end of it."""
        self._fed = {cut.tick: cut for cut in self.cuts}

    def end(self, until: int) -> None:
        """Nothing counts of the records behind ``until``: those ticks are decided anew."""
        self.until, self.last = until, min(self.last, until)
        self.cuts = [cut for cut in self.cuts if cut.tick <= until]
        self.states = [one for one in self.states if one[0] <= until]

    def cut(self, tick: int) -> Cut | None:
        """What ``tick`` took in; None: nothing."""
        return self._fed.get(tick)

    def carga(self, tick: int, default: float) -> float:
        """The share of entities that ran in ``tick``."""
        at = bisect_right([since for since, _ in self._cargas], tick) - 1
        return self._cargas[at][1] if at >= 0 else default

    def state(self, tick: int) -> State:
        """The settings that counted in ``tick``."""
        return self.states[bisect_right([since for since, _ in self.states], tick) - 1][1]


def set_behind(stretch: Stretch, state: State) -> State | None:
    """What the journal's last record says of a tick that has not gone. ``state``: what counts
    without it."""
    last = stretch.records[-1] if stretch.records else {}
    if "set" not in last or not waits(last):
        return None
    found = replace(state)
    found.follow(last)
    return found
