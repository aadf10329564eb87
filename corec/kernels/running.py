"""Running one block: who runs, the processor's kernel over them, what came of it."""

from __future__ import annotations

import math

from numba import float32, float64, int64, njit, uint32, uint64

from corec.kernels import desc as K
from corec.kernels.address import (
    call_kernel,
    copy_memory,
    f4_at,
    f8_at,
    fetch,
    i8_at,
    prefetch,
    u1_at,
    u4_at,
    u8_at,
)
from corec.kernels.block_words import (
    COLD_ACTIVO,
    add,
    cold_offset,
    genes_of,
    get_f,
    own_cold,
    set_f,
)
from corec.kernels.calls import Arrive, Update
from corec.kernels.failures import (
    begin_marks,
    end_marks,
    keep_marks,
    note_readings,
    note_runs,
)
from corec.kernels.frames import select_over
from corec.kernels.lives import living_only, settle_lives
from corec.kernels.post import close_post, count_refused, count_unread, open_post
from corec.kernels.rounds import dense_step
from corec.kernels.stats import count_marks, mean_where, moments
from corec.layout import (
    D_ACC_BUDGET,
    D_ACC_MOMENT,
    D_ACC_OK,
    D_ACC_RUN,
    D_ACC_SUM,
    D_ACTIVAS,
    D_ACTIVO_SEL,
    D_FALLOS_SEL,
    D_HOT_SEL,
    D_IN_DONE,
    D_IN_TICK,
    D_INPUTS,
    D_MEAN0,
    D_STEP,
    D_UMBRAL,
    D_UPDATES,
    DYN_WORDS,
    MEANS_MAX,
    OFF_COMMIT,
    OFF_DYN,
)
from shm.jit import dissolved, inner


@inner
def input_step(block, row, dyn, cold, tick, inputs, lo, hi):
    """Readings of a Micro block: each sets valor and activo of its entity, in order."""
    n = block[K.B_N]
    locals_, values, actives = inputs
    sel = int64(dyn[D_HOT_SEL])
    size = row[K.W_COPY_BYTES]
    new = block[K.B_HOT] + (1 - sel) * size
    copy_memory(new, block[K.B_HOT] + sel * size, size)
    own_cold(cold, row[K.W_CAP], dyn, D_ACTIVO_SEL, COLD_ACTIVO, n)
    valor = f4_at(new, n)
    activo = u1_at(cold + cold_offset(row[K.W_CAP], COLD_ACTIVO, int64(dyn[D_ACTIVO_SEL])), n)
    for j in range(lo, hi):
        i = int64(locals_[j])
        valor[i] = values[j]
        activo[i] = actives[j]
    if row[K.W_VIVO] >= 0:  # a free place is nobody's to switch on
        living_only(row, new, activo)
    activas = 0
    for i in range(n):
        activas += int64(activo[i])
    dyn[D_ACTIVAS] = uint64(activas)
    dyn[D_HOT_SEL] = uint64(1 - sel)
    dyn[D_IN_TICK] = uint64(tick)
    dyn[D_IN_DONE] = uint64(hi - lo)
    add(dyn, D_INPUTS, hi - lo)


@njit(inline="always")
def window(n, carga):
    """ceil(n · carga) by the decimals of ``carga``: the least width whose share of n reaches it.

    Width / n, rounded to float64, is that float64 which the decimal of the same value is read as,
    so nothing is lost by a product in binary: 0.07 of 100 are 7.
    """
    if carga >= 1.0:
        return n
    width = min(max(int64(math.ceil(float64(n) * carga)), 1), n)
    while width > 1 and float64(width - 1) / float64(n) >= carga:
        width -= 1
    while float64(width) / float64(n) < carga:
        width += 1
    return width


@dissolved
def run_mask(block, row, dyn, cold, tick, carga, run):
    """Mark in ``run`` who runs: the active ones of a window that rotates. Returns how many run.

    The window of tick t starts at ((t − 1) · width) mod n.
    """
    n = block[K.B_N]
    width = window(n, carga)
    if width >= n and int64(dyn[D_ACTIVAS]) == n:
        for i in range(n):
            run[i] = 1
        return n
    activo = u1_at(cold + cold_offset(row[K.W_CAP], COLD_ACTIVO, int64(dyn[D_ACTIVO_SEL])), n)
    if width >= n:
        total = 0
        for i in range(n):
            run[i] = activo[i]
            total += int64(activo[i])
        return total
    for i in range(n):
        run[i] = 0
    start = ((tick - 1) * width) % n
    total = 0
    for k in range(width):
        i = start + k
        if i >= n:
            i -= n
        run[i] = activo[i]
        total += int64(activo[i])
    return total


