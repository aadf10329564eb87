"""The tick of a range of blocks: one compiled call per worker and tick.

Who writes: the worker that owns the range, alone. Who reads: anybody, the copies that the commit
word names, re-checking the word afterwards.

Order of the stores of one step of one block, and what a SIGKILL leaves after each:

    other copy of what changes   not named by any committed word: the redo writes it again
    history at the cursor        beyond what the committed count shows: likewise
    message log at the cursor    likewise
    [K block.before_publish]
    out frame, rows frame        not published: the redo's frame overwrites it
    head of out lane             [K block.between_publish] published, not committed: the redo
                                 publishes the same frame again, the consumer drops the repeat
    head of rows lane            [K block.after_publish] likewise
    public columns of the tick   [K block.between_public] read by nobody yet (``public``)
    [K block.before_post]
    what it leaves to the next   [K block.after_post] likewise (``post``)
    other copy of dynamic words  [K block.before_commit] not named yet
    commit word (release)        [K block.after_commit] the step is done; a redo skips it

"Other copy of what changes" is of the hot columns, activo, fallos with racha, and of the marks that
a Celu block's step leaves to those after it in its tick (``failures``): a step that is redone finds
them as the last committed step left them. Repair belongs to the step that ends the tick; it writes
the other hot copy, and racha in the copy that the step has made its own, or makes then.

A step ends a tick, or applies inputs only: readings set the values of a Micro block, or more
readings arrived for a Celu block than one step takes, or entities of it fell silent, who run in the
steps behind its readings. Input steps leave the tick in the word.

What every step passes through is inlined by force: as calls, each with ten arrays on the stack,
it took a seventh of the whole tick.
"""

from __future__ import annotations

from numba import float64, int64, njit, types, uint64

from corec.kernels import desc as K
from corec.kernels.address import copy_memory, f4_at, f8_at, fetch, i8_at, u1_at, u4_at, u8_at
from corec.kernels.block_words import (
    K_BEFORE_PUBLISH,
    add,
    commit,
    copy_of,
    get_f,
    set_f,
    tick_of,
    words_at,
)
from corec.kernels.failures import repair
from corec.kernels.frames import LOG_BYTES, append_log, emit, fetch_frame
from corec.kernels.post import bring_letters, leave_post
from corec.kernels.public import show
from corec.kernels.running import input_step, run_celu, run_micro, take_means
from corec.kernels.stats import deviation, threshold
from corec.layout import (
    BLOCK_HOT_BASE,
    D_ACC_BUDGET,
    D_ACC_MOMENT,
    D_ACC_OK,
    D_ACC_RUN,
    D_ACC_SUM,
    D_DESVIACION,
    D_ERRORES,
    D_FALLOS_SEL,
    D_FITNESS,
    D_HOT_SEL,
    D_IN_DONE,
    D_IN_TICK,
    D_LOG_N,
    D_LOG_OMITTED,
    D_MEDIA,
    D_MESSAGES,
    D_REPAIRS,
    D_ROW_ERRORES,
    D_ROW_MENSAJES,
    D_ROW_REPARADAS,
    D_ROW_TICK,
    D_ROWS,
    D_STEP,
    D_TICK,
    D_UMBRAL,
    DYN_WORDS,
    KIND_MICRO,
    OFF_COMMIT,
    OFF_DYN,
)
from shm.compiled_killpoint import process_kill_point
from shm.jit import dissolved

assert OFF_DYN[1] + DYN_WORDS * 8 <= BLOCK_HOT_BASE


@dissolved
def begin_tick(dyn, tick):
    """Reset what counts within one tick."""
    dyn[D_IN_TICK] = uint64(tick)
    dyn[D_IN_DONE] = uint64(0)
    dyn[D_ACC_RUN] = uint64(0)
    dyn[D_ACC_OK] = uint64(0)
    set_f(dyn, D_ACC_SUM, 0.0)
    set_f(dyn, D_ACC_MOMENT, 0.0)
    dyn[D_ACC_BUDGET] = uint64(0)
    dyn[D_ERRORES] = uint64(0)


