"""Processors with genes, in float32 arithmetic that the documents fix to the bit."""

from __future__ import annotations

import math
from typing import Any

import corec

FITS = -0.7
"""Whose first gene is above this fails in mode 5: 85 % of what the start draws."""
GENES = {"a": (-1.0, 1.0, 0.25), "b": (0.0, 8.0, 1.0), "c": (3.0, 3.0, 0.5)}


def begin(me: Any) -> Any:
    """Knows its genes."""
    me.born = me.a + me.random()
    return 0.25 * me.b


@corec.micro(
    state={"score": "f4", "born": "f4", "age": ("u2", 1)}, history={"past": ("f4", 3)},
    params={"mode": 0.0}, means=("born",), genes=GENES, fitness="score", init=begin,
)  # fmt: skip
def subject(me: Any) -> Any:
    """Its fitness is what ``mode`` says: of its genes, alike, partly or wholly no number; of whose
    gene is too large, or of all, none, for it fails."""
    me.age = me.age + 1
    me.past.push(me.a)
    me.score = me.a * me.b - 0.125 * me.b + me.past.mean()
    if me.mode == 1.0:
        me.score = 0.5
    if me.mode == 2.0 and me.id % 3 != 0:
        me.score = math.nan
    if me.mode == 3.0:
        me.score = math.nan
    if me.mode == 4.0:
        me.score = math.inf if me.id % 5 == 0 else -math.inf
    if me.mode == 6.0 or (me.mode == 5.0 and me.a > FITS):
        raise ValueError("unfit")
    if me.random() < 0.05:
        return math.nan
    return me.born + 0.01 * me.mean_born


@corec.celu(
    state={"total": "i4"}, genes={"weight": (-4.0, 4.0, 0.5)}, fitness="total", silence=3,
    history={"last": ("f4", 2)},
)  # fmt: skip
def listener(me: Any, value: Any) -> Any:
    """Its fitness is a whole number, of what it heard."""
    me.last.push(value)
    me.total = me.total + int(8.0 * me.weight * value)
    return me.weight * value


@corec.micro(
    state={"level": "f4", "n": ("i8", 7)}, fitness="level", history={"past": ("f4", 2)},
    genes={"drift": (0.0, 1.0, 0.1), "pull": (-1.0, 1.0, 1.0)},
)  # fmt: skip
def torn(me: Any) -> Any:
    """As moody, with genes; some fail on."""
    me.level = 0.5 * me.level + me.drift * me.random() + 0.01 * me.pull
    me.past.push(me.level)
    me.n = me.n + me.id
    if me.tick <= 200 and me.id % 24 >= 7 and me.id % 24 < 14:
        return math.nan
    return me.level


@corec.micro(state={"level": ("f4", 0.5)}, history={"past": ("f4", 2)})
def moody(me: Any) -> Any:
    """Some fail for a hundred ticks."""
    me.level = 0.9 * me.level + me.random() - 0.45
    me.past.push(me.level)
    if me.tick <= 100 and me.id >= 7 and me.id < 14:
        return math.nan
    return me.level


@corec.micro(
    state={"level": "f4"}, public=("level",), fitness="level",
    genes={"drift": (0.0, 1.0, 0.1), "pull": (-1.0, 1.0, 1.0)},
)  # fmt: skip
def seen(me: Any) -> Any:
    """Others see what it is, and what it has inherited; some fail by what they have."""
    me.level = 0.5 * me.level + me.drift * me.random() + 0.0625 * me.entity(0).level
    if me.pull > 0.4:
        raise ValueError("it pulls too much")
    return me.level
