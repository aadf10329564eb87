"""What arrives for one tick, sorted by the blocks of one process."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from corec.kernels.inputs import count_inputs, sort_inputs
from corec.plan import Plan
from corec.world.tables import Tables

_READINGS_FIRST = 1024


class Arrivals:
    """The readings of the blocks ``lo … hi−1``: ``local``, ``value``, ``active`` of block b from
    ``in_start[b]`` to ``in_start[b + 1]``."""

    def __init__(self, plan: Plan, tables: Tables, lo: int, hi: int) -> None:
        self.plan, self.tables, self.lo, self.hi = plan, tables, lo, hi
        self.in_start = np.zeros(plan.n_blocks + 1, np.int64)
        self.cursor = np.zeros(plan.n_blocks, np.int64)
        self.any = self.merged = False
        """Whether there are any; whether what entities sent is among them."""
        self.width = plan.width
        self._make_room(_READINGS_FIRST)
        self.ranges = np.array(
            [(s.first_id, s.first_id + s.entidades, s.cap, s.first_block) for s in plan.swarms],
            np.int64,
        )
        self.first_id = self.end_id = 0
        if lo < hi:
            first, last = plan.blocks[lo], plan.blocks[hi - 1]
            self.first_id = int(first["first_id"])
            self.end_id = int(last["first_id"] + last["entidades"])

    def _make_room(self, readings: int) -> None:
        self.local = np.zeros(readings, np.uint32)
        self.value = np.zeros(readings * self.width, np.float32)
        self.active = np.zeros(readings, np.uint8)

    def take(self, inbox: NDArray[np.uint8], start: int, end: int) -> None:
        """What arrived for the tick: the readings between two positions of the inbox lane."""
        total = count_inputs(
            inbox, start, end, self.ranges, self.first_id, self.end_id, self.lo, self.hi,
            self.in_start,
        )  # fmt: skip
        if total > self.local.size:
            self._make_room(1 << int(total - 1).bit_length())
        sort_inputs(
            inbox, start, end, self.ranges, self.first_id, self.end_id, self.tables.blocks,
            self.in_start, self.cursor, self.local, self.value, self.active,
        )  # fmt: skip
        self.any, self.merged = True, False

    def give(self, ids: NDArray[Any], values: NDArray[Any], active: NDArray[Any]) -> None:
        """What arrived for the tick: i8[n] ids that are all in these blocks, f4[n] or
        f4[n, plan.width], u1[n], in order of arrival."""
        given = values[:, None] if values.ndim == 1 else values
        values = np.zeros((len(ids), self.width), np.float32)
        values[:, : given.shape[1]] = given
        firsts = self.plan.blocks["first_id"][self.lo : self.hi]
        block = np.searchsorted(firsts, ids, "right") - 1
        order = np.argsort(block, kind="stable")  # of one entity's readings the first comes first
        self.local = (ids - firsts[block])[order].astype(np.uint32)
        self.value = np.ascontiguousarray(values[order].T, np.float32).ravel()
        self.active = np.ascontiguousarray(active[order], np.uint8)
        counts = np.bincount(block, minlength=self.hi - self.lo)
        self.in_start[self.lo] = 0
        self.in_start[self.lo + 1 : self.hi + 1] = np.cumsum(counts)
        self.any, self.merged = True, False

    def give_nothing(self) -> None:
        """Nothing arrived for the tick."""
        if self.any:
            self.in_start[self.lo : self.hi + 1] = 0
            self.any = self.merged = False
