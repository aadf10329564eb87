"""Of group ``meet``: running servers whose entities meet, with 1 … all workers, flat out, in turns.

A rate is of the wall clock, without rows and messages; beside it what one core does in a second of
its own CPU time, the figure to compare where a machine is shared. A contact is one look along a
link, a pair one neighbour within the radius, seen from one side: ten and twelve for each entity on
average, which every entity looks at in every tick. Each server ends with the digest of the same
world ticked in this process, whose workers were one, whatever the number was meanwhile.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from corec.lab.bench.check import same_digest
from corec.lab.bench.linked import LINKS, NEAR, flock_bloque, graph_bloque
from corec.lab.bench.meeting import town_bloques
from corec.lab.bench.results import Check, Row, Table
from corec.lab.bench.rounds import Contender, Effort, interleave
from corec.lab.bench.server import NEVER, Server
from corec.lab.bench.sizes import cell_bloques
from corec.lab.bench.world import expected_at

Bloques = Callable[[int], list[dict[str, Any]]]


class Case(NamedTuple):
    """A world, what is counted in it, and how many of these an entity has."""

    name: str
    counted: str
    each: float
    bloques: Bloques


def oscillators(n: int) -> list[dict[str, Any]]:
    """Kuramoto's: they meet in the mean of their block."""
    return [{"id": "all", "canal": 1, "entidades": n, "procesador": "kuramoto", "umbral": "nunca"}]


CASES: Final = (
    Case("life", "cells", 1.0, cell_bloques),
    Case("contacts in a graph", "contacts", float(LINKS), lambda n: [graph_bloque(n)]),
    Case("a flock", "pairs", NEAR, lambda n: [flock_bloque(n)]),
    Case("Schelling", "cells", 1.0, town_bloques),
    Case("Kuramoto", "updates", 1.0, oscillators),
)


def measure(effort: Effort) -> list[Table]:
    """One table: models by workers."""
    n = effort.pick(1_000_000, 20_000)
    title = f"Running server, {n:,} entities that meet, flat out"
    table = Table("meet-cores", title, "M/s", "neither")
    for case in CASES:
        rows, check = _one(case, n, effort)
        table.rows += rows
        table.checks.append(check)
        for workers, row in enumerate(rows[1:], 2):
            gained = row.over(rows[0])
            table.notes.append(
                f"{case.name}: {workers} workers {gained:.2f} times one, "
                f"{gained / workers:.2f} per core"
            )
    return [table]


def _one(case: Case, n: int, effort: Effort) -> tuple[list[Row], Check]:
    config = {
        "instance_id": "bench", "http": {"port": 0}, "persist": {"every_ticks": NEVER},
        "bloques": case.bloques(n),
    }  # fmt: skip
    units = n * case.each / 1e6
    counts = range(1, len(os.sched_getaffinity(0)) + 1)
    own: dict[int, list[float]] = {workers: [] for workers in counts}
    with Server(config) as server:
        server.start()
        ticks = max(2, round(effort.sample_seconds * 5 / max(server.step(5), 1e-4)))

        def sampler(workers: int) -> Callable[[], float]:
            def sample() -> float:
                server.set_workers(workers)
                server.step(1)  # who came has not touched its blocks yet
                busy = server.busy_seconds
                took = server.step(ticks)
                own[workers].append(units * ticks / (server.busy_seconds - busy))
                return units * ticks / took

            return sample

        contenders = [
            Contender(f"{case.name}, {case.counted}, {workers} worker{'s' * (workers > 1)}",
                      sampler(workers), True)
            for workers in counts
        ]  # fmt: skip
        rows = interleave(contenders, effort.rounds)
        for workers, row in zip(counts, rows, strict=True):
            core = statistics.median(own[workers][1:])  # the first was to warm up
            row.note = f"{core:.3g} M {case.counted} a second of a worker's CPU"
        tick = server.tick
        summary = server.stop()
    return rows, same_digest(case.name, tick, summary, expected_at(config, tick))
