"""Group ``models``: the kernels of five workloads at several sizes, on one core of this process.

The recorder is the sensor that keeps its last 200 values: its whole kilobyte is written within 200
ticks. ewma gets one reading for each entity at every tick (a Celu entity runs when
something arrives). Each processor's compiled form is compared with the same function in plain
Python (``corec.testing.compare``).
"""

from __future__ import annotations

from typing import Any, Final

from corec.entities.registry import resolve
from corec.lab.bench.results import Check, Table
from corec.lab.bench.rounds import Contender, Effort, interleave, rate_of
from corec.lab.bench.world import BenchWorld, sensors
from corec.testing import Difference, compare

MODELS: Final[tuple[tuple[str, str, int, str], ...]] = (
    # name, procesador, readings for each entity and tick, note
    ("sensor", "sensor", 0, "AR(1), Philox"),
    ("recorder", "corec.lab.bench.processors:recorder", 0, "and 200 values of history, 1 KB"),
    ("ewma", "ewma", 1, "a reading for each, EWMA, 200 values of history"),
    ("Kuramoto", "kuramoto", 0, "sin, cos, block means"),
    ("SIR", "sir", 0, "branches, block means"),
)


def measure(effort: Effort) -> list[Table]:
    """One table: models by sizes."""
    table = Table("models", "Workloads, the kernel on one core", "M updates/s")
    sizes = (10_000, 100_000) if effort.quick else (10_000, 100_000, 1_000_000)
    for name, processor, _, _ in MODELS:
        table.checks.append(_same_in_plain_python(name, processor))
    for size in sizes:
        contenders = []
        for name, processor, readings, note in MODELS:
            bloque: dict[str, Any] = {"procesador": processor}
            world = BenchWorld(sensors(size, bloque=bloque), readings_per_entity=readings)
            sample = rate_of(world.tick, size / 1e6, effort.sample_seconds)
            contenders.append(Contender(f"{name}, {size:,}", sample, True, note))
        table.rows += interleave(contenders, effort.rounds)
    table.better = "neither"
    return [table]


def _same_in_plain_python(name: str, processor: str) -> Check:
    what = f"{name}: compiled and plain Python agree"
    try:
        calls = compare(resolve(processor, ()), ticks=5, entities=16)
    except Difference as difference:
        return Check(what, False, str(difference))
    return Check(what, True, f"{calls} calls compared")
