"""Evolution does what is known of it: takeover times, and what other programs find."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import corec
from corec.lab.bench.solving import (
    CANDIDATES,
    GENERATIONS,
    GENES,
    ONE_MAX,
    RAMP,
    RASTRIGIN,
    SEEDS,
    SPHERE,
    deviations,
    islands,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # they compile a processor

POPULATION = CANDIDATES


def swarm(problem: int, **rules: Any) -> dict[str, Any]:
    """As many islands as seeds."""
    return islands(problem, SEEDS, **rules)


@pytest.mark.parametrize("size", [2, 4, 8])
def test_takeover_of_a_tournament(size: int) -> None:
    """Goldberg and Deb 1991: (ln n + ln ln n) / ln s generations until all are the best's."""
    rules = {"tamano": size, "cruce": "ninguno", "mutacion": 0.0}
    taken = np.zeros(SEEDS)
    with corec.World({"bloques": [swarm(RAMP, **rules)], "seed": 3}) as world:
        for generation in range(40):
            world.run(1)
            genes = world.frame(columns=["g0"])["g0"].reshape(SEEDS, POPULATION)
            taken[(genes == genes[:, :1]).all(axis=1) & (taken == 0)] = generation
    theory = (math.log(POPULATION) + math.log(math.log(POPULATION))) / math.log(size)
    assert (taken > 0).all()
    assert abs(taken.mean() - theory) < 0.2 * theory + 1.0


def scores(problem: int, x: Any) -> Any:
    """The fitness of f8[…, GENES]."""
    if problem == SPHERE:
        return -(x * x).sum(axis=-1)
    if problem == RASTRIGIN:
        return -(10.0 + x * x - 10.0 * np.cos(2.0 * np.pi * x)).sum(axis=-1)
    return (x > 0).sum(axis=-1).astype(float)


def best_of_another(problem: int) -> Any:
    """f8[SEEDS]: what a plain genetic algorithm with the same settings finds: tournaments of 3,
    the best stays, uniform crossing, a tenth of the genes changes."""
    draw = np.random.default_rng(11)
    shape = (SEEDS, POPULATION, GENES)
    x = draw.uniform(-5.0, 5.0, shape)
    for _ in range(GENERATIONS - 1):
        fitness = scores(problem, x)
        keep = x[np.arange(SEEDS), fitness.argmax(axis=1)].copy()

        def parents(fitness: Any = fitness) -> Any:
            drawn = draw.integers(0, POPULATION, (SEEDS, POPULATION, 3))
            those = fitness[np.arange(SEEDS)[:, None, None], drawn]
            chosen = those.argmax(axis=-1)[..., None]
            return np.take_along_axis(drawn, chosen, -1)[..., 0]

        rows = np.arange(SEEDS)[:, None]
        x = np.where(draw.random(shape) < 0.5, x[rows, parents()], x[rows, parents()])
        x += draw.normal(0.0, 0.5, shape) * (draw.random(shape) < 0.1)
        x = np.clip(x, -5.0, 5.0)
        x[:, 0] = keep
    return scores(problem, x).max(axis=1)


def test_as_good_as_another_program() -> None:
    """The distribution of the best over 30 seeds: Mann and Whitney's U finds no difference."""
    problems = (SPHERE, RASTRIGIN, ONE_MAX)
    config = {"bloques": [swarm(problem, tamano=3) for problem in problems], "seed": 5}
    with corec.World(config) as world:
        world.run(GENERATIONS)
        for problem in problems:
            found = world.frame(f"p{problem}", columns=["score"])["score"]
            ours = found.reshape(SEEDS, POPULATION).max(axis=1).astype(float)
            theirs = best_of_another(problem)
            z = deviations(ours, theirs)
            assert abs(z) < 3.3, (problem, np.median(ours), np.median(theirs))
            if problem == ONE_MAX:
                assert (ours == GENES).all()
