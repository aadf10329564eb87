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


FIRST_OF_CROWD = 280
CROWD = 240
FIRST_OF_HERD = 680
HERD = 120


@corec.micro(state={"level": "f4", "worst": "f4"}, public=("level", "worst"), sends=2)
def crowd(me: Any) -> Any:
    """Likewise, and feels its neighbours, somebody of another bloque, and what others send it: a
    column read half written, or a value lost, shows in all that follows."""
    near = me.neighbours
    for value in me.inbox:
        me.worst = 0.5 * me.worst + value
    me.send(FIRST_OF_CROWD + (me.id * 53 + me.tick) % CROWD, 0.125 * me.level)
    if me.random() < 0.3:
        me.send(FIRST_OF_CROWD + me.randint(0, CROWD - 1), me.random())
    me.level = 0.7 * me.level + 0.2 * near.mean("level") + me.random() - 0.45
    me.worst = 0.25 * me.worst + 0.25 * near.max("worst") + 0.25 * abs(me.level)
    me.worst += 0.0625 * me.entity(FIRST_OF_HERD + (me.id * 53 + me.tick) % HERD).grass
    if me.random() < 0.08:
        return math.nan
    return 0.5 + me.level + 0.01 * me.worst


@corec.micro(state={"grass": ("f4", 1.0)}, public=("grass",), genes={"greed": (0.0, 0.25, 0.01)})
def herd(me: Any) -> Any:
    """Bears more than its block has room for, dies, and goes where nobody is; its genes with it,
    and to its children."""
    crowded = me.neighbours.sum("vivo")
    me.grass = 0.75 * me.grass + 0.125 * me.neighbours.mean("grass")
    me.grass += (0.25 + me.greed) * me.random()
    if me.random() < 0.06 * crowded:
        me.die()
    elif me.random() < 0.2:
        me.spawn(grass=me.grass)
        me.spawn()
        me.spawn(grass=0.5)
    elif me.random() < 0.3:
        me.move_to_empty()
    return me.grass


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
