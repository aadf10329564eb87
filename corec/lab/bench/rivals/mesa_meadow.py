"""Mesa 3: wolves, sheep and grass by the rules of ``wolf_sheep``; all look at what the last tick
left, then all change."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import mesa

from corec.lab.bench.rivals.mesa_near import Near

Given = Mapping[str, Mapping[str, float]]


class Living(mesa.Agent):  # type: ignore[misc]  # its classes are untyped
    """Who is somewhere, and may be eaten by ``eater``."""

    def __init__(self, model: MesaMeadow, x: float, y: float, energy: float = 0.0) -> None:
        super().__init__(model)
        self.x, self.y, self.energy = x, y, energy
        self.eater: Living | None = None
        self.eaten: Living | None = None
        self.meals = 0

    def nearest(self, kind: str, within: float) -> Living | None:
        """The nearest of that kind within a distance."""
        seen = [s for s in self.model.near[kind].of(self.x, self.y) if s.distance2 <= within**2]
        return min(seen, key=lambda one: one.distance2).agent if seen else None

    def count_meals(self, kind: str) -> None:
        """Of those around, who named this one in the last tick."""
        self.meals = sum(s.agent.eater is self for s in self.model.near[kind].of(self.x, self.y))

    def walk_and_bear(self, given: Mapping[str, float]) -> None:
        """A step in any direction, and perhaps a child, which takes half."""
        random, side = self.model.random, self.model.side
        angle = 2.0 * math.pi * random.random()
        self.x = (self.x + given["step"] * math.cos(angle)) % side
        self.y = (self.y + given["step"] * math.sin(angle)) % side
        if random.random() < given["birth"]:
            self.energy *= 0.5
            self.model.born.append((type(self), self.x, self.y, self.energy))


class Grass(Living):
    """It is there, is eaten, grows."""

    green = True

    def look(self) -> None:
        """Who eats it."""
        reach = self.model.given["grass"]["reach"]
        self.eaten = self.nearest("sheep", reach) if self.green else None

    def change(self) -> None:
        """Be eaten, or grow."""
        self.eater = self.eaten
        if self.green:
            self.green = self.eaten is None
        else:
            self.green = self.model.random.random() < self.model.given["grass"]["growth"]


class Sheep(Living):
    """It eats, flees nobody, and perhaps is caught."""

    def look(self) -> None:
        """What it ate, and who catches it."""
        self.count_meals("grass")
        self.eaten = self.nearest("wolf", self.model.given["sheep"]["catch"])

    def change(self) -> None:
        """Eat; die, be caught, or walk."""
        given = self.model.given["sheep"]
        self.energy += given["food"] * self.meals - given["hunger"]
        if self.eater is not None or self.energy < 0.0:
            self.model.dead.append(self)
            return
        self.eater = self.eaten
        if self.eater is None:
            self.walk_and_bear(given)


class Wolf(Living):
    """It eats whom it has caught."""

    def look(self) -> None:
        """What it ate."""
        self.count_meals("sheep")

    def change(self) -> None:
        """Eat; die or walk."""
        given = self.model.given["wolf"]
        self.energy += given["food"] * self.meals - 1.0
        if self.energy < 0.0:
            self.model.dead.append(self)
        else:
            self.walk_and_bear(given)


KINDS = {"grass": Grass, "sheep": Sheep, "wolf": Wolf}


class MesaMeadow(mesa.Model):  # type: ignore[misc]  # likewise
    """A torus. ``start``: by kind the columns x, y (and energy) of who lives; ``given``: by kind
    the parameters of the processor."""

    def __init__(
        self, start: Mapping[str, Mapping[str, Any]], given: Given, side: float, radius: float,
        seed: int,
    ) -> None:  # fmt: skip
        super().__init__(seed=seed)
        self.given, self.side = given, side
        self.near = {kind: Near(side, radius) for kind in KINDS}
        self.born: list[tuple[type[Living], float, float, float]] = []
        self.dead: list[Living] = []
        for kind, made in KINDS.items():
            rows = zip(*(column.tolist() for column in start[kind].values()), strict=True)
            for row in rows:
                made(self, *row)

    def tick(self) -> None:
        """One step of everybody."""
        for kind, made in KINDS.items():
            self.near[kind].sort(self.agents_by_type.get(made, ()))
        self.born, self.dead = [], []
        self.agents.do("look")
        self.agents.do("change")
        for one in self.dead:
            one.remove()
        for made, x, y, energy in self.born:
            made(self, x, y, energy)

    def count(self, kind: str) -> int:
        """How many there are."""
        return len(self.agents_by_type.get(KINDS[kind], ()))

    @property
    def green(self) -> int:
        """How much grass is."""
        return sum(one.green for one in self.agents_by_type[Grass])
