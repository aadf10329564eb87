"""The forest-fire model of Drossel and Schwabl (*Phys. Rev. Lett.* 69, 1992), on a grid.

``cell``: 0 empty, 1 a tree, 2 burning. A burning tree is gone after a tick; a tree burns when one
of its neighbours does, or by lightning with probability ``lightning``; on an empty cell a tree
grows with probability ``growth``. ``valor`` is 1 in the tick in which a tree begins to burn.
"""

from __future__ import annotations

from typing import Any

from corec.entities.processor import micro


def start(me: Any) -> Any:
    """A tree with probability ``seeded``."""
    me.cell = 1 if me.random() < me.seeded else 0
    return 0.0


@micro(
    state={"cell": "u1"},
    params={"growth": 0.01, "lightning": 0.0001, "seeded": 0.3},
    public=("cell",),
    init=start,
)
def forest_fire(me: Any) -> Any:
    """One tick of growth, lightning and fire."""
    u = me.random()
    burning = me.neighbours.count_equal("cell", 2)
    lit = 0.0
    if me.cell == 2:
        me.cell = 0
    elif me.cell == 1:
        if burning > 0 or u < me.lightning:
            me.cell = 2
            lit = 1.0
    elif u < me.growth:
        me.cell = 1
    return lit
