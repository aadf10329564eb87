"""Entities for worlds that are killed: the tests copy this file beside their configuration."""

from __future__ import annotations

import math
from typing import Any

import corec

SLOTS = 65_521  # a prime: every lost, doubled or swapped reading changes the remainder


@corec.micro(state={"level": "f4"})
def fragile(me: Any) -> Any:
    """Fails about every twelfth time, so that its blocks repair themselves."""
    me.level = 0.9 * me.level + me.random() - 0.45
    if me.random() < 0.08:
        return math.nan
    return 0.5 + me.level


@corec.micro(state={"level": "f4", "worst": "f4"}, public=("level", "worst"))
def crowd(me: Any) -> Any:
    """Likewise, and feels its neighbours: a column read half written shows in all that follows."""
    near = me.neighbours
    me.level = 0.7 * me.level + 0.2 * near.mean("level") + me.random() - 0.45
    me.worst = 0.5 * near.max("worst") + 0.25 * abs(me.level)
    if me.random() < 0.08:
        return math.nan
    return 0.5 + me.level + 0.01 * me.worst


@corec.micro()
def loud(me: Any) -> Any:
    """Emits at every tick."""
    return 1.0 + me.random()


@corec.micro()
def keeper(me: Any) -> Any:
    """Keeps what came in last."""
    return me.valor


@corec.celu(state={"seen": "u4", "trace": "f8"})
def tracer(me: Any, value: Any) -> Any:
    """Counts its readings, and mixes them into a trace that knows their order."""
    me.seen = me.seen + 1
    me.trace = (me.trace * 31.0 + value) % SLOTS
    return 0.0
