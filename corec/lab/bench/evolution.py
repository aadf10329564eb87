"""Group ``evolution``: generations on one core, beside the same algorithm in NumPy and in Python.

Sphere in ten genes, populations of a thousand: each generation chooses by tournaments of three,
crosses gene by gene, changes a tenth of the genes, and evaluates everybody anew. The plain loop is
what DEAP's ``eaSimple`` does with lists; where DEAP is installed, it stands beside it. Then what a
phase costs alone, what a tick costs in which nothing evolves, and how good the best is that is
found (``solving``).
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from corec import layout as L
from corec.lab.bench import solving
from corec.lab.bench.loading import Absent, load
from corec.lab.bench.results import Check, Row, Table
from corec.lab.bench.rounds import Contender, Effort, interleave, rate_of
from corec.lab.bench.solving import LIMIT, MUTATES, TOURNAMENT
from corec.lab.bench.world import BenchWorld
from corec.world.read import BlockView

GENES: Final = 10
POPULATION: Final = 1000
SIGMA: Final = 0.3
PHASE_MS_MAX: Final = 30.0
"""For a million entities of eight genes, on one core."""
OFF_MIN: Final = 0.97
"""Ticks of a world in which nothing evolves, as a share of those of one without genes."""
TIMES_MIN: Final = 100.0
"""DEAP's evaluations per second."""
NEVER: Final = 1_000_000_000
DEAP: Final = "DEAP, 1,000"
GIFTED: Final = "corec.lab.bench.processors:gifted"
PHASES: Final[dict[str, dict[str, Any]]] = {
    "as by default": {"tamano": None, "generaciones": 1},
    "tournaments of three": {},
    "the best half are parents": {"metodo": "truncamiento", "tamano": 0.5},
    "wheel": {"metodo": "ruleta"},
    "blend": {"cruce": "mezcla"},
}
LISTED: Final = 0.0001
"""Share of the children whose parents are told of."""


class Array:
    """One population in NumPy, as an expert writes it."""

    def __init__(self) -> None:
        self._draw = np.random.default_rng(1)
        self._x = self._draw.uniform(-LIMIT, LIMIT, (POPULATION, GENES)).astype(np.float32)

    def _parents(self, fitness: Any) -> Any:
        drawn = self._draw.integers(0, POPULATION, (POPULATION, TOURNAMENT))
        return drawn[np.arange(POPULATION), fitness[drawn].argmax(axis=1)]

    def tick(self) -> None:
        """One generation."""
        x, draw = self._x, self._draw
        fitness = -np.einsum("ij,ij->i", x, x)
        best = x[fitness.argmax()].copy()
        one, other = x[self._parents(fitness)], x[self._parents(fitness)]
        x = np.where(draw.random(x.shape, np.float32) < 0.5, one, other)
        changed = draw.random(x.shape, np.float32) < MUTATES
        x[changed] += draw.normal(0.0, SIGMA, int(changed.sum())).astype(np.float32)
        self._x = np.clip(x, -LIMIT, LIMIT)
        self._x[0] = best


class Loop:
    """One population in plain Python."""

    def __init__(self) -> None:
        self._draw = random.Random(1)
        self._people = [[self._draw.uniform(-LIMIT, LIMIT) for _ in range(GENES)]
                        for _ in range(POPULATION)]  # fmt: skip

    def tick(self) -> None:
        """One generation."""
        draw, people = self._draw, self._people
        scores = [-sum(x * x for x in one) for one in people]

        def parent() -> list[float]:
            drawn = [draw.randrange(POPULATION) for _ in range(TOURNAMENT)]
            return people[max(drawn, key=scores.__getitem__)]

        fresh = [people[max(range(POPULATION), key=scores.__getitem__)]]
        while len(fresh) < POPULATION:
            child = [a if draw.random() < 0.5 else b
                     for a, b in zip(parent(), parent(), strict=True)]  # fmt: skip
            for j in range(GENES):
                if draw.random() < MUTATES:
                    child[j] = min(max(child[j] + draw.gauss(0.0, SIGMA), -LIMIT), LIMIT)
            fresh.append(child)
        self._people = fresh


def world_of(entidades: int, procesador: str = "sphere", **more: Any) -> BenchWorld:
    """Islands of a thousand."""
    rules = {"cada": 1, "tamano": TOURNAMENT, "mutacion": MUTATES, "generaciones": 0, **more}
    bloque: dict[str, Any] = {
        "id": procesador, "canal": 1, "entidades": entidades, "entidades_por_bloque": POPULATION,
        "procesador": f"corec.lab.bench.processors:{procesador}", "umbral": "nunca",
        "evolucion": rules,
    }  # fmt: skip
    return BenchWorld({"instance_id": "bench", "http": {"port": 0}, "bloques": [bloque]})


