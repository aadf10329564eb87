"""Mesa 3: a flock by the rules of ``boids``, an agent a bird; all look, then all fly."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import mesa
import numpy as np

from corec.lab.bench.rivals.mesa_near import Near


class Bird(mesa.Agent):  # type: ignore[misc]  # its classes are untyped
    """One bird."""

    def __init__(self, model: MesaFlock, x: float, y: float, vx: float, vy: float) -> None:
        super().__init__(model)
        self.x, self.y, self.vx, self.vy = x, y, vx, vy
        self.then = (vx, vy)

    def look(self) -> None:
        """Where it will fly."""
        given = self.model.given
        align, gather, part, speed = (given[k] for k in ("align", "gather", "part", "speed"))
        ax = ay = 0.0
        many = 0
        for other in self.model.near.of(self.x, self.y):
            if other.agent is self:
                continue
            pull = speed * (gather - part / (other.distance2 + 0.01))
            ax += align * (other.agent.vx - self.vx) + pull * other.dx
            ay += align * (other.agent.vy - self.vy) + pull * other.dy
            many += 1
        vx, vy = self.vx + ax / max(many, 1), self.vy + ay / max(many, 1)
        scale = speed / (math.hypot(vx, vy) + 1e-9)
        self.then = scale * vx, scale * vy
        self.model.pairs += many

    def fly(self) -> None:
        """Do it."""
        self.vx, self.vy = self.then
        self.x, self.y = (self.x + self.vx) % self.model.side, (self.y + self.vy) % self.model.side


class MesaFlock(mesa.Model):  # type: ignore[misc]  # likewise
    """A torus. ``state``: f[n] by the fields' names; ``given``: the parameters of ``boids``."""

    def __init__(
        self, state: Mapping[str, Any], given: Mapping[str, float], side: float, radius: float
    ) -> None:
        super().__init__(seed=42)
        self.given, self.side, self.pairs = given, side, 0
        self.near = Near(side, radius)
        rows = zip(*(state[name].tolist() for name in ("x", "y", "vx", "vy")), strict=True)
        self.birds = [Bird(self, *row) for row in rows]

    def tick(self) -> None:
        """One step of every bird; ``pairs`` is how many neighbours they saw."""
        self.pairs = 0
        self.near.sort(self.birds)
        self.agents.do("look")
        self.agents.do("fly")

    def column(self, name: str) -> Any:
        """f8[n]: a field of every bird."""
        return np.array([getattr(bird, name) for bird in self.birds])
