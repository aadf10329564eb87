"""Evolution as docs/rules.md gives it: one swarm, between two ticks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from corec.lab.oracle.block import Block
from corec.lab.oracle.generations import Individual, New, figures, generation
from corec.lab.oracle.genes import Genes, number, word
from corec.lab.oracle.phases import Told
from corec.lab.oracle.rounded import cos, log

LISTED: Final = 4 * 4095 + 1
"""The word by which a child is listed in ``linaje``."""


def island(blocks: Sequence[Block]) -> list[Individual]:
    """The active ones, in the order of ids."""
    found = []
    for block in blocks:
        name = block.settings.kind.fitness
        for entity in block.entities:
            if entity.activo:
                with np.errstate(all="ignore"):
                    stands = np.float32(entity.state[name])
                fitness = stands if entity.ran_well else np.float32(math.nan)
                found.append(Individual(block, entity, fitness))
    return found


def share(x: float, n: int) -> int:
    """The least whole number from 1 on whose share of n is at least x."""
    return next(w for w in range(1, n + 1) if w / n >= x)


class Parents:
    """Chooses among an island."""

    def __init__(self, rules: Mapping[str, Any], people: list[Individual]) -> None:
        fit = [one for one in people if not np.isnan(one.fitness)]
        self.people, self.method = fit or people, rules.get("metodo", "torneo")
        size = rules.get("tamano")
        self.size = (2 if size is None else size) if self.method == "torneo" else 1
        if self.method == "truncamiento":
            size = 0.5 if size is None else size
            n = len(self.people)
            count = size if isinstance(size, int) else share(float(size), n)
            ranked = sorted(self.people, key=lambda one: one.order)
            best = {one.entity.id for one in ranked[:count]}
            self.people = [one for one in self.people if one.entity.id in best]
        self.words = self.size if self.method == "torneo" else 1 + (self.method == "ruleta")
        if self.method == "ruleta":
            self._weigh()

    def _weigh(self) -> None:
        most = float(np.finfo(np.float32).max)
        finite = [float(one.fitness) for one in self.people if np.isfinite(one.fitness)]
        least = min(finite, default=math.inf)
        self.upto, total = [], 0.0
        for one in self.people:
            x = float(one.fitness)
            if x >= least:
                total += min(x, most) - min(least, most)
            self.upto.append(total)

    def choose(self, words: Sequence[int]) -> Individual:
        """One parent, by as many words as the method takes."""
        n = len(self.people)
        if self.method == "ruleta" and self.upto[-1] > 0.0:
            target = float((words[0] * 2**32 + words[1]) >> 11) * 2.0**-53 * self.upto[-1]
            place = next((p for p, sum_ in enumerate(self.upto) if sum_ > target), n - 1)
            return self.people[place]
        best = self.people[words[0] * n >> 32]
        for w in words[1 : self.size]:
            rival = self.people[w * n >> 32]
            if rival.fitness > best.fitness or (
                np.isnan(best.fitness) and not np.isnan(rival.fitness)
            ):
                best = rival
        return best


def is_crossed(rules: Mapping[str, Any], drawn: int) -> bool:
    """Whether a child has two parents, by the first word that they left."""
    cruce, often = rules.get("cruce", "uniforme"), rules.get("prob_cruce", 1.0)
    often = often if isinstance(cruce, str) else cruce
    return bool(cruce != "ninguno" and drawn / 2**32 < often)


def child_genes(
    rules: Mapping[str, Any], spec: Mapping[str, Sequence[float]], mother: Genes, father: Genes,
    draw: Any, first: int, normal: Any,
) -> Genes:  # fmt: skip
    """A child's genes; ``draw(k)`` is its word k, ``first`` the first one that the parents left."""
    cruce, count = rules.get("cruce", "uniforme"), len(spec)
    cruce = cruce if isinstance(cruce, str) else "uniforme"
    crossed = is_crossed(rules, draw(first))
    mask = draw(first + 1)
    cut = 1 + (mask * (count - 1) >> 32)
    found = {}
    for j, (name, limits) in enumerate(spec.items()):
        low, high, sigma = (np.float32(one) for one in limits)
        x = mother[name]
        if crossed and cruce == "uniforme":
            x = father[name] if mask >> j & 1 else x
        elif crossed and cruce == "un_punto":
            x = x if j < cut else father[name]
        elif crossed:
            u = np.float32(2.0) * number(draw(first + 2 + count + j)) - np.float32(0.5)
            x = min(max(x + u * (father[name] - x), low), high)
        if draw(first + 2 + j) / 2**32 < rules.get("mutacion", 0.1):
            x = min(max(x + sigma * normal(j), low), high)
        found[name] = np.float32(x)
    return found


