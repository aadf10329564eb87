"""Mean and deviation of a tick's good values, in the order that docs/rules.md gives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

LANES: Final = 16


def folded(terms: Sequence[tuple[int, float]]) -> float:
    """The sum of (place, term): a lane for each place modulo 16, and the lanes folded."""
    lanes = [0.0] * LANES
    for place, term in terms:
        lanes[place % LANES] += term
    half = LANES // 2
    while half:
        for k in range(half):
            lanes[k] += lanes[k + half]
        half //= 2
    return lanes[0]


def of_places(good: Sequence[tuple[int, np.float32]]) -> tuple[float, float]:
    """media and desviacion of a Micro block: about the first value, or about the mean."""
    g, first = len(good), float(good[0][1])
    s, q = _moments(good, first)
    if s * s / g <= 0.9375 * q:
        media = first + s / g
    else:
        media = folded([(place, float(x)) for place, x in good]) / g
        s, q = _moments(good, media)
    return media, _root((q - s * s / g) / (g - 1) if g > 1 else 0.0)


def _moments(good: Sequence[tuple[int, np.float32]], about: float) -> tuple[float, float]:
    away = [(place, float(x) - about) for place, x in good]
    return folded(away), folded([(place, d * d) for place, d in away])


def of_runs(good: Sequence[tuple[int, np.float32]]) -> tuple[float, float]:
    """media and desviacion of a Celu block: one pass (Youngs and Cramer 1971)."""
    total = moment = 0.0
    for k, (_, value) in enumerate(good, 1):
        x = float(value)
        total += x
        if k > 1:
            away = k * x - total
            moment += away * away / (k * (k - 1))
    count = len(good)
    return total / count, _root(moment / (count - 1) if count > 1 else 0.0)


def _root(variance: float) -> float:
    return math.sqrt(variance) if variance > 0.0 else 0.0
