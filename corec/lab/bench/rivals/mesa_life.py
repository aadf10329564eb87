"""Mesa 3: Life as its own example has it, an agent for each cell, which knows its neighbours; all
look, then all change."""

from __future__ import annotations

from typing import Any

import mesa
import numpy as np
from numpy.typing import NDArray


class Cell(mesa.Agent):  # type: ignore[misc]  # its classes are untyped
    """One cell."""

    def __init__(self, model: MesaLife, alive: int) -> None:
        super().__init__(model)
        self.alive = self.then = alive
        self.near: list[Cell] = []

    def look(self) -> None:
        """What it will be."""
        near = sum(other.alive for other in self.near)
        self.then = int(near == 3 or (near == 2 and self.alive == 1))

    def change(self) -> None:
        """Be it."""
        self.alive = self.then


class MesaLife(mesa.Model):  # type: ignore[misc]  # likewise
    """A torus."""

    def __init__(self, cells: NDArray[Any]) -> None:
        super().__init__(seed=42)
        high, wide = cells.shape
        made = [[Cell(self, int(alive)) for alive in row] for row in cells]
        steps = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]
        for y in range(high):
            for x in range(wide):
                made[y][x].near = [made[(y + dy) % high][(x + dx) % wide] for dy, dx in steps]
        self._made = made

    def tick(self) -> None:
        """One generation."""
        self.agents.do("look")
        self.agents.do("change")

    @property
    def cells(self) -> NDArray[np.uint8]:
        """Which live."""
        return np.array([[cell.alive for cell in row] for row in self._made], np.uint8)
