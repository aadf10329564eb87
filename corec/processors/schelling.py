"""Segregation after Schelling (*J. Math. Sociol.* 1, 1971), on a grid with empty cells.

An entity of ``group`` 1 or 2 is content when at least the share ``wanted`` of those who live around
it are of its own group, or nobody does; who is not moves to a random empty cell, in which it is in
the next tick. All decide at once, by what the last tick left. ``valor`` is 1 of who is not content.
The grid has ``capacidad`` cells, of which ``entidades`` are lived in at first.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from corec.entities.processor import micro


def settle(me: Any) -> Any:
    """One of two groups, in equal parts."""
    me.group = 1 if me.random() < 0.5 else 2
    return 0.0


@micro(state={"group": "u1"}, params={"wanted": 0.3}, public=("group",), mortal=True, init=settle)
def schelling(me: Any) -> Any:
    """One tick: to look around, and to move."""
    around, alike = 0, 0
    for other in me.neighbours:  # sums without a branch: who lives where is anybody's guess
        around += other.vivo
        alike += other.vivo * (other.group == me.group)
    if np.float32(alike) >= me.wanted * np.float32(around):
        return 0.0
    me.move_to_empty()
    return 1.0
