"""Mesa 3: an epidemic by the rules of ``sir_graph``, an agent a person who knows its contacts; all
look, then all change."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import mesa
import numpy as np
from numpy.typing import NDArray


class Person(mesa.Agent):  # type: ignore[misc]  # its classes are untyped
    """Susceptible, ill (1) or recovered (2)."""

    def __init__(self, model: MesaEpidemic, fase: int) -> None:
        super().__init__(model)
        self.fase = self.then = fase
        self.near: list[Person] = []

    def look(self) -> None:
        """What it will be."""
        model = self.model
        if self.fase == 0:
            ill = sum(other.fase == 1 for other in self.near)
            if model.random.random() < 1.0 - math.exp(-model.given["beta"] * ill):
                self.then = 1
        elif self.fase == 1 and model.random.random() < model.given["gamma"]:
            self.then = 2

    def change(self) -> None:
        """Be it."""
        self.fase = self.then


class MesaEpidemic(mesa.Model):  # type: ignore[misc]  # likewise
    """``fase``: u1[n]; ``contacts(i)``: whom i meets; ``given``: the parameters of
    ``sir_graph``."""

    def __init__(
        self, fase: NDArray[Any], contacts: Callable[[int], Any], given: Mapping[str, float],
        seed: int,
    ) -> None:  # fmt: skip
        super().__init__(seed=seed)
        self.given = given
        self._made = [Person(self, one) for one in fase.tolist()]
        for i, person in enumerate(self._made):
            person.near = [self._made[k] for k in contacts(i).tolist()]

    def tick(self) -> None:
        """One step of everybody."""
        self.agents.do("look")
        self.agents.do("change")

    @property
    def fase(self) -> NDArray[np.uint8]:
        """What everybody is."""
        return np.array([person.fase for person in self._made], np.uint8)
