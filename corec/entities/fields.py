"""What a processor keeps for each entity: columns of numbers, and rings of the last ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from corec import layout as L

HISTORY_COUNT: Final = "i8"
"""Type of a history's count of pushes: it never wraps, so ``len`` and the cursor stay right."""


@dataclass(frozen=True)
class StateField:
    """One state column: NumPy ``dtype`` string and the value it starts with."""

    name: str
    dtype: str
    default: float = 0.0

    @property
    def itemsize(self) -> int:
        """Bytes of one value."""
        return int(np.dtype(self.dtype).itemsize)


@dataclass(frozen=True)
class HistoryField:
    """A ring of the last ``length`` values of one entity (float32)."""

    name: str
    length: int

    @property
    def slots(self) -> int:
        """Values the ring holds: the spare ones keep what a redo still has to read."""
        return self.length + L.HISTORY_SPARE

    @property
    def count_field(self) -> str:
        """Hidden i8 state field: values pushed so far."""
        return f"{self.name}__n"
