"""Statistics over one column of a block, vectorised, each with its formula.

Which values, in which order and in which arithmetic is said in ``docs/rules.md``: whoever computes
a world from there gets the same bits. Sums run in the lanes of ``corec.kernels.lanes``; nothing
here may be reassociated or contracted by the compiler.
"""

from __future__ import annotations

import math

import numpy as np
from numba import float32, float64, int32, int64, njit, types, uint8, uint16, uint32

from corec.kernels.address import load_anywhere_u8, load_u1, ones, pick, store_u2
from corec.kernels.desc import PLACE_COUNTS
from corec.kernels.lanes import (
    LANES,
    add_where,
    folded,
    look_all,
    look_where,
    new_lanes,
    spread_all,
    spread_where,
)
from corec.layout import HISTOGRAM_BINS
from shm.jit import kept

_INT32_MAX = np.int32(0x7FFFFFFF)
_ROOM = PLACE_COUNTS // 4  # for the counts of 16 bins and of the inactive
_FAR = 0.9375  # of Σd²: (Σd)²/n beyond that means that the shift lies four deviations from the mean


@njit(error_model="numpy")
def sum_where(column, marks):
    """Σ x over the finite x of f32[n] that have a mark (u8[n]), and how many they are."""
    at, on, n = column.ctypes.data, marks.ctypes.data, column.shape[0]
    lanes = new_lanes()
    count = int64(0)
    for i in range(0, n, LANES):
        count += add_where(lanes, at + 4 * i, on + i, n - i)
    return folded(lanes), count


@njit(error_model="numpy")
def spread(column, marks, shift):
    """Σ d and Σ d² over the same x, d = x − ``shift``."""
    at, on, n = column.ctypes.data, marks.ctypes.data, column.shape[0]
    s = new_lanes()
    q = new_lanes()
    for i in range(0, n, LANES):
        spread_where(s, q, at + 4 * i, shift, on + i, n - i)
    return folded(s), folded(q)


@njit(error_model="numpy")
def spread_of_all(column, marks, shift):
    """``spread``, quicker where all have a mark. What is not finite makes the sum of the squares
    so, too: then they are added up again, without it."""
    at, on, n = column.ctypes.data, marks.ctypes.data, column.shape[0]
    s = new_lanes()
    q = new_lanes()
    i = 0
    while i + LANES <= n:
        spread_all(s, q, at + 4 * i, shift)
        i += LANES
    if i < n:
        spread_where(s, q, at + 4 * i, shift, on + i, n - i)
    squares = folded(q)
    if squares - squares == 0.0:
        return folded(s), squares
    return spread(column, marks, shift)


@njit(error_model="numpy")
def _look(column, marks, everyone, shift, umbral, over):
    """``spread``; and a bit in ``over`` (u64[(n + 63) // 64]) for each x > ``umbral``."""
    at, on, n = column.ctypes.data, marks.ctypes.data, column.shape[0]
    to = over.ctypes.data
    s = new_lanes()
    q = new_lanes()
    i = 0
    if everyone:
        while i + LANES <= n:
            look_all(s, q, at + 4 * i, shift, umbral, to + (i >> 3))
            i += LANES
    while i < n:
        look_where(s, q, at + 4 * i, shift, umbral, to + (i >> 3), on + i, n - i)
        i += LANES
    while i & 63 != 0:
        store_u2(to + (i >> 3), uint16(0))
        i += LANES
    return folded(s), folded(q)


