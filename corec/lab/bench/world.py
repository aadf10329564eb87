"""A world on a tmpfs that this process ticks itself: the kernels alone, and the reference.

It is the server's own compiled call on the server's own blocks in the same kind of memory, without
processes and sinks. Ticking it as far as a server went gives the digest, messages and rows that
the server must have (``docs/architecture.md``: they do not depend on the number of workers).
"""

from __future__ import annotations

import mmap
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from corec import layout as L
from corec.config import parse_config
from corec.kernels import desc as K
from corec.plan import make_plan
from corec.world.create import create_world
from corec.world.digest import digest_of
from corec.world.lanes import out_lane_bytes, rows_lane_bytes
from corec.world.phases import next_with_phases
from corec.world.read import BlockView, dynamic_words
from corec.world.tables import make_tables
from corec.world.ticker import Ticker
from shm.lane import Lane, lane_region_bytes

TMPFS = "/dev/shm"
"""As the server's."""


class Expected(NamedTuple):
    """What a world is at a tick."""

    tick: int
    digest: str
    messages: int
    rows: int


def sensors(entidades: int, **changes: Any) -> dict[str, Any]:
    """A configuration: one swarm of ``entidades`` default sensors on canal 1."""
    bloque = {"id": "bench", "canal": 1, "entidades": entidades, "max_size_mb": 1}
    bloque |= changes.pop("bloque", {})
    return {"instance_id": "bench", "http": {"port": 0}, "bloques": [bloque]} | changes


def tmpfs_memory(size: int) -> NDArray[np.uint8]:
    """u8[size] of zeroed shared memory, as the server's; it goes with the last view.

    Pages are taken when touched, so a large world costs what its hot columns cost.
    """
    folder = TMPFS if os.access(TMPFS, os.W_OK) else None
    with tempfile.TemporaryFile(dir=folder) as file:
        file.truncate(size)
        return np.frombuffer(mmap.mmap(file.fileno(), size), np.uint8)


def _lane(capacity: int) -> Lane:
    return Lane.create(tmpfs_memory(lane_region_bytes(capacity)))


class BenchWorld:
    """A world of ``config`` at tick 0; ``readings`` (local index, value) arrive at every tick."""

    def __init__(self, config: Mapping[str, Any], *, readings_per_entity: int = 0) -> None:
        parsed = parse_config(dict(config))
        self.plan = make_plan(parsed)
        self.n = self.plan.entidades
        self.memory = tmpfs_memory(self.plan.world_bytes)
        self.tables = make_tables(self.plan, self.memory)
        create_world(self.plan, self.memory, self.tables, parsed.seed, lambda done, total: None)
        self.out = _lane(out_lane_bytes(self.plan))
        self.rows = _lane(rows_lane_bytes(self.plan))
        self.ticker = Ticker.of(parsed, self.plan, self.tables)
        self.tick_number = 0
        self._next_phases = next_with_phases(self.plan, 1)
        self._arrive(readings_per_entity)

    def _arrive(self, each: int) -> None:
        if each:
            ids = np.tile(np.arange(self.n), each)
            values = np.random.default_rng(7).normal(0.5, 0.1, ids.size)
            self.arrive(ids, values)

    def arrive(self, ids: NDArray[Any], values: NDArray[Any]) -> None:
        """What arrives at every tick from now on."""
        self.ticker.arrivals.give(ids, values.astype(np.float32), np.ones(ids.size, np.uint8))

    def tick(self, look: Callable[[], None] | None = None) -> None:
        """One tick of every block; its frames are thrown away, after a ``look`` at them."""
        self.phases(look)
        self.end_tick(look)

    def phases(self, look: Callable[[], None] | None = None) -> None:
        """Begin a tick: what happens before it, between two ticks."""
        self.tick_number += 1
        ticker = self.ticker
        ticker.targs[K.T_TICK] = self.tick_number
        ticker.targs[K.T_UNIX_NS] = time.time_ns()
        if self.tick_number == self._next_phases:
            ticker.do_phases(self.rows, partial(self._drop_rows, look))
            self._next_phases = next_with_phases(self.plan, self.tick_number + 1)

    def end_tick(self, look: Callable[[], None] | None = None) -> None:
        """The tick that ``phases`` began."""
        ticker = self.ticker
        at, end = 0, self.plan.n_blocks
        while at < end:
            stopped = ticker.run(at, self.out, self.rows)
            if stopped == at and not self.out.used and not self.rows.used:
                raise RuntimeError(f"block {at}: its frames do not fit into an empty lane")
            at = stopped
            self.out.release(self.out.head)
            self._drop_rows(look)

    def _drop_rows(self, look: Callable[[], None] | None) -> None:
        if look is not None:
            look()
        self.rows.release(self.rows.head)

    def run_to(self, tick: int) -> None:
        """Tick up to and including ``tick``."""
        while self.tick_number < tick:
            self.tick()

    def valor(self) -> NDArray[np.float32]:
        """f32[n]: the committed values, in order of ids."""
        words = self.memory.view(np.uint64)
        views = (BlockView(self.plan, words, k) for k in range(self.plan.n_blocks))
        return np.concatenate([view.column("valor") for view in views])

    def total(self, word: int) -> int:
        """Sum of a dynamic word (``L.D_*``) over all blocks."""
        return int(dynamic_words(self.plan, self.memory.view(np.uint64))[:, word].sum())

    def expected(self) -> Expected:
        """What a server at this tick must show."""
        tick, digest = digest_of(self.plan, self.memory.view(np.uint64))
        return Expected(tick, digest, self.total(L.D_MESSAGES), self.total(L.D_ROWS))

    def close(self) -> None:
        """Drop the views on the memory; the pages go with the last one."""
        del self.memory, self.tables, self.ticker, self.out, self.rows


def expected_at(config: Mapping[str, Any], tick: int) -> Expected:
    """The reference: a world of ``config`` without inputs, ticked to ``tick`` in this process."""
    world = BenchWorld(config)
    world.run_to(tick)
    found = world.expected()
    world.close()
    return found