@dissolved
def close_tick(row, dyn, tick, n, carga, good, mean, moment):
    """Statistics, threshold and fitness of the tick that ends (``docs/rules.md``)."""
    sigma = 0.0
    if good > 0:
        sigma = deviation(moment, good)
        set_f(dyn, D_MEDIA, mean)
        set_f(dyn, D_DESVIACION, sigma)
    errores = int64(dyn[D_ERRORES])
    least, most = get_f(row, K.W_UMBRAL_MIN), get_f(row, K.W_UMBRAL_MAX)
    set_f(dyn, D_UMBRAL, threshold(carga, sigma, errores, n, least, most))
    share = 1.0 - float64(errores) / float64(n)
    set_f(dyn, D_FITNESS, 0.9 * get_f(dyn, D_FITNESS) + 0.1 * share)
    dyn[D_TICK] = uint64(tick)


@dissolved
def begin_row(dyn, tick):
    """Reset what counts between two rows."""
    dyn[D_LOG_N] = uint64(0)
    dyn[D_LOG_OMITTED] = uint64(0)
    dyn[D_ROW_TICK] = uint64(tick)
    dyn[D_ROW_ERRORES] = uint64(0)
    dyn[D_ROW_REPARADAS] = uint64(0)
    dyn[D_ROW_MENSAJES] = uint64(0)
    add(dyn, D_ROWS, 1)


@dissolved
def care(block, row, dyn, cold, held, targs, scratch):
    """Repair at the end of a tick in which too many failed; returns the repairs."""
    errores = int64(dyn[D_ERRORES])
    if errores == 0:
        return 0
    n = block[K.B_N]
    add(dyn, D_ROW_ERRORES, errores)
    if float64(errores) / float64(n) <= get_f(row, K.W_MAX_ERRORES):
        return 0
    s = targs[K.T_SCRATCH]
    copy = block[K.B_HOT] + int64(dyn[D_HOT_SEL]) * row[K.W_COPY_BYTES]
    repairs = repair(
        block, row, copy, dyn, cold, held, u1_at(s + scratch[K.X_RUN], n),
        u1_at(s + scratch[K.X_OK], n), s + scratch[K.X_REPAIRS], targs,
    )  # fmt: skip
    add(dyn, D_REPAIRS, repairs)
    add(dyn, D_ROW_REPARADAS, repairs)
    return repairs


