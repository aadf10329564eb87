"""Wolves, sheep and grass on a plane, after Wilensky and Reisman (*Cognition and Instruction* 24,
2006), three swarms with the names ``wolf``, ``sheep`` and ``grass``.

Everybody acts at once, so who eats is said by who is eaten: a sheep with a wolf within ``catch``
names the nearest, and dies in the next tick, when that wolf finds itself named and has eaten; grass
and sheep likewise. So nothing is eaten twice. Sheep and wolves walk ``step`` in any direction, lose
1 energy a tick (sheep ``hunger``), die without, and have a child with probability ``birth``, which
takes half. Grass grows again with probability ``growth``. ``valor``: energy; 1 for green grass.
"""

from __future__ import annotations

import math
from typing import Any

from corec.entities.processor import micro

PLACE = {"x": "f4", "y": "f4"}


def anywhere(me: Any) -> Any:
    """Anywhere in a box of ``box``."""
    me.x, me.y = me.box * me.random(), me.box * me.random()
    return 0.0


@micro(state={**PLACE, "green": ("u1", 1), "eater": ("i8", -1)}, public=("x", "y", "eater"),
       see=("sheep",), init=anywhere,
       params={"growth": 0.04, "reach": 0.7, "box": 50.0})  # fmt: skip
def grass(me: Any) -> Any:
    """It is there, is eaten, grows."""
    me.eater = -1
    if me.green == 0:
        me.green = 1 if me.random() < me.growth else 0
        return me.green
    least = me.reach * me.reach
    for one in me.neighbours.of("sheep"):
        if one.distance2 <= least:
            least, me.eater, me.green = one.distance2, one.id, 0
    return me.green


@micro(state={**PLACE, "energy": ("f4", 5.0), "eater": ("i8", -1)}, public=("x", "y", "eater"),
       see=("wolf", "grass"), init=anywhere, mortal=True,
       params={"step": 0.5, "hunger": 0.5, "food": 5.0, "birth": 0.06, "catch": 0.3,
               "box": 50.0})  # fmt: skip
def sheep(me: Any) -> Any:
    """It eats, flees nobody, and perhaps is caught."""
    for tuft in me.neighbours.of("grass"):
        me.energy += me.food if tuft.eater == me.id else 0.0
    me.energy -= me.hunger
    if me.eater >= 0 or me.energy < 0.0:
        me.die()
        return me.energy
    least = me.catch * me.catch
    for one in me.neighbours.of("wolf"):
        if one.distance2 <= least:
            least, me.eater = one.distance2, one.id
    angle = 2.0 * math.pi * me.random()
    if me.eater < 0:
        me.x, me.y = me.x + me.step * math.cos(angle), me.y + me.step * math.sin(angle)
        if me.random() < me.birth:
            me.energy = 0.5 * me.energy
            me.spawn(x=me.x, y=me.y, energy=me.energy)
    return me.energy


@micro(state={**PLACE, "energy": ("f4", 15.0)}, public=("x", "y"), see=("sheep",), init=anywhere,
       mortal=True, params={"step": 0.7, "food": 25.0, "birth": 0.02, "box": 50.0})  # fmt: skip
def wolf(me: Any) -> Any:
    """It eats whom it has caught."""
    for one in me.neighbours.of("sheep"):
        me.energy += me.food if one.eater == me.id else 0.0
    me.energy -= 1.0
    if me.energy < 0.0:
        me.die()
        return me.energy
    angle = 2.0 * math.pi * me.random()
    me.x, me.y = me.x + me.step * math.cos(angle), me.y + me.step * math.sin(angle)
    if me.random() < me.birth:
        me.energy = 0.5 * me.energy
        me.spawn(x=me.x, y=me.y, energy=me.energy)
    return me.energy
