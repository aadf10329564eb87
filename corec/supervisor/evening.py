"""Evening out: blocks move between workers where one computes much longer than the others.

Ticks go in lockstep, so the worker that computes longest is everybody's pace. At first each has as
many entities as the others; what they cost is measured, by the CPU time that each worker's ticks
took (``S_BUSY_NS``: no clock is read for it in a tick that is not read anyway). What a worker
took is laid upon its blocks in proportion to what they were held to cost before, and the blocks
are divided anew, one range behind the other: a step or a few of them, and the ranges are even.

A change costs a pause of the ticks (the workers rest at a boundary, and successors start), so
there is none unless it is worth that: three looks on end in which the busiest one takes a seventh
longer than it would then, in a world in which computing takes a tenth of a tick's time at least.
Behind one there is none for a while, twice as long after each that follows soon.

What is decided here is no part of the world: state, rows and messages do not depend on who ticks a
block. Words: ``corec.world.counts``. Only where ``sincronizacion`` is among the ``modules``.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from corec import layout as L
from corec.log import get_logger
from corec.plan import Plan, split_blocks
from corec.process.roles import WORKER, committed_tick
from corec.process.runtime import Runtime, word_to_float
from corec.supervisor import segments
from corec.supervisor.processes import Group
from corec.supervisor.telling import raise_event
from corec.world.counts import Ranges, ranges

log = get_logger("corec.supervisor")

LOOK_SECONDS: Final = 2.0
LOOK_TICKS: Final = 10
"""A look is at so long at least, and at so many ticks."""
IN_A_ROW: Final = 3
GAIN_MIN: Final = 1.15
"""How much longer the busiest worker takes than the busiest would with other shares."""
DEMAND_MIN: Final = 0.1
"""Share of a tick's time that the busiest worker computes; flat out it is all of it."""
PAUSE_SECONDS: Final = 10.0
"""Behind a change; twice as long as the last time, if that was within ``SOON_SECONDS``."""
PAUSE_SECONDS_MAX: Final = 640.0
SOON_SECONDS: Final = 600.0
Weights = NDArray[np.float64]


class Look(NamedTuple):
    """What the workers did since the last look."""

    ticks: int
    seconds: float
    hz: float
    busy: tuple[float, ...]
    """CPU seconds of each worker's ticks."""


class Evened(NamedTuple):
    """Other shares than ``before``, and why: what each worker took of all CPU time, and how much
    longer the busiest one took than the busiest will."""

    before: Ranges
    shares: Ranges
    busy: tuple[float, ...]
    gain: float

    def told(self) -> dict[str, Any]:
        """For the event; of each worker its number of blocks, its share of the time."""
        return {
            "before": [hi - lo for lo, hi in self.before],
            "now": [hi - lo for lo, hi in self.shares],
            "busy": [round(one, 4) for one in self.busy], "gain": round(self.gain, 3),
        }  # fmt: skip


def learned(weights: Weights, shares: Ranges, busy: Sequence[float]) -> Weights:
    """What blocks cost, once it is known that those of each range took ``busy``; in ``busy``'s
    unit. Within a range they keep their proportions."""
    found = weights.copy()
    for (lo, hi), took in zip(shares, busy, strict=True):
        found[lo:hi] *= took / found[lo:hi].sum() if hi > lo else 1.0
    return found


def divided(weights: Weights, workers: int) -> Ranges:
    """Ranges as even as whole blocks can be cut near the even places; none is empty unless there
    are fewer blocks than workers."""
    upto = np.concatenate([[0.0], np.cumsum(weights)])
    count, cuts = len(weights), [0]
    for k in range(1, workers):
        goal = upto[-1] * k / workers
        cut = int(np.searchsorted(upto, goal))
        cut -= int(cut > 0 and goal - upto[cut - 1] < upto[cut] - goal)
        cuts.append(min(max(cut, cuts[-1] + 1), max(count - (workers - k), cuts[-1])))
    return [*zip(cuts, [*cuts[1:], count], strict=True)]


def heaviest(weights: Weights, shares: Ranges) -> float:
    """What the busiest worker takes."""
    return max(float(weights[lo:hi].sum()) for lo, hi in shares)


