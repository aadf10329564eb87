"""The groups of benchmarks, in the order they run."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from corec.lab.bench.results import Table
from corec.lab.bench.rounds import Effort


@dataclass(frozen=True)
class Group:
    """``module`` (of this package) has ``measure(effort) -> list[Table]``."""

    name: str
    about: str
    module: str
    seconds_max: float = 900.0

    def measure(self, effort: Effort) -> list[Table]:
        """Run it here."""
        function: Callable[[Effort], list[Table]] = importlib.import_module(
            f"corec.lab.bench.{self.module}"
        ).measure
        return function(effort)


GROUPS: tuple[Group, ...] = (
    Group("tick", "one core's sensor updates: CoreC, NumPy, Polars, esper, Mesa, a loop", "tick"),
    Group("models", "sensor, recorder, ewma, Kuramoto, SIR at 10^4 to 10^6 entities", "models"),
    Group(
        "meet", "neighbours and models that meet, beside NumPy, Mesa, SciPy", "meet", 1800.0
    ),
    Group("evolution", "generations of ten genes, beside NumPy, plain Python, DEAP", "evolution"),
    Group("detectors", "what a reading costs each detector, and its score on NAB", "detectors"),
    Group("scaling", "time of a tick against entities, 10^5 to 10^7", "scaling"),
    Group("cores", "a running server with 1 … all workers, sinks off and everything on", "cores"),
    Group("lanes", "frames between processes: lane, multiprocessing.Queue, faster-fifo", "lanes"),
    Group("rows", "rows into PostgreSQL: the server, psql \\copy, executemany", "rows"),
    Group("messages", "messages through Valkey, out and in: the server, XADD, Celery", "messages"),
    Group("start", "new world, restored world, adopted world: command to first tick", "start"),
    Group("recovery", "SIGKILL of a worker to the next commit; a Ray actor", "recovery"),
    Group(
        "checkpoint",
        "a digest and a checkpoint of full histories, at rest and under input",
        "checkpoint",
    ),
    Group("frames", "what the ticks of a world notice of frame() of ten columns", "frames"),
    Group("sweep", "a hundred runs of an epidemic on all cores, and killed twice", "sweeps"),
    Group("memory", "PSS of every process, idle and with 10^6 entities", "memory"),
)

BY_NAME = {group.name: group for group in GROUPS}
