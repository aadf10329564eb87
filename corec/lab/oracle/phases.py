"""What is told of what happens between two ticks: generations, births, fusions (docs/rules.md,
docs/evolution.md, docs/sql.md)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from corec.lab.oracle.compare import lists, same

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
