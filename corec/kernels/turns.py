"""Turns: in which order those come who want the same, by a random number of each.

The number is the last draw of an entity in a tick (``LAST_DRAW``), the same whoever asks; of two
with the same number the lower place comes first. So who is first does not depend on how many
processes look. A radix sort, since half of a bloque may want to move; where fewer
places are free than want one, of the first so many alone.
"""

from __future__ import annotations

import numpy as np
from numba import int64, njit, uint32, uint64

from corec.kernels.philox import fill_random, random_word

LAST_DRAW = np.uint32(0xFFFFFFFF)
"""The draw that decides turns; no call draws so often."""
_BITS, _PASSES = 11, 3
_DENSE = 8
"""With one place of so many, the words of the whole range are made: vectors are cheaper."""


@njit
def words_of(places, origin, after, seed):
    """u64[n]: the number of each place (sorted, counted from id ``origin``) above its index."""
    n = places.shape[0]
    found = np.empty(n, np.uint64)
    if n == 0:
        return found
    first, span = origin + places[0] & ~3, places[n - 1] - places[0] + 8
    if n * _DENSE >= span:
        words = np.empty((span + 3) // 4 * 4, np.uint32)
        fill_random(words, uint64(first >> 2), uint64(after), uint64(LAST_DRAW), uint64(seed))
        for k in range(n):
            found[k] = uint64(words[origin + places[k] - first]) << uint64(32) | uint64(k)
    else:
        for k in range(n):
            word = random_word(origin + places[k], after, LAST_DRAW, seed)
            found[k] = uint64(word) << uint64(32) | uint64(k)
    return found


@njit
def earliest(keys, count):
    """Those of ``keys`` that are among the first ``count`` by their numbers, and a few more."""
    shift = uint64(64 - _BITS)
    held = np.zeros(1 << _BITS, np.int64)
    for k in range(keys.shape[0]):
        held[int64(keys[k] >> shift)] += 1
    last, total = 0, held[0]
    while total < count:
        last += 1
        total += held[last]
    found, n, end = np.empty(total + 1, np.uint64), 0, uint64(last)
    for k in range(keys.shape[0]):
        found[n] = keys[k]
        n += int64(keys[k] >> shift <= end)
    return found[:total]


@njit
def by_turn(places, origin, after, seed, count):
    """i8[count]: which of ``places``, sorted places of a swarm whose first id is ``origin``, comes
    first, second, … after tick ``after``: indices. ``count``: as many as there are, or fewer."""
    mask = uint64((1 << _BITS) - 1)
    keys = words_of(places, origin, after, seed)
    if 2 * count < keys.shape[0]:
        keys = earliest(keys, count)
    n = keys.shape[0]
    other = np.empty(n, np.uint64)
    for p in range(_PASSES):
        shift = uint64(32 + p * _BITS)
        starts = np.zeros((1 << _BITS) + 1, np.int64)
        for k in range(n):
            starts[int64(keys[k] >> shift & mask) + 1] += 1
        for c in range(1 << _BITS):
            starts[c + 1] += starts[c]
        for k in range(n):
            c = int64(keys[k] >> shift & mask)
            other[starts[c]] = keys[k]
            starts[c] += 1
        keys, other = other, keys
    turns = np.empty(count, np.int64)
    for k in range(count):
        turns[k] = int64(uint32(keys[k]))
    return turns
