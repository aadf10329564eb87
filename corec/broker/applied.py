"""What the ticks that went have applied of the input, read from the control segment.

The leader keeps two tables of positions, tick T's in copy T & 1 (``corec.layout``); it writes the
one of the tick that it decides, which is two after the last that used the same copy. So the copy of
the last tick that every worker has done stands still until the next one is done, too.
"""

from __future__ import annotations

import numpy as np

from corec import layout as L
from corec.broker.positions import InPosition
from corec.process.roles import committed_tick
from corec.process.runtime import Runtime


def applied_by_complete(rt: Runtime) -> tuple[int, dict[int, InPosition]]:
    """The last complete tick, and by canal how far the input is applied with it."""
    while True:
        tick = committed_tick(rt.get)
        found = _table(rt, tick)
        if committed_tick(rt.get) == tick:
            return tick, found


def applied_positions(rt: Runtime) -> dict[int, InPosition]:
    """By canal, what the ticks that went have applied, those that still run included.

    A copy read while C_GO_TICK stood still is whole.
    """
    while True:
        tick = rt.get(L.C_GO_TICK)
        found = _table(rt, tick)
        if rt.get(L.C_GO_TICK) == tick:
            return found


def _table(rt: Runtime, tick: int) -> dict[int, InPosition]:
    begin = L.C_IN_POS + (tick & 1) * L.CANALES * L.IN_POS_WORDS
    table = np.array(rt.control[begin : begin + L.CANALES * L.IN_POS_WORDS])
    rows = table.reshape(L.CANALES, L.IN_POS_WORDS)
    found = {}
    for index in np.flatnonzero(rows.any(axis=1)).tolist():
        canal = index - L.CANALES if index >= L.CANALES // 2 else index
        found[canal] = InPosition(*(int(word) for word in rows[index]))
    return found
