"""Processors of the drawn worlds whose entities stand somewhere, inherit, or ask for others by
their ids; instances find this file as ``oracle_placed``.

As in ``subjects``, only what the documents fix to the bit is in them: constants are multiples of
powers of two, so that it does not matter in which of two types they are taken.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import corec

HOT = 1000.0


@corec.micro(
    state={"x": "f4", "y": "f4", "mood": ("f4", 0.5), "met": "u4", "sum": "f4", "who": "u4"},
    params={"step": 1.0, "birth": 0.125, "death": 0.125}, public=("mood", "met"), mortal=True,
)  # fmt: skip
def wader(me: Any) -> Any:
    """Wanders on a plane among its like and the reef; has children, one of them beyond the edge,
    dies, comes to stand nowhere now and then, which fails."""
    me.met = me.met + me.neighbours.count() + 7 * me.neighbours.count("reef")
    for other in me.neighbours:
        me.who = (me.who * 31 + other.id) % 65_521
        me.sum = 0.5 * me.sum + other.dx - other.dy
        me.x = me.x - 0.125 * other.dx
    for other in me.neighbours.of("reef"):
        me.who = (me.who * 31 + other.id) % 65_521
        me.sum = 0.5 * me.sum + other.distance2 * other.hue
        me.y = me.y + 0.25 * other.dy
    me.mood = 0.5 * me.neighbours.mean("mood") + 0.25 * me.neighbours.of("reef").max("hue")
    u, v = me.random(), me.random()
    me.x = me.x + me.step * (u - 0.5)
    me.y = me.y - me.step * v
    if v < me.birth:
        me.spawn(x=me.x + 3.0, y=0.5 * me.y, mood=v)
        me.spawn(mood=u)
    elif u < me.death:
        me.die()
    if v > 0.97:
        me.y = me.y * math.inf
    if u > 0.97 or me.valor > HOT:
        raise ValueError("too hot")
    return me.mood + 0.5 * u


@corec.micro(
    state={"x": "f4", "y": "f4", "hue": "f4", "wide": "f8", "near": "u2"}, public=("hue", "wide"),
)  # fmt: skip
def coral(me: Any) -> Any:
    """Begins anywhere on the plane, and drifts."""
    me.near = me.neighbours.count_equal("hue", me.hue)
    me.wide = me.wide + me.neighbours.sum("wide")
    me.wide = me.wide % 8.0 + me.random()
    me.hue = me.random()
    if me.hue < 0.25:
        me.x = me.x + me.hue
        me.y = me.y + me.neighbours.min("hue")
    return me.hue


def hover(me: Any) -> Any:
    """On whole numbers, so that some are just as far as the radius; some beyond the edge."""
    me.x = np.floor(8.0 * me.random())
    me.y = np.floor(16.0 * me.random()) - 4.0
    me.z = np.floor(3.0 * me.random())
    return me.random()


@corec.micro(
    state={"x": "f4", "y": "f4", "z": "f4", "far": "f4", "who": "u4"}, public=("far",),
    means=("far",), init=hover,
)  # fmt: skip
def swift(me: Any) -> Any:
    """In three dimensions, with edges."""
    for other in me.neighbours:
        me.who = (me.who * 31 + other.id) % 65_521
        me.far = 0.5 * me.far + 0.25 * other.dz - 0.125 * other.distance2
    me.x = me.x + 2.0 * (me.random() - 0.5)
    me.y = me.y + 0.25 * me.mean_far
    me.z = me.z + me.neighbours.mean("z") - 0.5 * me.z - 2.0 * me.random()
    if me.valor > HOT or me.random() < 0.0625:
        raise ValueError("too hot")
    return me.random()


def believe(me: Any) -> Any:
    """An opinion; nobody's else is known yet."""
    me.opinion = me.random()
    return me.opinion


@corec.micro(
    state={"opinion": "f4", "trust": "f4", "who": "u4", "heat": "u2"},
    params={"restless": 0.125}, public=("opinion", "heat"), init=believe, mortal=True,
)  # fmt: skip
def voter(me: Any) -> Any:
    """In a graph of links with weights: goes to an empty node, has children, dies."""
    for other in me.neighbours:
        me.who = (me.who * 31 + other.id) % 65_521
        me.trust = 0.5 * me.trust + other.weight * other.opinion
    me.heat = me.neighbours.count() + me.neighbours.max("heat") % 1000
    me.opinion = 0.5 * me.opinion + 0.25 * me.neighbours.mean("opinion") + 0.125 * me.random()
    u, v = me.random(), me.random()
    if u < me.restless:
        me.move_to_empty()
    elif v < 0.125:
        me.spawn(opinion=u, heat=me.neighbours.count_equal("vivo", 1))
    if v > 0.875:
        me.die()
    if u > 0.9375 or me.valor > HOT:
        raise ValueError("too hot")
    return me.opinion + 0.5 * u


