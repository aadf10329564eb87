"""Conway's Game of Life (Gardner, *Scientific American* 223, 1970), a cell an entity of a grid.

A cell with three living neighbours of its eight lives in the next generation, one with two stays
as it is, any other is dead. ``valor`` is 1 for a living cell, else 0.
"""

from __future__ import annotations

from typing import Any

from corec.entities.processor import micro


def start(me: Any) -> Any:
    """Alive with probability ``seeded``."""
    me.alive = 1 if me.random() < me.seeded else 0
    return me.alive


@micro(state={"alive": "u1"}, params={"seeded": 0.3}, public=("alive",), init=start)
def life(me: Any) -> Any:
    """One generation."""
    n = me.neighbours.sum("alive")
    me.alive = n == 3 or (n == 2 and me.alive == 1)
    return me.alive
