"""A flock (Reynolds, *Computer Graphics* 21, 1987), a bird an entity of a ``plane`` space.

Each bird turns to where its neighbours fly (``align``) and to where they are (``gather``), and
away from those that are near (``part``, as one by the distance); its speed is ``speed``. Positions
``x``, ``y``, velocities ``vx``, ``vy``; ``valor`` is how many birds are around it, by ``crowd``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from corec.entities.processor import micro


def start(me: Any) -> Any:
    """Anywhere in a box of ``box``, in any direction."""
    me.x, me.y = me.box * me.random(), me.box * me.random()
    angle = 2.0 * math.pi * me.random()
    me.vx, me.vy = me.speed * math.cos(angle), me.speed * math.sin(angle)
    return 0.0


@micro(
    state={"x": "f4", "y": "f4", "vx": "f4", "vy": "f4"},
    params={"align": 0.1, "gather": 0.02, "part": 0.05, "speed": 0.1, "box": 100.0, "crowd": 24.0},
    public=("x", "y", "vx", "vy"),
    init=start,
)
def boids(me: Any) -> Any:
    """One step of every bird."""
    ax = ay = n = 0.0
    for other in me.neighbours:
        near = me.part / (other.distance2 + 0.01)
        ax += me.align * (other.vx - me.vx) + me.speed * (me.gather - near) * other.dx
        ay += me.align * (other.vy - me.vy) + me.speed * (me.gather - near) * other.dy
        n += 1.0
    many: Any = max(n, np.float32(1.0))
    vx, vy = me.vx + ax / many, me.vy + ay / many
    scale = me.speed / (math.sqrt(vx * vx + vy * vy) + 1e-9)
    me.vx, me.vy = scale * vx, scale * vy
    me.x, me.y = me.x + me.vx, me.y + me.vy
    return n / me.crowd
