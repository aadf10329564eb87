"""Processors of the drawn worlds; instances find this file as ``oracle_subjects``.

Only what the documents fix to the bit is in them: float32 arithmetic, comparisons, whole numbers,
random numbers.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np

import corec

_loaded_as = __name__
__name__ = "oracle_subjects"  # as there: what is compiled is kept by its name, once for both
sys.modules.setdefault(__name__, sys.modules[_loaded_as])  # who loads what was kept asks for it

HOT = 1000.0  # what is above raises, what is below −1000 gives a number that is not finite


def begin(me: Any) -> Any:
    """Random, and for some entities a draw more."""
    me.x = 2.0 * me.random() - 1.0
    if me.id % 3 == 0:
        me.x = me.x * me.random()
    return 0.5 * me.x


@corec.micro(state={"x": "f4"}, params={"noise": 0.25}, init=begin)
def drift(me: Any) -> Any:
    """Wanders, emits now and then, never fails; a reading shifts it."""
    me.x = 0.75 * me.x + 0.125 * me.valor + me.noise * (me.random() - 0.5)
    return abs(me.x) + 0.25


@corec.micro(
    state={"x": "f4", "turns": "u4"}, history={"past": ("f4", 3)}, params={"share": 0.1}, init=begin
)
def fragile(me: Any) -> Any:
    """Fails by chance: raises, returns NaN, an infinity of either sign."""
    me.turns = me.turns + 1
    me.past.push(me.x)
    me.x = 0.5 * me.x + me.random()
    u = me.random()
    if u < me.share:
        raise ValueError("by chance")
    if u < 1.5 * me.share:
        return math.nan
    if u < 1.75 * me.share:
        return math.inf
    if u < 2.0 * me.share:
        return -math.inf
    return me.x * 0.5 + me.past[0] * 0.125


@corec.micro(
    state={
        "i1": ("i1", -3), "u1": ("u1", 250), "i2": "i2", "u2": ("u2", 65_530), "i4": ("i4", -5),
        "u4": ("u4", 4_294_967_000), "i8": ("i8", 2**40),
    }
)  # fmt: skip
def clerk(me: Any) -> Any:
    """Whole numbers of every type, wrapped where they say so and unfit in the end where not; fails
    by number and tick, divides by zero."""
    me.i1 = (me.i1 - 50 + 128 & 0xFF) - 128
    me.u1 = me.u1 + 3 & 0xFF
    me.i2 = (me.i2 * 3 - me.tick + 2**15 & 0xFFFF) - 2**15
    me.u2 = me.u2 + me.u1 & 0xFFFF
    me.i4 = (me.i4 * 100_003 + 2**31 & 0xFFFFFFFF) - 2**31
    me.u4 = me.u4 + 7 * (me.id % 16)
    me.i8 = me.i8 - 2**33 + (me.u4 - 5) % 11
    if (me.id + me.tick) % 7 == 3:
        raise RuntimeError("by number and tick")
    if (me.id * me.tick) % 31 == 30:
        return math.nan
    return (me.id + me.tick) // ((me.id + 2 * me.tick) % 13) % 5 == 0


def warm(me: Any) -> Any:
    """Multiples of 1/64, whose sums are exact."""
    me.heat = np.floor(64.0 * me.random()) / 64.0
    me.odd = me.heat - 0.5
    return 0.0


@corec.micro(
    state={"heat": "f4", "odd": "f4"}, params={"share": 0.25}, means=("heat", "odd"), init=warm
)
def coupled(me: Any) -> Any:
    """Entities of a block feel each other through their means; a hot reading fails."""
    me.heat = me.heat + me.share * (me.mean_heat - me.heat) + 0.125 * (me.random() - 0.5)
    me.odd = 0.5 * me.odd + me.mean_odd
    if me.valor > HOT:
        raise ValueError("too hot")
    return abs(me.heat - me.mean_heat) + me.random()


@corec.micro(state={"runs": "u4"})
def keeper(me: Any) -> Any:
    """Keeps what came in last, or fails by it."""
    me.runs = me.runs + 1
    if me.valor > HOT:
        raise ValueError("too hot")
    if me.valor < -HOT:
        return me.valor / 0.0
    return me.valor


def blown(me: Any) -> Any:
    """Where the wind is at the start, or when it is put back."""
    me.x = me.globals.wind
    return me.x


@corec.micro(state={"x": "f4"}, params={"pull": 0.5}, init=blown)
def kite(me: Any) -> Any:
    """Follows a number that all share; too much of it and it fails."""
    me.x = me.pull * me.x + me.globals.wind * me.random()
    if me.x > 2.5:
        raise ValueError("torn")
    return me.x


@corec.micro(state={"x": "f4"}, params={"work": 0.0})
def laborer(me: Any) -> Any:
    """Computes for as long as it is told to; what becomes of it does not depend on that."""
    me.x = 0.5 * me.x + me.random()
    y = me.x
    for _ in range(int(me.work)):
        y = 0.5 * y + 0.25
    if me.valor > HOT:
        raise ValueError("too hot")
    return me.x + 0.0 * y


@corec.micro(params={"base": 2.0e7})
def tide(me: Any) -> Any:
    """A large value in every second tick, small ones between: what a mean must not remember."""
    if me.tick % 2 == 1:
        return me.base
    return me.random() / 64.0


@corec.micro(state={"sign": ("f4", 1.0)})
def giant(me: Any) -> Any:
    """Values whose sum, and whose squares, are beyond float32."""
    me.sign = -me.sign
    if me.random() < 0.25:
        return me.random()
    return me.sign * 3.0e38


@corec.celu(
    state={"total": "f4", "count": "u4"},
    history={"last": ("f4", 5), "marks": ("f4", 2)},
    params={"gain": 0.5},
    alerts=True,
)
def listener(me: Any, value: Any) -> Any:
    """Keeps what arrives; raises or returns a number that is not finite when told to."""
    me.last.push(value)
    me.count = me.count + 1
    me.total = me.gain * me.total + value
    if value < 0.0:
        me.marks.push(me.random())
        me.marks.push(value)
    if value > HOT:
        raise ValueError("too hot")
    if value < -HOT:
        return value / 0.0
    return me.last[0] + me.last[-1] + 0.125 * me.random()


@corec.celu(state={"seen": "u4", "trace": "f8", "drawn": "f4"}, history={"last": ("f4", 7)})
def tracer(me: Any, value: Any) -> Any:
    """A trace that knows the order of its readings; four pushes a call; fails by value."""
    me.seen = me.seen + 1
    me.trace = (me.trace * 31.0 + value) % 65_521.0
    for k in range(4):
        me.last.push(me.last[-1] if k and len(me.last) > 2 else value)
    me.drawn = 0.7 * me.drawn + 0.3 * me.random()  # constants are float64, for one field is
    if value > HOT:
        raise ValueError("too hot")
    return me.drawn


def wait(me: Any) -> Any:
    """Fails for one in four, and asks to be told again for another."""
    me.waits = me.waits + 1
    me.last.push(me.tick - me.heard)
    if me.id % 4 == 1:
        raise ValueError("nobody there")
    if me.id % 4 == 2:
        me.quiet = 0
    return me.random() + me.last.mean()


@corec.celu(
    state={"waits": "u4", "x": "f4"}, history={"last": ("f4", 4)}, silence=3, on_silence=wait
)
def sitter(me: Any, value: Any) -> Any:
    """Notices who says nothing."""
    me.x = value
    me.last.push(value)
    if value > HOT:
        raise ValueError("too hot")
    return me.random()


@corec.celu(
    value={"a": "f4", "b": "f4", "c": "f4"}, state={"most": "f4", "n": ("u2", 65_000)},
    history={"past": ("f4", 3)}, silence=4, alerts=("b", "n", "most"),
)  # fmt: skip
def weigher(me: Any, v: Any) -> Any:
    """Readings of three values; its alerts name one of them and two fields."""
    me.n = me.n + 1
    me.past.push(v.a - v.c)
    a, b, _ = v
    if b > HOT:
        raise ValueError("too hot")
    me.most = max(me.most, me.past.max() - me.past.min()) + me.past.sum()
    return 0.25 * abs(a) + me.random() * v[2]


def tuned(me: Any) -> Any:
    """One of 64 levels."""
    me.level = np.floor(64.0 * me.random()) / 64.0
    return me.level


@corec.celu(state={"level": "f4"}, means=("level",), init=tuned)
def chorus(me: Any, value: Any) -> Any:
    """Celu entities that feel each other's mean."""
    me.level = 0.5 * me.level + 0.25 * me.mean_level + 0.125 * value
    if value < -HOT:
        return math.inf
    return me.level + me.random()


