"""Where the nanoseconds of a reading go when each entity of an ``ewma`` gets one at every tick.

Parts are timed alone on a block of 1,000 that stays in the cache: the loop over the entities
(``entities.dense``), ``exp`` of as many numbers, which it takes, and the figures of the tick
(``kernels.rounds``). Beside them the whole tick of so many entities that what a tick costs whatever
there is to be done does not count.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numba import njit

from corec.entities.compile import compile_processor
from corec.kernels import desc as K
from corec.kernels.address import call_kernel
from corec.kernels.calls import Dense
from corec.kernels.elementary import exp
from corec.kernels.rounds import note_good_round
from corec.lab.bench.results import Table
from corec.lab.bench.rounds import Contender, Effort, interleave, nanoseconds_each, rate_of
from corec.lab.bench.world import BenchWorld, sensors

N: Final = 1000
ENTITIES: Final = 100_000
FULL_TICKS: Final = 210
"""The history of 200 is full."""
REPEATS: Final = 2000
_call: Any = call_kernel
_exp: Any = exp
_figures: Any = note_good_round


@njit
def _loop(address, arguments, times):  # type: ignore[no-untyped-def]  # compiled
    total = 0
    for _ in range(times):
        total += _call(address, arguments)
    return total


@njit(error_model="numpy")
def _exps(x, found, times):  # type: ignore[no-untyped-def]  # compiled
    for _ in range(times):
        for i in range(x.size):
            found[i] = _exp(x[i])


@njit
def _sums(who, x, sums, local, picked, work, times):  # type: ignore[no-untyped-def]  # compiled
    for _ in range(times):
        _figures(who, who.size, x, sums, local, picked, work)


def measure(effort: Effort) -> Table:
    """The table: nanoseconds a reading."""
    table = Table("detectors-ewma", "A reading of ewma, one of each entity a tick", "ns", "neither")
    rng = np.random.default_rng(11)
    values = rng.normal(0.5, 0.1, N).astype(np.float32)
    below, found = -values, np.zeros(N, np.float32)
    who = np.arange(N, dtype=np.uint32)
    sums, room, local = np.zeros(K.A_COLUMNS), np.zeros(2 * N), np.zeros(N, np.uint32)
    sums[K.A_UMBRAL] = 1e30  # no messages
    small, large = _full(N, effort), _full(effort.pick(ENTITIES, N), effort)
    times = effort.pick(REPEATS, REPEATS // 100)
    runs: dict[str, tuple[Any, tuple[Any, ...]]] = {
        "the loop over entities": (_loop, _loop_arguments(small, values, who)),
        "  exp of as many numbers, alone": (_exps, (below, found)),
        "the figures, in order of readings": (
            _sums, (who, values, sums, local, found, room.ctypes.data),
        ),
    }  # fmt: skip
    contenders = [Contender("whole tick", _ticks(large, effort), True)]
    contenders += [
        Contender(name, nanoseconds_each(function, arguments, times, N, small), True)
        for name, (function, arguments) in runs.items()
    ]
    table.rows = interleave(contenders, effort.rounds)
    whole, loop, _, figures = (row.median for row in table.rows)
    table.notes.append(
        f"{1000.0 / whole:.0f} M readings/s; {whole - loop - figures:.2f} ns are neither the loop "
        "nor the figures: who has a reading, messages, rows, the commit"
    )
    return table


def _full(entities: int, effort: Effort) -> BenchWorld:
    """A world whose histories are full."""
    world = BenchWorld(sensors(entities, bloque={"procesador": "ewma"}), readings_per_entity=1)
    world.run_to(effort.pick(FULL_TICKS, 20))
    return world


def _loop_arguments(world: BenchWorld, values: Any, who: Any) -> tuple[int, Dense]:
    """Address and arguments  of the loop over its only block, in
    memory that lives as long as ``world``."""
    swarm, block = world.tables.swarms[0], world.tables.blocks[0]
    of_world = world.plan.swarms[0]
    address = compile_processor(of_world.processor, of_world.cap).dense
    scratch = int(world.ticker.targs[K.T_SCRATCH])
    at = {name: scratch + int(world.tables.scratch_offsets[name])
          for name in (K.X_MEANS, K.X_OVER, K.X_OK, K.X_TOLD, K.X_COLUMN, K.X_ORDER)}  # fmt: skip
    for name, numbers in ((K.X_COLUMN, values), (K.X_ORDER, who), (K.X_OVER, np.ones(N, np.uint8))):
        ctypes.memmove(at[name], numbers.ctypes.data, numbers.nbytes)
    hot = int(block[K.B_HOT])
    given = Dense(
        cur=hot, new=hot + int(swarm[K.W_COPY_BYTES]), hist=int(block[K.B_HIST]), n=N, first_id=0,
        tick=FULL_TICKS + 1, seed=42, params=int(swarm[K.W_PARAMS]), means=at[K.X_MEANS],
        value=at[K.X_COLUMN], plane=4 * N, order=at[K.X_ORDER], ordinal=0, all_run=1,
        run=at[K.X_OVER], ok=at[K.X_OK], told=at[K.X_TOLD], genes=0,
    )  # fmt: skip
    return address, given


def _ticks(world: BenchWorld, effort: Effort) -> Callable[[], float]:
    each = rate_of(world.tick, world.n / 1e9, effort.sample_seconds)
    return lambda: 1.0 / each()
