"""What is asked of a whole history in compiled code: ``me.h.mean()``, ``sum``, ``min``, ``max``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import float32, int64

from corec.entities.cursor import ring_access, slot_access
from corec.entities.me_types import HistoryType
from shm.jit import dissolved, method


def _over_all(step: Any, end: Any) -> Callable[..., Any]:
    """The method of a history that folds its values, oldest first: ``step(so far, value, first)``,
    then ``end(so far, how many)``; 0 of none."""

    def method(history: Any) -> Callable[..., Any]:
        _, read_n, _, _ = ring_access(history)
        get = slot_access(history)[0]
        ring = history.entity.rings[history.ring]
        length, slots = ring.length, ring.slots

        def fold(history: Any) -> Any:
            n = int64(read_n(history))
            held = min(n, int64(length))
            total = float32(0.0)
            at = (n - held) % int64(slots)
            for k in range(held):
                total = step(total, get(history, at), k == 0)
                at = at + 1 if at + 1 < int64(slots) else int64(0)
            return end(total, held)

        return fold

    return method


@dissolved
def _add(total, value, first):
    return total + value


@dissolved
def _less(total, value, first):
    return value if first or value < total else total


@dissolved
def _more(total, value, first):
    return value if first or value > total else total


@dissolved
def _as_it_is(total, held):
    return total


@dissolved
def _share(total, held):
    return total / float32(held) if held > 0 else total


for _name, _step, _end in (
    ("mean", _add, _share), ("sum", _add, _as_it_is), ("min", _less, _as_it_is),
    ("max", _more, _as_it_is),
):  # fmt: skip
    method(HistoryType, _name)(_over_all(_step, _end))
