"""Statistics over one column of a block, vectorised, each with its formula.

Sums run over ``valor − shift`` in float64, ``shift`` being the last tick's mean: the textbook
one-pass variance without its cancellation (Chan, Golub, LeVeque 1983). Only here may the compiler
reassociate sums; the order it picks depends on the machine code alone, so every worker, redo and
restart on one machine gets the same bits.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import float32, float64, int32, int64, njit, uint8, uint32, uint64

from corec.kernels.desc import PLACE_COUNTS
from corec.layout import HISTOGRAM_BINS

_INT32_MAX = np.int32(0x7FFFFFFF)
_EVEN_BYTES = np.uint64(0x00FF00FF00FF00FF)
_ROOM = PLACE_COUNTS // 4  # for the counts of 16 bins and of the inactive
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


@njit(error_model="numpy", inline="always")
def _ordered(bits):
    """The bits of a finite float32 as an int32 that sorts as the number does; its own inverse."""
    return int32(bits ^ ((bits >> int32(31)) & _INT32_MAX))


@njit(error_model="numpy")
def _extremes(valor, active):
    """Least and largest of the active; the first is larger when there is none.

    As integers: the vectoriser takes their minimum, but not that of floats it must keep exact.
    """
    bits = valor.view(np.int32)
    low = _INT32_MAX
    high = int32(-_INT32_MAX)
    for i in range(bits.shape[0]):
        key = _ordered(bits[i])
        on = active[i] != 0
        low = min(low, key if on else _INT32_MAX)
        high = max(high, key if on else int32(-_INT32_MAX))
    return low, high


@njit(error_model="numpy")
def count_marks(marks):
    """Σ of u8[n] of 0 and 1, eight at a time: no byte overflows within 255 words."""
    n = marks.shape[0]
    eights = n >> 3
    words = marks[: eights << 3].view(np.uint64)
    total = int64(0)
    for start in range(0, eights, 255):
        byte_sums = uint64(0)
        for w in range(start, min(start + 255, eights)):
            byte_sums += words[w]
        pairs = (byte_sums & _EVEN_BYTES) + ((byte_sums >> uint64(8)) & _EVEN_BYTES)
        total += int64((pairs * uint64(0x0001000100010001)) >> uint64(48))
    for i in range(eights << 3, n):
        total += int64(marks[i])
    return total


@njit(error_model="numpy")
def _count_places(place, counts, bins):
    """Count the 0 … 15 among u8[n] into u32[16]; ``counts`` (u32[PLACE_COUNTS]) is scratch.

    Four counts of each, so that equal neighbours do not wait for each other's store.
    """
    for k in range(PLACE_COUNTS):
        counts[k] = 0
    n = place.shape[0]
    fours = n >> 2 << 2
    for i in range(0, fours, 4):
        counts[int64(place[i])] += uint32(1)
        counts[_ROOM + int64(place[i + 1])] += uint32(1)
        counts[2 * _ROOM + int64(place[i + 2])] += uint32(1)
        counts[3 * _ROOM + int64(place[i + 3])] += uint32(1)
    for i in range(fours, n):
        counts[int64(place[i])] += uint32(1)
    for k in range(HISTOGRAM_BINS):
        bins[k] = counts[k] + counts[_ROOM + k] + counts[2 * _ROOM + k] + counts[3 * _ROOM + k]


@njit(error_model="numpy")
def histogram(valor, active, place, counts, bins):
    """Count the active values in ``bins`` (u32[16]) between their minimum and maximum.

    ``place`` (u8[n]) and ``counts`` (u32[PLACE_COUNTS]) are scratch. Returns (minimum, maximum),
    (0, 0) when nothing is active.
    """
    least, largest = _extremes(valor, active)
    if least > largest:
        for k in range(HISTOGRAM_BINS):
            bins[k] = 0
        return float32(0.0), float32(0.0)
    low = np.int32(_ordered(int32(least))).view(np.float32)
    high = np.int32(_ordered(int32(largest))).view(np.float32)
    width = float64(high) - float64(low)
    scale = float32(float64(HISTOGRAM_BINS) / width) if width > 0.0 else float32(0.0)
    if scale - scale != float32(0.0):
        scale = float32(0.0)
    last = int32(HISTOGRAM_BINS - 1)
    for i in range(valor.shape[0]):
        k = int32((valor[i] - low) * scale)
        place[i] = uint8(min(max(k, int32(0)), last) if active[i] != 0 else int32(HISTOGRAM_BINS))
    _count_places(place, counts, bins)
    return low, high
