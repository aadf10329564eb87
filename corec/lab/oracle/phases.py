"""What is told of what happens between two ticks: generations, births, fusions (docs/rules.md,
docs/evolution.md, docs/sql.md)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from corec.lab.oracle.compare import lists, same
from corec.lab.oracle.stats import folded

if TYPE_CHECKING:
    from corec.lab.oracle.block import Block
    from corec.lab.oracle.evolution import Individual, New

GENERATION: Final = "generation"
LINEAGE: Final = "lineage"
KINDS: Final = (GENERATION, LINEAGE, "fusion", "division")
FIGURES: Final = ("mejor", "media", "peor", "diversidad")


@dataclass(frozen=True)
class Told:
    """An event of a phase behind a tick; None for what is no number."""

    tick: int
    kind: str
    block: str
    entity: int | None
    detail: Mapping[str, Any]

    @property
    def about(self) -> tuple[int, str, str, int]:
        """What there is one of."""
        return self.tick, self.kind, self.block, -1 if self.entity is None else self.entity


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


def same_told(found: Iterable[Told], wanted: Iterable[Told]) -> None:
    """Every generation, birth, fusion and division.

    Raises:
        Disagreement: at the first difference.
    """
    mine, its = (sorted(those, key=lambda one: one.about) for those in (found, wanted))
    lists("told of phases", [one.about for one in mine], [one.about for one in its])
    for one, other in zip(mine, its, strict=True):
        same(f"{one.kind} of {one.block} tick {one.tick}", _positive(one), _positive(other))


def _positive(one: Told) -> dict[str, Any]:
    """As jsonb has it: no −0."""
    return {name: one.detail[name] + 0.0 if name in FIGURES and one.detail[name] is not None
            else one.detail[name] for name in one.detail}  # fmt: skip