@corec.celu(
    state={"x": "f4", "n": "u2"}, history={"last": ("f4", 3, "by_time")}, means=("x",),
    alerts=("x",),
)  # fmt: skip
def pulse(me: Any, value: Any) -> Any:
    """Readings of many at once run as vectors, a history by time among them; fails by value."""
    me.last.push(value)
    me.n = me.n + 1
    me.x = 0.5 * me.x + 0.25 * me.last.mean() + 0.125 * me.mean_x + me.random()
    if value > HOT:
        raise ValueError("too hot")
    if value < -HOT:
        return value / 0.0
    return me.x + me.random()


@corec.micro(state={"x": "f4", "k": "i8", "face": "i4", "wave": "f4"}, params={"width": 0.25})
def dicer(me: Any) -> Any:
    """Normal and whole numbers, one range as wide as can be; raises where the range is none."""
    me.x = 0.5 * me.x + me.width * me.normal()
    me.face = me.randint(1, 6)
    me.k = me.randint(-(2**62) * 2, 2**62 + me.id)
    me.wave = math.sin(me.x)
    if me.activo and me.face == 6:
        return me.randint(me.face, 5)
    return 0.5 + 0.25 * me.wave


@corec.micro(
    state={"x": "f4", "heard_of": "u4", "most": "u4"}, params={"reach": 1.0}, sends=2, init=begin
)  # fmt: skip
def gossip(me: Any) -> Any:
    """Sends on what it hears, in the order in which it heard it; to nobody, too much, or what is no
    number now and then, which fails when it has sent something already."""
    for value in me.inbox:
        me.x = 0.5 * me.x + value
    me.heard_of = me.heard_of + len(me.inbox)
    me.most = max(me.most, len(me.inbox))
    u = me.random()
    me.send(me.randint(0, int(me.reach)), me.x - u)
    if u < 0.6:
        me.send(me.randint(0, 3), u + 0.25 * me.inbox.sum())
    if u < 0.05:
        me.send(me.id, 0.5)
    if u > 0.95:
        me.send(me.id, me.x * 3.0e38 * 16.0)
    if me.valor > HOT:
        raise ValueError("too hot")
    return 0.25 * me.x + u


