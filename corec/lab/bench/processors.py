"""Processors that only benchmarks run."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from corec.entities.processor import celu, micro
from corec.processors.sensor import start

FILL = 1000.0
"""A reading that counts as four, as many as one call may keep."""


@micro(
    history={"values": ("f4", 200)},
    params={"mu": 0.3, "phi": 0.95, "noise": 0.1082},
    init=start,
)
def recorder(me: Any) -> Any:
    """The sensor that also keeps its last 200 values: after 200 ticks its whole KB was written."""
    x = me.mu + me.phi * (me.valor - me.mu) + me.noise * (me.random() - 0.5)
    me.values.push(x)
    return x


@micro(state={f"x{k}": "f4" for k in range(6)})
def ten(me: Any) -> Any:
    """Ten columns to be read, with id, valor, activo and fallos."""
    me.x0 = 0.9 * me.x0 + me.random()
    me.x1 = 0.5 * (me.x1 + me.x0)
    me.x2 = 0.5 * (me.x2 + me.x1)
    me.x3 = 0.5 * (me.x3 + me.x2)
    me.x4 = 0.5 * (me.x4 + me.x3)
    me.x5 = 0.5 * (me.x5 + me.x4)
    return me.x5


@celu(history={"values": ("f4", 200)})
def keeper(me: Any, value: Any) -> Any:
    """Keeps its last 200 readings; ``FILL`` counts as four different ones."""
    if value < 1000.0:
        me.values.push(value)
    else:
        for k in range(4):
            me.values.push(me.random() + k)
    return 0.0


@micro(genes={f"g{k}": (-5.0, 5.0, 0.3) for k in range(10)}, state={"score": "f4"}, fitness="score")
def sphere(me: Any) -> Any:
    """Ten genes; the nearer to 0 the better."""
    me.score = -(
        me.g0 * me.g0 + me.g1 * me.g1 + me.g2 * me.g2 + me.g3 * me.g3 + me.g4 * me.g4
        + me.g5 * me.g5 + me.g6 * me.g6 + me.g7 * me.g7 + me.g8 * me.g8 + me.g9 * me.g9
    )  # fmt: skip
    return 0.0


@micro(
    params={"mu": 0.3, "phi": 0.95, "noise": 0.1082}, init=start,
    genes={f"g{k}": (-5.0, 5.0, 0.3) for k in range(8)},
)  # fmt: skip
def gifted(me: Any) -> Any:
    """The sensor, with eight genes that it does not look at."""
    return me.mu + me.phi * (me.valor - me.mu) + me.noise * (me.random() - 0.5)


@micro(genes={f"g{k}": (-5.0, 5.0, 0.3) for k in range(8)}, state={"score": "f4"}, fitness="score")
def bowl(me: Any) -> Any:
    """Eight genes; the nearer to 0 the better."""
    me.score = -(
        me.g0 * me.g0 + me.g1 * me.g1 + me.g2 * me.g2 + me.g3 * me.g3 + me.g4 * me.g4
        + me.g5 * me.g5 + me.g6 * me.g6 + me.g7 * me.g7
    )  # fmt: skip
    return 0.0


@micro(
    genes={f"g{k}": (-5.0, 5.0, 0.5) for k in range(10)}, state={"score": "f4"},
    params={"problem": 0.0}, fitness="score",
)  # fmt: skip
def solver(me: Any) -> Any:
    """One of the problems of ``solving``; the higher the better."""
    score = 0.0 * me.g0
    for x in (me.g0, me.g1, me.g2, me.g3, me.g4, me.g5, me.g6, me.g7, me.g8, me.g9):
        if me.problem == 0.0:
            score = score - x * x
        elif me.problem == 1.0:
            score = score - (10.0 + x * x - 10.0 * math.cos(6.2831855 * x))
        elif x > 0.0:
            score = score + 1.0
    me.score = me.g0 if me.problem == 3.0 else score
    return 0.0


def some_ill(me: Any) -> Any:
    """One in five."""
    me.ill = 1 if me.random() < 0.2 else 0
    return 0.0


@micro(state={"ill": "u1"}, params={"beta": 0.01, "gamma": 0.05}, public=("ill",), init=some_ill)
def contact(me: Any) -> Any:
    """Falls ill and recovers, again and again; counts its ill contacts in every tick."""
    ill = np.float32(me.neighbours.count_equal("ill", 1))
    chance = me.gamma if me.ill == 1 else 1.0 - math.exp(-me.beta * ill)
    if me.random() < chance:
        me.ill = 1 - me.ill
    return ill