@corec.celu(state={"load": "f4", "ties": "u4"}, history={"last": ("f4", 2)}, public=("load",))
def catcher(me: Any, value: Any) -> Any:
    """Hears, and sees those it is linked with, heard or not."""
    me.last.push(value)
    me.ties = me.ties + me.neighbours.count()
    me.load = 0.5 * me.load + 0.25 * value + 0.125 * me.neighbours.sum("load")
    if value > HOT:
        raise ValueError("too hot")
    return me.random() + 0.25 * me.neighbours.max("load")


@corec.micro(
    state={"heat": "f8", "seen": "u4"}, params={"reach": 1.0}, public=("heat",), sends=1
)  # fmt: skip
def spy(me: Any) -> Any:
    """Asks for anybody by its id, and tells who it was; fails where there is nobody or where
    nothing is to be seen."""
    k = me.randint(0, int(me.reach))
    me.seen = me.seen + me.entity(k).id
    me.heat = me.entity(k).heat + me.random()
    me.heat = me.heat % 64.0
    if me.valor > HOT:
        raise ValueError("too hot")
    return me.random()


GENES = {"rate": (0.0, 0.5, 0.125), "risk": (0.0, 0.25, 0.125), "mark": (-100.0, 100.0, 1.0)}


@corec.micro(state={"age": "u2", "sum": "f4"}, genes=GENES, means=("sum",))
def heir(me: Any) -> Any:
    """Lives and dies by what it inherits: up to two children a call."""
    me.age = me.age + 1
    me.sum = 0.5 * me.sum + me.mark
    if me.random() < me.rate:
        me.spawn(sum=me.mark)
        if me.random() < 0.5:
            me.spawn(age=1)
    if me.random() < me.risk:
        me.die()
    if me.random() < 0.03125 or me.valor > HOT:
        raise ValueError("its children are taken back")
    return me.random() + 0.0625 * me.rate


def ripe(me: Any) -> Any:
    """What its genes make of it."""
    me.score = me.a * me.b
    return me.score


@corec.micro(
    state={"score": "f4", "turns": "u2"}, history={"past": ("f4", 3)},
    genes={"a": (-1.0, 1.0, 0.25), "b": (0.0, 2.0, 0.5), "c": (0.5, 0.5, 0.0)},
    fitness="score", means=("score",), init=ripe,
)  # fmt: skip
def evolver(me: Any) -> Any:
    """Is selected by a number that depends on its genes, its block and chance; it may be none."""
    me.turns = me.turns + 1
    me.past.push(me.score)
    me.score = me.a * me.b - 0.5 * me.mean_score + 0.25 * me.random()
    u = me.random()
    if u < 0.0625:
        me.score = me.score * math.inf
    if u > 0.9375 or me.valor > HOT:
        raise ValueError("too hot")
    return u + me.c


def grown(me: Any) -> Any:
    """What its genes make of it."""
    me.x = me.bias + me.random()
    return me.x


@corec.micro(
    state={"x": "f4", "n": ("u4", 3)}, history={"past": ("f4", 2)}, params={"share": 0.0625},
    genes={"bias": (0.0, 1.0, 0.25), "same": (2.0, 2.0, 0.5)}, means=("x",), init=grown,
)  # fmt: skip
def fader(me: Any) -> Any:
    """Fails by chance, so that of its blocks some are weaker than others in the end."""
    me.n = me.n + me.id % 7
    me.past.push(me.x)
    me.x = 0.5 * me.x + 0.25 * me.bias * me.random() + 0.125 * me.mean_x
    if me.random() < me.share or me.valor > HOT:
        raise ValueError("by chance")
    return me.x + 0.125 * me.past.mean()


@corec.micro(
    state={"turns": "u4"}, history={"one": ("f4", 1), "most": ("f4", 4096)}, params={"many": 1.0}
)  # fmt: skip
def hoarder(me: Any) -> Any:
    """The shortest and the longest of histories, as many pushes as a call may make."""
    me.turns = me.turns + 1
    for _ in range(int(me.many)):
        me.one.push(me.random())
        me.most.push(me.valor + me.one[0])
    if me.valor > HOT:
        raise ValueError("too hot")
    return np.float32(0.5) * me.one.sum() + me.most[0] - me.most[-1]
