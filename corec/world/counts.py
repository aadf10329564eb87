"""Which blocks each worker ticks, and what each has done, so that no counter of it ever goes by who
owns a block now.

A block counts for itself, in the words that its commit names; those numbers are exact, whatever was
killed, and belong to whoever ticks the block. A worker's counter is

    carry of its slot  +  what the blocks say that it ticks       (mod 2⁶⁴)

and while the number of workers stays, it grows as the blocks do. When it changes, everybody at rest
at one tick, ``carry_over`` makes new carries out of the old counters, so that each goes on from
where it was: those of workers who leave stand still, their sum stays that of the world.

The blocks are divided into ranges, one behind the other: as even as their entities are, until it
is measured how long each worker computes (``corec.supervisor.evening``). The last one's goes to the
end of a world that has grown since.

Writer: the supervisor, while no worker runs. Order, and what a kill leaves:

    S_ENDS, S_CARRY of every slot, the copy that does       nothing: no word names it
    not count [K shares.end, shares.carry behind each]
    [K shares.written]
    C_COUNTED, naming that copy and the new number          the new ranges count, and all counters
    [K shares.counts]                                       go on by them
    C_WORKERS                                               (until then it differs; nothing is lost:
                                                            C_COUNTED says what its carries are for)

Readers take C_COUNTED before and after: the copy it names is not written until the change after the
next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

from corec import layout as L
from corec.plan import split_blocks
from corec.process.runtime import Runtime
from corec.world.read import dynamic_words
from shm.killpoint import kill_point, register

Ranges = Sequence[tuple[int, int]]
"""Of each worker its first block, and behind its last one."""
register("shares.end")
register("shares.carry")
register("shares.written")
register("shares.counts")

BY_WORKER: Final = {
    "entity_updates": L.D_UPDATES,
    "failures": L.D_FAILURES,
    "repairs": L.D_REPAIRS,
}
NAMES: Final = ("ticks", *BY_WORKER)
_TRIES: Final = 100
_MASK: Final = 2**64 - 1
_COUNT: Final = 2**31 - 1

assert L.S_CARRY[0] + len(NAMES) <= L.S_CARRY[1]


class _Counted(NamedTuple):
    """What C_COUNTED says: which copy of the carries counts, for how many workers it was made, and
    how many slots have ever had one."""

    copy: int
    slots: int
    workers: int

    @classmethod
    def of(cls, rt: Runtime) -> _Counted:
        word = rt.get(L.C_COUNTED)
        workers = word & _COUNT or max(1, rt.get(L.C_WORKERS))
        return cls(word >> 62, max(workers, word >> 31 & _COUNT), workers)

    def word(self) -> int:
        return self.copy << 62 | self.slots << 31 | self.workers


def _ranges(rt: Runtime, counted: _Counted) -> Ranges:
    """What the copy of ``counted`` says."""
    if not rt.get(L.C_COUNTED) & _COUNT:
        return split_blocks(rt.plan, counted.workers)
    word, most = L.S_ENDS[counted.copy], rt.plan.n_blocks
    slots = [rt.slot(L.SLOT_WORKER0 + k) for k in range(counted.workers - 1)]
    return [*pairwise([0, *(min(slot.get(word), most) for slot in slots), most])]


def ranges(rt: Runtime, workers: int) -> Ranges:
    """Which blocks each of ``workers`` workers ticks: the same for whoever asks, until a change.

    A change that was cut off before C_WORKERS left ranges of another number of workers; those that
    go on then stand at one boundary, and take equal shares.

    Raises RuntimeError when it never stays while it is read.
    """
    for _ in range(_TRIES):
        counted = _Counted.of(rt)
        if counted.workers != workers:
            return split_blocks(rt.plan, workers)
        found = _ranges(rt, counted)
        if _Counted.of(rt) == counted:
            return found
    raise RuntimeError("the workers' shares changed again and again while they were read")


def worker_of(rt: Runtime, index: int) -> int:
    """The worker that ticks block ``index``."""
    shares = ranges(rt, max(1, rt.get(L.C_WORKERS)))
    return next((k for k, (lo, hi) in enumerate(shares) if lo <= index < hi), 0)


def _said(
    rt: Runtime, counted: _Counted, shares: Ranges, *, blocks: bool = True
) -> list[dict[str, int]]:  # fmt: skip
    """What the ticks (and blocks) of each slot say, were ``shares`` the workers'."""
    dyn = dynamic_words(rt.plan, rt.world.words) if blocks else None
    found = [dict.fromkeys(NAMES, 0) for _ in range(counted.slots)]
    for k, (lo, hi) in enumerate(shares):
        found[k]["ticks"] = rt.slot(L.SLOT_WORKER0 + k).get(L.S_TICK)
        if dyn is not None:
            found[k] |= {name: int(dyn[lo:hi, word].sum()) for name, word in BY_WORKER.items()}
    return found


