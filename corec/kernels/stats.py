"""Statistics over one column of a block, vectorised, each with its formula.

Sums run over ``valor − shift`` in float64, ``shift`` being the last tick's mean: the textbook
one-pass variance without its cancellation (Chan, Golub, LeVeque 1983). Only here may the compiler
reassociate sums; the order it picks depends on the machine code alone, so every worker, redo and
restart on one machine gets the same bits.
"""

from __future__ import annotations

import math
from typing import Any

from numba import float32, float64, int32, int64, njit, uint8, uint32

from corec.layout import HISTOGRAM_BINS

_SUMS: Any = {"reassoc", "contract", "nsz"}


@njit(error_model="numpy", fastmath=_SUMS)
def sums_all(valor, shift, umbral, over):
    """Σ(x − shift) and Σ(x − shift)² over f32[n]; ``over`` (u8[n]) marks the x > umbral."""
    s = 0.0
    q = 0.0
    for i in range(valor.shape[0]):
        x = valor[i]
        d = float64(x - shift)
        s += d
        q += d * d
        over[i] = x > umbral
    return s, q


@njit(error_model="numpy", fastmath=_SUMS)
def sums_where(valor, good, shift, umbral, over):
    """``sums_all`` over the x whose ``good`` is not 0."""
    s = 0.0
    q = 0.0
    for i in range(valor.shape[0]):
        on = good[i] != 0
        x = valor[i]
        d = float64(x - shift) if on else 0.0
        s += d
        q += d * d
        over[i] = on & (x > umbral)
    return s, q


@njit(error_model="numpy", fastmath=_SUMS)
def mean_where(column, active):
    """Mean of f32[n] over the active, 0 when there is none."""
    s = 0.0
    count = int64(0)
    for i in range(column.shape[0]):
        on = active[i] != 0
        s += float64(column[i]) if on else 0.0
        count += int64(on)
    return s / float64(count) if count > 0 else 0.0


@njit(error_model="numpy")
def deviation(s, q, n):
    """Sample standard deviation from shifted sums; 0 for fewer than two values."""
    if n < 2:
        return 0.0
    variance = (q - s * s / float64(n)) / float64(n - 1)
    return math.sqrt(variance) if variance > 0.0 else 0.0


@njit(error_model="numpy")
def threshold(carga, sigma, errores, n):
    """umbral = clamp(0.5·carga + 0.3·σ + 0.2·errores/n, 0.1, 0.9), rounded to float32."""
    raw = 0.5 * carga + 0.3 * sigma + 0.2 * float64(errores) / float64(n)
    return float64(float32(min(max(raw, 0.1), 0.9)))


@njit(error_model="numpy", fastmath=_SUMS)
def _extremes(valor, active):
    low = float32(3.4028235e38)
    high = float32(-3.4028235e38)
    for i in range(valor.shape[0]):
        on = active[i] != 0
        x = valor[i]
        low = x if on & (x < low) else low
        high = x if on & (x > high) else high
    return low, high


@njit(error_model="numpy")
def histogram(valor, active, place, bins):
    """Count the active values in ``bins`` (u32[16]) between their minimum and maximum.

    ``place`` is scratch, u8[n]. Returns (minimum, maximum), (0, 0) when nothing is active.
    """
    low, high = _extremes(valor, active)
    for k in range(HISTOGRAM_BINS):
        bins[k] = 0
    if low > high:
        return float32(0.0), float32(0.0)
    width = float64(high) - float64(low)
    scale = float32(float64(HISTOGRAM_BINS) / width) if width > 0.0 else float32(0.0)
    if scale - scale != float32(0.0):
        scale = float32(0.0)
    last = int32(HISTOGRAM_BINS - 1)
    for i in range(valor.shape[0]):
        k = int32((valor[i] - low) * scale)
        place[i] = uint8(min(max(k, int32(0)), last) if active[i] != 0 else int32(HISTOGRAM_BINS))
    for i in range(valor.shape[0]):
        k = place[i]
        if k < HISTOGRAM_BINS:
            bins[k] += uint32(1)
    return low, high
