"""What every rival of the tick computes: the sensor's parameters, blocks, umbral and messages.

    x ← mu + phi · (x − mu) + noise · (u − 1/2);   message if x > umbral of its block;
    umbral ← clamp(0.5 + 0.3 σ + 0.2 errors / n, 0.1, 0.9), σ over the block's values of this tick

A rival is made from the values at tick 0 (f32[n], n a multiple of ``BLOCK``). ``uniforms`` (tick →
f32[n]) replaces its own random numbers for the check that it computes the same as CoreC.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

BLOCK: Final = 1000
MU: Final = 0.3
PHI: Final = 0.95
NOISE: Final = 0.1082
UMBRAL: Final = 0.5

Values = NDArray[np.float32]
Uniforms = Callable[[int], Values]


class TickRival(Protocol):
    """A rival with ``n`` sensors."""

    n: int
    messages: int
    """Messages since tick 0."""

    def tick(self) -> None:
        """One tick of all."""

    def values(self) -> Values:
        """f32[n]: the values now, in order of ids."""


def clamp(raw: float) -> float:
    """The bounds of umbral."""
    return min(max(raw, 0.1), 0.9)
