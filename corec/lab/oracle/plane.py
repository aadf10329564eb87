"""A ``space`` of the kind plane as docs/rules.md gives it: where entities are, who is near whom."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from corec.lab.oracle.philox import uniform

WIDER: Final = 1.0001
Axis = NDArray[np.float32]


@dataclass(frozen=True)
class Plane:
    """Of one bloque."""

    position: tuple[str, ...]
    size: tuple[np.float32, ...]
    wrap: bool
    radius: np.float32

    @classmethod
    def of(cls, space: Mapping[str, Any]) -> Plane:
        """As the configuration says it."""
        names, size = tuple(space["position"]), space["size"]
        sides = size if isinstance(size, list | tuple) else [size] * len(names)
        return cls(names, tuple(map(np.float32, sides)), bool(space.get("wrap", True)),
                   np.float32(space.get("radius", 1)))  # fmt: skip

    def begin(self, state: dict[str, Any], seed: int, identity: int) -> None:
        """Where an entity begins that says nothing of it."""
        if any(state[name] != 0 for name in self.position):
            return
        for axis, (name, side) in enumerate(zip(self.position, self.size, strict=True)):
            state[name] = self._held(uniform(seed, identity, 0, axis) * side, side)

    def hold(self, state: dict[str, Any]) -> bool:
        """Keep an entity, or what a child is given, on the plane; False: it was nowhere."""
        here = [(n, side) for n, side in zip(self.position, self.size, strict=True) if n in state]
        somewhere = all(np.isfinite(state[name]) for name, _ in here)
        for name, side in here:
            state[name] = self._held(state[name], side)
        return somewhere

    def _held(self, x: np.float32, side: np.float32) -> np.float32:
        zero = np.float32(0.0)
        if np.isnan(x):
            return zero
        if not self.wrap:
            return min(max(x, zero), side)
        if zero <= x < side:
            return x
        with np.errstate(all="ignore"):
            turned = x - side * np.floor(x / side)
        return turned if zero <= turned < side else zero

    def cells(self, n: int) -> list[int]:
        """How many cells each axis has, of n entities."""
        most = math.ceil((2 * n) ** (1 / len(self.size)))
        wide = WIDER * float(self.radius)
        return [max(1, min(math.floor(float(side) / wide), most)) for side in self.size]


class Near(NamedTuple):
    """Somebody who is near: how far along each axis, and the square of the distance."""

    id: int
    away: tuple[np.float32, ...]
    distance2: np.float32


class Chart:
    """Where the entities of a bloque were at the end of a tick."""

    def __init__(
        self, plane: Plane, ids: Sequence[int], shown: Mapping[int, Mapping[str, Any]]
    ) -> None:
        here = [i for i in ids if shown[i].get("vivo", 1) != 0]
        self._ids = np.array(here, np.int64)
        self._at: list[Axis] = [
            np.array([shown[i][name] for i in here], np.float32) for name in plane.position
        ]
        self._cells = plane.cells(len(ids))
        self._cell = [
            self._cell_of(at, side, count)
            for at, side, count in zip(self._at, plane.size, self._cells, strict=True)
        ]

    @staticmethod
    def _cell_of(at: Axis, side: np.float32, count: int) -> NDArray[np.int64]:
        found: NDArray[np.int64] = np.floor(at * (np.float32(count) / side)).astype(np.int64)
        return np.minimum(found, count - 1)

    def near(
        self, looks: Plane, place: Sequence[np.float32], itself: int | None = None
    ) -> list[Near]:
        """Who is near ``place`` for one of the bloque ``looks``, in order."""
        away, ranks = [], []
        total = np.zeros(len(self._ids), np.float32)
        for axis, (side, count) in enumerate(zip(looks.size, self._cells, strict=True)):
            d = self._at[axis] - place[axis]
            if looks.wrap:
                half = side / np.float32(2.0)
                d = np.where(d > half, d - side, np.where(d < -half, d + side, d))
            total = d * d if axis == 0 else total + d * d
            away.append(d)
            centre = int(self._cell_of(np.array([place[axis]], np.float32), side, count)[0])
            order = _order(looks, side, count, centre, axis == 0)
            rank = np.full(count, -1)
            rank[order] = np.arange(len(order))
            ranks.append(rank[self._cell[axis]])
        found = total <= looks.radius * looks.radius
        for rank in ranks:
            found &= rank >= 0
        if itself is not None:
            found &= self._ids != itself
        ordered = np.lexsort((self._ids, *ranks))
        return [
            Near(int(self._ids[k]), tuple(d[k] for d in away), total[k])
            for k in ordered if found[k]
        ]  # fmt: skip


def _order(looks: Plane, side: np.float32, count: int, centre: int, along_x: bool) -> list[int]:
    """The cells along an axis that are looked at, as they come."""
    reach = max(1, math.ceil(WIDER * float(looks.radius) * count / float(side)))
    if not looks.wrap:
        return [c for c in range(centre - reach, centre + reach + 1) if 0 <= c < count]
    if 2 * reach + 1 >= count and along_x:
        return list(range(count))
    return [(centre - reach + k) % count for k in range(min(2 * reach + 1, count))]
