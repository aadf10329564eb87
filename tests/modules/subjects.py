"""Entities that overload a core, fail, evolve to nowhere, or leave."""

from __future__ import annotations

import math
from typing import Any

import corec


@corec.micro(state={"x": "f4"}, params={"work": 1.0})
def heavy(me: Any) -> Any:
    """It computes for as long as it is told to."""
    x = me.x + me.random()
    for _ in range(int(me.work)):
        x = 0.5 * x + 0.25
    me.x = x
    return x


@corec.micro(params={"sick": 0.0})
def patient(me: Any) -> Any:
    """Some fall sick when they are told to."""
    if me.sick > 0.0 and me.id % 50 < 10 and (me.id < 50 or me.sick > 1.0):
        return math.nan
    return me.random()


@corec.micro(genes={"g": (0.0, 1.0, 0.1)}, state={"score": "f4"}, fitness="score")
def alike(me: Any) -> Any:
    """Nobody is better than anybody."""
    me.score = 1.0
    return 0.0
