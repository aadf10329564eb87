"""Mesa 3: a forest by the rules of ``forest_fire`` on Mesa's own grid, an agent a cell; all look,
then all change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mesa
from mesa.discrete_space import FixedAgent, OrthogonalMooreGrid
from numpy.typing import NDArray


class Plot(FixedAgent):  # type: ignore[misc]  # its classes are untyped
    """Empty, a tree (1) or burning (2)."""

    def __init__(self, model: MesaForest, state: int, cell: Any) -> None:
        super().__init__(model)
        self.cell = cell
        self.state = self.then = state

    def look(self) -> None:
        """What it will be."""
        given, random = self.model.given, self.model.random
        if self.state == 2:
            self.then = 0
        elif self.state == 1:
            fire = any(other.state == 2 for other in self.cell.neighborhood.agents)
            if fire or random.random() < given["lightning"]:
                self.then = 2
        elif random.random() < given["growth"]:
            self.then = 1

    def change(self) -> None:
        """Be it."""
        self.state = self.then


class MesaForest(mesa.Model):  # type: ignore[misc]  # likewise
    """A torus. ``cells``: int[high, wide]; ``given``: the parameters of ``forest_fire``."""

    def __init__(self, cells: NDArray[Any], given: Mapping[str, float], seed: int) -> None:
        super().__init__(seed=seed)
        self.given = given
        grid = OrthogonalMooreGrid(cells.shape, torus=True, capacity=1, random=self.random)
        self._made = [
            Plot(self, int(cells[y, x]), grid[y, x])
            for y in range(cells.shape[0])
            for x in range(cells.shape[1])
        ]

    def tick(self) -> None:
        """One step of every cell."""
        self.agents.do("look")
        self.agents.do("change")

    def count(self, state: int) -> int:
        """How many cells are that."""
        return sum(one.state == state for one in self._made)