@dissolved
def tick_block(block, row, targs, fargs, inputs, lo, hi, scratch, out, rows, after):
    """One step of one block; ``after`` is the row of the block that follows.

    Returns 1: the tick is committed; 0: an input step is, call again; −1: a lane is full, nothing
    was published, call again when there is room.
    """
    base = block[K.B_BASE]
    tick = targs[K.T_TICK]
    carga = fargs[K.F_CARGA]
    word = u8_at(base, OFF_COMMIT // 8 + 1)[OFF_COMMIT // 8]
    if tick_of(word) >= tick:
        return 1
    parity = copy_of(word)
    n = block[K.B_N]
    cold = block[K.B_HOT] + row[K.W_COLD]
    s = targs[K.T_SCRATCH]
    dyn = u8_at(s + scratch[K.X_DYN], DYN_WORDS)
    copy_memory(s + scratch[K.X_DYN], words_at(base, parity), DYN_WORDS * 8)
    step = int64(dyn[D_STEP])
    held = int64(dyn[D_FALLOS_SEL])
    fetch(block[K.B_LOG] + LOG_BYTES * int64(dyn[D_LOG_N]), 128)
    fetch_frame(out)
    if int64(dyn[D_IN_TICK]) != tick:
        begin_tick(dyn, tick)
    if row[K.W_KIND] == KIND_MICRO:
        first = lo + block[K.B_SENT]
        if hi - first > int64(dyn[D_IN_DONE]):
            input_step(block, row, dyn, cold, tick, inputs, first, hi)
            commit(base, parity, step + 1, tick - 1, dyn)
            return 0
        if row[K.W_INBOX] > 0:
            bring_letters(block, row, inputs[0], inputs[1], lo)
        good, mean, moment, emitted = run_micro(block, row, dyn, cold, targs, carga, scratch, after)
        more = False
    else:
        good, mean, moment, emitted, more = run_celu(
            block, row, dyn, cold, targs, inputs, lo, hi, scratch
        )
    last = not more
    repairs = care(block, row, dyn, cold, held, targs, scratch) if last else 0
    most = max(row[K.W_CAP], K.STEP_INPUTS_MAX)
    local = u4_at(s + scratch[K.X_LOCAL], most)
    picked = f4_at(s + scratch[K.X_PICKED], most)
    if emitted > 0:
        keep = targs[K.T_NO_LOG] == 0
        append_log(block, dyn, tick, emitted, local, picked, keep)
        add(dyn, D_MESSAGES, emitted)
        add(dyn, D_ROW_MENSAJES, emitted)
    if last:
        close_tick(row, dyn, tick, n, carga, good, mean, moment)
        if row[K.W_MEANS] > 0:
            take_means(block, row, dyn, cold)
    with_row = last and targs[K.T_EVERY] > 0 and tick % targs[K.T_EVERY] == 0
    process_kill_point(K_BEFORE_PUBLISH)
    published = emit(
        out, rows, block, row, step, emitted, local, picked, with_row, repairs,
        s + scratch[K.X_REPAIRS], dyn, targs, carga, u1_at(s + scratch[K.X_OK], n),
        u1_at(s + scratch[K.X_PLACE], n), u4_at(s + scratch[K.X_COUNTS], K.PLACE_COUNTS),
        s + scratch[K.X_SHOWN],
    )  # fmt: skip
    if not published:
        return -1
    if with_row:
        begin_row(dyn, tick)
    if last:
        if row[K.W_PUBLIC_FIELDS] > 0:
            show(block, row, dyn, tick)
        if row[K.W_POST_BYTES] > 0:
            leave_post(block, row, dyn, tick)
        commit(base, parity, 0, tick, dyn)
        return 1
    commit(base, parity, step + 1, tick - 1, dyn)
    return 0


TICK_RANGE_ARGS = (
    types.int64[:, ::1], types.int64[:, ::1], types.int64, types.int64, types.int64[::1],
    types.float64[::1], types.int64[::1], types.uint32[::1], types.float32[::1], types.uint8[::1],
    types.int64[::1], types.uint64[::1], types.uint8[::1], types.uint64[::1], types.uint8[::1],
)  # fmt: skip


@njit(types.int64(*TICK_RANGE_ARGS), cache=True, nogil=True, error_model="numpy")
def tick_range(
    blocks, swarms, lo, hi, targs, fargs, in_start, in_local, in_value, in_active, scratch,
    out_ctl, out_data, rows_ctl, rows_data,
):  # fmt: skip
    """Tick the blocks ``lo … hi−1``: int64 rows as in ``corec.kernels.desc``.

    ``in_start`` (int64[blocks + 1]) splits the readings of the tick by block: local index, value
    (of several, ``inputs.sort_inputs``), activo. Returns the block to go on with: ``hi`` when all
    are done, else one whose lane is full.
    """
    # Arrays by address own nothing, so no reference is counted per block: 7 % of a worker's time.
    words = i8_at(targs.ctypes.data, K.T_COLUMNS)
    numbers = f8_at(fargs.ctypes.data, K.F_COLUMNS)
    places = i8_at(scratch.ctypes.data, scratch.shape[0])
    arrived = in_local.shape[0]
    inputs = (
        u4_at(in_local.ctypes.data, arrived),
        f4_at(in_value.ctypes.data, in_value.shape[0]),
        u1_at(in_active.ctypes.data, arrived),
    )
    out = (
        u8_at(out_ctl.ctypes.data, out_ctl.shape[0]),
        u1_at(out_data.ctypes.data, out_data.shape[0]),
    )
    rows = (
        u8_at(rows_ctl.ctypes.data, rows_ctl.shape[0]),
        u1_at(rows_data.ctypes.data, rows_data.shape[0]),
    )
    starts = i8_at(in_start.ctypes.data, in_start.shape[0])
    table = blocks.ctypes.data
    kinds = swarms.ctypes.data
    for b in range(lo, hi):
        block = i8_at(table + 8 * K.B_COLUMNS * b, K.B_COLUMNS)
        row = i8_at(kinds + 8 * K.W_COLUMNS * block[K.B_SWARM], K.W_COLUMNS)
        after = i8_at(table + 8 * K.B_COLUMNS * min(b + 1, hi - 1), K.B_COLUMNS)
        done = 0
        while done == 0:
            done = tick_block(
                block, row, words, numbers, inputs, starts[b], starts[b + 1], places, out, rows,
                after,
            )  # fmt: skip
        if done < 0:
            return b
    return hi