def ping(me: Any) -> Any:
    """Wakes another one; fails for one in five."""
    me.pings = me.pings + 1
    me.send(me.randint(0, int(me.reach)), 0.125 * me.random())
    if me.id % 5 == 3:
        raise ValueError("nobody there")
    return me.random()


@corec.celu(
    state={"x": "f4", "pings": "u2"}, history={"last": ("f4", 3)}, params={"reach": 1.0},
    means=("x",), sends=2, silence=4, on_silence=ping,
)  # fmt: skip
def relay(me: Any, value: Any) -> Any:
    """Halves what it gets and passes it on, twice when it is much; too much fails it afterwards."""
    me.last.push(value)
    me.x = 0.5 * me.x + 0.25 * value + 0.125 * me.mean_x
    me.send(me.randint(0, int(me.reach)), 0.5 * value)
    if abs(value) > 0.5:
        me.send(me.id, 0.25 * value)
    if value > HOT:
        raise ValueError("too hot")
    return me.last.mean() + me.random()


def hatch(me: Any) -> Any:
    """Some energy; also for a place where nobody lives yet."""
    me.energy = me.random()
    return 0.25 * me.energy


@corec.micro(
    state={"energy": ("f4", 1.0), "age": "u2", "kin": ("i2", -7)}, history={"past": ("f4", 2)},
    params={"birth": 0.3, "death": 0.2}, means=("energy",), init=hatch, sends=1, mortal=True,
)  # fmt: skip
def breeder(me: Any) -> Any:
    """Up to three children in a call, each another; dies, fails after it had children or died."""
    me.past.push(me.energy)
    me.age = me.age + 1
    me.energy = 0.5 * me.energy + 0.25 * me.mean_energy + 0.125 * me.inbox.sum()
    u, v = me.random(), me.random()
    if u < me.birth:
        me.spawn(energy=0.5 * me.energy, kin=me.id % 1000)
        if u < 0.5 * me.birth:
            me.spawn(kin=me.generacion % 100 + 30_000)
        if u < 0.25 * me.birth:
            me.spawn(age=7, energy=u)
    if v < me.death:
        me.die()
    if me.valor > HOT or (v > 0.95 and u < 0.5):
        raise ValueError("too hot")
    me.send(me.id, v)
    return me.energy + u + 0.0625 * me.vivo


@corec.micro(
    state={"heat": ("f4", 0.5), "steps": "u4"}, params={"restless": 0.3}, public=("heat",),
    mortal=True,
)  # fmt: skip
def nomad(me: Any) -> Any:
    """Moves to an empty cell, has children, dies, fails after it asked to move."""
    me.steps = me.steps + 1
    me.heat = 0.5 * me.heat + 0.0625 * me.neighbours.sum("heat")
    u, v = me.random(), me.random()
    if u < me.restless:
        me.move_to_empty()
    if v < 0.1:
        me.die()
    elif v < 0.25:
        me.spawn(heat=v + me.neighbours.count_equal("vivo", 1))
    if v > 0.95 or me.valor > HOT:
        raise ValueError("too hot")
    return u + 0.0625 * me.neighbours.max("heat")
