"""DEAP 1.4: a population of lists, by its own tools: tournaments, uniform crossing, Gaussian
mutation within limits, the best stays. What ``eaSimple`` does, generation by generation."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from deap import algorithms, base, creator, tools

from corec.lab.bench.solving import LIMIT, MUTATES, TOURNAMENT

creator.create("CorecFitness", base.Fitness, weights=(1.0,))
creator.create("CorecOne", list, fitness=creator.CorecFitness)


class DeapPopulation:
    """``size`` candidates of ``genes`` numbers each; ``score``: the higher the better."""

    def __init__(
        self, score: Callable[[Sequence[float]], float], size: int, genes: int, sigma: float,
        seed: int,
    ) -> None:  # fmt: skip
        random.seed(seed)  # its tools draw from there
        box: Any = base.Toolbox()
        box.register("x", random.uniform, -LIMIT, LIMIT)
        box.register("one", tools.initRepeat, creator.CorecOne, box.x, genes)
        box.register("evaluate", lambda one: (score(one),))
        box.register("mate", tools.cxUniform, indpb=0.5)
        box.register("mutate", tools.mutGaussian, mu=0.0, sigma=sigma, indpb=MUTATES)
        box.register("select", tools.selTournament, tournsize=TOURNAMENT)
        self._box = box
        self._people = tools.initRepeat(list, box.one, size)
        self._evaluate()

    def _evaluate(self) -> None:
        for one in self._people:
            one.fitness.values = self._box.evaluate(one)

    def tick(self) -> None:
        """One generation."""
        best = self._box.clone(tools.selBest(self._people, 1)[0])
        chosen = self._box.select(self._people, len(self._people))
        self._people = algorithms.varAnd(chosen, self._box, 1.0, 1.0)
        for one in self._people:
            one[:] = [min(max(x, -LIMIT), LIMIT) for x in one]
        self._people[0] = best
        self._evaluate()

    @property
    def best(self) -> float:
        """The best score of its candidates."""
        return max(float(one.fitness.values[0]) for one in self._people)
