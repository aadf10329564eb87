"""A loop written by hand and compiled: two copies, Philox, σ, umbral, messages, and nothing else.

What CoreC's tick would be without what makes it a server's: no commit word, no redo, no
failures per entity, no lanes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from corec.lab.bench.kernels import loop_tick
from corec.lab.bench.rivals.sensor import BLOCK, MU, NOISE, PHI, UMBRAL, Values


class LoopTick:
    """Its Philox is keyed in its own way, so its world is another sample of the same process."""

    def __init__(self, valor: Values) -> None:
        self.n = valor.size
        self.messages = 0
        self._tick = 0
        self._old = valor.reshape(self.n // BLOCK, BLOCK).copy()
        self._new = np.empty_like(self._old)
        self._umbral = np.full(self.n // BLOCK, UMBRAL, np.float32)
        self._picked = np.zeros(2 * self.n, np.uint32)
        self._numbers: Any = (np.float32(MU), np.float32(PHI), np.float32(NOISE))

    def tick(self) -> None:
        self._tick += 1
        tick: Any = loop_tick
        given = (self._tick, *self._numbers, self._picked)
        self.messages += int(tick(self._old, self._new, self._umbral, *given))
        self._old, self._new = self._new, self._old

    def values(self) -> Values:
        return self._old.ravel()
