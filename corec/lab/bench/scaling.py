"""Group ``scaling``: the time of one tick against the number of entities, on one core.

All sizes are measured in turns. Cost follows work when twice the entities take 2.0 ± 0.2 times as
long; past the third-level cache the line may bend to what the memory gives, which the notes put
beside the triad.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from corec.lab.bench.machine import triad_gb_per_second
from corec.lab.bench.results import Check, Row, Table
from corec.lab.bench.rounds import Contender, Effort, interleave
from corec.lab.bench.world import BenchWorld, sensors

BYTES_PER_UPDATE = 8
"""The sensor reads one float32 and writes another; its other columns are not touched."""
TOLERANCE = 0.2
ROUNDS_MIN = 15
"""A doubling is the median quotient of so many pairs: see ``Row.over``."""


def measure(effort: Effort) -> list[Table]:
    """One table: milliseconds per tick by entities."""
    table = Table("scaling", "Time of one tick, one core", "ms", "neither")
    sizes = [100_000 << k for k in range(3 if effort.quick else 7)]
    if not effort.quick:
        sizes.append(10_000_000)
    worlds = [BenchWorld(sensors(n)) for n in sizes]
    ticks = [max(3, round(effort.sample_seconds / (n * 1.5e-9))) for n in sizes]
    contenders = [
        Contender(f"{n:,}", _milliseconds(world, count), True)
        for n, world, count in zip(sizes, worlds, ticks, strict=True)
    ]
    rounds = effort.rounds if effort.quick else max(ROUNDS_MIN, effort.rounds)
    table.rows = interleave(contenders, rounds)
    table.checks = _doublings(sizes, table.rows)
    largest = table.rows[-1]
    rate = sizes[-1] / largest.median * 1e3
    bandwidth = triad_gb_per_second(1, 16 if effort.quick else 128, 0.1)
    used = rate * BYTES_PER_UPDATE / 1e9
    table.notes.append(
        f"{sizes[-1]:,} entities: {rate / 1e6:,.0f} M updates/s move {used:.1f} GB/s of columns, "
        f"{100 * used / bandwidth:.0f} % of this core's triad ({bandwidth:.1f} GB/s)"
    )
    return [table]


def _milliseconds(world: BenchWorld, ticks: int) -> Callable[[], float]:
    def sample() -> float:
        times = []
        for _ in range(ticks):
            began = time.perf_counter()
            world.tick()
            times.append(time.perf_counter() - began)
        return 1e3 * sorted(times)[len(times) // 2]

    return sample


def _doublings(sizes: list[int], rows: list[Row]) -> list[Check]:
    """Each size against the one before, where it is twice as large."""
    found = []
    for k in range(1, len(sizes)):
        if sizes[k] != 2 * sizes[k - 1]:
            continue
        factor = rows[k].over(rows[k - 1])
        ok = abs(factor - 2.0) <= TOLERANCE
        what = f"{sizes[k]:,} entities take 2.0 ± {TOLERANCE} times as long as half of them"
        found.append(Check(what, ok, f"{factor:.2f} times"))
    return found