def by_slot(rt: Runtime, *, blocks: bool = True) -> list[dict[str, int]]:
    """Ticks, updates, failures and repairs of every worker there was, by its number; of them only
    the ticks are right without ``blocks``, which costs next to nothing.

    Raises RuntimeError when the number of workers never stays while it is read.
    """
    for _ in range(_TRIES):
        counted = _Counted.of(rt)
        carry = L.S_CARRY[counted.copy]
        found = [
            {
                name: (one[name] + rt.slot(L.SLOT_WORKER0 + k).get(carry + n)) & _MASK
                for n, name in enumerate(NAMES)
            }
            for k, one in enumerate(_said(rt, counted, _ranges(rt, counted), blocks=blocks))
        ]
        if _Counted.of(rt) == counted:
            return found
    raise RuntimeError("the number of workers changed again and again while it was read")


def _store(
    rt: Runtime, counters: list[dict[str, int]], workers: int, shares: Ranges | None = None
) -> None:  # fmt: skip
    """Let the counters go on from ``counters`` with ``workers`` workers; ``shares`` of the blocks,
    or equal ones."""
    slots = max(len(counters), workers)
    counted = _Counted(1 - _Counted.of(rt).copy, slots, workers)
    none = dict.fromkeys(NAMES, 0)
    shares = split_blocks(rt.plan, workers) if shares is None else shares
    for k, (_, end) in enumerate(shares):
        rt.slot(L.SLOT_WORKER0 + k).set(L.S_ENDS[counted.copy], end)
        kill_point("shares.end")
    for k, one in enumerate(_said(rt, counted, shares)):
        slot, goal = rt.slot(L.SLOT_WORKER0 + k), counters[k] if k < len(counters) else none
        for n, name in enumerate(NAMES):
            slot.set(L.S_CARRY[counted.copy] + n, (goal[name] - one[name]) & _MASK)
            kill_point("shares.carry")
    kill_point("shares.written")
    rt.set(L.C_COUNTED, counted.word())
    kill_point("shares.counts")


def carry_over(rt: Runtime, workers: int, shares: Ranges | None = None) -> None:
    """The next workers will be ``workers``, with equal ``shares`` of the blocks or these; nobody
    ticks, every slot's tick is the world's."""
    _store(rt, by_slot(rt), workers, shares)


def go_on_from(rt: Runtime, counters: list[dict[str, int]]) -> None:
    """The world has blocks that it had not when ``by_slot`` gave ``counters``; nobody ticks."""
    workers = rt.get(L.C_WORKERS)
    _store(rt, counters, workers, ranges(rt, workers))


def begin(rt: Runtime, head: dict[str, Any] | None) -> None:
    """Counters of a world that was just made, before anybody may adopt it.

    They go on from a checkpoint of a clean stop (its ``head``). Out of any other they begin at 0,
    as they do in a new world: what was counted behind it is unknown, and a counter that falls to
    anything but 0 is a jump to whoever takes its rate.
    """
    saved = head.get("counts", []) if head is not None and head.get("final") else []
    _store(rt, [{name: int(one[name]) for name in NAMES} for one in saved],
           rt.get(L.C_WORKERS))  # fmt: skip
