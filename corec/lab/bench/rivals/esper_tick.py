"""esper: an entity-component system in plain Python; one processor over (Sensor, Member)."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

import esper
import numpy as np

from corec.lab.bench.rivals.sensor import BLOCK, MU, NOISE, PHI, UMBRAL, Uniforms, Values, clamp

_worlds = count()


@dataclass
class Sensor:
    """The value of an entity."""

    value: float


@dataclass
class Member:
    """Which block an entity is in, and its number."""

    block: int
    number: int


class EsperTick:
    """A world of its own."""

    def __init__(self, valor: Values, uniforms: Uniforms | None = None) -> None:
        self.n = valor.size
        self.messages = 0
        self._given = uniforms
        self._tick = 0
        self._world = f"bench {next(_worlds)}"
        self._random = random.Random(42)
        esper.switch_world(self._world)
        for number, value in enumerate(valor.tolist()):
            esper.create_entity(Sensor(value), Member(number // BLOCK, number))
        self._umbral = [UMBRAL] * (self.n // BLOCK)

    def tick(self) -> None:
        self._tick += 1
        uniform: Callable[[], float] = self._random.random
        if self._given:
            uniform = iter(self._given(self._tick).tolist()).__next__
        blocks = len(self._umbral)
        total, squares, errors = [0.0] * blocks, [0.0] * blocks, [0] * blocks
        umbral = self._umbral
        outbox = []
        esper.switch_world(self._world)
        for _, (sensor, member) in esper.get_components(Sensor, Member):
            x = MU + PHI * (sensor.value - MU) + NOISE * (uniform() - 0.5)
            b = member.block
            if not math.isfinite(x):
                errors[b] += 1
                continue
            sensor.value = x
            d = x - MU
            total[b] += d
            squares[b] += d * d
            if x > umbral[b]:
                outbox.append((member.number, x))
        self.messages += len(outbox)
        for b in range(blocks):
            variance = (squares[b] - total[b] ** 2 / BLOCK) / (BLOCK - 1)
            raw = 0.5 + 0.3 * math.sqrt(max(variance, 0.0)) + 0.2 * errors[b] / BLOCK
            umbral[b] = clamp(raw)

    def values(self) -> Values:
        esper.switch_world(self._world)
        found = np.zeros(self.n, np.float32)
        for _, (sensor, member) in esper.get_components(Sensor, Member):
            found[member.number] = sensor.value
        return found
