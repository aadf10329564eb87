"""Islands of an evolution: who is in one, who stays, who comes to it. ``docs/rules.md``.

Nothing here writes a block: it is read as it was before the phase (``words_before``), whether or
not its worker has done the phase by now; ``evolution`` says why that can't change meanwhile.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import float32, float64, int32, int64, uint8, uint32, uint64

from corec import layout as L
from corec.kernels import desc as K
from corec.kernels import evolution_desc as E
from corec.kernels import evolving as V
from corec.kernels.address import copy_memory, f4_at, i8_at, u1_at, u4_at, u8_at
from corec.kernels.block_words import (
    COLD_ACTIVO,
    cold_offset,
    copy_of,
    genes_of,
    get_f,
    set_f,
    words_at,
)
from corec.kernels.failures import racha_of
from corec.kernels.genes import four_words
from corec.kernels.masks import ALL, bits_below
from corec.kernels.running import window
from corec.kernels.stats import mean_where, spread, spread_of_all
from shm.atomics import load_acquire
from shm.jit import inner

MOST = np.uint64(0xFFFFFFFFFFFFFFFF)
_LOW = np.uint64(0xFFFFFFFF)
_INFINITE: Final = np.uint32(0x7F800000)
"""The exponent of a float32 that is no finite number."""
KID: Final = 1
MIGRANT: Final = 2


@inner
def words_before(base, mark):
    """Address of a block's words as they were before the phase ``mark``, and whether it is done."""
    word = load_acquire(u8_at(base, L.OFF_COMMIT // 8 + 1), L.OFF_COMMIT // 8)
    at = words_at(base, copy_of(word))
    if int64(u8_at(at, L.DYN_WORDS)[L.D_PHASE]) < mark:
        return at, False
    return words_at(base, 1 - copy_of(word)), True


@inner
def active_of(block, row, dyn):
    """The copy of activo that counts, u1[n]."""
    cold = block[K.B_HOT] + row[K.W_COLD]
    at = cold + cold_offset(row[K.W_CAP], COLD_ACTIVO, int64(dyn[L.D_ACTIVO_SEL]))
    return u1_at(at, block[K.B_N])


@inner
def fitness_of(block, row, rule, dyn, spare):
    """f4[n]: the fitness of each entity of a block whose words are ``dyn``; NaN of who has none,
    for its last run failed or it has not run since it was made. ``spare`` f4[n]: where it may be.
    """
    n = block[K.B_N]
    hot = block[K.B_HOT] + int64(dyn[L.D_HOT_SEL]) * row[K.W_COPY_BYTES]
    fitness = V.fitness_of(hot + rule[E.E_FITNESS_OFF], rule[E.E_FITNESS_CODE], n, spare)
    if dyn[L.D_SICK] == uint64(0):
        return fitness
    racha = racha_of(row, dyn, block[K.B_HOT] + row[K.W_COLD], n)
    found = f4_at(spare.ctypes.data, n)
    for i in range(n):
        one = fitness[i]
        found[i] = one if racha[i] == 0 else float32(np.nan)
    return found


@inner
def gather(block, row, rule, at, fitness, island, key, rank, who, m, shift):
    """Append a block's active entities to an island of ``m`` so far; how many there are then."""
    n = block[K.B_N]
    dyn = u8_at(at, L.DYN_WORDS)
    fitness = fitness_of(block, row, rule, dyn, fitness)
    if int64(dyn[L.D_ACTIVAS]) == n:  # without a branch it becomes vectors
        at = 4 * m
        if rule[E.E_METHOD] == V.RULETA:
            copy_memory(island.ctypes.data + at, fitness.ctypes.data, 4 * n)
        keys, ranks = u4_at(key.ctypes.data + at, n), u8_at(rank.ctypes.data + 2 * at, n)
        those = u4_at(who.ctypes.data + at, n)
        for i in range(n):
            one = V.key_of(fitness[i])
            keys[i] = one
            ranks[i] = uint64(one) << uint64(32) | (_LOW - uint64(m + i))
            those[i] = uint32(shift + i)
        return m + n
    active = active_of(block, row, dyn)
    for i in range(n):
        if active[i] != 0:
            island[m] = fitness[i]
            key[m] = V.key_of(fitness[i])
            rank[m] = uint64(key[m]) << uint64(32) | (_LOW - uint64(m))
            who[m] = uint32(shift + i)
            m += 1
    return m


@inner
def first_with(fitness, active, key):
    """The first active one whose fitness sorts as ``key``; there is one."""
    at, start, n = fitness.ctypes.data, 0, fitness.shape[0]
    while start + 64 < n:  # sixty-four are looked at without a branch
        those, on = f4_at(at + 4 * start, 64), active[start : start + 64]
        found = uint32(0)
        for i in range(64):
            found |= uint32(V.key_of(those[i]) == key) & uint32(on[i] != 0)
        if found != uint32(0):
            break
        start += 64
    while active[start] == 0 or V.key_of(fitness[start]) != key:
        start += 1
    return start


@inner
def figures(block, row, rule, at, dyn, fitness):
    """Best, mean, worst and diversity of a block before the phase, into ``dyn``; who is the best,
    −1 without any finite fitness, and how many are active."""
    n, before = block[K.B_N], u8_at(at, L.DYN_WORDS)
    fitness = fitness_of(block, row, rule, before, fitness)
    active = active_of(block, row, before)
    m = int64(before[L.D_ACTIVAS])
    best, worst = uint32(0), uint32(0xFFFFFFFF)
    for i in range(n):  # as integers, and without a branch: that becomes vectors
        bits = np.float32(fitness[i] + float32(0.0)).view(np.uint32)
        key = uint32(bits ^ (uint32(int32(bits) >> int32(31)) | uint32(0x80000000)))  # V.key_of
        mask = uint32(0) - uint32((active[i] != 0) & ((bits & _INFINITE) != _INFINITE))
        best = max(best, uint32(key & uint32(mask)))
        worst = min(worst, uint32(key | ~uint32(mask)))
    some = best >= worst
    who, least = -1, -1
    if some:
        who = first_with(fitness, active, best)
        least = first_with(fitness, active, worst)
    set_f(dyn, L.D_BEST, float64(fitness[who]) if some else np.nan)
    set_f(dyn, L.D_WORST, float64(fitness[least]) if some else np.nan)
    set_f(dyn, L.D_MEAN_FITNESS, mean_where(fitness, active) if some else np.nan)
    count = row[K.W_GENES]
    table = f4_at(row[K.W_GENES_TABLE], 3 * count)
    gap, genes = row[K.W_GENES_BYTES] // count, genes_of(block, row, before)
    total, wide = 0.0, 0
    for j in range(count):
        low, high = float64(table[3 * j]), float64(table[3 * j + 1])
        if high > low:
            wide += 1
            if m > 0:
                column, middle = f4_at(genes + j * gap, n), 0.5 * (low + high)
                if m == n:
                    s, q = spread_of_all(column, active, middle)
                else:
                    s, q = spread(column, active, middle)
                variance = (q - s * s / float64(m)) / float64(m)
                total += math.sqrt(variance) / (high - low) if variance > 0.0 else 0.0
    set_f(dyn, L.D_DIVERSITY, total / float64(wide) if wide > 0 else 0.0)
    return who, m


@inner
def elite_of(rule, m):
    """How many of ``m`` stay as they are."""
    if rule[E.E_ELITE] < 0:
        return window(m, get_f(rule, E.E_ELITE_SHARE))
    return min(rule[E.E_ELITE], m)


@inner
def standing(rule, m, island, key, rank, spare, fittest, upto):
    """What parents are chosen by, once for an island of ``m`` > 0: (rank of the last of the elite,
    number of parents or size of the tournament, how many may be parents, sum of the wheel)."""
    elite = elite_of(rule, m)
    last = V.kth_best(rank, m, elite, spare) if elite > 0 else MOST
    size, total = rule[E.E_TAMANO], 0.0
    among = V.to_the_front(key, m, fittest)
    if rule[E.E_METHOD] == V.TRUNCAMIENTO:
        size = min(size, among) if size > 0 else window(among, get_f(rule, E.E_SHARE))
        least = V.kth_best(rank, m, size, spare)
        found = 0
        for p in range(m):
            if rank[p] >= least:
                fittest[found] = uint32(p)
                found += 1
    elif rule[E.E_METHOD] == V.RULETA:
        total = V.wheel(island, m, upto)
    return last, size, among, total


@inner
def list_kids(work, lo, hi, shift, last, role, count):
    """Append to a list of ``count`` kids those at the positions ``lo … hi−1`` who rank below
    ``last`` and have no role yet, and note them in ``role`` (u1[n]); how many there are then."""
    rank, who = u8_at(work[E.A_RANK], hi), u4_at(work[E.A_WHO], hi)
    kids = u4_at(work[E.A_KIDS], role.shape[0])
    everyone = hi - lo == role.shape[0]
    begun, p = count, lo
    while p < hi:
        if (
            everyone and begun == 0 and p + 64 <= hi
            and bits_below(work[E.A_RANK] + 8 * p, last) == uint64(ALL)
        ):  # fmt: skip
            near = u4_at(work[E.A_KIDS] + 4 * count, 64)
            roles = u1_at(role.ctypes.data + p - lo, 64)
            for k in range(64):
                near[k] = uint32(p - lo + k)
                roles[k] = uint8(KID)
            count += 64
            p += 64
            continue
        for q in range(p, min(p + 64, hi)):
            i = int64(who[q]) - shift
            if rank[q] < last and role[i] == 0:
                role[i] = uint8(KID)
                kids[count] = uint32(i)
                count += 1
        p += 64
    return count


@inner
def source_of(rule, number, k, generation, block, after, seed):
    """(block of the swarm, how many of it come before) of the ``k``-th migrant to ``number``."""
    count = rule[E.E_BLOCKS]
    if rule[E.E_TOPOLOGY] == E.RING:
        return (number + count - 1) % count, k
    if rule[E.E_TOPOLOGY] == E.FULL:
        return (number + 1 + k % (count - 1)) % count, k // (count - 1)
    word = four_words(block[K.B_FIRST], V.NORMAL_GROUP - 1, after, seed)[0]
    return (number + 1 + V.pick(word, count - 1)) % count, k


@inner
def let_in(blocks, swarms, rule, b, mark, after, seed, generation, m, elite, work, role):
    """The migrants of a generation: in ``role`` whom they replace, and where they come from in the
    work memory, behind one another; how many there are."""
    block, row = blocks[b], swarms[blocks[b, K.B_SWARM]]
    count, number = rule[E.E_BLOCKS], b - rule[E.E_FIRST_BLOCK]
    if rule[E.E_MIGRATION] == 0 or generation % rule[E.E_MIGRATION] != 0 or count < 2:
        return 0
    cap = work[E.A_STRIDE]
    rank, who = u8_at(work[E.A_RANK], m), u4_at(work[E.A_WHO], m)
    fitness, island = f4_at(work[E.A_FITNESS], cap), f4_at(work[E.A_OTHER_ISLAND], cap)
    key, other_rank = u4_at(work[E.A_OTHER_KEY], cap), u8_at(work[E.A_OTHER_RANK], cap)
    other_who = u4_at(work[E.A_OTHER_WHO], cap)
    kids, from_at = u4_at(work[E.A_KIDS], cap), i8_at(work[E.A_MOTHER_AT], cap)
    from_id = u4_at(work[E.A_MIGRANT_ID], cap)
    from_hot, from_place = i8_at(work[E.A_MOTHER_HOT], cap), u4_at(work[E.A_MOTHER_PLACE], cap)
    gathered, size, taken, best = int64(-1), 0, 0, MOST
    home, hot, worst, found = int64(0), int64(0), uint64(0), 0
    for k in range(min(rule[E.E_MIGRANTS], m - elite)):
        source, before = source_of(rule, number, k, generation, block, after, seed)
        worst = V.next_above(rank, m, worst)
        if source != gathered:
            other = blocks[rule[E.E_FIRST_BLOCK] + source]
            at, _ = words_before(other[K.B_BASE], mark)
            size = gather(other, row, rule, at, fitness, island, key, other_rank, other_who, 0, 0)
            dyn = u8_at(at, L.DYN_WORDS)
            home = genes_of(other, row, dyn)
            hot = other[K.B_HOT] + int64(dyn[L.D_HOT_SEL]) * row[K.W_COPY_BYTES]
            gathered, taken, best = source, 0, MOST
        if before >= size:
            continue
        while taken <= before:
            best = V.next_below(other_rank, size, best)
            taken += 1
        if best >> uint64(32) == uint64(0):  # it has no fitness
            continue
        place = int64(other_who[int64(_LOW - (best & _LOW))])
        target = int64(who[int64(_LOW - (worst & _LOW))])
        role[target] = uint8(MIGRANT)
        kids[found], from_at[found] = uint32(target), home + 4 * place
        from_hot[found], from_place[found] = hot, uint32(place)
        from_id[found] = uint32(blocks[rule[E.E_FIRST_BLOCK] + source, K.B_FIRST] + place)
        found += 1
    return found


@inner
def gather_swarm(blocks, swarms, rule, mark, work):
    """The island of a whole swarm: how many it has."""
    first, count = rule[E.E_FIRST_BLOCK], rule[E.E_BLOCKS]
    row = swarms[blocks[first, K.B_SWARM]]
    start = i8_at(work[E.A_START], count + 1)
    genes, hot = i8_at(work[E.A_GENES], count), i8_at(work[E.A_HOT], count)
    fitness = f4_at(work[E.A_FITNESS], row[K.W_CAP])
    most = count * row[K.W_CAP]
    island, key = f4_at(work[E.A_ISLAND], most), u4_at(work[E.A_KEY], most)
    rank, who = u8_at(work[E.A_RANK], most), u4_at(work[E.A_WHO], most)
    m = 0
    for k in range(count):
        block = blocks[first + k]
        at, _ = words_before(block[K.B_BASE], mark)
        dyn = u8_at(at, L.DYN_WORDS)
        start[k] = m
        genes[k] = genes_of(block, row, dyn)
        hot[k] = block[K.B_HOT] + int64(dyn[L.D_HOT_SEL]) * row[K.W_COPY_BYTES]
        shift = block[K.B_FIRST] - row[K.W_FIRST_ID]
        m = gather(block, row, rule, at, fitness, island, key, rank, who, m, shift)
    start[count] = m
    return m
