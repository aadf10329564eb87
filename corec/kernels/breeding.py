"""Children's genes: which words they draw, whose genes they get, which of these change.

Reads the island that ``islands`` gathered, and genes as they were before the phase; writes the copy
of the genes that does not count (``evolution`` says why nobody sees that before the commit).

Words are drawn for a chunk of children at a time and used while they are near: parents chosen, who
is crossed, which genes change. Then the genes are put together column by column over the whole
block, so that one column of the parents, which are anywhere in it, is near while it is read.
"""

from __future__ import annotations

from numba import float32, int64, njit, uint32, uint64

from corec.kernels import desc as K
from corec.kernels import evolution_desc as E
from corec.kernels import evolving as V
from corec.kernels.address import (
    GET,
    PUT,
    f4_at,
    f8_at,
    i8_at,
    load_f4,
    load_u4,
    one_by_one,
    pointer,
    store_f4,
    store_u4,
    trailing_zeros,
    u4_at,
)
from corec.kernels.draws import normal_of
from corec.kernels.genes import four_words, uniform_of
from corec.kernels.masks import CHOICES, bits_upto, by_bit
from shm.jit import inner

NORMAL_GROUP = V.NORMAL_GROUP
WORD = 4 * E.CHUNK
"""Bytes from one word of the children of a chunk to their next one."""
ALWAYS = 1 << 32
_get_u4, _put_u4 = GET["u4"], PUT["u4"]

assert E.CHUNK % E.VECTORS == 0


@njit(inline="always")
def put_group(words, at, drawn):
    """Four words of a child."""
    _put_u4(words, at, uint32(drawn[0]))
    _put_u4(words, at + WORD, uint32(drawn[1]))
    _put_u4(words, at + 2 * WORD, uint32(drawn[2]))
    _put_u4(words, at + 3 * WORD, uint32(drawn[3]))


@inner
def draw_words(kids, count, first_id, after, seed, groups, words):
    """The first 4 · ``groups`` words of each of ``count`` children of a chunk: word k of the c-th
    is the u4 at ``words`` + k · WORD + 4 · c. ``kids``: address of their places in the block.

    Groups four at a time: what of their first rounds does not depend on the group is done once.
    """
    all_ = V.whole(count)
    near, to = pointer(kids), pointer(words)
    group = 0
    while group + 4 <= groups:
        at = 4 * WORD * group
        for k in range(all_):
            one = first_id + int64(_get_u4(near, 4 * k))
            put_group(to, at + 4 * k, four_words(one, group, after, seed))
            put_group(to, at + 4 * WORD + 4 * k, four_words(one, group + 1, after, seed))
            put_group(to, at + 8 * WORD + 4 * k, four_words(one, group + 2, after, seed))
            put_group(to, at + 12 * WORD + 4 * k, four_words(one, group + 3, after, seed))
        group += 4
    while group < groups:
        at = 4 * WORD * group
        for k in range(all_):
            one = first_id + int64(_get_u4(near, 4 * k))
            put_group(to, at + 4 * k, four_words(one, group, after, seed))
        group += 1


@inner
def who_is_crossed(rule, genes, words, count, mother, father, bits):
    """Of a chunk: whoever is not crossed has one parent; and bit j of ``bits`` (u4): gene j is the
    father's. ``words``: address of the first word behind those that the parents took."""
    crosses, mask = u4_at(words, count), u4_at(words + WORD, count)
    below = uint64(rule[E.E_CROSSES_BELOW])
    if below < uint64(ALWAYS):
        for k in range(count):
            father[k] = father[k] if uint64(crosses[k]) < below else mother[k]
    if rule[E.E_CRUCE] == V.UN_PUNTO:
        for k in range(count):
            cut = 1 + V.pick(uint64(mask[k]), genes - 1) if genes > 1 else 1
            bits[k] = uint32(0xFFFFFFFF << cut)
    else:
        for k in range(count):
            bits[k] = mask[k]


@inner
def find_parents(row, work, position, count, home, everyone, places, at):
    """Of those at these positions of the island, their places in their blocks (u4) and addresses of
    their first genes (i8). ``home``: those of their one block, in which ``everyone`` is active or
    not; 0: the island is a swarm."""
    who, cap = u4_at(work[E.A_WHO], 1), row[K.W_CAP]
    genes = i8_at(work[E.A_GENES], 1)
    if home == 0:
        for k in range(count):
            one = int64(who[position[k]])
            number = one // cap
            places[k] = uint32(one - number * cap)
            at[k] = genes[number] + 4 * (one - number * cap)
        return
    for k in range(count):
        places[k] = position[k] if everyone else who[position[k]]
    for k in range(count):
        at[k] = home + 4 * int64(places[k])


