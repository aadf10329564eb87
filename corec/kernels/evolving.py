"""The parts of an evolution over one island: an order, parents, genes. ``docs/rules.md`` has the
rules that these follow; ``evolution`` has the phase.

An island is a list of its active entities in order of ids; a *position* is a place in that list.
``key[p]`` (u4) sorts as the fitness does, NaN below everything; ``rank[p]`` (u8) is the key and,
below it, the position, so that of two with the same fitness the one with the lower id is better.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import float32, float64, int64, njit, uint32, uint64

from corec.kernels.address import (
    f4_at,
    f8_at,
    i8_at,
    load_f4,
    store_f4,
    trailing_zeros,
    u1_at,
    u4_at,
)
from corec.kernels.draws import normal_of
from corec.kernels.evolution_desc import VECTORS
from corec.kernels.genes import four_words, uniform_of
from corec.layout import column_bytes

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


@njit
def next_below(rank, count, limit):
    """The largest of the first ``count`` that is below ``limit``; 0: there is none."""
    best = uint64(0)
    for p in range(count):
        best = max(best, rank[p] if rank[p] < limit else uint64(0))
    return best


@njit
def next_above(rank, count, limit):
    """The least of the first ``count`` that is above ``limit``."""
    best = uint64(0xFFFFFFFFFFFFFFFF)
    for p in range(count):
        best = min(best, rank[p] if rank[p] > limit else uint64(0xFFFFFFFFFFFFFFFF))
    return best


@njit
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


@njit
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


@njit
def turn(upto, count, total, first, second):
    """The position at which the wheel stops."""
    if not total > 0.0:
        return pick(first, count)
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


@njit
def draw_words(kids, count, first_id, after, seed, groups, words, stride):
    """The first 4 · ``groups`` words of each child: word k of the c-th is ``words[k · stride + c]``
    (u4). ``kids`` u4: their places in the block."""
    all_ = whole(count)
    kids = u4_at(kids.ctypes.data, all_)
    for group in range(groups):
        at = words.ctypes.data + 16 * group * stride
        a, b = u4_at(at, all_), u4_at(at + 4 * stride, all_)
        c, d = u4_at(at + 8 * stride, all_), u4_at(at + 12 * stride, all_)
        for k in range(all_):
            drawn = four_words(first_id + int64(kids[k]), group, after, seed)
            a[k], b[k] = uint32(drawn[0]), uint32(drawn[1])
            c[k], d[k] = uint32(drawn[2]), uint32(drawn[3])


@njit
def choose(method, size, key, count, fittest, upto, total, words, stride, kids, from_word, out):
    """The position of a parent of each of ``kids`` children into i8 ``out``.

    ``fittest`` u4[size]: the positions of the best, for truncation; ``upto``, ``total``: the wheel.
    """
    base = words.ctypes.data + 4 * from_word * stride
    first = u4_at(base, kids)
    if method == TRUNCAMIENTO:
        for k in range(kids):
            out[k] = int64(fittest[pick(uint64(first[k]), size)])
    elif method == RULETA:
        second = u4_at(base + 4 * stride, kids)
        for k in range(kids):
            out[k] = turn(upto, count, total, uint64(first[k]), uint64(second[k]))
    else:
        for k in range(kids):
            out[k] = pick(uint64(first[k]), count)
        for turns in range(1, size):
            other = u4_at(base + 4 * turns * stride, kids)
            for k in range(kids):
                rival = pick(uint64(other[k]), count)
                out[k] = rival if key[rival] > key[out[k]] else out[k]


@njit
def cross(
    mothers, fathers, kids, count, genes, table, gap, new, new_gap, words, stride, at_word, rules
):
    """The genes of ``count`` children into the columns at address ``new``.

    ``mothers``, ``fathers`` i8: the address of each one's first gene, the next ones ``gap`` bytes
    on. ``table`` f4[3 · genes]. ``rules``: (cruce, crosses below, …) as in ``evolution``. Words
    from ``at_word`` on decide.
    """
    cruce, crosses_below = rules[0], uint64(rules[1])
    base = words.ctypes.data + 4 * at_word * stride
    crosses, mask = u4_at(base, count), u4_at(base + 4 * stride, count)
    if cruce == MEZCLA:
        blend(mothers, fathers, kids, count, genes, table, gap, new, new_gap, crosses,
              crosses_below, base + 4 * 2 * stride + 4 * genes * stride, stride)  # fmt: skip
        return
    for k in range(count):
        at, away = mothers[k], fathers[k] - mothers[k]
        bits = int64(0)  # bit j: gene j is the father's
        if cruce != NINGUNO and uint64(crosses[k]) < crosses_below:
            bits = int64(mask[k])
            if cruce == UN_PUNTO:
                bits = int64(-1) << (1 + pick(uint64(mask[k]), genes - 1) if genes > 1 else 1)
        to = new + 4 * int64(kids[k])
        for _ in range(genes):
            store_f4(to, load_f4(at + (away & -(bits & 1))))
            bits >>= 1
            at += gap
            to += new_gap


@njit
def blend(
    mothers, fathers, kids, count, genes, table, gap, new, new_gap, crosses, crosses_below,
    shares_at, stride,
):  # fmt: skip
    """``cross`` of ``"mezcla"``; gene j's words are u4[count] at ``shares_at`` + 4 · j · stride."""
    for j in range(genes):
        column = new + j * new_gap
        low, high = table[3 * j], table[3 * j + 1]
        shares = u4_at(shares_at + 4 * j * stride, count)
        for k in range(count):
            a = load_f4(mothers[k] + j * gap)
            if uint64(crosses[k]) < crosses_below:
                b = load_f4(fathers[k] + j * gap)
                share = float32(2.0) * uniform_of(uint64(shares[k])) - float32(0.5)
                a = min(max(a + share * (b - a), low), high)
            store_f4(column + 4 * int64(kids[k]), a)


