"""The evolution of a range of blocks between two ticks: a phase (``corec.world.phases``).

Who writes: the worker that owns the block, in the pass of this phase before tick T. Who reads: that
worker, and every other one that evolves blocks of the same swarm: each block as it was before the
phase. Those are the copies that the block's words before the phase name, whether or not the block
has done it by now (``words_before``): a phase writes the other copies, and the copies from before
are written again only by a step of tick T, which nobody begins before all have done the phase.

Order of the stores of one block, and what a SIGKILL leaves after each:

    other copy of the genes       not named by any committed word: the redo writes it again
    [K evolution.genes_written]
    other hot copy, racha, marks  likewise
    frame in the rows lane        ``generations``
    public columns of T − 1       read by nobody before all have done the phase; the redo writes
                                  the same bytes again
    other copy of dynamic words   [K block.before_commit] not named yet
    commit word (release)         [K block.after_commit] a step of tick T is done; D_PHASE says
                                  which, and a redo skips it

What each child becomes follows from the seed, its id, the tick and the blocks as they were, so it
is the same whoever computes it, and however often. Rules: ``docs/rules.md``.
"""

from __future__ import annotations

from numba import int64, njit, types, uint8, uint32, uint64

from corec import layout as L
from corec.kernels import desc as K
from corec.kernels import evolution_desc as E
from corec.kernels import islands
from corec.kernels.address import (
    call_kernel,
    copy_memory,
    f4_at,
    f8_at,
    i8_at,
    load_u1,
    store_u1,
    u1_at,
    u4_at,
    u8_at,
)
from corec.kernels.block import begin_tick
from corec.kernels.block_words import (
    COLD_FALLOS,
    add,
    commit,
    copy_of,
    own_cold,
)
from corec.kernels.breeding import breed
from corec.kernels.calls import Init
from corec.kernels.failures import keep_marks, racha_of
from corec.kernels.generations import tell
from corec.kernels.masks import next_not_zero, next_zero
from corec.kernels.public import show
from corec.kernels.running import take_means
from shm.compiled_killpoint import process_kill_point
from shm.jit import inner
from shm.killpoint import register

K_GENES_WRITTEN = register("evolution.genes_written")
FEW_STAY = 16
"""When fewer than one in so many stay, the others' genes need not be copied before theirs."""


@inner
def new_state(block, row, rule, after, seed, role, count, work, hot, new, genes):
    """The state of everybody who is new: as at the start, or the mother's."""
    n = block[K.B_N]
    if rule[E.E_INHERITS] == 0:
        roles = role.ctypes.data
        i = next_not_zero(roles, 0, n)
        while i < n:
            end = next_zero(roles, i, n)
            call_kernel(
                row[K.W_INIT],
                Init(
                    new=new, hist=block[K.B_HIST], first_id=block[K.B_FIRST], seed=seed,
                    params=row[K.W_PARAMS], lo=i, hi=end, told=0, genes=genes,
                ),
            )  # fmt: skip
            i = next_not_zero(roles, end, n)
        if row[K.W_VIVO] >= 0:  # whose place it is stays
            old = u4_at(hot + row[K.W_GENERACION], n)
            now = u4_at(new + row[K.W_GENERACION], n)
            for i in range(n):
                now[i] = old[i]
        if row[K.W_SILENCE] > 0:
            heard = i8_at(new + row[K.W_HEARD], n)
            for i in range(n):
                heard[i] = after if role[i] != 0 else heard[i]
        return
    kids = u4_at(work[E.A_KIDS], count)
    hots, places = i8_at(work[E.A_MOTHER_HOT], count), u4_at(work[E.A_MOTHER_PLACE], count)
    for f in range(row[K.W_STATE_FIELDS]):
        size, off = row[K.W_FIELD_SIZE + f], row[K.W_FIELD_OFFSET + f]
        for k in range(count):
            source = hots[k] + off + int64(places[k]) * size
            target = new + off + int64(kids[k]) * size
            for byte in range(size):
                store_u1(target + byte, load_u1(source + byte))