class Balance:
    """Decides about shares from looks alone; does nothing. ``weights``: what blocks are held to
    cost, of any unit."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self._uneven: list[Look] = []

    def rest(self) -> None:
        """Nothing can be said of now."""
        self._uneven = []

    def decide(self, look: Look, shares: Ranges) -> Evened | None:
        """Other shares than these; None: they are as they should be, or it is not known yet."""
        looks, self._uneven = [*self._uneven, look], []
        demand = max(look.busy) * look.hz / look.ticks if look.hz > 0.0 else 1.0
        if min(look.busy) <= 0.0 or demand < DEMAND_MIN:
            return None
        if self._with(look.busy, shares)[1].gain < GAIN_MIN:
            return None
        if len(looks) < IN_A_ROW:
            self._uneven = looks
            return None
        busy = tuple(sum(times) for times in zip(*(one.busy for one in looks), strict=True))
        self.weights, found = self._with(busy, shares)
        return found

    def _with(self, busy: tuple[float, ...], shares: Ranges) -> tuple[Weights, Evened]:
        """What blocks cost by these times, in the old unit; and the shares that follow."""
        weights = learned(self.weights, shares, busy)
        wanted = divided(weights, len(shares))
        gain = max(busy) / heaviest(weights, wanted)
        found = Evened(shares, wanted, tuple(one / sum(busy) for one in busy), gain)
        return weights * (self.weights.sum() / weights.sum()), found


class _Words(NamedTuple):
    now: float
    tick: int
    hz: float
    busy: tuple[int, ...]


class Evening:
    """The looks of one supervisor, and when the next change may be."""

    def __init__(self, rt: Runtime) -> None:
        self._rt = rt
        self._before: _Words | None = None
        self._may_at = self._changed_at = 0.0
        self._pause = PAUSE_SECONDS
        self._balance = Balance(self._costs(rt.plan))

    def _costs(self, plan: Plan) -> Weights:
        """As far as it is known: as entities, and, where the shares are a predecessor's and even
        in its eyes, as those."""
        weights = plan.blocks["entidades"].astype(np.float64)
        workers = self._rt.get(L.C_WORKERS)
        shares = ranges(self._rt, workers)
        if workers < 2 or [*shares] == split_blocks(plan, workers):
            return weights
        total = float(weights.sum())
        return learned(weights, shares, [total / workers if hi > lo else 0.0 for lo, hi in shares])

    def _of_plan(self) -> Balance:
        """The balance of the world as it is: what it has grown by costs as its entities do."""
        plan, known = self._rt.plan, self._balance.weights
        if len(known) < plan.n_blocks:
            more = plan.blocks["entidades"][len(known) :].astype(np.float64)
            self._balance = Balance(np.concatenate([known, more]))
        return self._balance

    def shares(self, workers: int) -> Ranges | None:
        """Those of ``workers`` by what is known; None: equal ones."""
        weights = self._of_plan().weights
        if (weights == self._rt.plan.blocks["entidades"]).all():
            return None
        return divided(weights, workers)

    def look(self) -> Evened | None:
        """What is to be changed now, if it is."""
        now, before = time.monotonic(), self._before
        if before is not None and now - before.now < LOOK_SECONDS:
            return None
        if not self._counts(now):
            self._of_plan().rest()
            self._before = None
            return None
        words = self._words(now)
        workers, same = len(words.busy), before is not None and before.hz == words.hz
        if before is None or not same or len(before.busy) != workers:
            self._of_plan().rest()
            self._before = words
            return None
        if words.tick - before.tick < LOOK_TICKS:
            return None
        self._before = words
        busy = tuple((b - a) / 1e9 for a, b in zip(before.busy, words.busy, strict=True))
        seen = Look(words.tick - before.tick, now - before.now, words.hz, busy)
        found = self._of_plan().decide(seen, ranges(self._rt, workers))
        if found is not None:
            soon = now - self._changed_at < SOON_SECONDS and self._changed_at > 0.0
            self._pause = min(2.0 * self._pause, PAUSE_SECONDS_MAX) if soon else PAUSE_SECONDS
            self._may_at, self._changed_at = now + self._pause, now
            self._before = None
        return found

    def _counts(self, now: float) -> bool:
        """Whether there is something to even out, and what is seen now says how."""
        rt = self._rt
        if now < self._may_at or "sincronizacion" not in rt.config.modules:
            return False
        if rt.get(L.C_WORKERS) < 2 or rt.get(L.C_STATE) != L.STATE_RUNNING:
            return False
        still = rt.get(L.C_PAUSED) or rt.get(L.C_STOP) or rt.get(L.C_REST) & 1
        return not still and committed_tick(rt.get) >= rt.get(L.C_FOLLOW)

    def _words(self, now: float) -> _Words:
        rt = self._rt
        slots = [rt.slot(L.SLOT_WORKER0 + k) for k in range(rt.get(L.C_WORKERS))]
        busy = tuple(slot.get(L.S_BUSY_NS) for slot in slots)
        hz = word_to_float(rt.get(L.C_TICK_HZ))
        return _Words(now, committed_tick(rt.get), hz, busy)


def move_blocks(rt: Runtime, group: Group, found: Evened) -> None:
    """Every worker has left at a boundary: let others start, with the shares of ``found``."""
    segments.regroup_words(rt, group.workers, found.shares)
    group.end_rest()
    for member in group.members:
        if member.role == WORKER.name:
            group.start(member)
    log.info("the workers' shares are evened out", **found.told())
    raise_event(rt, "workers_evened", found.told())
