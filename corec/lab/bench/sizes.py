"""Of group ``meet``: cells, contacts and birds at 10⁴ to 4·10⁶ entities, on one core.

The kernels alone, all models in turns at a size: what a size costs beyond its number is what its
columns lose by lying in memory, and not in a cache.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from corec.lab.bench.meeting import bird_bloques, contact_bloques, world_of
from corec.lab.bench.results import Table
from corec.lab.bench.rounds import Contender, Effort, interleave, rate_of

SIZES: Final = (10_000, 100_000, 1_000_000, 4_000_000)
SIZES_QUICK: Final = (10_000, 40_000)


def cell_bloques(n: int) -> list[dict[str, Any]]:
    """Life on a square torus of at most so many cells."""
    side = math.isqrt(n)
    return [
        {"id": "all", "canal": 1, "entidades": side * side, "procesador": "life",
         "umbral": "nunca", "space": {"kind": "grid", "width": side, "height": side}}
    ]  # fmt: skip


MODELS: Final[dict[str, Callable[[int], list[dict[str, Any]]]]] = {
    "life": cell_bloques,
    "sir_graph": contact_bloques,
    "boids": bird_bloques,
}


def measure(effort: Effort) -> list[Table]:
    """One table: models by entities."""
    table = Table("meet-sizes", "Entities that meet, one core", "M entities/s", "neither")
    for n in SIZES_QUICK if effort.quick else SIZES:
        contenders = []
        for name, bloques in MODELS.items():
            world = world_of(bloques(n))
            rate = rate_of(world.tick, world.n / 1e6, effort.sample_seconds)
            contenders.append(Contender(f"{name}, {world.n:,} entities", rate, True))
        table.rows += interleave(contenders, effort.rounds)
    for row in table.rows:
        row.note = f"{1000.0 / row.median:.1f} ns an entity"
    return [table]