@inner
def unrun(row, dyn, cold, role, n):
    """Whoever is new has no run yet."""
    own_cold(cold, row[K.W_CAP], dyn, L.D_FALLOS_SEL, COLD_FALLOS, n)
    racha = racha_of(row, dyn, cold, n)
    sick = uint32(0)
    for i in range(n):
        now = uint8(L.NO_RUN) if role[i] != 0 else racha[i]
        racha[i] = now
        sick += uint32(now != 0)
    dyn[L.D_SICK] = uint64(sick)


@inner
def evolve_block(blocks, swarms, rule, b, mark, targs, m, standing_, home_at, work, rows):
    """One block, whose words before the phase are at ``home_at`` and which has not done it; false:
    its frame finds no room, and nothing is committed."""
    block, row = blocks[b], swarms[blocks[b, K.B_SWARM]]
    tick, seed = targs[K.T_TICK], targs[K.T_SEED]
    n, after, base = block[K.B_N], tick - 1, block[K.B_BASE]
    copy_memory(work[E.A_DYN], home_at, 8 * L.DYN_WORDS)
    dyn = u8_at(work[E.A_DYN], L.DYN_WORDS)
    word = u8_at(base, L.OFF_COMMIT // 8 + 1)[L.OFF_COMMIT // 8]
    step = int64(dyn[L.D_STEP])
    begin_tick(dyn, tick)
    best, active = islands.figures(block, row, rule, home_at, dyn, f4_at(work[E.A_FITNESS], n))
    role = u1_at(work[E.A_ROLE], n)
    for i in range(n):
        role[i] = 0
    generation = int64(dyn[L.D_GENERATION]) + 1
    whole = rule[E.E_SWARM] != 0
    mine = i8_at(work[E.A_START], rule[E.E_BLOCKS] + 1)
    number = b - rule[E.E_FIRST_BLOCK]
    lo, hi = (mine[number], mine[number + 1]) if whole else (0, m)
    migrants = 0
    if m > 0 and not whole:
        elite = islands.elite_of(rule, m)
        migrants = islands.let_in(
            blocks, swarms, rule, b, mark, after, seed, generation, m, elite, work, role
        )
    shift = block[K.B_FIRST] - row[K.W_FIRST_ID] if whole else 0
    count = islands.list_kids(work, lo, hi, shift, standing_[0], role, migrants)
    cold = block[K.B_HOT] + row[K.W_COLD]
    sel, chosen = int64(dyn[L.D_HOT_SEL]), int64(dyn[L.D_GENES_SEL])
    pair = block[K.B_HOT] + row[K.W_GENES_OFF]
    genes = pair + chosen * row[K.W_GENES_BYTES]
    new_genes = pair + (1 - chosen) * row[K.W_GENES_BYTES]
    if count > 0:
        keep(row, role, n, count, genes, new_genes)
        hot = block[K.B_HOT] + sel * row[K.W_COPY_BYTES]
        new = block[K.B_HOT] + (1 - sel) * row[K.W_COPY_BYTES]
        if migrants > 0:
            bring(row, migrants, work, new_genes)
        if count > migrants:
            breed(
                block, row, rule, after, seed, m, standing_, work, migrants, count,
                0 if whole else genes, hot, new_genes,
            )  # fmt: skip
        process_kill_point(K_GENES_WRITTEN)
        copy_memory(new, hot, row[K.W_COPY_BYTES])
        new_state(block, row, rule, after, seed, role, count, work, hot, new, new_genes)
        dyn[L.D_HOT_SEL], dyn[L.D_GENES_SEL] = uint64(1 - sel), uint64(1 - chosen)
        unrun(row, dyn, cold, role, n)
        add(dyn, L.D_REBORN, count)
    dyn[L.D_GENERATION] = uint64(generation)
    dyn[L.D_PHASE] = uint64(mark)
    if not tell(rows, block, row, rule, dyn, step + 1, targs, best, active, genes, new_genes, count,
                migrants, work):  # fmt: skip
        return False
    if row[K.W_KIND] == L.KIND_CELU:
        marks = u1_at(work[E.A_MARKS], n)
        for i in range(n):
            marks[i] = 0
        keep_marks(row, dyn, cold, marks)
    if row[K.W_MEANS] > 0:
        take_means(block, row, dyn, cold)
    if row[K.W_PUBLIC_FIELDS] > 0:
        show(block, row, dyn, after)
    commit(base, copy_of(word), step + 1, after, dyn)
    return True


@inner
def keep(row, role, n, count, old, new):
    """The genes of whoever stays, into the other copy."""
    gap = row[K.W_GENES_BYTES] // row[K.W_GENES]
    if FEW_STAY * (n - count) >= n:
        copy_memory(new, old, row[K.W_GENES_BYTES])
        return
    roles = role.ctypes.data
    i = next_zero(roles, 0, n)
    while i < n:
        for j in range(row[K.W_GENES]):
            copy_memory(new + j * gap + 4 * i, old + j * gap + 4 * i, 4)
        i = next_zero(roles, i + 1, n)


@inner
def bring(row, migrants, work, new):
    """The migrants' genes, as they are."""
    gap = row[K.W_GENES_BYTES] // row[K.W_GENES]
    kids, at = u4_at(work[E.A_KIDS], migrants), i8_at(work[E.A_MOTHER_AT], migrants)
    for j in range(row[K.W_GENES]):
        for k in range(migrants):
            copy_memory(new + j * gap + 4 * int64(kids[k]), at[k] + j * gap, 4)


@njit(
    types.int64(
        types.int64[:, ::1], types.int64[:, ::1], types.int64[:, ::1], types.int64, types.int64,
        types.int64[::1], types.int64[::1], types.int64, types.uint64[::1], types.uint8[::1],
    ),
    cache=True, nogil=True, error_model="numpy",
)  # fmt: skip
def evolve_range(
    blocks, swarms, rules, lo, hi, targs, work, number, rows_ctl, rows_data
):  # fmt: skip
    """The phase ``number`` before the tick of ``targs``, of the blocks ``lo … hi−1``: of those
    whose swarm evolves then. Blocks that have done it stay as they are. Returns the block to go on
    with: ``hi`` when all have done it, else one whose frame finds no room in the lane."""
    tick = targs[K.T_TICK]
    rows = (rows_ctl, rows_data)
    mark = tick << 8 | number
    gathered, m = int64(-1), 0
    standing_ = nobody = (islands.MOST, int64(0), int64(0), 0.0)
    for b in range(lo, hi):
        block = blocks[b]
        swarm = block[K.B_SWARM]
        rule, row = rules[swarm], swarms[swarm]
        if rule[E.E_CADA] == 0 or (tick - 1) % rule[E.E_CADA] != 0:
            continue
        at, done = islands.words_before(block[K.B_BASE], mark)
        if done:
            continue
        whole = rule[E.E_SWARM] != 0
        if not whole or swarm != gathered:
            most = rule[E.E_BLOCKS] * row[K.W_CAP] if whole else row[K.W_CAP]
            island, key = f4_at(work[E.A_ISLAND], most), u4_at(work[E.A_KEY], most)
            rank, who = u8_at(work[E.A_RANK], most), u4_at(work[E.A_WHO], most)
            if whole:
                m = islands.gather_swarm(blocks, swarms, rule, mark, work)
            else:
                fitness = f4_at(work[E.A_FITNESS], row[K.W_CAP])
                m = islands.gather(block, row, rule, at, fitness, island, key, rank, who, 0, 0)
            gathered = swarm
            standing_ = nobody
            if m > 0:
                spare, fittest = u8_at(work[E.A_SPARE], most), u4_at(work[E.A_FITTEST], most)
                upto = f8_at(work[E.A_UPTO], most)
                standing_ = islands.standing(
                    rule, m, island, key, rank, spare, fittest, upto
                )  # fmt: skip
        if not evolve_block(blocks, swarms, rule, b, mark, targs, m, standing_, at, work, rows):
            return b
    return hi
