"""A processor of the drawn worlds that will have other fields: as it is at first. Instances find
this file, and later the next ones, as ``oracle_changeling``."""

from __future__ import annotations

from typing import Any

import corec


def begin(me: Any) -> Any:
    """Random, so that it shows who begins when."""
    me.a = me.random()
    return me.a


@corec.micro(
    state={"a": "f4", "b": "u4", "c": "f8"}, history={"h": ("f4", 5), "g": ("f4", 3)},
    params={"up": 1.0}, init=begin,
)  # fmt: skip
def changeling(me: Any) -> Any:
    """Counts, and remembers; fails by chance."""
    me.h.push(me.a)
    me.g.push(me.c)
    me.a = 0.5 * me.a + me.up * me.random()
    me.b = me.b + 1
    me.c = me.c + me.random()
    if me.random() < 0.125:
        raise ValueError("by chance")
    return me.a
