"""The Ising model on a square grid (Onsager, *Phys. Rev.* 65, 1944), by heat baths in turn.

In each tick the spins of one colour of a chessboard, none of them neighbours of each other, take
the value +1 with probability 1 / (1 + exp(−2 h / T)), h the sum of their neighbours: a sweep is two
ticks. Below T = 2.269 they agree. ``width`` is that of the grid, which has a von Neumann
neighbourhood and, with ``wrap``, even sides; its first id is a multiple of it, or what follows from
ids were no chessboard (``corec.suiting``). ``valor`` is the spin; all start as +1.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from corec.entities.processor import micro


@micro(
    state={"spin": ("i1", 1)}, params={"temperature": 2.0, "width": 100.0}, public=("spin",)
)
def ising(me: Any) -> Any:
    """Half a sweep."""
    wide = int(me.width)
    h = np.float32(me.neighbours.sum("spin"))
    up = me.random() < 1.0 / (1.0 + math.exp(-2.0 * h / me.temperature))
    if (me.id // wide + me.id % wide + me.tick) % 2 == 0:
        me.spin = 1 if up else -1
    return me.spin