@inner
def find_states(row, work, position, count, hot, hots):
    """Hot copies of those at these positions; ``hot``: that of their one block, or 0."""
    who, hot_of = u4_at(work[E.A_WHO], 1), i8_at(work[E.A_HOT], 1)
    for k in range(count):
        hots[k] = hot if hot != 0 else hot_of[int64(who[position[k]]) // row[K.W_CAP]]


@inner
def cross(work, first, count, genes, gap, home, new):
    """The genes of the children from ``first`` to ``count``, whose parents' genes are at ``home``,
    into the columns at address ``new``, all ``gap`` bytes apart."""
    kids = u4_at(work[E.A_KIDS], count)
    for j in range(genes):
        from_, to, bit = home + j * gap, new + j * gap, uint32(1 << j)
        for start in range(first, count, E.CHUNK):
            size = min(E.CHUNK, count - start)
            bits, chosen = work[E.A_BITS] + 4 * start, work[E.A_FROM] + 4 * start
            mothers = work[E.A_MOTHER_PLACE] + 4 * start
            fathers = work[E.A_FATHER_PLACE] + 4 * start
            for at in range(0, 4 * size, 4 * CHOICES):
                by_bit(bits + at, bit, fathers + at, mothers + at, chosen + at)
            near = int64(kids[start])
            if int64(kids[start + size - 1]) - near == size - 1:
                copy_chosen(from_, chosen, size, to + 4 * near)
            else:
                for k in range(size):
                    one_by_one()
                    value = load_u4(from_ + 4 * int64(load_u4(chosen + 4 * k)))
                    store_u4(to + 4 * int64(kids[start + k]), value)


@inner
def copy_chosen(column, chosen, count, to):
    """Of a column the values at ``count`` places (u4, at ``chosen``) to ``to`` and on: as whole
    numbers, of which a core loads and stores more at once."""
    k = 0
    while k + 4 <= count:
        one_by_one()
        a = load_u4(column + 4 * int64(load_u4(chosen + 4 * k)))
        b = load_u4(column + 4 * int64(load_u4(chosen + 4 * k + 4)))
        c = load_u4(column + 4 * int64(load_u4(chosen + 4 * k + 8)))
        d = load_u4(column + 4 * int64(load_u4(chosen + 4 * k + 12)))
        store_u4(to + 4 * k, a)
        store_u4(to + 4 * k + 4, b)
        store_u4(to + 4 * k + 8, c)
        store_u4(to + 4 * k + 12, d)
        k += 4
    while k < count:
        one_by_one()
        store_u4(to + 4 * k, load_u4(column + 4 * int64(load_u4(chosen + 4 * k))))
        k += 1


@inner
def cross_far(work, first, count, genes, gap, new):
    """``cross`` of a swarm that is one island: parents are anywhere, so child by child."""
    kids, bits = u4_at(work[E.A_KIDS], count), u4_at(work[E.A_BITS], count)
    mothers, fathers = i8_at(work[E.A_MOTHER_AT], count), i8_at(work[E.A_FATHER_AT], count)
    for k in range(first, count):
        at, away, his = mothers[k], fathers[k] - mothers[k], int64(bits[k])
        to = new + 4 * int64(kids[k])
        for _ in range(genes):
            store_u4(to, load_u4(at + (away & -(his & 1))))
            his >>= 1
            at += gap
            to += gap


@inner
def blend(rule, row, work, start, count, words, new):
    """The genes of ``count`` children of a chunk, between their parents' and beyond; ``words``: as
    of ``who_is_crossed``."""
    genes = row[K.W_GENES]
    table, gap = f4_at(row[K.W_GENES_TABLE], 3 * genes), row[K.W_GENES_BYTES] // genes
    mothers, fathers = (i8_at(work[E.A_MOTHER_AT] + 8 * start, count),
                        i8_at(work[E.A_FATHER_AT] + 8 * start, count))  # fmt: skip
    kids, crosses = u4_at(work[E.A_KIDS] + 4 * start, count), u4_at(words, count)
    below = uint64(rule[E.E_CROSSES_BELOW])
    for j in range(genes):
        low, high = table[3 * j], table[3 * j + 1]
        shares = u4_at(words + (2 + genes + j) * WORD, count)
        for k in range(count):
            a = load_f4(mothers[k] + j * gap)
            if uint64(crosses[k]) < below:
                b = load_f4(fathers[k] + j * gap)
                share = float32(2.0) * uniform_of(uint64(shares[k])) - float32(0.5)
                a = min(max(a + share * (b - a), low), high)
            store_f4(new + j * gap + 4 * int64(kids[k]), a)


@inner
def decided(decides, count, below, gene, kids, listed, found):
    """The kids whose word, of those at address ``decides``, is below ``below`` into ``listed``
    behind the ``found`` that are there, each with ``gene`` in its upper half; how many then."""
    last = uint32(below - 1)
    for start in range(0, count, 64):
        bits = bits_upto(decides + 4 * start, last)
        if count - start < 64:
            bits &= (uint64(1) << uint64(count - start)) - uint64(1)
        near = kids + 4 * start
        while bits != uint64(0):
            listed[found] = uint32(gene << 16) | load_u4(near + 4 * trailing_zeros(bits))
            found += 1
            bits &= bits - uint64(1)
    return found


@inner
def normals(listed, count, first_id, after, seed, out):
    """A normal number for each of ``listed``; a loop of its own becomes vectors."""
    for m in range(V.whole(count)):
        gene, kid = int64(listed[m] >> uint32(16)), int64(listed[m] & uint32(0xFFFF))
        drawn = four_words(first_id + kid, NORMAL_GROUP + gene, after, seed)
        out[m] = normal_of(uint32(drawn[0]), uint32(drawn[1]))


@inner
def mutate(listed, found, z, table, new, gap):
    """Normal numbers ``z`` (f4) onto the ``found`` genes that are listed."""
    for m in range(found):
        j = int64(listed[m] >> uint32(16))
        at = new + j * gap + 4 * int64(listed[m] & uint32(0xFFFF))
        low, high, sigma = table[3 * j], table[3 * j + 1], table[3 * j + 2]
        x = load_f4(at) + sigma * z[m]
        store_f4(at, min(max(x, low), high))


@inner
def breed(block, row, rule, after, seed, m, standing_, work, first, count, home, hot, new):
    """Genes of the children that stand from ``first`` to ``count`` in the list of kids, of an
    island of ``m``; ``home``, ``hot``: of the block that is the island, or 0."""
    _, size, among, total = standing_
    genes, first_id = row[K.W_GENES], block[K.B_FIRST]
    gap = row[K.W_GENES_BYTES] // genes
    method, cruce = rule[E.E_METHOD], rule[E.E_CRUCE]
    each = size if method == V.TORNEO else (1 if method == V.TRUNCAMIENTO else 2)
    words = work[E.A_WORDS]
    behind = words + 2 * each * WORD
    drawn = 2 * each + 2 + genes + (genes if cruce == V.MEZCLA else 0)
    listed, found = u4_at(work[E.A_LIST], genes * work[E.A_STRIDE]), 0
    below = rule[E.E_MUTATES_BELOW]
    fittest, upto = u4_at(work[E.A_FITTEST], m), f8_at(work[E.A_UPTO], m)
    rules = (method, size, work[E.A_KEY], m, among, fittest, upto, total)
    everyone = m == block[K.B_N]
    for start in range(first, count, E.CHUNK):
        number = min(E.CHUNK, count - start)
        kids = work[E.A_KIDS] + 4 * start
        draw_words(kids, number, first_id, after, seed, (drawn + 3) // 4, words)
        mother = u4_at(work[E.A_MOTHER] + 4 * start, number)
        father = u4_at(work[E.A_FATHER] + 4 * start, number)
        V.choose(rules, words, WORD, number, work[E.A_PICKED], mother)
        if cruce == V.NINGUNO:
            for k in range(number):
                father[k] = mother[k]
        else:
            V.choose(rules, words + each * WORD, WORD, number, work[E.A_PICKED], father)
        bits = u4_at(work[E.A_BITS] + 4 * start, number)
        who_is_crossed(rule, genes, behind, number, mother, father, bits)
        at = i8_at(work[E.A_MOTHER_AT] + 8 * start, number)
        places = u4_at(work[E.A_MOTHER_PLACE] + 4 * start, number)
        find_parents(row, work, mother, number, home, everyone, places, at)
        at = i8_at(work[E.A_FATHER_AT] + 8 * start, number)
        places = u4_at(work[E.A_FATHER_PLACE] + 4 * start, number)
        find_parents(row, work, father, number, home, everyone, places, at)
        if rule[E.E_INHERITS] != 0:
            hots = i8_at(work[E.A_MOTHER_HOT] + 8 * start, number)
            find_states(row, work, mother, number, hot if home != 0 else 0, hots)
        if below > 0:
            for j in range(genes):
                decides = behind + (2 + j) * WORD
                found = decided(decides, number, below, j, kids, listed, found)
        if cruce == V.MEZCLA:
            blend(rule, row, work, start, number, behind, new)
    if home == 0 and cruce != V.MEZCLA:
        cross_far(work, first, count, genes, gap, new)
    elif cruce != V.MEZCLA:
        cross(work, first, count, genes, gap, home, new)
    if found > 0:
        z = f4_at(work[E.A_NORMALS], genes * work[E.A_STRIDE])
        normals(listed, found, first_id, after, seed, z)
        mutate(listed, found, z, f4_at(row[K.W_GENES_TABLE], 3 * genes), new, gap)