@njit(inline="always")
def umbral_of(row, dyn):
    """The umbral of this tick: what the last one left, within the limits as they are now."""
    return min(max(get_f(dyn, D_UMBRAL), get_f(row, K.W_UMBRAL_MIN)), get_f(row, K.W_UMBRAL_MAX))


@dissolved
def fill_means(row, dyn, means):
    """The block means of the last tick as f32[MEANS_MAX], for the processor."""
    target = f4_at(means, MEANS_MAX)
    for k in range(row[K.W_MEANS]):
        target[k] = float32(get_f(dyn, D_MEAN0 + k))


@inner
def take_means(block, row, dyn, cold):
    """Store the means of the declared fields over the active entities, for the next tick."""
    n = block[K.B_N]
    copy = block[K.B_HOT] + int64(dyn[D_HOT_SEL]) * row[K.W_COPY_BYTES]
    activo = u1_at(cold + cold_offset(row[K.W_CAP], COLD_ACTIVO, int64(dyn[D_ACTIVO_SEL])), n)
    for k in range(row[K.W_MEANS]):
        set_f(dyn, D_MEAN0 + k, mean_where(f4_at(copy + row[K.W_MEAN_OFFSET + k], n), activo))


@dissolved
def fetch_words(block):
    """Ask for the words of the block that comes next."""
    prefetch(block[K.B_BASE] + OFF_COMMIT)
    fetch(block[K.B_BASE] + OFF_DYN[0], 8 * DYN_WORDS)
    fetch(block[K.B_BASE] + OFF_DYN[1], 8 * DYN_WORDS)


@dissolved
def told_at(block, s, scratch):
    """Where what a failed call raised is noted: the place of the block."""
    return s + scratch[K.X_TOLD] + K.TOLD_BYTES * (block[K.B_INDEX] % K.TOLD_PLACES)


@dissolved
def shown_before(row, targs):
    """Address of the public columns as the last tick left them; nobody writes them in this one."""
    return row[K.W_PUBLIC] + (targs[K.T_TICK] - 1 & 1) * row[K.W_PUBLIC_BYTES]


@dissolved
def run_micro(block, row, dyn, cold, targs, carga, scratch, after):
    """Run a Micro block into its other hot copy; ``after`` is the row of the next block.

    Returns (good, mean, Σ(x − mean)², messages); who ran, who did well and the messages are listed
    in the scratch arrays.
    """
    n = block[K.B_N]
    size = row[K.W_COPY_BYTES]
    sel = int64(dyn[D_HOT_SEL])
    new = block[K.B_HOT] + (1 - sel) * size
    s = targs[K.T_SCRATCH]
    most = max(row[K.W_CAP], K.STEP_INPUTS_MAX)
    ok = u1_at(s + scratch[K.X_OK], n)
    run = u1_at(s + scratch[K.X_RUN], n)
    over = u8_at(s + scratch[K.X_OVER], (n + 63) >> 6)
    umbral = float32(umbral_of(row, dyn))
    ran = run_mask(block, row, dyn, cold, targs[K.T_TICK], carga, run)
    held = int64(dyn[D_FALLOS_SEL])
    if row[K.W_VIVO] >= 0:
        ran = living_only(row, block[K.B_HOT] + sel * size, run)
    if row[K.W_OWN] != 0:
        open_post(block, row, dyn, targs[K.T_TICK])
    fill_means(row, dyn, s + scratch[K.X_MEANS])
    good = call_kernel(
        row[K.W_UPDATE],
        Update(
            cur=block[K.B_HOT] + sel * size, new=new, hist=block[K.B_HIST], n=n,
            first_id=block[K.B_FIRST], tick=targs[K.T_TICK], seed=targs[K.T_SEED],
            params=row[K.W_PARAMS], means=s + scratch[K.X_MEANS], rnd=s + scratch[K.X_RND],
            run=s + scratch[K.X_RUN], ok=s + scratch[K.X_OK], ahead=after[K.B_HOT] + sel * size,
            told=told_at(block, s, scratch), pub=shown_before(row, targs),
            origin=row[K.W_FIRST_ID], near=row[K.W_NEAR], genes=genes_of(block, row, dyn),
            own=row[K.W_OWN], everyone=row[K.W_EVERYONE],
        ),
    )  # fmt: skip
    if row[K.W_OWN] != 0:
        close_post(row, dyn, targs[K.T_TICK], told_at(block, s, scratch))
        if row[K.W_INBOX] > 0:
            count_unread(block, row, dyn, targs[K.T_TICK], run, told_at(block, s, scratch))
    dyn[D_HOT_SEL] = uint64(1 - sel)
    fetch_words(after)
    valor = f4_at(new, n)
    mean, moment = moments(valor, ok, good, umbral, over)
    note_runs(row, dyn, cold, run, ok, ran - good)
    if row[K.W_VIVO] >= 0:
        settle_lives(block, row, dyn, cold, block[K.B_HOT] + sel * size, new, held)
    local = u4_at(s + scratch[K.X_LOCAL], most)
    picked = f4_at(s + scratch[K.X_PICKED], most)
    messages = select_over(over, valor, local, picked)
    if row[K.W_ALERT_FIELDS] > 0:
        take_fields(row, new, messages, local, s + scratch[K.X_SHOWN])
    add(dyn, D_UPDATES, ran)
    return good, mean, moment, messages


