"""Which blocks are unlike themselves: their last figures against their own history.

Of each block the figures of its last rows are kept. A new one is measured by the median of those
and by their median absolute deviation (MAD · 1.4826 estimates σ, and half of the rows may be wild
without moving it; Hampel 1974). A block that has hardly moved has a MAD near 0, so its figures
are never measured by less than they would scatter by chance, with entities that are independent:
σ/√n for a mean, σ/√2n for a deviation, √(p/n) + 1/n for a share.

Nothing here does anything but compute; ``auditoria`` reads the blocks and tells.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from corec import layout as L

COLUMNS: Final = ("media", "desviacion", "errores", "mensajes")
"""Of a row: mean and deviation of the values; failures and messages for each entity and tick."""
MEDIA, DESVIACION, ERRORES, MENSAJES = range(4)
SIGMA_OF_MAD: Final = 1.4826
ROWS_MIN: Final = 8
"""So many rows are needed before a block can be unlike itself."""
IN_A_ROW: Final = 2
"""So many rows on end are wild before it is told: one may be chance, or half a change."""

Floats = NDArray[np.float64]
Words = NDArray[np.uint64]


class Anomaly(NamedTuple):
    """A figure of a block that is unlike the block's."""

    block: int
    column: str
    value: float
    median: float
    sigma: float
    score: float
    """How many sigma it is off."""


def figures(before: Words, now: Words, n: NDArray[Any]) -> Floats:
    """f8[blocks, 4] out of the dynamic words at two rows; NaN where no tick lies between."""
    numbers = now.view(np.float64)
    ticks = now[:, L.D_TICK].astype(np.float64) - before[:, L.D_TICK].astype(np.float64)
    runs = np.where(ticks > 0, ticks, np.nan) * n
    found = np.empty((len(now), len(COLUMNS)))
    found[:, MEDIA], found[:, DESVIACION] = numbers[:, L.D_MEDIA], numbers[:, L.D_DESVIACION]
    for column, word in ((ERRORES, L.D_FAILURES), (MENSAJES, L.D_MESSAGES)):
        found[:, column] = (now[:, word] - before[:, word]).astype(np.float64) / runs
    return found


class Audit:
    """The histories of all blocks, and who has been told of. ``n``: entities of each block."""

    def __init__(self, n: NDArray[Any], rows: int, limit: float) -> None:
        self._n, self._limit = n.astype(np.float64)[:, None], limit
        self.history = np.full((rows, len(n), len(COLUMNS)), np.nan)
        self.held = np.zeros(len(n), np.int64)
        self._wild = np.zeros((len(n), len(COLUMNS)), np.int64)
        self._told = np.zeros((len(n), len(COLUMNS)), bool)

    def scores(self, which: NDArray[np.int64], found: Floats) -> tuple[Floats, Floats, Floats]:
        """f8[which, 4] each: how many sigma off, the medians, the sigmas. 0 of a short history."""
        past = self.history[:, which]
        with np.errstate(all="ignore"):
            median = _median(past)
            spread = SIGMA_OF_MAD * _median(np.abs(past - median))
            sigma = np.maximum(spread, self._chance(which, median))
            score = (found - median) / sigma
        known = (self.held[which] >= ROWS_MIN)[:, None] & np.isfinite(score)
        return np.where(known, score, 0.0), median, sigma

    def _chance(self, which: NDArray[np.int64], median: Floats) -> Floats:
        n = self._n[which, 0]
        least = np.empty_like(median)
        least[:, MEDIA] = median[:, DESVIACION] / np.sqrt(n)
        least[:, DESVIACION] = median[:, DESVIACION] / np.sqrt(2.0 * n)
        for column in (ERRORES, MENSAJES):
            least[:, column] = np.sqrt(median[:, column] / n) + 1.0 / n
        return np.maximum(least, 1e-9 * np.abs(median) + 1e-30)

    def take(self, which: NDArray[np.int64], found: Floats) -> list[Anomaly]:
        """New rows of the blocks ``which``: what is wild in them and was not told, the wildest
        first. They belong to the history from now on."""
        score, median, sigma = self.scores(which, found)
        wild = np.abs(score) > self._limit
        self._wild[which] = np.where(wild, self._wild[which] + 1, 0)
        calm = np.abs(score) < 0.5 * self._limit
        self._told[which] &= ~calm
        news = (self._wild[which] >= IN_A_ROW) & ~self._told[which]
        self._told[which] |= news
        places = self.held[which] % len(self.history)
        self.history[places, which] = found
        self.held[which] += 1
        anomalies = [
            Anomaly(int(which[k]), COLUMNS[c], float(found[k, c]), float(median[k, c]),
                    float(sigma[k, c]), float(score[k, c]))
            for k, c in np.argwhere(news).tolist()
        ]  # fmt: skip
        return sorted(anomalies, key=lambda one: -abs(one.score))


def _median(values: Floats) -> Floats:
    """Over the first axis, NaNs left out; NaN where there is nothing else."""
    ordered = np.sort(values, axis=0)  # NaNs come last
    count = np.isfinite(ordered).sum(axis=0)
    low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, len(values) - 1)
    lower, upper = (np.take_along_axis(ordered, at[None], 0)[0] for at in (low, high))
    middle: Floats = 0.5 * (lower + upper)
    return np.where(count > 0, middle, np.nan)
