"""What entities sent to each other in the last tick, brought to the blocks of one process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from corec.kernels import desc as K
from corec.kernels.mail import count_sent, place_sent
from corec.plan import Plan

if TYPE_CHECKING:
    from corec.world.ticker import Ticker


class Mail:
    """Of a world in which entities send: once in each tick, behind what arrived from outside."""

    def __init__(self, plan: Plan) -> None:
        """``plan`` has swarms that send."""
        sends = np.array([s.processor.sends > 0 for s in plan.swarms])
        self._senders = np.flatnonzero(sends[plan.blocks["swarm"]]).astype(np.int64)
        self._start = np.zeros(plan.n_blocks + 1, np.int64)
        self._tick = -1

    def ready(self, ticker: Ticker) -> None:
        """Put what was sent in the tick before before the readings that ``ticker`` was given."""
        tick = int(ticker.targs[K.T_TICK])
        if ticker.merged:
            if self._tick == tick:
                return  # a full lane: the tick goes on
            ticker.give_nothing()  # nobody has said since what arrives
        tables, senders = ticker.tables, self._senders
        blocks = (ticker.ranges, ticker.first_id, ticker.end_id, ticker.lo, ticker.hi)
        total = int(count_sent(tables.blocks, tables.swarms, senders, tick - 1, *blocks))
        if total:
            total += int(ticker.in_start[ticker.hi] - ticker.in_start[ticker.lo])
            local, active = np.empty(total, np.uint32), np.empty(total, np.uint8)
            value = np.empty(total * ticker.width, np.float32)
            place_sent(
                tables.blocks, tables.swarms, senders, tick - 1, *blocks, ticker.in_start,
                ticker.local, ticker.value, ticker.active, ticker.cursor, self._start, local,
                value, active,
            )  # fmt: skip
            ticker.in_start[:] = self._start
            ticker.local, ticker.value, ticker.active = local, value, active
            ticker.arrived = ticker.merged = True
            self._tick = tick


def mail_of(plan: Plan) -> Mail | None:
    """None: nobody sends."""
    return Mail(plan) if any(s.processor.sends for s in plan.swarms) else None
