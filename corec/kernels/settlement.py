"""Settlement, a phase (``corec.world.phases``) of bloques whose entities are born and die: children
whose block had no place for them get one in another block, who asked to move goes to an empty cell.

Who writes: the worker that owns the block, in the pass of this phase before tick T. Who reads:
every worker, of all blocks of the bloque as they were before the phase (``islands.words_before``),
and the posts of T − 1, which nobody writes before T + 1. Each finds the whole settlement for
itself, and so comes to the same one, however often and in however many processes; ``docs/rules.md``
has the rule.

Order of the stores of one block, and what a SIGKILL leaves after each:

    other copies: hot, genes,
    cold pairs                    not named by any committed word: the redo writes them again
    public columns of T − 1       read by nobody before all have done the phase; likewise
    [K settlement.written]
    other copy of dynamic words   [K block.before_commit] not named yet
    commit word (release)         [K block.after_commit] a step of tick T is done; D_PHASE says
                                  which, and a redo skips it

When anybody of a bloque has asked for anything, which the posts say, all its blocks commit the
phase, also those in which nothing changes: so a redo finds them done, and looks at nothing of
blocks that may have gone on meanwhile. When nobody has, none does.
"""

from __future__ import annotations

import numpy as np
from numba import int64, njit, types, uint8, uint32, uint64

from corec import layout as L
from corec.kernels import desc as K
from corec.kernels.address import (
    copy_memory,
    load_u4,
    load_u8,
    store_u1,
    u1_at,
    u4_at,
    u8_at,
)
from corec.kernels.block import begin_tick
from corec.kernels.block_words import (
    COLD_ACTIVO,
    COLD_FALLOS,
    COLD_RACHA,
    add,
    cold_offset,
    commit,
    copy_of,
    genes_of,
    own_cold,
)
from corec.kernels.islands import words_before
from corec.kernels.lives import give_genes, own_genes
from corec.kernels.post import note, post_of
from corec.kernels.public import show
from corec.kernels.running import take_means
from corec.kernels.turns import by_turn
from corec.layout.post import POST_BORN, POST_MOVES
from shm.compiled_killpoint import process_kill_point
from shm.jit import inner
from shm.killpoint import register

K_WRITTEN = register("settlement.written")

NOBODY = np.int64(-1)
NO_ROOM = -1
"""Status code of ``entities.told``."""


@inner
def hot_before(block, row, at):
    """Address of the hot copy that the words at ``at`` name."""
    return block[K.B_HOT] + int64(u8_at(at, L.DYN_WORDS)[L.D_HOT_SEL]) * row[K.W_COPY_BYTES]


@inner
def asked(blocks, swarms, first, count, after):
    """How many children without a place the blocks of a swarm before each one have (the last: all
    of them), and whether anybody wants to move."""
    row = swarms[blocks[first, K.B_SWARM]]
    children = np.zeros(count + 1, np.int64)
    moves = uint64(0)
    for k in range(count):
        post = post_of(blocks[first + k], row, after)
        children[k + 1] = children[k] + int64(load_u8(post + POST_BORN))
        moves |= load_u8(post + POST_MOVES)
    return children, moves != 0


@inner
def survey(blocks, swarms, first, count, mark, after):
    """Of the blocks of a swarm before the phase: the free places in order of ids, and who wants to
    move."""
    row = swarms[blocks[first, K.B_SWARM]]
    origin, places = row[K.W_FIRST_ID], int64(0)
    for b in range(first, first + count):
        places += blocks[b, K.B_N]
    free, moving = np.empty(places, np.int64), np.empty(places, np.int64)
    n_free = n_moving = 0
    for k in range(count):
        block = blocks[first + k]
        at, _ = words_before(block[K.B_BASE], mark)
        vivo = u1_at(hot_before(block, row, at) + row[K.W_VIVO], block[K.B_N])
        shift = block[K.B_FIRST] - origin
        for i in range(block[K.B_N]):
            if vivo[i] == 0:
                free[n_free] = shift + i
                n_free += 1
        post = post_of(block, row, after)
        for j in range(int64(load_u8(post + POST_MOVES))):
            i = int64(load_u4(post + row[K.W_MOVES] + 4 * j))
            if vivo[i] != 0:
                moving[n_moving] = shift + i
                n_moving += 1
    return free[:n_free], moving[:n_moving]


@inner
def settle(free, moving, children, origin, after, seed):
    """Who gets which place: from[p] of each place of the list ``free``: −1 nobody, j < number of
    children: the j-th child, else the place of who moves, counted on from there. How many children
    found one; and the places that are left, in order."""
    born = children[children.shape[0] - 1]
    housed = min(born, free.shape[0])
    source = np.full(free.shape[0], NOBODY)
    for j in range(housed):
        source[j] = j
    if moving.shape[0] == 0:
        return source, housed, moving
    gone = min(free.shape[0] - housed, moving.shape[0])
    cells = by_turn(free[housed:], origin, after, seed, gone)
    who = by_turn(moving, origin, after, seed, gone)
    goes = np.zeros(moving.shape[0], np.uint8)
    for k in range(gone):
        source[housed + cells[k]] = born + moving[who[k]]
        goes[who[k]] = uint8(1)
    left, n = np.empty(gone, np.int64), 0
    for k in range(moving.shape[0]):
        if goes[k] != 0:
            left[n] = moving[k]
            n += 1
    return source, housed, left


