"""What each worker has done, so that no counter of it ever goes by who owns a block now.

A block counts for itself, in the words that its commit names; those numbers are exact, whatever was
killed, and belong to whoever ticks the block. A worker's counter is

    carry of its slot  +  what the blocks say that it ticks       (mod 2⁶⁴)

and while the number of workers stays, it grows as the blocks do. When it changes, everybody at rest
at one tick, ``carry_over`` makes new carries out of the old counters, so that each goes on from
where it was: those of workers who leave stand still, their sum stays that of the world.

Writer: the supervisor, while no worker runs. Order, and what a kill leaves:

    S_CARRY of every slot, the copy that does not count     nothing: no word names it
    C_COUNTED, naming that copy and the new number          all counters go on by the new division
    C_WORKERS                                               (until then it differs; nothing is lost:
                                                            C_COUNTED says what its carries are for)

Readers take C_COUNTED before and after: the copy it names is not written until the change after the
next one.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from corec import layout as L
from corec.plan import split_blocks
from corec.process.runtime import Runtime
from corec.world.read import dynamic_words

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


def _said(rt: Runtime, counted: _Counted, *, blocks: bool = True) -> list[dict[str, int]]:
    """What the ticks (and blocks) of each slot say, were there ``counted.workers`` workers."""
    dyn = dynamic_words(rt.plan, rt.world.words) if blocks else None
    found = [dict.fromkeys(NAMES, 0) for _ in range(counted.slots)]
    for k, (lo, hi) in enumerate(split_blocks(rt.plan, counted.workers)):
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
            for k, one in enumerate(_said(rt, counted, blocks=blocks))
        ]
        if _Counted.of(rt) == counted:
            return found
    raise RuntimeError("the number of workers changed again and again while it was read")


def _store(rt: Runtime, counters: list[dict[str, int]], workers: int) -> None:
    """Let the counters go on from ``counters`` with ``workers`` workers."""
    slots = max(len(counters), workers)
    counted = _Counted(1 - _Counted.of(rt).copy, slots, workers)
    none = dict.fromkeys(NAMES, 0)
    for k, one in enumerate(_said(rt, counted)):
        slot, goal = rt.slot(L.SLOT_WORKER0 + k), counters[k] if k < len(counters) else none
        for n, name in enumerate(NAMES):
            slot.set(L.S_CARRY[counted.copy] + n, (goal[name] - one[name]) & _MASK)
    rt.set(L.C_COUNTED, counted.word())


def carry_over(rt: Runtime, workers: int) -> None:
    """The next workers will be ``workers``; nobody ticks, every slot's tick is the world's."""
    _store(rt, by_slot(rt), workers)


def go_on_from(rt: Runtime, counters: list[dict[str, int]]) -> None:
    """The world has blocks that it had not when ``by_slot`` gave ``counters``; nobody ticks."""
    _store(rt, counters, rt.get(L.C_WORKERS))


def begin(rt: Runtime, head: dict[str, Any] | None) -> None:
    """Counters of a world that was just made, before anybody may adopt it.

    They go on from a checkpoint of a clean stop (its ``head``). Out of any other they begin at 0,
    as they do in a new world: what was counted behind it is unknown, and a counter that falls to
    anything but 0 is a jump to whoever takes its rate.
    """
    saved = head.get("counts", []) if head is not None and head.get("final") else []
    _store(rt, [{name: int(one[name]) for name in NAMES} for one in saved],
           rt.get(L.C_WORKERS))  # fmt: skip
