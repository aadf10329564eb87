"""What a block says: messages, repairs, rows with their histogram (docs/rules.md, docs/sql.md)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

BINS: Final = 16


@dataclass(frozen=True)
class Message:
    """One message of an out-stream."""

    tick: int
    id: int
    canal: int
    valor: np.float32
    named: tuple[tuple[str, Any], ...] = ()
    """What the processor's alerts name, as it was then, in the types of its fields."""
    alert: bool = False
    """Whether it is one: its processor may have had no alerts earlier."""


@dataclass(frozen=True)
class Repair:
    """One repair: ``how`` is "inherit" or "reset"."""

    tick: int
    block: str
    id: int
    donor: int
    how: str


@dataclass(frozen=True)
class Histogram:
    """16 equal bins from ``low`` to ``high``."""

    low: np.float32
    high: np.float32
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """A row of ``bloques`` with what its payload holds."""

    block: str
    canal: int
    tick: int
    num_entidades: int
    activas: int
    errores: int
    reparadas: int
    carga: float
    umbral: float
    fitness: float
    media: float
    desviacion: float
    mensajes: int
    desde: int
    messages: tuple[Message, ...]
    omitidos: int
    histogram: Histogram
    has_payload: bool = True


def histogram(values: Sequence[np.float32]) -> Histogram:
    """16 equal bins; all of it zero when there is no value."""
    if not values:
        return Histogram(np.float32(0.0), np.float32(0.0), (0,) * BINS)
    low, high = min(values, key=_order), max(values, key=_order)
    counts = [0] * BINS
    for value in values:
        place = 0
        if high > low:
            step = BINS / (float(high) - float(low))
            place = min(BINS - 1, math.floor((float(value) - float(low)) * step))
        counts[place] += 1
    return Histogram(low, high, tuple(counts))


def _order(value: np.float32) -> tuple[float, float]:
    """As numbers, and −0 before +0."""
    return float(value), math.copysign(1.0, value)