def _normal(seed: int, identity: int, j: int, after: int) -> np.float32:
    first, second = (word(seed, identity, 4 * (4096 + j) + k, after) for k in (0, 1))
    u = (np.float32(first >> 1) + np.float32(0.5)) * np.float32(2.0**-31)
    v = np.float32(second >> 1) * np.float32(2.0**-31)
    return np.float32(np.sqrt(np.float32(-2.0) * log(u)) * cos(np.float32(6.2831855) * v))


def _migrants(
    rules: Mapping[str, Any], blocks: Sequence[Block], number_: int, room: int, after: int
) -> list[Individual | None]:
    """Who comes to block ``number_``, the first to take the place of its worst."""
    wanted, count = rules.get("migracion"), len(blocks)
    block = blocks[number_]
    if wanted is None or count < 2 or (block.generation + 1) % wanted["cada"]:
        return []
    topology = wanted.get("topologia", "anillo")
    found: list[Individual | None] = []
    for k in range(min(wanted.get("cuantos", 1), room)):
        source, before = (number_ - 1) % count, k
        if topology in ("completa", "full"):
            source, before = (number_ + 1 + k % (count - 1)) % count, k // (count - 1)
        elif topology in ("azar", "random", "aleatoria"):
            w = word(block.seed, block.settings.first_id, 4 * 4095, after)
            source = (number_ + 1 + (w * (count - 1) >> 32)) % count
        people = sorted(island([blocks[source]]), key=lambda one: one.order)
        one = people[before] if before < len(people) else None
        found.append(None if one is None or np.isnan(one.fitness) else one)
    return found


def evolve(blocks: Sequence[Block], rules: Mapping[str, Any], after: int) -> list[Told]:
    """The evolution of a swarm after tick ``after``, and what is told of it."""
    spec = blocks[0].settings.kind.genes
    whole = rules.get("alcance", "bloque") == "enjambre"
    heads = [figures(block, island([block])) for block in blocks]
    new: list[New] = []
    for number_, people in enumerate([island(blocks)] if whole else [island([b]) for b in blocks]):
        if not people:
            continue
        elite = rules.get("elite", 1)
        elite = share(elite, len(people)) if isinstance(elite, float) else min(elite, len(people))
        ranked = sorted(people, key=lambda one: one.order)
        rest = ranked[elite:]
        coming = [] if whole else _migrants(rules, blocks, number_, len(rest), after)
        for k, migrant in enumerate(coming):
            if migrant is not None:
                here = rest[-1 - k]
                it = migrant.entity
                new.append(New(here.block, here.entity, dict(it.genes), dict(it.state),
                               (it.id, it.id), "migrante"))  # fmt: skip
        taken = {id(one.entity) for one in new} | {id(one.entity) for one in ranked[:elite]}
        parents = Parents(rules, people)
        for one in people:
            if id(one.entity) in taken:
                continue
            seed, identity = one.block.seed, one.entity.id

            def draw(k: int, seed: int = seed, identity: int = identity) -> int:
                return word(seed, identity, k, after)

            def normal(j: int, seed: int = seed, identity: int = identity) -> np.float32:
                return _normal(seed, identity, j, after)

            count = parents.words
            mother = parents.choose([draw(k) for k in range(count)])
            father = parents.choose([draw(count + k) for k in range(count)])
            genes = child_genes(rules, spec, mother.entity.genes, father.entity.genes, draw,
                                2 * count, normal)  # fmt: skip
            second = father if is_crossed(rules, draw(2 * count)) else mother
            new.append(New(one.block, one.entity, genes, dict(mother.entity.state),
                           (mother.entity.id, second.entity.id)))  # fmt: skip
    for born in new:
        born.take_place(rules.get("estado", "inicial"))
    told: list[Told] = []
    often, every = rules.get("linaje", 0.0), rules.get("generaciones", 1)
    for block, head in zip(blocks, heads, strict=True):
        block.generation += 1
        block.take_means()
        mine = [one for one in new if one.block is block]
        listed = [one for one in mine
                  if word(block.seed, one.entity.id, LISTED, after) / 2**32 < often]  # fmt: skip
        told += generation(block, head, mine, listed, every, after)
    return told
