"""Mesa 3: Schelling's two groups on Mesa's own grid; all look, then who is not content moves to one
of the cells that were empty, each as likely as another."""

from __future__ import annotations

from typing import Any

import mesa
import numpy as np
from mesa.discrete_space import CellAgent, OrthogonalMooreGrid
from numpy.typing import NDArray


class Citizen(CellAgent):  # type: ignore[misc]  # its classes are untyped
    """One of a group."""

    def __init__(self, model: MesaTown, group: int, cell: Any) -> None:
        super().__init__(model)
        self.group, self.cell = group, cell

    def look(self) -> None:
        """Whether it is content."""
        around = [other.group for other in self.cell.neighborhood.agents]
        if around.count(self.group) < self.model.wanted * len(around):
            self.model.movers.append(self)


class MesaTown(mesa.Model):  # type: ignore[misc]  # likewise
    """A torus. ``groups``: int[high, wide], 0 where nobody lives."""

    def __init__(self, groups: NDArray[Any], wanted: float, seed: int) -> None:
        super().__init__(seed=seed)
        self.wanted = wanted
        self.movers: list[Citizen] = []
        self.grid = OrthogonalMooreGrid(groups.shape, torus=True, capacity=1, random=self.random)
        self._made = [
            Citizen(self, int(groups[place]), self.grid[tuple(int(k) for k in place)])
            for place in zip(*np.nonzero(groups), strict=True)
        ]

    def tick(self) -> None:
        """Who is not content moves."""
        self.movers = []
        self.agents.do("look")
        empty = [cell for cell in self.grid.all_cells if cell.is_empty]
        self.random.shuffle(self.movers)
        self.random.shuffle(empty)
        for one, cell in zip(self.movers, empty, strict=False):
            one.cell = cell

    @property
    def groups(self) -> NDArray[np.int64]:
        """Who lives where."""
        found = np.zeros(self.grid.dimensions, np.int64)
        for one in self._made:
            found[one.cell.coordinate] = one.group
        return found
