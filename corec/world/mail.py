"""What entities sent to each other in the last tick, brought to the blocks of one process."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from corec.kernels import desc as K
from corec.kernels.mail import count_sent, place_sent
from corec.plan import Plan
from corec.world.arrivals import Arrivals


class Mail:
    """Of a world in which entities send: once in each tick, behind what arrived from outside."""

    def __init__(self, plan: Plan) -> None:
        """``plan`` has swarms that send."""
        sends = np.array([s.processor.sends > 0 for s in plan.swarms])
        self._senders = np.flatnonzero(sends[plan.blocks["swarm"]]).astype(np.int64)
        self._start = np.zeros(plan.n_blocks + 1, np.int64)
        self._tick = -1

    def ready(self, arrived: Arrivals, targs: NDArray[Any]) -> None:
        """Put what was sent in the tick before that of ``targs`` before what arrived for it."""
        tick = int(targs[K.T_TICK])
        if arrived.merged:
            if self._tick == tick:
                return  # a full lane: the tick goes on
            arrived.give_nothing()  # nobody has said since what arrives
        tables, senders, lo, hi = arrived.tables, self._senders, arrived.lo, arrived.hi
        blocks = (arrived.ranges, arrived.first_id, arrived.end_id, lo, hi)
        total = int(count_sent(tables.blocks, tables.swarms, senders, tick - 1, *blocks))
        if total:
            total += int(arrived.in_start[hi] - arrived.in_start[lo])
            local, active = np.empty(total, np.uint32), np.empty(total, np.uint8)
            value = np.empty(total * arrived.width, np.float32)
            place_sent(
                tables.blocks, tables.swarms, senders, tick - 1, *blocks, arrived.in_start,
                arrived.local, arrived.value, arrived.active, arrived.cursor, self._start, local,
                value, active,
            )  # fmt: skip
            arrived.in_start[:] = self._start
            arrived.local, arrived.value, arrived.active = local, value, active
            arrived.any = arrived.merged = True
            self._tick = tick


def mail_of(plan: Plan) -> Mail | None:
    """None: nobody sends."""
    return Mail(plan) if any(s.processor.sends for s in plan.swarms) else None
