"""How many places run, and between what the threshold moves (docs/rules.md)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def width_of(n: int, carga: float) -> int:
    """Places that run in a tick."""
    return next(w for w in range(max(1, int(n * carga) - 1), n + 1) if w / n >= carga)


def limits_of(umbral: Any) -> tuple[float, float, float]:
    """Least, largest and first threshold of what ``umbral`` of a bloque says."""
    if umbral == "siempre":
        return -math.inf, -math.inf, -math.inf
    if umbral == "nunca":
        return math.inf, math.inf, math.inf
    if isinstance(umbral, Mapping):
        low, high = (_single(umbral.get(*part)) for part in (("min", 0.1), ("max", 0.9)))
        first = _single(umbral["inicial"]) if "inicial" in umbral else min(max(0.5, low), high)
        return low, high, first
    if umbral is not None:
        return (_single(umbral),) * 3
    return 0.1, 0.9, 0.5


def _single(number: float) -> float:
    return float(np.float32(number))