@inner
def whose(children, j):
    """The block of the swarm of whose entities the j-th child is."""
    return int64(np.searchsorted(children, j, "right")) - 1


@inner
def put_child(blocks, swarms, b, i, first, after, children, j, old, new):
    """The j-th child into place ``i`` of block ``b``: its fields, an empty history. Returns its
    mother's place in the swarm."""
    row = swarms[blocks[b, K.B_SWARM]]
    k = whose(children, j)
    post = post_of(blocks[first + k], row, after)
    record = post + row[K.W_CHILDREN] + (j - children[k]) * row[K.W_RECORD]
    fields = row[K.W_RECORD] // 8 - 1
    for f in range(row[K.W_FIELDS]):
        size, off = row[K.W_FIELD_SIZE + f], row[K.W_FIELD_OFFSET + f]
        target = new + off + i * size
        if 1 <= f <= fields:
            copy_memory(target, record + 8 * (f - 1), size)
        else:
            for byte in range(size):
                store_u1(target + byte, uint8(0))
    live(row, i, old, new)
    return int64(load_u8(record + 8 * fields)) - row[K.W_FIRST_ID]


@inner
def live(row, i, old, new):
    """Place ``i`` has somebody new."""
    store_u1(new + row[K.W_VIVO] + i, uint8(1))
    before = u4_at(old + row[K.W_GENERACION], i + 1)
    u4_at(new + row[K.W_GENERACION], i + 1)[i] = before[i] + uint32(1)


