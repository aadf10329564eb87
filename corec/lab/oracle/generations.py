"""Who takes part in an evolution, who comes of it, and what is told of both (docs/evolution.md)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from corec.lab.oracle.block import Block
from corec.lab.oracle.genes import Genes
from corec.lab.oracle.held import Entity, own_of
from corec.lab.oracle.phases import GENERATION, LINEAGE, Told
from corec.lab.oracle.stats import folded


@dataclass
class Individual:
    """An active entity before the evolution. A fitness that is NaN is none."""

    block: Block
    entity: Entity
    fitness: np.float32

    @property
    def order(self) -> tuple[bool, float, int]:
        """Sorts the best first."""
        no_number = bool(np.isnan(self.fitness))
        return no_number, 0.0 if no_number else -float(self.fitness), self.entity.id


@dataclass
class New:
    """What an entity becomes, and whose state it may take."""

    block: Block
    entity: Entity
    genes: Genes
    mother: dict[str, Any]
    parents: tuple[int, int]
    """The ids of its mother and its father."""
    how: str = "hijo"

    def take_place(self, estado: str) -> None:
        """Other genes, and the state that goes with them."""
        entity, block, kind = self.entity, self.block, self.block.settings.kind
        entity.genes = self.genes
        if estado == "inicial":
            entity.state = block.initial(entity)
            entity.state.update({"heard": block.tick} if kind.silence else {})
        else:
            own = own_of(kind)
            entity.state = {**self.mother, **{name: entity.state[name] for name in own}}
        entity.running_failures, entity.ran_well = 0, None


def figures(block: Block, people: Sequence[Individual]) -> dict[str, Any]:
    """Of an evolution of a block, before it; ``people``: its active entities."""
    first = block.settings.first_id
    finite = [one for one in people if np.isfinite(one.fitness)]
    best = min(finite, key=lambda one: (-float(one.fitness), one.entity.id), default=None)
    worst = min(finite, key=lambda one: (float(one.fitness), one.entity.id), default=None)
    terms = [(one.entity.id - first, float(one.fitness)) for one in finite]
    wide = {name: (float(np.float32(low)), float(np.float32(high)))
            for name, (low, high, _) in block.settings.kind.genes.items()
            if np.float32(high) > np.float32(low)}  # fmt: skip
    spread = 0.0
    for name, (low, high) in wide.items():
        away = [(one.entity.id - first, float(one.entity.genes[name]) - 0.5 * (low + high))
                for one in people]  # fmt: skip
        spread += _deviation(away) / (high - low)
    return {
        "mejor": None if best is None else float(best.fitness),
        "media": folded(terms) / len(terms) if terms else None,
        "peor": None if worst is None else float(worst.fitness),
        "diversidad": spread / len(wide) if wide else 0.0, "activas": len(people),
        "mejor_id": None if best is None else best.entity.id,
        "genes": None if best is None else _genes(best.entity.genes),
    }  # fmt: skip


def _deviation(away: Sequence[tuple[int, float]]) -> float:
    if not away:
        return 0.0
    s, q, m = folded(away), folded([(place, d * d) for place, d in away]), len(away)
    variance = (q - s * s / m) / m
    return math.sqrt(variance) if variance > 0.0 else 0.0


def _genes(genes: Mapping[str, np.float32]) -> dict[str, float]:
    return {name: float(value) for name, value in genes.items()}


def generation(
    block: Block, head: Mapping[str, Any], new: Sequence[New], listed: Sequence[New], every: int,
    after: int,
) -> list[Told]:  # fmt: skip
    """What is told of the evolution of a block, whose ``figures`` were ``head``; ``listed``: those
    of the ``new`` ones whose parents are told; ``every``: of so many generations the figures."""
    name, number = block.settings.name, block.generation
    if not listed and (every == 0 or (number != 1 and number % every)):
        return []
    detail = {**head, "generacion": number, "hijos": len(new)}
    births = []
    for one in listed:
        mother, father = one.parents
        birth = {"madre": mother, "padre": None if father == mother else father, "how": one.how,
                 "generacion": number, "genes": _genes(one.genes)}  # fmt: skip
        births.append(Told(after, LINEAGE, name, one.entity.id, birth))
    return [Told(after, GENERATION, name, None, detail), *births]
