"""The parts of an evolution over one island: an order, and who is a parent. ``docs/rules.md`` has
the rules that these follow; ``breeding`` makes the children's genes, ``evolution`` has the phase.

An island is a list of its active entities in order of ids; a *position* is a place in that list.
``key[p]`` (u4) sorts as the fitness does, and is 0 of NaN, below everything; ``rank[p]`` (u8) is
the key and, below it, the position, so that of two with the same fitness the one with the lower id
is better.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import float32, float64, int64, njit, uint32, uint64

from corec.kernels.address import (
    f4_at,
    f8_at,
    i8_at,
    load_u4,
    one_by_one,
    store_u4,
    u1_at,
    u4_at,
)
from corec.kernels.evolution_desc import VECTORS
from shm.jit import inner

TORNEO: Final = 0
TRUNCAMIENTO: Final = 1
RULETA: Final = 2

UNIFORME: Final = 0
MEZCLA: Final = 1
UN_PUNTO: Final = 2
NINGUNO: Final = 3

NORMAL_GROUP: Final = 4096
"""Gene j's normal number takes the first two words of group 4096 + j."""
FEW: Final = 8
_FLOAT32_MAX: Final = np.float32(np.finfo(np.float32).max)
_LOW: Final = np.uint64(0xFFFFFFFF)

FITNESS_CODES: Final = ("f4", "f8", "i1", "u1", "i2", "u2", "i4", "u4", "i8")


@njit(inline="always")
def key_of(fitness):
    """A float32 as a u4 that sorts like it; NaN is 0, −0 counts as 0."""
    bits = (np.float32(fitness + float32(0.0))).view(np.uint32)
    up = bits ^ uint32(0xFFFFFFFF) if bits >> uint32(31) else bits | uint32(0x80000000)
    return uint32(0) if fitness != fitness else uint32(up)


@njit(inline="always")
def pick(word, count):
    """One of 0 … count − 1, by a word."""
    return int64(((word & _LOW) * uint64(count)) >> uint64(32))


@inner
def next_below(rank, count, limit):
    """The largest of the first ``count`` that is below ``limit``; 0: there is none."""
    best = uint64(0)
    for p in range(count):
        best = max(best, rank[p] if rank[p] < limit else uint64(0))
    return best


@inner
def next_above(rank, count, limit):
    """The least of the first ``count`` that is above ``limit``."""
    best = uint64(0xFFFFFFFFFFFFFFFF)
    for p in range(count):
        best = min(best, rank[p] if rank[p] > limit else uint64(0xFFFFFFFFFFFFFFFF))
    return best


@inner
def kth_best(rank, count, k, spare):
    """The k-th largest of the first ``count`` (k from 1); ``spare`` u8[count] is scratch."""
    if k <= FEW:
        found = uint64(0xFFFFFFFFFFFFFFFF)
        for _ in range(k):
            found = next_below(rank, count, found)
        return found
    for p in range(count):
        spare[p] = rank[p]
    lo, hi, want = 0, count - 1, count - k
    while lo < hi:  # quickselect (Hoare 1961), the middle one as pivot: ranks are all different
        pivot = spare[(lo + hi) >> 1]
        i, j = lo, hi
        while i <= j:
            while spare[i] < pivot:
                i += 1
            while spare[j] > pivot:
                j -= 1
            if i <= j:
                spare[i], spare[j] = spare[j], spare[i]
                i += 1
                j -= 1
        if want <= j:
            hi = j
        elif want >= i:
            lo = i
        else:
            break
    return spare[want]


@inner
def wheel(fitness, count, upto):
    """Sums of the weights of the first ``count`` positions into f8 ``upto``: each fitness above
    the least finite one; 0 of who has none. Returns the sum of all."""
    least = float32(np.inf)
    for p in range(count):
        x = fitness[p]
        if abs(x) <= _FLOAT32_MAX:
            least = min(least, x)
    total = 0.0
    for p in range(count):
        x = fitness[p]
        if x == x and x >= least:
            total += float64(min(x, _FLOAT32_MAX)) - float64(min(least, _FLOAT32_MAX))
        upto[p] = total
    return total


@inner
def to_the_front(key, count, positions):
    """Bring the keys of those who have a fitness to the front of the ``count``, what were their
    positions into u4 ``positions``; how many they are. All, as they stand, if nobody has one."""
    some = 0
    for p in range(count):
        some += int64(key[p] != uint32(0))
    if some == 0 or some == count:
        return count
    found = 0
    for p in range(count):
        if key[p] != uint32(0):
            key[found], positions[found] = key[p], uint32(p)
            found += 1
    return found


