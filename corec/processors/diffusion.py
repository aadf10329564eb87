"""Diffusion on a grid, explicit in time (Crank, *The Mathematics of Diffusion*, ch. 8).

``u ← u + rate · Σ (u′ − u)`` over the neighbours: with a von Neumann neighbourhood the heat
equation of ``rate`` = D Δt / Δx², stable up to 1/2, 1/4, 1/6 in one, two, three dimensions. At a
grid's edges nothing flows out. ``valor`` is ``u``; it starts uniform in [0, 1).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from corec.entities.processor import micro


def start(me: Any) -> Any:
    """Anything."""
    me.u = me.random()
    return me.u


@micro(state={"u": "f4"}, params={"rate": 0.1}, public=("u",), init=start)
def diffusion(me: Any) -> Any:
    """One step."""
    me.u += me.rate * (me.neighbours.sum("u") - np.float32(me.neighbours.count()) * me.u)
    return me.u
