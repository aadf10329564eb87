"""Group ``evolution``: generations on one core, beside the same algorithm in NumPy and in Python.

Sphere in ten genes, populations of a thousand: each generation chooses by tournaments of three,
crosses gene by gene, changes a tenth of the genes, and evaluates everybody anew. The plain loop is
what DEAP's ``eaSimple`` does with lists; where DEAP is installed, it is DEAP.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import random
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from corec import layout as L
from corec.lab.bench.results import Check, Table
from corec.lab.bench.rounds import Contender, Effort, interleave, rate_of
from corec.lab.bench.world import BenchWorld
from corec.world.read import BlockView

GENES: Final = 10
POPULATION: Final = 1000
TOURNAMENT: Final = 3
MUTATES: Final = 0.1
SIGMA: Final = 0.3
LIMIT: Final = 5.0
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


def deap_tick() -> Callable[[], None] | None:
    """A generation of DEAP; None when it is not installed."""
    if importlib.util.find_spec("deap") is None:
        return None
    parts = ("algorithms", "base", "creator", "tools")
    algorithms, base, creator, tools = (importlib.import_module(f"deap.{one}") for one in parts)
    creator.create("CorecFitness", base.Fitness, weights=(1.0,))
    creator.create("CorecOne", list, fitness=creator.CorecFitness)
    box = base.Toolbox()
    box.register("x", random.uniform, -LIMIT, LIMIT)
    box.register("one", tools.initRepeat, creator.CorecOne, box.x, GENES)
    box.register("evaluate", lambda one: (-sum(x * x for x in one),))
    box.register("mate", tools.cxUniform, indpb=0.5)
    box.register("mutate", tools.mutGaussian, mu=0.0, sigma=SIGMA, indpb=MUTATES)
    box.register("select", tools.selTournament, tournsize=TOURNAMENT)
    state: dict[str, Any] = {"people": tools.initRepeat(list, box.one, POPULATION)}
    for one in state["people"]:
        one.fitness.values = box.evaluate(one)

    def tick() -> None:
        chosen = box.select(state["people"], POPULATION)
        state["people"] = algorithms.varAnd(chosen, box, 1.0, 1.0)
        for one in state["people"]:
            one.fitness.values = box.evaluate(one)

    return tick


def world_of(entidades: int, **more: Any) -> BenchWorld:
    """Islands of a thousand."""
    rules = {"cada": 1, "tamano": TOURNAMENT, "mutacion": MUTATES, "generaciones": 0, **more}
    bloque: dict[str, Any] = {
        "id": "sphere", "canal": 1, "entidades": entidades, "entidades_por_bloque": POPULATION,
        "procesador": "corec.lab.bench.processors:sphere", "umbral": "nunca", "evolucion": rules,
    }  # fmt: skip
    return BenchWorld({"instance_id": "bench", "http": {"port": 0}, "bloques": [bloque]})


def measure(effort: Effort) -> list[Table]:
    """One table: evaluations a second."""
    table = Table("evolution", "Generations of ten genes, one core", "M evaluations/s")
    table.checks.append(_evolves())
    size = 100_000 if effort.quick else 1_000_000
    table.checks.append(lineage(size, effort.pick(100, 20)))
    rivals: list[tuple[str, Callable[[], None], int, bool]] = [
        (f"CoreC, {size:,}", world_of(size).tick, size, True),
        ("NumPy, 1,000", Array().tick, POPULATION, False),
        ("Python, 1,000", Loop().tick, POPULATION, False),
    ]
    if (deap := deap_tick()) is not None:
        rivals.append(("DEAP, 1,000", deap, POPULATION, False))
    contenders = [
        Contender(name, rate_of(tick, each / 1e6, effort.sample_seconds), ours, "")
        for name, tick, each, ours in rivals
    ]
    table.rows += interleave(contenders, effort.rounds)
    return [table]


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