@njit
def decided(decides, count, below, gene, kids, listed, found):
    """The kids whose word is below ``below`` into ``listed`` behind the ``found`` that are there,
    each with ``gene`` in its upper half; how many there are then. Sixty-four are looked at without
    a branch, and those among them found by their bits."""
    last = uint32(below - 1)
    for start in range(0, count, 64):
        # a place of its own for each 64: of an index that is a sum, Numba makes gathers
        bits, those = uint64(0), u4_at(decides + 4 * start, 64)
        for k in range(64):
            bits |= uint64(those[k] <= last) << uint64(k)
        if count - start < 64:
            bits &= (uint64(1) << uint64(count - start)) - uint64(1)
        near = u4_at(kids.ctypes.data + 4 * start, 64)
        while bits != uint64(0):
            listed[found] = uint32(gene << 16) | near[trailing_zeros(bits)]
            found += 1
            bits &= bits - uint64(1)
    return found


@njit
def normals(listed, count, first_id, after, seed, out):
    """A normal number for each of ``listed``; a loop of its own becomes vectors."""
    for m in range(whole(count)):
        gene, kid = int64(listed[m] >> uint32(16)), int64(listed[m] & uint32(0xFFFF))
        drawn = four_words(first_id + kid, NORMAL_GROUP + gene, after, seed)
        out[m] = normal_of(uint32(drawn[0]), uint32(drawn[1]))


@njit
def mutate(
    kids, count, first_id, after, seed, genes, table, new, new_gap, words, stride, at_word,
    below, listed, z,
):  # fmt: skip
    """Normal numbers onto the genes that a word below ``below`` says; ``listed`` (u4) and ``z``
    (f4) have room for ``whole(genes · count)``."""
    if below == 0:
        return
    base, found = words.ctypes.data + 4 * at_word * stride, 0
    for j in range(genes):
        found = decided(base + 4 * (2 + j) * stride, count, below, j, kids, listed, found)
    normals(listed, found, first_id, after, seed, z)
    for m in range(found):
        j = int64(listed[m] >> uint32(16))
        at = new + j * new_gap + 4 * int64(listed[m] & uint32(0xFFFF))
        low, high, sigma = table[3 * j], table[3 * j + 1], table[3 * j + 2]
        x = load_f4(at) + sigma * z[m]
        store_f4(at, min(max(x, low), high))


@njit
def fitness_into(address, code, n, out):
    """f4[n] of a column of any type: rounded to float32."""
    if code == 0:
        x4 = f4_at(address, n)
        for i in range(n):
            out[i] = x4[i]
    elif code == 1:
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


@njit(inline="always")
def column_gap(cap):
    """Bytes from one gene's column to the next."""
    return (cap * 4 + 63) // 64 * 64


assert column_bytes(17, 4) == (17 * 4 + 63) // 64 * 64
