"""What a processor keeps for each entity: columns of numbers, and rings of the last ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from corec import layout as L
from corec.entities.errors import ProcessorError

FIELD_DTYPES: Final = ("f4", "f8", "i1", "u1", "i2", "u2", "i4", "u4", "i8")
HISTORY_LENGTH_MAX: Final = 4096
BY_TIME: Final = "by_time"
HISTORY_COUNT: Final = "i8"
"""Type of a history's count of pushes: it never wraps, so ``len`` and the cursor stay right."""


VIVO: Final = "vivo"
"""1 for an entity that lives, 0 for a place that is free."""
LIVES_STATE: Final = {VIVO: ("u1", 1), "generacion": "u4"}
"""The state fields that ``mortal`` adds, the last ones; ``generacion`` counts a place's births."""


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
    """A ring of the last ``length`` values of one entity (float32).

    It lies as rows, one for each entity, or ``by_time``: as rows, one for each slot, with the value
    of every entity. Who pushes for all entities at once then writes one row.
    """

    name: str
    length: int
    by_time: bool = False

    @property
    def slots(self) -> int:
        """Values the ring holds: the spare ones keep what a redo still has to read."""
        return self.length + L.HISTORY_SPARE

    def strides(self, cap: int) -> tuple[int, int]:
        """Bytes from an entity to the next, and from a slot to the next, in a block of ``cap``."""
        return (4, 4 * cap) if self.by_time else (4 * self.slots, 4)

    @property
    def count_field(self) -> str:
        """Hidden i8 state field: values pushed so far."""
        return f"{self.name}__n"


def field_of(name: str, spec: Any, owner: str) -> StateField:
    """A state field as it was declared. Raises ProcessorError."""
    parts = (spec, 0) if isinstance(spec, str) else spec
    if not isinstance(parts, tuple) or len(parts) != 2 or parts[0] not in FIELD_DTYPES:
        raise ProcessorError(
            f"{owner}: state {name!r} is {spec!r}, allowed: a type or (type, initial value), "
            f"type one of {', '.join(FIELD_DTYPES)}"
        )
    dtype, default = parts
    try:
        value = np.array(default).item()
        with np.errstate(all="raise", under="ignore"):  # a subnormal number is one
            held = np.array(value).astype(dtype)
        same = held.item() == value or (held.dtype.kind == "f" and held.item() != 0.0)
        fits = bool(np.isfinite(held)) and same
    except (TypeError, ValueError, FloatingPointError, OverflowError):
        fits = False
    if not fits:
        raise ProcessorError(f"{owner}: state {name!r} starts as {default!r}, which {dtype} can't")
    return StateField(name, dtype, held.item())


def history_of(name: str, spec: Any, owner: str) -> HistoryField:
    """A history as it was declared. Raises ProcessorError."""
    known = isinstance(spec, tuple) and spec[0:1] == ("f4",) and spec[2:] in ((), (BY_TIME,))
    if not known or type(spec[1]) is not int or not 1 <= spec[1] <= HISTORY_LENGTH_MAX:
        raise ProcessorError(
            f"{owner}: history {name!r} is {spec!r}, allowed ('f4', 1 to {HISTORY_LENGTH_MAX}) or "
            f"('f4', 1 to {HISTORY_LENGTH_MAX}, '{BY_TIME}')"
        )
    return HistoryField(name, spec[1], len(spec) == 3)