@inner
def take_fields(row, copy, count, local, shown):
    """What alerts name of the entities that are listed, out of the hot copy at ``copy``."""
    fields = row[K.W_ALERT_FIELDS]
    for k in range(fields):
        size = row[K.W_ALERT_SIZE + k]
        column = copy + row[K.W_ALERT_FROM + k]
        for j in range(count):
            copy_memory(shown + 8 * (j * fields + k), column + size * int64(local[j]), size)


@inner
def fell_silent(block, row, dyn, cold, tick, run, listed):
    """List in ``listed`` who is active, did not run in this tick, and had no reading for so long;
    how many, in order of ids. ``listed`` may be full before all are in it."""
    if row[K.W_SILENCE] == 0:
        return 0
    n = block[K.B_N]
    copy = block[K.B_HOT] + int64(dyn[D_HOT_SEL]) * row[K.W_COPY_BYTES]
    heard = i8_at(copy + row[K.W_HEARD], n)
    quiet = u1_at(copy + row[K.W_QUIET], n)
    activo = u1_at(cold + cold_offset(row[K.W_CAP], COLD_ACTIVO, int64(dyn[D_ACTIVO_SEL])), n)
    since = tick - row[K.W_SILENCE]
    count = 0
    for i in range(n):
        due = (heard[i] <= since) & (quiet[i] == 0) & (activo[i] != 0) & (run[i] == 0)
        if due and count < listed.shape[0]:
            listed[count] = uint32(i)
            count += 1
    return count


@inner
def run_celu(block, row, dyn, cold, targs, inputs, lo, hi, scratch):
    """Give a Celu block the readings that wait for it, and when there are none those who fell
    silent their run; at most one step's worth.

    Returns what ``run_micro`` returns, all but the messages figures of the whole tick so far; and
    whether more waits, for the step that follows.
    """
    s = targs[K.T_SCRATCH]
    sums = f8_at(s + scratch[K.X_SUMS], K.A_COLUMNS)
    sums[K.A_UMBRAL] = umbral_of(row, dyn)
    sums[K.A_GOOD] = float64(dyn[D_ACC_OK])
    sums[K.A_SUM] = get_f(dyn, D_ACC_SUM)
    sums[K.A_MOMENT] = get_f(dyn, D_ACC_MOMENT)
    sums[K.A_RUNS] = float64(dyn[D_ACC_RUN])
    sums[K.A_MESSAGES] = 0.0
    sums[K.A_FAILURES] = 0.0
    sums[K.A_BUDGET] = float64(dyn[D_ACC_BUDGET])
    before = int64(dyn[D_IN_DONE])
    n = block[K.B_N]
    run = u1_at(s + scratch[K.X_RUN], n)
    ok = u1_at(s + scratch[K.X_OK], n)
    begin_marks(row, dyn, cold, run, dyn[D_STEP] > 0)
    tick = targs[K.T_TICK]
    silent = u4_at(s + scratch[K.X_SILENT], K.STEP_INPUTS_MAX)
    first = lo + before
    count = min(hi - first, K.STEP_INPUTS_MAX)
    arrived = count > 0
    if not arrived:
        count = fell_silent(block, row, dyn, cold, tick, run, silent)
    if count == 0:
        end_marks(row, dyn, cold, run, ok)
        return figures(sums, False)
    new = block[K.B_HOT] + (1 - int64(dyn[D_HOT_SEL])) * row[K.W_COPY_BYTES]
    locals_, values, actives = inputs
    who = locals_[first:] if arrived else silent
    fill_means(row, dyn, s + scratch[K.X_MEANS])
    done = 0
    if arrived and row[K.W_DENSE] != 0 and 2 * count >= n:
        plane = locals_.shape[0]
        done = dense_step(block, row, dyn, cold, targs, scratch, who, values[first:], plane,
                          actives[first:], count, before, run, sums)  # fmt: skip
        if done > 0 and row[K.W_ALERT_FIELDS] > 0:
            take_fields(row, new, int64(sums[K.A_MESSAGES]), u4_at(s + scratch[K.X_LOCAL], done),
                        s + scratch[K.X_SHOWN])  # fmt: skip
    if done == 0:
        done = one_by_one(block, row, dyn, cold, targs, scratch, who, values[first:],
                          actives[first:], 4 * locals_.shape[0], count, before, run, sums,
                          arrived)  # fmt: skip
    if arrived and before < block[K.B_SENT]:
        last = lo + min(before + done, block[K.B_SENT])
        count_refused(block, dyn, tick, locals_, actives, first, last, told_at(block, s, scratch))
    if arrived:
        add(dyn, D_IN_DONE, done)
        add(dyn, D_INPUTS, done)
    more = lo + int64(dyn[D_IN_DONE]) < hi
    if not more:
        more = fell_silent(block, row, dyn, cold, tick, run, silent[:1]) > 0
    if more:
        keep_marks(row, dyn, cold, run)
    else:
        end_marks(row, dyn, cold, run, ok)
    add(dyn, D_UPDATES, int64(sums[K.A_RUNS]) - int64(dyn[D_ACC_RUN]))
    dyn[D_ACC_RUN] = uint64(sums[K.A_RUNS])
    dyn[D_ACC_OK] = uint64(sums[K.A_GOOD])
    set_f(dyn, D_ACC_SUM, sums[K.A_SUM])
    set_f(dyn, D_ACC_MOMENT, sums[K.A_MOMENT])
    dyn[D_ACC_BUDGET] = uint64(sums[K.A_BUDGET])
    return figures(sums, more)