def measure(effort: Effort) -> list[Table]:
    """Evaluations a second; a phase; ticks in which nothing evolves; what is found."""
    table = Table("evolution", "Generations of ten genes, one core", "M evaluations/s")
    table.checks.append(_evolves())
    size = 100_000 if effort.quick else 1_000_000
    table.checks.append(lineage(size, effort.pick(100, 20)))
    rivals: list[tuple[str, Callable[[], None], int, bool]] = [
        (f"CoreC, {size:,}", world_of(size).tick, size, True),
        ("NumPy, 1,000", Array().tick, POPULATION, False),
        ("Python, 1,000", Loop().tick, POPULATION, False),
    ]
    try:
        made = load("deap_evolution").DeapPopulation
        deap = made(solving.sphere, POPULATION, GENES, SIGMA, 1)
        rivals.append((DEAP, deap.tick, POPULATION, False))
    except Absent as absent:
        table.notes.append(f"DEAP: skipped, {absent}")
    contenders = [
        Contender(name, rate_of(tick, each / 1e6, effort.sample_seconds), ours, "")
        for name, tick, each, ours in rivals
    ]
    table.rows += interleave(contenders, effort.rounds)
    phase, off = _phase(effort, size), _off(effort)
    if not effort.quick:
        _judge(table.rows, phase, off, table.checks)
    return [table, phase, off, solving.measure(effort)]


def _judge(rows: list[Row], phase: Table, off: Table, checks: list[Check]) -> None:
    found = {row.name: row for row in rows}
    if DEAP in found:
        times = rows[0].over(found[DEAP])
        what = f"{TIMES_MIN:g} times as many evaluations as DEAP"
        checks.append(Check(what, times >= TIMES_MIN, f"{times:.0f} times"))
    took = phase.rows[0].median
    what = f"a million with eight genes in {PHASE_MS_MAX:g} ms at most"
    phase.checks.append(Check(what, took <= PHASE_MS_MAX, f"{took:.1f} ms"))
    for row in off.rows[1:]:
        share = row.over(off.rows[0])
        what = f"{row.name}: {OFF_MIN:g} of the ticks without genes at least"
        off.checks.append(Check(what, share >= OFF_MIN, f"{share:.3f}"))


def _phase(effort: Effort, size: int) -> Table:
    """The phase alone, by the default rules and by others in a smaller world."""
    title = "One phase of eight genes, one core, per million entities"
    table = Table("evolution-phase", title, "ms", "lower")
    contenders = []
    for name, rules in PHASES.items():
        world = world_of(size, "bowl", **rules)
        world.run_to(3)
        contenders.append(Contender(f"{name}, {size:,}", _phase_of(world, effort), True))
        size = min(size, 200_000)
    table.rows += interleave(contenders, effort.rounds)
    return table


def _phase_of(world: BenchWorld, effort: Effort) -> Callable[[], float]:
    def sample() -> float:
        spent, times = 0.0, effort.pick(10, 2)
        for _ in range(times):
            began = time.perf_counter()
            world.phases()
            spent += time.perf_counter() - began
            world.end_tick()
        return spent / times / world.n * 1e9

    return sample


def _off(effort: Effort) -> Table:
    """Ticks of the sensor: without genes, with eight that do not evolve, and before they do."""
    table = Table("evolution-off", "Ticks without an evolution, one core", "M updates/s")
    n = 100_000
    worlds = {
        "without genes": _still("sensor", n, {}),
        "eight genes, no evolucion": _still(GIFTED, n, {}),
        "eight genes, an evolucion that is not due": _still(GIFTED, n, {"cada": NEVER}),
    }
    contenders = [
        Contender(name, rate_of(world.tick, n / 1e6, effort.sample_seconds), True)
        for name, world in worlds.items()
    ]
    table.rows += interleave(contenders, effort.pick(4, 1) * effort.rounds)
    return table


def _still(procesador: str, entidades: int, rules: dict[str, Any]) -> BenchWorld:
    bloque = {"id": "still", "canal": 1, "entidades": entidades, "procesador": procesador}
    bloque |= {"evolucion": rules} if rules else {}
    return BenchWorld({"instance_id": "bench", "http": {"port": 0}, "bloques": [bloque]})


def _evolves() -> Check:
    world = world_of(10 * POPULATION)
    world.run_to(40)
    words = world.memory.view(np.uint64)
    best = [float(BlockView(world.plan, words, k).column("score").max()) for k in range(10)]
    text = f"{min(best):.4f} to {max(best):.4f} after 40 generations"
    return Check("each of ten islands finds the sphere's top", min(best) > -0.2, text)


def lineage(entidades: int, generations: int) -> Check:
    """Rows of ``linaje`` against what docs/evolution.md says of their number: each generation adds
    ``linaje`` times the active entities, by chance; more than five deviations over is too many."""
    world = world_of(entidades, linaje=LISTED)
    rows = 0

    def count() -> None:
        nonlocal rows
        frames = world.rows.frames()
        rows += sum(one.b for one in frames if one.kind == L.KIND_GENERATION_FRAME)

    for _ in range(generations + 1):  # the first phase comes behind the first tick
        world.tick(count)
    world.close()
    stated = LISTED * entidades * generations
    most = stated + 5.0 * math.sqrt(stated)
    text = f"{rows:,} rows of {entidades:,} entities in {generations:,} generations, stated"
    return Check("linaje adds as many rows as stated", 0 < rows <= most, f"{text} {stated:,.0f}")
