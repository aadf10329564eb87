"""The built-in processors whose entities look at each other, written from docs/rules.md and
docs/entities.md. Arithmetic is float32, term by term from left to right."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from corec.lab.oracle.entity import Kind
from corec.lab.oracle.rounded import cos, exp, sin

Call = Callable[[Any], Any]
ONE: Final = np.float32(1.0)
XY: Final = {"x": ("f4", 0), "y": ("f4", 0)}
LIFE: Final = {"vivo": ("u1", 1), "generacion": ("u4", 0)}


def life_start(me: Any) -> Any:
    """Some are alive."""
    me.alive = int(me.random() < me.seeded)
    return float(me.alive)


def life(me: Any) -> Any:
    """Three give life, two keep it."""
    n = me.neighbours.sum("alive")
    me.alive = int(n == 3 or (n == 2 and me.alive == 1))
    return float(me.alive)


def schelling_start(me: Any) -> Any:
    """One of two groups."""
    me.group = 1 if me.random() < 0.5 else 2
    return 0.0


def schelling(me: Any) -> Any:
    """Content, or on the move."""
    around = [other for other in me.neighbours if other.vivo]
    alike = [other for other in around if other.group == me.group]
    if np.float32(len(alike)) >= me.wanted * np.float32(len(around)):
        return 0.0
    me.move_to_empty()
    return 1.0


def forest_fire_start(me: Any) -> Any:
    """Some are trees."""
    me.cell = int(me.random() < me.seeded)
    return 0.0


def forest_fire(me: Any) -> Any:
    """Burnt, lit or grown."""
    u, burning = me.random(), me.neighbours.count_equal("cell", 2)
    if me.cell == 1 and (burning > 0 or u < me.lightning):
        me.cell = 2
        return 1.0
    if me.cell == 2:
        me.cell = 0
    elif me.cell != 1 and u < me.growth:
        me.cell = 1
    return 0.0


def sir_graph_start(me: Any) -> Any:
    """Some are ill."""
    me.fase = int(me.random() < me.seeded)
    return 0.0


def sir_graph(me: Any) -> Any:
    """Infection by those it is linked with, recovery."""
    u = me.random()
    k = np.float32(me.neighbours.count_equal("fase", 1))
    if me.fase == 0 and u < me.beta * k and u < ONE - exp(-me.beta * k):
        me.fase = 1
        return 1.0
    if me.fase == 1 and u < me.gamma:
        me.fase = 2
    return 0.0


def boids_start(me: Any) -> Any:
    """Anywhere in a box, in any direction."""
    me.x, me.y = me.box * me.random(), me.box * me.random()
    angle = np.float32(2.0 * math.pi) * me.random()
    me.vx, me.vy = me.speed * cos(angle), me.speed * sin(angle)
    return 0.0


def boids(me: Any) -> Any:
    """Alignment, cohesion, separation."""
    ax = ay = n = np.float32(0.0)
    for other in me.neighbours:
        near = me.part / (other.distance2 + np.float32(0.01))
        ax += me.align * (other.vx - me.vx) + me.speed * (me.gather - near) * other.dx
        ay += me.align * (other.vy - me.vy) + me.speed * (me.gather - near) * other.dy
        n += ONE
    many = max(n, ONE)
    vx, vy = me.vx + ax / many, me.vy + ay / many
    scale = me.speed / (np.sqrt(vx * vx + vy * vy) + np.float32(1e-9))
    me.vx, me.vy = scale * vx, scale * vy
    me.x, me.y = me.x + me.vx, me.y + me.vy
    return n / me.crowd


def diffusion_start(me: Any) -> Any:
    """Anything."""
    me.u = me.random()
    return me.u


def diffusion(me: Any) -> Any:
    """One step."""
    near = me.neighbours
    me.u = me.u + me.rate * (near.sum("u") - np.float32(near.count()) * me.u)
    return me.u


def ising(me: Any) -> Any:
    """A heat bath for one colour of a chessboard."""
    wide = int(me.width)
    h = np.float32(me.neighbours.sum("spin"))
    up = me.random() < ONE / (ONE + exp(np.float32(-2.0) * h / me.temperature))
    if (me.id // wide + me.id % wide + me.tick) % 2 == 0:
        me.spin = 1 if up else -1
    return float(me.spin)


def anywhere(me: Any) -> Any:
    """Anywhere in a box."""
    me.x, me.y = me.box * me.random(), me.box * me.random()
    return 0.0


def _find_eater(me: Any, name: str, reach: Any) -> None:
    """Who of a bloque is nearest and not farther than ``reach``, the last of equal ones."""
    least = reach * reach
    for one in me.neighbours.of(name):
        if one.distance2 <= least:
            least, me.eater = one.distance2, one.id


def _fed(me: Any, name: str) -> None:
    """It has eaten those who name it."""
    for one in me.neighbours.of(name):
        me.energy = me.energy + (me.food if one.eater == me.id else np.float32(0.0))


def _walk(me: Any) -> None:
    """A step in any direction, and perhaps a child."""
    angle = np.float32(2.0 * math.pi) * me.random()
    me.x, me.y = me.x + me.step * cos(angle), me.y + me.step * sin(angle)
    if me.random() < me.birth:
        me.energy = np.float32(0.5) * me.energy
        me.spawn(x=me.x, y=me.y, energy=me.energy)


def grass(me: Any) -> Any:
    """It grows, or is eaten by the nearest sheep."""
    me.eater = -1
    if me.green == 0:
        me.green = int(me.random() < me.growth)
        return float(me.green)
    _find_eater(me, "sheep", me.reach)
    if me.eater >= 0:
        me.green = 0
    return float(me.green)


def sheep(me: Any) -> Any:
    """It eats, and walks unless it is caught."""
    _fed(me, "grass")
    me.energy = me.energy - me.hunger
    if me.eater >= 0 or me.energy < 0.0:
        me.die()
        return me.energy
    _find_eater(me, "wolf", me.catch)
    if me.eater < 0:
        _walk(me)
    return me.energy


def wolf(me: Any) -> Any:
    """It eats, and walks."""
    _fed(me, "sheep")
    me.energy = me.energy - ONE
    if me.energy < 0.0:
        me.die()
        return me.energy
    _walk(me)
    return me.energy


def _kind(
    name: str, function: Call, init: Call | None, state: dict[str, tuple[str, Any]],
    params: dict[str, float], public: tuple[str, ...], mortal: bool = False,
) -> Kind:  # fmt: skip
    return Kind(name, "micro", function, init, {**state, **(LIFE if mortal else {})}, {}, params,
                (), False, public=public, mortal=mortal)  # fmt: skip


MODELS: Final = {kind.name: kind for kind in (
    _kind("life", life, life_start, {"alive": ("u1", 0)}, {"seeded": 0.3}, ("alive",)),
    _kind("schelling", schelling, schelling_start, {"group": ("u1", 0)}, {"wanted": 0.3},
          ("group",), mortal=True),
    _kind("forest_fire", forest_fire, forest_fire_start, {"cell": ("u1", 0)},
          {"growth": 0.01, "lightning": 0.0001, "seeded": 0.3}, ("cell",)),
    _kind("sir_graph", sir_graph, sir_graph_start, {"fase": ("u1", 0)},
          {"beta": 0.05, "gamma": 0.1, "seeded": 0.001}, ("fase",)),
    _kind("boids", boids, boids_start, {**XY, "vx": ("f4", 0), "vy": ("f4", 0)},
          {"align": 0.1, "gather": 0.02, "part": 0.05, "speed": 0.1, "box": 100.0, "crowd": 24.0},
          ("x", "y", "vx", "vy")),
    _kind("diffusion", diffusion, diffusion_start, {"u": ("f4", 0)}, {"rate": 0.1}, ("u",)),
    _kind("ising", ising, None, {"spin": ("i1", 1)}, {"temperature": 2.0, "width": 100.0},
          ("spin",)),
    _kind("grass", grass, anywhere, {**XY, "green": ("u1", 1), "eater": ("i8", -1)},
          {"growth": 0.04, "reach": 0.7, "box": 50.0}, ("x", "y", "eater")),
    _kind("sheep", sheep, anywhere, {**XY, "energy": ("f4", 5.0), "eater": ("i8", -1)},
          {"step": 0.5, "hunger": 0.5, "food": 5.0, "birth": 0.06, "catch": 0.3, "box": 50.0},
          ("x", "y", "eater"), mortal=True),
    _kind("wolf", wolf, anywhere, {**XY, "energy": ("f4", 15.0)},
          {"step": 0.7, "food": 25.0, "birth": 0.02, "box": 50.0}, ("x", "y"), mortal=True),
)}  # fmt: skip
"""By the name that ``procesador`` uses."""
