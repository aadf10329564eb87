"""A world whose blocks are ticked by several tickers, each with its own tables, as by workers."""

from __future__ import annotations

from typing import Any

import numpy as np

from corec.config import parse_config
from corec.entities.processor import Processor
from corec.kernels import desc as K
from corec.plan import make_plan, split_blocks
from corec.world.create import create_world
from corec.world.digest import digest_of
from corec.world.phases import numbers_of, phases_before
from corec.world.tables import make_tables
from corec.world.ticker import Ticker
from shm.lane import Lane, lane_region_bytes


class SplitWorld:
    """``bloques`` as in the config; ``processors``: name → what it stands for."""

    def __init__(
        self, bloques: list[dict[str, Any]], processors: dict[str, Processor], workers: int
    ) -> None:
        config = parse_config({"instance_id": "split", "bloques": bloques})
        self.plan = make_plan(config, processors)
        self.memory = np.zeros(self.plan.world_bytes // 8, np.uint64).view(np.uint8)
        self.config, self.tick, self.at = config, 0, 0
        create_world(self.plan, self.memory, self._tables(), config.seed, lambda done, total: None)
        self.ranges = split_blocks(self.plan, workers)
        self.tickers = [self._ticker(lo, hi) for lo, hi in self.ranges]
        self.lanes = [Lane.create(np.zeros(lane_region_bytes(1 << 20), np.uint8)) for _ in "ab"]

    def _tables(self) -> Any:
        return make_tables(self.plan, self.memory)

    def _ticker(self, lo: int, hi: int) -> Ticker:
        return Ticker.of(self.config, self.plan, self._tables(), lo, hi)

    def replace(self, worker: int) -> None:
        """Another process takes the place of this worker, with no memory of its own yet."""
        self.tickers[worker] = self._ticker(*self.ranges[worker])

    def _phases(self, replaced: bool) -> None:
        """Each by all tickers before the next one begins."""
        for number in numbers_of(phases_before(self.plan, self.tick)):
            for k in reversed(range(len(self.tickers))):
                for _ in range(2 if replaced else 1):
                    ticker = self.tickers[k]
                    ticker.targs[K.T_TICK], ticker.targs[K.T_UNIX_NS] = self.tick, self.tick
                    ticker.phases.run(number, ticker.lo, ticker.targs, self.lanes[1])
                    if replaced:
                        self.replace(k)

    def run(self, ticks: int, *, replaced: bool = False) -> str:
        """The digest after so many ticks; ``replaced``: workers are replaced within each tick."""
        for _ in range(ticks):
            self.tick += 1
            self._phases(replaced)
            for k in reversed(range(len(self.tickers))):  # in whatever order
                for _ in range(2 if replaced else 1):
                    ticker = self.tickers[k]
                    ticker.targs[K.T_TICK], ticker.targs[K.T_UNIX_NS] = self.tick, self.tick
                    at = ticker.lo
                    while at < ticker.hi:
                        at = ticker.run(at, *self.lanes)
                        for lane in self.lanes:
                            lane.release(lane.head)
                    if replaced:
                        self.replace(k)
        return digest_of(self.plan, self.memory.view(np.uint64))[1]
