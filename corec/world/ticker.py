"""The tick of a range of blocks: its arguments, its readings, its one compiled call.

Whoever ticks blocks does it with this: a worker its own, ``corec.World`` all of them, a test one.
What differs between them is who says that a tick may begin, and who empties the two lanes.

Writes: the blocks, the lanes' producing ends (``corec.kernels.block`` has the order of the stores).
Nothing here is shared between processes; a call that stops at a full lane, or is cut off by a kill,
is made again with the same tick and the same readings and goes on where the blocks' words say.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from corec.config import Config
from corec.kernels import desc as K
from corec.kernels.block import tick_range
from corec.plan import Plan
from corec.world.arrivals import Arrivals
from corec.world.mail import mail_of
from corec.world.phases import Phases
from corec.world.tables import Tables
from shm.lane import Lane


class Ticker:
    """The blocks ``lo … hi−1`` of ``tables``, all of them unless it is said."""

    def __init__(
        self, plan: Plan, tables: Tables, seed: int, *, every_ticks: int = 0, keep_log: bool = True,
        carga: float = 1.0, lo: int = 0, hi: int | None = None,
    ) -> None:  # fmt: skip
        """``every_ticks``: a row every so many ticks, 0 for none; ``keep_log`` false: without the
        messages since the last one."""
        self.plan, self.tables = plan, tables
        self.lo, self.hi = lo, plan.n_blocks if hi is None else hi
        self.targs = np.zeros(K.T_COLUMNS, np.int64)
        self.targs[K.T_SEED] = np.uint64(seed).view(np.int64)
        self.targs[K.T_EVERY] = every_ticks
        self.targs[K.T_NO_LOG] = not keep_log
        self.targs[K.T_SCRATCH] = tables.scratch_address
        self.fargs = np.full(K.F_COLUMNS, carga, np.float64)
        self.arrivals = Arrivals(plan, tables, self.lo, self.hi)
        self._before: list[Callable[[], None]] = []
        if tables.planes is not None:
            self._before.append(partial(tables.planes.ready, self.targs))
        if (mail := mail_of(plan)) is not None:
            self._before.append(partial(mail.ready, self.arrivals, self.targs))
        self.phases = Phases(plan, tables, self.hi)

    @classmethod
    def of(
        cls, config: Config, plan: Plan, tables: Tables, lo: int = 0, hi: int | None = None
    ) -> Ticker:
        """As ``config`` says."""
        return cls(
            plan, tables, config.seed, every_ticks=config.persist.every_ticks,
            keep_log=config.persist.payload == "json", carga=config.carga, lo=lo, hi=hi,
        )  # fmt: skip

    def follow(self, config: Config) -> None:
        """Go on as ``config`` says, which may have changed."""
        self.rows_as(config.persist.every_ticks, config.persist.payload)
        self.fargs[K.F_CARGA] = config.carga

    def rows_as(self, every_ticks: int, payload: str) -> None:
        """Have blocks write a row so often, with such a payload (``persist``)."""
        self.targs[K.T_EVERY] = every_ticks
        self.targs[K.T_NO_LOG] = payload != "json"

    def do_phases(self, rows: Lane, make_room: Callable[[], None]) -> None:
        """The phases before the tick of ``targs``, in a process that ticks all of the world;
        ``make_room`` empties ``rows``."""
        for number in self.phases.before(int(self.targs[K.T_TICK])):
            at = self.phases.run(number, self.lo, self.targs, rows)
            while at < self.hi:
                make_room()
                at = self.phases.run(number, at, self.targs, rows)

    def run(self, at: int, out: Lane, rows: Lane) -> int:
        """Tick the blocks ``at … hi−1`` as ``targs`` and ``fargs`` say; the block to go on with:
        ``hi`` when all are done, else one whose frames found no room in a lane."""
        for ready in self._before:
            ready()
        arrived = self.arrivals
        return int(
            tick_range(
                self.tables.blocks, self.tables.swarms, at, self.hi, self.targs, self.fargs,
                arrived.in_start, arrived.local, arrived.value, arrived.active,
                self.tables.scratch_offsets, out.ctl, out.data, rows.ctl, rows.data,
            )
        )  # fmt: skip
