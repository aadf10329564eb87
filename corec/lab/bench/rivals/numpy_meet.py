"""NumPy, as an expert writes them: Schelling's two groups and an epidemic in a graph, each by whole
arrays, in the rules of ``schelling`` and ``sir_graph``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


class NumpyTown:
    """A torus. ``groups``: int[high, wide], 0 where nobody lives."""

    def __init__(self, groups: NDArray[Any], wanted: float, seed: int) -> None:
        self.groups = groups.astype(np.uint8)
        self._wanted = wanted
        self._rng = np.random.default_rng(seed)
        high, wide = groups.shape
        self._padded = np.zeros((high + 2, wide + 2), np.uint8)

    def _around(self, cells: NDArray[Any]) -> NDArray[np.uint8]:
        """How many of the eight neighbours are 1."""
        p = self._padded
        p[1:-1, 1:-1] = cells
        p[0, 1:-1], p[-1, 1:-1] = cells[-1], cells[0]
        p[:, 0], p[:, -1] = p[:, -2], p[:, 1]
        rows = p[:, :-2] + p[:, 1:-1] + p[:, 2:]
        sums: NDArray[np.uint8] = rows[:-2] + rows[1:-1] + rows[2:] - cells
        return sums

    def tick(self) -> None:
        """Who is not content moves to a cell that was empty."""
        first, second = self._around(self.groups == 1), self._around(self.groups == 2)
        alike = np.where(self.groups == 1, first, second)
        unhappy = (self.groups > 0) & (alike < np.float32(self._wanted) * (first + second))
        movers = np.flatnonzero(unhappy)
        empty = self._rng.permutation(np.flatnonzero(self.groups == 0))
        self._rng.shuffle(movers)
        many = min(movers.size, empty.size)
        flat = self.groups.reshape(-1)
        flat[empty[:many]] = flat[movers[:many]]
        flat[movers[:many]] = 0


class NumpyEpidemic:
    """``fase``: u1[n]; ``starts``, ``who``: the contacts of i are who[starts[i]:starts[i + 1]];
    ``given``: the parameters of ``sir_graph``."""

    def __init__(
        self, fase: NDArray[Any], starts: NDArray[Any], who: NDArray[Any],
        given: Mapping[str, float], seed: int,
    ) -> None:  # fmt: skip
        self.fase = fase.astype(np.uint8)
        self._who, self._given = who, given
        self._starts = np.minimum(starts[:-1], max(who.size - 1, 0)).astype(np.int64)
        self._alone = starts[1:] == starts[:-1]
        self._rng = np.random.default_rng(seed)

    def tick(self) -> None:
        """One step of everybody."""
        ill = np.add.reduceat((self.fase == 1)[self._who], self._starts, dtype=np.float32)
        ill[self._alone] = 0.0
        u = self._rng.random(self.fase.size, np.float32)
        caught = (self.fase == 0) & (u < 1.0 - np.exp(np.float32(-self._given["beta"]) * ill))
        healed = (self.fase == 1) & (u < np.float32(self._given["gamma"]))
        self.fase[caught] = 1
        self.fase[healed] = 2
