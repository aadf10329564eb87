"""What the processor of ``changeling_1`` is after a first change: a field of another type, a new
one that ``init`` sets, one that is gone, a history of another length, a mean."""

from __future__ import annotations

from typing import Any

import corec


def begin(me: Any) -> Any:
    """Random, so that it shows who begins when."""
    me.d = me.random() + me.up
    me.a = me.random()
    return me.a


@corec.micro(
    state={"d": ("f4", 7.0), "b": "i8", "a": "f4", "e": ("i2", -3)},
    history={"g": ("f4", 4), "h": ("f4", 5)}, params={"up": 1.0, "down": 0.5}, means=("a",),
    init=begin,
)  # fmt: skip
def changeling(me: Any) -> Any:
    """Counts on, in another way."""
    me.h.push(me.a)
    me.g.push(me.d)
    me.a = 0.5 * me.a + me.down * me.mean_a
    me.b = me.b - 1
    me.d = me.d + me.random()
    me.e = (me.e + 1) % 100
    if me.random() < 0.125:
        raise ValueError("by chance")
    return me.a + me.random()
