"""What the processor of ``changeling_2`` is after a second change: its new fields are made of the
old ones."""

from __future__ import annotations

from typing import Any

import corec


def joined(old: Any) -> Any:
    """Out of the old columns."""
    return {"total": old["d"] + old["b"], "odd": old["id"] % 2, "e": 5}


@corec.micro(
    state={"total": "f8", "odd": "u1", "a": "f4", "e": ("i4", -9)}, history={"h": ("f4", 5)},
    params={"up": 1.0}, means=("a",), alerts=("total",), migrate=joined,
)  # fmt: skip
def changeling(me: Any) -> Any:
    """Counts on again, and tells it."""
    me.h.push(me.a)
    me.a = 0.5 * me.a + 0.25 * me.mean_a + 0.25 * me.up * me.random()
    me.total = me.total + me.random()
    me.e = me.e + me.odd
    return me.a
