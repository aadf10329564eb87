"""Mesa 3: an agent per sensor, activated by ``AgentSet.do``; each block keeps its own sums."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import mesa
import numpy as np

from corec.lab.bench.rivals.sensor import BLOCK, MU, NOISE, PHI, UMBRAL, Uniforms, Values, clamp


@dataclass
class Block:
    """Sums of the tick at hand over one block."""

    umbral: float = UMBRAL
    total: float = 0.0
    squares: float = 0.0
    errors: int = 0

    def close(self) -> None:
        """The tick is over: the next umbral."""
        variance = (self.squares - self.total**2 / BLOCK) / (BLOCK - 1)
        raw = 0.5 + 0.3 * math.sqrt(max(variance, 0.0)) + 0.2 * self.errors / BLOCK
        self.umbral = clamp(raw)
        self.total = self.squares = 0.0
        self.errors = 0


class Sensor(mesa.Agent):  # type: ignore[misc]  # its classes are untyped
    """One sensor."""

    def __init__(self, model: MesaTick, block: Block, number: int, value: float) -> None:
        super().__init__(model)
        self.block, self.number, self.value = block, number, value

    def step(self) -> None:
        """One tick."""
        model, block = self.model, self.block
        x = MU + PHI * (self.value - MU) + NOISE * (model.uniform() - 0.5)
        if not math.isfinite(x):
            block.errors += 1
            return
        self.value = x
        d = x - MU
        block.total += d
        block.squares += d * d
        if x > block.umbral:
            model.outbox.append((self.number, x))


class MesaTick(mesa.Model):  # type: ignore[misc]  # its classes are untyped
    """The model."""

    def __init__(self, valor: Values, uniforms: Uniforms | None = None) -> None:
        super().__init__(seed=42)
        self.n = valor.size
        self.messages = 0
        self.outbox: list[tuple[int, float]] = []
        self._given = uniforms
        self._draws: Iterator[float] = iter(())
        self._tick = 0
        self.blocks = [Block() for _ in range(self.n // BLOCK)]
        for number, value in enumerate(valor.tolist()):
            Sensor(self, self.blocks[number // BLOCK], number, value)

    def uniform(self) -> float:
        """A number in [0, 1): the model's own generator, unless numbers were given."""
        return next(self._draws) if self._given else self.random.random()

    def tick(self) -> None:
        """One tick of all."""
        self._tick += 1
        if self._given:
            self._draws = iter(self._given(self._tick).tolist())
        self.outbox.clear()
        self.agents.do("step")
        self.messages += len(self.outbox)
        for block in self.blocks:
            block.close()

    def values(self) -> Values:
        """f32[n]."""
        return np.array([agent.value for agent in self.agents], np.float32)