@inner
def one_by_one(
    block, row, dyn, cold, targs, scratch, who, values, actives, plane, count, before, run, sums,
    arrived,
):  # fmt: skip
    """Run the readings at hand in their order, or those who fell silent; how many it were."""
    s, tick = targs[K.T_SCRATCH], targs[K.T_TICK]
    n, cap, size = block[K.B_N], row[K.W_CAP], row[K.W_COPY_BYTES]
    sel = int64(dyn[D_HOT_SEL])
    cur = block[K.B_HOT] + sel * size
    new = block[K.B_HOT] + (1 - sel) * size
    copy_memory(new, cur, size)
    dyn[D_HOT_SEL] = uint64(1 - sel)
    own_cold(cold, cap, dyn, D_ACTIVO_SEL, COLD_ACTIVO, n)
    activo = cold + cold_offset(cap, COLD_ACTIVO, int64(dyn[D_ACTIVO_SEL]))
    if row[K.W_OWN] != 0:
        open_post(block, row, dyn, tick)
    done = call_kernel(
        row[K.W_ARRIVE] if arrived else row[K.W_SILENT],
        Arrive(
            cur=cur, new=new, hist=block[K.B_HIST], first_id=block[K.B_FIRST], tick=tick,
            seed=targs[K.T_SEED], params=row[K.W_PARAMS], means=s + scratch[K.X_MEANS],
            local=who.ctypes.data, value=values.ctypes.data, active=actives.ctypes.data,
            count=count, ordinal=before, activo=activo, out_local=s + scratch[K.X_LOCAL],
            out_valor=s + scratch[K.X_PICKED], ended=s + scratch[K.X_ENDED],
            sums=s + scratch[K.X_SUMS], told=told_at(block, s, scratch),
            pub=shown_before(row, targs), origin=row[K.W_FIRST_ID], near=row[K.W_NEAR],
            plane=plane, shown=s + scratch[K.X_SHOWN], genes=genes_of(block, row, dyn),
            own=row[K.W_OWN], everyone=row[K.W_EVERYONE],
        ),
    )  # fmt: skip
    if row[K.W_OWN] != 0:
        close_post(row, dyn, tick, told_at(block, s, scratch))
    ended = u1_at(s + scratch[K.X_ENDED], done)
    note_readings(row, dyn, cold, run, who, ended, int64(sums[K.A_FAILURES]))
    dyn[D_ACTIVAS] = uint64(count_marks(u1_at(activo, n)))
    return done


@dissolved
def figures(sums, more):
    """What ``run_celu`` returns, out of the figures of a Celu block's tick so far."""
    good = sums[K.A_GOOD]
    mean = sums[K.A_SUM] / good if good > 0.0 else 0.0
    return int64(good), mean, sums[K.A_MOMENT], int64(sums[K.A_MESSAGES]), more