@inner
def turn(upto, count, total, first, second):
    """The position at which the wheel stops; ``total`` is above 0."""
    word = ((first & _LOW) << uint64(32)) | (second & _LOW)
    target = float64(int64(word >> uint64(11))) * 2.0**-53 * total
    lo, hi = 0, count - 1
    while lo < hi:
        middle = (lo + hi) >> 1
        if upto[middle] > target:
            hi = middle
        else:
            lo = middle + 1
    return lo


@njit(inline="always")
def whole(count):
    """Up to whole vectors: what is left of a loop is computed one by one, which takes as long as
    the loop. The work memory has room for what stands behind ``count``, and nobody reads it."""
    return (count + VECTORS - 1) & -VECTORS


@inner
def choose(rules, words, gap, kids, picked, out):
    """The position of a parent of each of ``kids`` children into u4 ``out``.

    ``words``: address of the first word of the first child; those of the next child are behind
    them, their next words ``gap`` bytes on. ``rules``: (method, size, address of the keys, how many
    the island has, of how many of them keys are there, u4: the positions of these if not of all, or
    of the best, for truncation; sums and sum of the wheel). ``picked``: scratch.

    A wheel on which nobody has a weight is a tournament of one.
    """
    method, size, key, count, among, fittest, upto, total = rules
    first = u4_at(words, kids)
    if method == TRUNCAMIENTO:
        for k in range(kids):
            out[k] = fittest[pick(uint64(first[k]), size)]
    elif method == RULETA and total > 0.0:
        second = u4_at(words + gap, kids)
        for k in range(kids):
            out[k] = uint32(turn(upto, count, total, uint64(first[k]), uint64(second[k])))
    else:
        best = out.ctypes.data
        pick_all(words, kids, among, best)
        for turns in range(1, size if method == TORNEO else 1):
            pick_all(words + turns * gap, kids, among, picked)
            fitter(key, kids, picked, best)
        if among < count:
            for k in range(kids):
                out[k] = fittest[out[k]]


@inner
def pick_all(words, kids, count, out):
    """``pick`` by each of the u4 at address ``words``, to address ``out``: that becomes vectors."""
    drawn, picked = u4_at(words, kids), u4_at(out, kids)
    for k in range(kids):
        picked[k] = uint32((uint64(drawn[k]) * uint64(count)) >> uint64(32))


@inner
def fitter(key, kids, rivals, best):
    """Who is fitter takes the place of the best so far; positions (u4) and keys at addresses."""
    last = kids & 1
    for k in range(0, kids - last, 2):
        one_by_one()
        a, b = load_u4(best + 4 * k), load_u4(best + 4 * k + 4)
        c, d = load_u4(rivals + 4 * k), load_u4(rivals + 4 * k + 4)
        more = load_u4(key + 4 * int64(c)) > load_u4(key + 4 * int64(a))
        other = load_u4(key + 4 * int64(d)) > load_u4(key + 4 * int64(b))
        store_u4(best + 4 * k, c if more else a)
        store_u4(best + 4 * k + 4, d if other else b)
    if last != 0:
        a, c = load_u4(best + 4 * (kids - 1)), load_u4(rivals + 4 * (kids - 1))
        if load_u4(key + 4 * int64(c)) > load_u4(key + 4 * int64(a)):
            store_u4(best + 4 * (kids - 1), c)


@inner
def fitness_of(address, code, n, out):
    """f4[n] of a column: itself, or, of another type, rounded to float32 into ``out``."""
    if code == 0:
        return f4_at(address, n)
    fitness_into(address, code, n, out)
    return f4_at(out.ctypes.data, n)


@inner
def fitness_into(address, code, n, out):
    """A column of another type than f4, rounded to float32."""
    if code == 1:
        x8 = f8_at(address, n)
        for i in range(n):
            out[i] = float32(x8[i])
    elif code == 8:
        i8 = i8_at(address, n)
        for i in range(n):
            out[i] = float32(i8[i])
    elif code == 3:
        u1 = u1_at(address, n)
        for i in range(n):
            out[i] = float32(u1[i])
    elif code == 7:
        u4 = u4_at(address, n)
        for i in range(n):
            out[i] = float32(u4[i])
    else:
        size = 1 if code == 2 else (4 if code == 6 else 2)
        raw = u1_at(address, n * size)
        for i in range(n):
            if code == 2:
                out[i] = float32(raw[i : i + 1].view(np.int8)[0])
            elif code == 4:
                out[i] = float32(raw[2 * i : 2 * i + 2].view(np.int16)[0])
            elif code == 5:
                out[i] = float32(raw[2 * i : 2 * i + 2].view(np.uint16)[0])
            else:
                out[i] = float32(raw[4 * i : 4 * i + 4].view(np.int32)[0])
