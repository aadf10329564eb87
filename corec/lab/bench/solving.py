"""Part of group ``evolution``: how good the best is that an evolution finds, beside DEAP's.

Three problems of ten genes, a hundred candidates, sixty generations: so 6,000 evaluations by either
of them; tournaments of three, each gene of either parent, a tenth of the genes changes by a normal
number within the limits, the best stays. What the best of each of thirty seeds is are two samples;
Mann and Whitney's U (*Ann. Math. Stat.* 18, 1947) says whether they are of one distribution.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from corec.lab.bench.loading import Absent, load
from corec.lab.bench.results import Check, Row, Table
from corec.lab.bench.rounds import Effort, tell
from corec.lab.bench.world import BenchWorld
from corec.world.read import BlockView

GENES: Final = 10
CANDIDATES: Final = 100
GENERATIONS: Final = 60
SEEDS: Final = 30
TOURNAMENT: Final = 3
MUTATES: Final = 0.1
SIGMA: Final = 0.5
LIMIT: Final = 5.0
DEVIATIONS_MAX: Final = 3.3
"""Of U from its mean: one distribution lies beyond that once in a thousand comparisons."""
SPHERE, RASTRIGIN, ONE_MAX, RAMP = range(4)
"""Problems of ``processors.solver``; the ramp is for takeover times."""
Numbers = NDArray[np.float64]


def sphere(x: Sequence[float]) -> float:
    """Its top is 0."""
    return -sum(one * one for one in x)


def rastrigin(x: Sequence[float]) -> float:
    """Its top is 0, among some ten thousand million others."""
    return -sum(10.0 + one * one - 10.0 * math.cos(2.0 * math.pi * one) for one in x)


def one_max(x: Sequence[float]) -> float:
    """How many are above 0."""
    return float(sum(one > 0.0 for one in x))


PROBLEMS: Final[dict[str, tuple[int, Callable[[Sequence[float]], float]]]] = {
    "sphere": (SPHERE, sphere), "Rastrigin": (RASTRIGIN, rastrigin), "OneMax": (ONE_MAX, one_max),
}  # fmt: skip


def islands(problem: int, seeds: int, **rules: Any) -> dict[str, Any]:
    """A bloque with an island for each seed."""
    return {
        "id": f"p{problem}", "canal": 1, "entidades": seeds * CANDIDATES,
        "entidades_por_bloque": CANDIDATES, "umbral": "nunca",
        "procesador": "corec.lab.bench.processors:solver", "parametros": {"problem": problem},
        "evolucion": {"cada": 1, "generaciones": 0, "mutacion": MUTATES, **rules},
    }  # fmt: skip


def deviations(ours: Numbers, theirs: Numbers) -> float:
    """By how many of its deviations U differs from what it is of one distribution; without a
    correction for ties, which makes it smaller."""
    n, m = len(ours), len(theirs)
    u = (np.sign(ours[:, None] - theirs[None, :]).sum() + n * m) / 2.0
    return float((u - n * m / 2.0) / math.sqrt(n * m * (n + m + 1) / 12.0))


def found_by_us(problem: int, seeds: int) -> Numbers:
    """f8[seeds]: the best of each island."""
    bloque = islands(problem, seeds, tamano=TOURNAMENT)
    world = BenchWorld({"instance_id": "bench", "http": {"port": 0}, "bloques": [bloque]})
    world.run_to(GENERATIONS)
    words = world.memory.view(np.uint64)
    best = [BlockView(world.plan, words, k).column("score").max() for k in range(seeds)]
    world.close()
    return np.array(best, np.float64)


def found_by_deap(score: Callable[[Sequence[float]], float], seeds: int) -> Numbers:
    """f8[seeds]. Raises Absent: it is not installed."""
    made, best = load("deap_evolution").DeapPopulation, []
    for seed in range(seeds):
        one = made(score, CANDIDATES, GENES, SIGMA, seed)
        for _ in range(GENERATIONS - 1):  # the first one is that at the start
            one.tick()
        best.append(one.best)
    return np.array(best)


def measure(effort: Effort) -> Table:
    """The best of each seed, and whether they are alike."""
    seeds = effort.pick(SEEDS, 5)
    table = Table("evolution-found", f"Best of {CANDIDATES * GENERATIONS:,} evaluations, "
                  f"{seeds} seeds", "fitness", "neither")  # fmt: skip
    for name, (problem, score) in PROBLEMS.items():
        ours = found_by_us(problem, seeds)
        table.rows.append(Row(f"CoreC, {name}", ours.tolist(), True))
        tell(f"  DEAP, {name}")
        try:
            theirs = found_by_deap(score, seeds)
        except Absent as absent:
            table.notes.append(f"DEAP, {name}: skipped, {absent}")
            continue
        table.rows.append(Row(f"DEAP, {name}", theirs.tolist()))
        z = deviations(ours, theirs)
        text = f"medians {np.median(ours):.4f}, {np.median(theirs):.4f}; U {z:+.2f} deviations off"
        table.checks.append(Check(f"{name}: as good as DEAP", abs(z) < DEVIATIONS_MAX, text))
    return table
