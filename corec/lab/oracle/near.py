"""``me.neighbours`` as docs/rules.md gives it: what others show, by the last tick. Who is near on a
grid is here, in a graph in ``graphs``, on a plane in ``plane``."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Grid:
    """A ``space`` of the kind grid."""

    width: int
    height: int = 1
    depth: int = 1
    wrap: bool = True
    moore: bool = True
    radius: int = 1

    @classmethod
    def of(cls, space: Mapping[str, Any]) -> Grid:
        """As the configuration says it."""
        return cls(
            int(space["width"]), int(space.get("height") or 1), int(space.get("depth") or 1),
            bool(space.get("wrap", True)), space.get("neighbourhood", "moore") == "moore",
            int(space.get("radius", 1)),
        )  # fmt: skip

    def around(self, cell: int) -> list[int]:
        """The cells of the neighbours of one, in their order."""
        sides = (self.depth, self.height, self.width)
        here = (cell // (self.width * self.height), cell // self.width % self.height,
                cell % self.width)  # fmt: skip
        steps = [range(-self.radius, self.radius + 1) if side > 1 else range(1) for side in sides]
        found = []
        for step in itertools.product(*steps):
            if not any(step) or (not self.moore and sum(map(abs, step)) > self.radius):
                continue
            there = [at + s for at, s in zip(here, step, strict=True)]
            if self.wrap:
                there = [at % side for at, side in zip(there, sides, strict=True)]
            if all(0 <= at < side for at, side in zip(there, sides, strict=True)):
                found.append((there[0] * self.height + there[1]) * self.width + there[2])
        return found


class Neighbours:
    """Of one entity; ``shown``: id → public fields of all that it may see."""

    def __init__(
        self, ids: Sequence[int], shown: Mapping[int, Mapping[str, Any]],
        more: Sequence[Mapping[str, Any]] = (), others: Mapping[str, Neighbours] | None = None,
    ) -> None:  # fmt: skip
        """``more``: what is known of each beside what it shows; ``others``: of other bloques."""
        self._ids, self._shown = ids, shown
        self._more, self._others = more or [{}] * len(ids), others or {}

    def __iter__(self) -> Iterator[SimpleNamespace]:
        for identity, more in zip(self._ids, self._more, strict=True):
            yield SimpleNamespace(id=identity, **self._shown[identity], **more)

    def of(self, name: str) -> Neighbours:
        """Those of another bloque on the same plane."""
        return self._others[name]

    def _values(self, name: str) -> list[Any]:
        return [self._shown[identity][name] for identity in self._ids]

    def count(self, name: str | None = None) -> int:
        """How many, of the own bloque or of another."""
        return len(self._ids if name is None else self._others[name]._ids)

    def sum(self, name: str) -> Any:
        """Added up in the field's type, from 0."""
        values = self._values(name)
        total = type(values[0])(0) if values else np.float32(0.0)
        for value in values:
            total = total + value
        return total

    def mean(self, name: str) -> Any:
        """The sum divided by the count, 0 when there are none."""
        total, count = self.sum(name), len(self._ids)
        if isinstance(total, int):
            return np.float32(total / count if count else 0.0)
        return type(total)(total / type(total)(count)) if count else total

    def min(self, name: str) -> Any:
        """The least, the first one of equal ones."""
        values = self._values(name)
        return min(values) if values else 0

    def max(self, name: str) -> Any:
        """The greatest, the first one of equal ones."""
        values = self._values(name)
        return max(values) if values else 0

    def count_equal(self, name: str, value: Any) -> int:
        """How many have that number."""
        return sum(bool(one == value) for one in self._values(name))