@njit(error_model="numpy")
def moments(valor, good, count, umbral, over):
    """Mean and Σ(x − mean)² of the ``count`` values of f32[n] that are good (u8[n]); ``over``
    (u64[(n + 63) // 64]) gets a bit for each of them that is above ``umbral``.

    One pass around the first good value (Chan, Golub, LeVeque 1983: the shifted form); a second one
    around the mean where the first value lies so far out that bits were lost.
    """
    first = 0
    while first < valor.shape[0] - 1 and good[first] == 0:
        first += 1
    shift = float64(valor[first])
    s, q = _look(valor, good, count == valor.shape[0], shift, umbral, over)
    if count == 0:
        return 0.0, 0.0
    total = float64(count)
    lost = s * s / total
    if lost > _FAR * q:
        shift = sum_where(valor, good)[0] / total
        s, q = spread(valor, good, shift)
        return shift, q - s * s / total
    return shift + s / total, q - lost


@njit(error_model="numpy")
def mean_where(column, active):
    """Mean of the finite ones of f32[n] over the active (u8[n]), 0 when there is none."""
    total, count = sum_where(column, active)
    return total / float64(count) if count > 0 else 0.0


@njit(error_model="numpy")
def deviation(moment, n):
    """Sample standard deviation from Σ(x − mean)²; 0 for fewer than two values."""
    if n < 2:
        return 0.0
    variance = moment / float64(n - 1)
    return math.sqrt(variance) if variance > 0.0 else 0.0


@njit(error_model="numpy")
def threshold(carga, sigma, errores, n, least, most):
    """umbral = clamp(0.5·(2 − carga) + 0.3·σ + 0.2·errores/n, least, most), rounded to float32."""
    raw = 0.5 * (2.0 - carga) + 0.3 * sigma + 0.2 * float64(errores) / float64(n)
    return float64(float32(min(max(raw, least), most)))


@njit(error_model="numpy", inline="always")
def _ordered(bits):
    """The bits of a finite float32 as an int32 that sorts as the number does; its own inverse."""
    return int32(bits ^ ((bits >> int32(31)) & _INT32_MAX))


@njit(error_model="numpy")
def _extremes(valor, marks):
    """Least and largest of the marked; the first is larger when there is none.

    As integers: the vectoriser takes their minimum, but not that of floats it must keep exact.
    """
    bits = valor.view(np.int32)
    low = _INT32_MAX
    high = int32(-_INT32_MAX)
    for i in range(bits.shape[0]):
        key = _ordered(bits[i])
        on = int32(-int32(marks[i]))  # all bits or none; a choice would be made a branch
        off = int32(~on & _INT32_MAX)
        low = min(low, int32((key & on) | off))
        high = max(high, int32((key & on) | int32(-off)))
    return low, high


@kept(types.int64(types.uint8[::1]))
def count_marks(marks):
    """Σ of u8[n] of 0 and 1, eight at a time: as many bits."""
    at, n = marks.ctypes.data, marks.shape[0]
    total = int64(0)
    for i in range(0, n & ~7, 8):
        total += ones(load_anywhere_u8(at + i))
    for i in range(n & ~7, n):
        total += int64(load_u1(at + i))
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
def histogram(valor, marks, place, counts, bins):
    """Count the marked values in ``bins`` (u32[16]) between their minimum and maximum.

    ``place`` (u8[n]) and ``counts`` (u32[PLACE_COUNTS]) are scratch. Returns (minimum, maximum),
    (0, 0) when nothing is marked.
    """
    least, largest = _extremes(valor, marks)
    if least > largest:
        for k in range(HISTOGRAM_BINS):
            bins[k] = 0
        return float32(0.0), float32(0.0)
    low = np.int32(_ordered(int32(least))).view(np.float32)
    high = np.int32(_ordered(int32(largest))).view(np.float32)
    least_value = float64(low)
    width = float64(high) - least_value
    scale = float64(HISTOGRAM_BINS) / width if width > 0.0 else 0.0
    last = int32(HISTOGRAM_BINS - 1)
    for i in range(valor.shape[0]):
        k = int32((float64(valor[i]) - least_value) * scale)
        place[i] = pick(marks[i] != 0, uint8(min(max(k, int32(0)), last)), uint8(HISTOGRAM_BINS))
    _count_places(place, counts, bins)
    return low, high
