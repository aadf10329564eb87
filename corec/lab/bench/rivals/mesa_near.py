"""Mesa 3: who is around on a torus. A dict of cells, filled anew for each tick, for agents with
``x`` and ``y``: with some hundred of them quicker than Mesa's own ContinuousSpace, which looks at
everybody for each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple


class Seen(NamedTuple):
    """An agent, and how far it is, the short way round."""

    agent: Any
    dx: float
    dy: float
    distance2: float


class Near:
    """Agents of a square of ``side``, by cells no smaller than ``radius``."""

    def __init__(self, side: float, radius: float) -> None:
        self.side, self.radius = side, radius
        self.wide = int(side // radius)
        if self.wide < 3:
            raise ValueError(f"found {self.wide} cells a side, expected 3 or more")
        self._cells: dict[tuple[int, int], list[Any]] = {}

    def sort(self, agents: Iterable[Any]) -> None:
        """Where they are now; they may move afterwards."""
        self._cells = {}
        for agent in agents:
            self._cells.setdefault(self._cell(agent.x, agent.y), []).append(agent)

    def of(self, x: float, y: float) -> Iterator[Seen]:
        """Whoever is within the radius, the one at the place itself among them."""
        side, wide, least = self.side, self.wide, self.radius * self.radius
        column, row = self._cell(x, y)
        for cy in (row - 1, row, row + 1):
            for cx in (column - 1, column, column + 1):
                for agent in self._cells.get((cx % wide, cy % wide), ()):
                    dx, dy = agent.x - x, agent.y - y
                    dx, dy = dx - side * round(dx / side), dy - side * round(dy / side)
                    if (distance2 := dx * dx + dy * dy) <= least:
                        yield Seen(agent, dx, dy, distance2)

    def _cell(self, x: float, y: float) -> tuple[int, int]:
        share = self.wide / self.side
        return int(x * share) % self.wide, int(y * share) % self.wide