@inner
def take_genes(blocks, swarms, i, first, mark, place, new):
    """The genes that ``place`` of the swarm had before the phase into place ``i`` of the copy
    ``new``."""
    row = swarms[blocks[first, K.B_SWARM]]
    number = place // row[K.W_CAP]
    block = blocks[first + number]
    at, _ = words_before(block[K.B_BASE], mark)
    theirs = genes_of(block, row, u8_at(at, L.DYN_WORDS)) + 4 * (place - number * row[K.W_CAP])
    give_genes(row[K.W_GENES], row[K.W_GENES_BYTES] // row[K.W_GENES], theirs, new + 4 * i)


@inner
def columns_of(block, row, dyn):
    """activo, fallos and racha that ``dyn`` names."""
    cold, cap, n = block[K.B_HOT] + row[K.W_COLD], row[K.W_CAP], block[K.B_N]
    activo = u1_at(cold + cold_offset(cap, COLD_ACTIVO, int64(dyn[L.D_ACTIVO_SEL])), n)
    fallos = u4_at(cold + cold_offset(cap, COLD_FALLOS, int64(dyn[L.D_FALLOS_SEL])), n)
    racha = u1_at(cold + cold_offset(cap, COLD_RACHA, int64(dyn[L.D_FALLOS_SEL])), n)
    return activo, fallos, racha


@inner
def move_in(blocks, swarms, b, i, first, mark, place, old, new, mine):
    """Who lived at ``place`` of the swarm into place ``i`` of block ``b``; ``mine``: its columns
    activo, fallos and racha."""
    row = swarms[blocks[b, K.B_SWARM]]
    number = place // row[K.W_CAP]
    block, j = blocks[first + number], place - number * row[K.W_CAP]
    at, _ = words_before(block[K.B_BASE], mark)
    hot = hot_before(block, row, at)
    for f in range(row[K.W_FIELDS]):
        size, off = row[K.W_FIELD_SIZE + f], row[K.W_FIELD_OFFSET + f]
        copy_memory(new + off + i * size, hot + off + j * size, size)
    live(row, i, old, new)
    theirs = columns_of(block, row, u8_at(at, L.DYN_WORDS))
    mine[0][i], mine[1][i], mine[2][i] = theirs[0][j], theirs[1][j], theirs[2][j]


@inner
def settle_block(
    blocks, swarms, b, first, mark, targs, at, free, source, left, children, housed, told
):  # fmt: skip
    """One block that has not done the phase, whose words before it are at ``at``."""
    block, row = blocks[b], swarms[blocks[b, K.B_SWARM]]
    tick, n = targs[K.T_TICK], block[K.B_N]
    after, base = tick - 1, block[K.B_BASE]
    shift, number = block[K.B_FIRST] - row[K.W_FIRST_ID], b - first
    born = children[children.shape[0] - 1]
    lo, hi = np.searchsorted(free, shift), np.searchsorted(free, shift + n)
    lefts, leaves = np.searchsorted(left, shift), np.searchsorted(left, shift + n)
    arrive, leave = 0, leaves - lefts
    for p in range(lo, hi):
        arrive += int64(source[p] != NOBODY)
    homeless = children[number + 1] - max(children[number], min(housed, children[number + 1]))
    dyn = np.empty(L.DYN_WORDS, np.uint64)
    copy_memory(dyn.ctypes.data, at, 8 * L.DYN_WORDS)
    step, word = int64(dyn[L.D_STEP]), u8_at(base, L.OFF_COMMIT // 8 + 1)[L.OFF_COMMIT // 8]
    if int64(dyn[L.D_IN_TICK]) != tick:
        begin_tick(dyn, tick)
    if arrive + leave > 0:
        cold, cap = block[K.B_HOT] + row[K.W_COLD], row[K.W_CAP]
        old = hot_before(block, row, at)
        sel = int64(dyn[L.D_HOT_SEL])
        new = block[K.B_HOT] + (1 - sel) * row[K.W_COPY_BYTES]
        copy_memory(new, old, row[K.W_COPY_BYTES])
        own_cold(cold, cap, dyn, L.D_FALLOS_SEL, COLD_FALLOS, n)
        own_cold(cold, cap, dyn, L.D_ACTIVO_SEL, COLD_ACTIVO, n)
        mine = columns_of(block, row, dyn)
        activo, fallos, racha = mine
        births, genes = 0, row[K.W_GENES] > 0 and arrive > 0
        if genes:
            own_genes(block, row, dyn)
        for p in range(lo, hi):
            i, place = free[p] - shift, source[p] - born
            if source[p] == NOBODY:
                continue
            if place < 0:
                place = put_child(blocks, swarms, b, i, first, after, children, source[p], old, new)
                activo[i], fallos[i], racha[i] = uint8(1), uint32(0), uint8(L.NO_RUN)
                births += 1
            else:
                move_in(blocks, swarms, b, i, first, mark, place, old, new, mine)
            if genes:
                take_genes(blocks, swarms, i, first, mark, place, genes_of(block, row, dyn))
        for k in range(lefts, leaves):
            i = left[k] - shift
            store_u1(new + row[K.W_VIVO] + i, uint8(0))
            activo[i] = uint8(0)
        sick = activas = 0
        for i in range(n):
            sick += int64(racha[i] != 0)
            activas += int64(activo[i])
        dyn[L.D_SICK], dyn[L.D_ACTIVAS] = uint64(sick), uint64(activas)
        dyn[L.D_HOT_SEL] = uint64(1 - sel)
        add(dyn, L.D_BIRTHS, births)
        add(dyn, L.D_MOVES, arrive - births)
        if row[K.W_MEANS] > 0:
            take_means(block, row, dyn, cold)
        if row[K.W_PUBLIC_FIELDS] > 0:
            show(block, row, dyn, after)
    if homeless > 0:
        add(dyn, L.D_NO_ROOM, homeless)
        record = post_of(block, row, after) + row[K.W_CHILDREN]
        record += (children[number + 1] - children[number]) * row[K.W_RECORD]
        note(told + K.TOLD_BYTES * (block[K.B_INDEX] % K.TOLD_PLACES), after,
             int64(load_u8(record - 8)), NO_ROOM)  # fmt: skip
    dyn[L.D_PHASE] = uint64(mark)
    process_kill_point(K_WRITTEN)
    commit(base, copy_of(word), step + 1, after, dyn)


@njit(
    types.int64(
        types.int64[:, ::1], types.int64[:, ::1], types.int64[:, ::1], types.int64, types.int64,
        types.int64[::1], types.int64, types.int64,
    ),
    cache=True, nogil=True, error_model="numpy",
)  # fmt: skip
def settle_range(blocks, swarms, settling, lo, hi, targs, told, number):
    """The phase ``number`` before the tick of ``targs``, of the blocks ``lo … hi−1``: of those of
    the swarms whose first block and number of blocks are the rows of ``settling``."""
    tick = targs[K.T_TICK]
    mark, after, seed = tick << 8 | number, tick - 1, uint64(targs[K.T_SEED])
    for s in range(settling.shape[0]):
        first, count = settling[s]
        if first >= hi or first + count <= lo:
            continue
        origin = swarms[blocks[first, K.B_SWARM], K.W_FIRST_ID]
        children, moves = asked(blocks, swarms, first, count, after)
        if children[count] == 0 and not moves:
            continue
        undone = False
        for b in range(max(lo, first), min(hi, first + count)):
            undone |= not words_before(blocks[b, K.B_BASE], mark)[1]
        if not undone:
            continue
        free, moving = survey(blocks, swarms, first, count, mark, after)
        source, housed, left = settle(free, moving, children, origin, after, seed)
        for b in range(max(lo, first), min(hi, first + count)):
            at, done = words_before(blocks[b, K.B_BASE], mark)
            if not done:
                settle_block(
                    blocks, swarms, b, first, mark, targs, at, free, source, left, children,
                    housed, told,
                )  # fmt: skip
    return hi
