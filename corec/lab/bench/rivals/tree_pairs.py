"""SciPy's cKDTree on a torus: the pairs of a flock, built anew for each tick, as they move."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree


class TreePairs:
    """Where ``points`` (f8[n, 2]) within a square of ``side`` are, and who is within ``radius``."""

    def __init__(self, points: NDArray[np.float64], side: float, radius: float) -> None:
        self.points, self.side, self.radius = points % side, side, radius
        self.pairs: NDArray[Any] = np.zeros((0, 2), np.int64)

    def tick(self) -> None:
        """The tree, and every pair once."""
        tree = cKDTree(self.points, boxsize=self.side)
        self.pairs = tree.query_pairs(self.radius, output_type="ndarray")

    @property
    def count(self) -> int:
        """Neighbours, seen from both sides."""
        return 2 * len(self.pairs)
