"""A dense round: the next readings of a Celu block, one for each of most of its entities.

``corec.entities.dense`` says why it leaves the bits that one by one leaves, and has the loop over
the entities. Here is what comes before and after it: which readings are a round, and what follows
from their order, which is the figures of the tick and the messages.
"""

from __future__ import annotations

from typing import Final

from numba import float32, float64, int64, njit, uint8, uint32, uint64

from corec import layout as L
from corec.kernels import desc as K
from corec.kernels.address import call_kernel, f4_at, f8_at, u1_at, u4_at
from corec.kernels.block_words import COLD_ACTIVO, cold_offset, genes_of, own_cold
from corec.kernels.calls import Dense
from corec.kernels.failures import RAN, note_readings
from corec.kernels.lanes import LANES, moment_terms
from corec.layout import D_ACTIVAS, D_ACTIVO_SEL, D_HOT_SEL, D_SICK
from shm.jit import inner

BEHIND: Final = 4 * LANES
assert L.REPAIR.itemsize >= 16  # a repair's room holds two float64, before any is listed


@inner
def in_order(who, actives, n):
    """Whether the first ``n`` readings are one of each entity, in order, and switch nobody off."""
    other = uint32(0)
    for j in range(n):
        other |= (who[j] ^ uint32(j)) | uint32(actives[j] == 0)
    return other == 0


@inner
def gather(who, values, plane, actives, count, row, run, order, column):
    """How many readings, from the first on, are of different entities and switch nobody off; who
    they are, which of them is whose, and what they say, by entity."""
    cap, width = row[K.W_CAP], row[K.W_WIDTH]
    run[:] = 0
    taken = 0
    while taken < count:
        i = int64(who[taken])
        if run[i] != 0 or actives[taken] == 0:
            break
        run[i] = 1
        order[i] = uint32(taken)
        for a in range(width):
            column[a * cap + i] = values[a * plane + taken]
        taken += 1
    return taken


@inner
def note_round(who, count, ok, valor, sums, ended, local, picked):
    """The figures of the tick and the messages, in order of the readings."""
    umbral = float32(sums[K.A_UMBRAL])
    good, total, moment = sums[K.A_GOOD], sums[K.A_SUM], sums[K.A_MOMENT]
    emitted = 0
    failures = 0
    for j in range(count):
        i = int64(who[j])
        if ok[i] == 0:
            ended[j] = uint8(K.ENDED_BADLY)
            failures += 1
            continue
        ended[j] = uint8(K.ENDED_WELL)
        x = float64(valor[i])
        good += 1.0
        total += x
        if good > 1.0:
            d = good * x - total
            moment += d * d / (good * (good - 1.0))
        if valor[i] > umbral:
            local[emitted] = uint32(i)
            picked[emitted] = valor[i]
            emitted += 1
    sums[K.A_GOOD], sums[K.A_SUM], sums[K.A_MOMENT] = good, total, moment
    sums[K.A_RUNS] += float64(count)
    sums[K.A_MESSAGES] = float64(emitted)
    sums[K.A_FAILURES] = float64(failures)


@njit(error_model="numpy")
def note_good_round(who, count, x, sums, local, picked, work):
    """``note_round`` where everybody ran well, to the same bits. ``x``: f4[count], the values in
    order of the readings; ``work``: address of f8[2 · count].

    Two sums are added up in order of the readings, each addition waiting for the one before. What
    each reading adds to the second is reckoned for sixteen at once, so far behind the first sum
    that its stores are done, and as far ahead of the second.
    """
    umbral = float32(sums[K.A_UMBRAL])
    good, total, moment = sums[K.A_GOOD], sums[K.A_SUM], sums[K.A_MOMENT]
    upto, terms = f8_at(work, count), f8_at(work + 8 * count, count)
    emitted = 0
    whole = count - count % LANES
    for begin in range(0, whole + 2 * BEHIND, LANES):
        if begin < whole:
            for j in range(begin, begin + LANES):
                total += float64(x[j])
                upto[j] = total
        at = begin - BEHIND
        if 0 <= at < whole and moment_terms(
            x.ctypes.data + 4 * at, upto.ctypes.data + 8 * at, terms.ctypes.data + 8 * at,
            good + float64(at), umbral,
        ):  # fmt: skip
            emitted = _messages(at, at + LANES, who, x, umbral, local, picked, emitted)
        at = begin - 2 * BEHIND
        if at >= 0:
            for j in range(at, at + LANES):
                moment += terms[j]
    good += float64(whole)
    for j in range(whole, count):
        good += 1.0
        total += float64(x[j])
        if good > 1.0:
            d = good * float64(x[j]) - total
            moment += d * d / (good * (good - 1.0))
    emitted = _messages(whole, count, who, x, umbral, local, picked, emitted)
    sums[K.A_GOOD], sums[K.A_SUM], sums[K.A_MOMENT] = good, total, moment
    sums[K.A_RUNS] += float64(count)
    sums[K.A_MESSAGES] = float64(emitted)
    sums[K.A_FAILURES] = 0.0


@inner
def _messages(begin, end, who, x, umbral, local, picked, emitted):
    """List those above ``umbral`` behind the ``emitted`` listed ones; how many there are now."""
    for j in range(begin, end):
        if x[j] > umbral:
            local[emitted] = who[j]
            picked[emitted] = x[j]
            emitted += 1
    return emitted


@inner
def switch_on(row, dyn, cold, n, run):
    """Who has a reading is active."""
    if int64(dyn[D_ACTIVAS]) == n:
        return
    cap = row[K.W_CAP]
    own_cold(cold, cap, dyn, D_ACTIVO_SEL, COLD_ACTIVO, n)
    activo = u1_at(cold + cold_offset(cap, COLD_ACTIVO, int64(dyn[D_ACTIVO_SEL])), n)
    activas = 0
    for i in range(n):
        activo[i] |= run[i]
        activas += int64(activo[i])
    dyn[D_ACTIVAS] = uint64(activas)


@inner
def dense_step(
    block, row, dyn, cold, targs, scratch, who, values, plane, actives, count, before, marks, sums
):
    """Run the next round of the readings at hand; how many they were, 0 when they are to be run
    one by one. ``plane``: numbers from a number of a reading to the next. ``marks``: who ran in
    this tick (u8[n])."""
    n = block[K.B_N]
    s = targs[K.T_SCRATCH]
    run, ok = u1_at(s + scratch[K.X_OVER], n), u1_at(s + scratch[K.X_OK], n)
    said, between, order = values.ctypes.data, 4 * plane, who.ctypes.data
    all_in_order = count >= n and in_order(who, actives, n)
    if all_in_order:
        taken = n
        run[:] = 1
    else:
        places = u4_at(s + scratch[K.X_ORDER], n)
        column = f4_at(s + scratch[K.X_COLUMN], row[K.W_CAP] * row[K.W_WIDTH])
        taken = gather(who, values, plane, actives, count, row, run, places, column)
        said, between, order = column.ctypes.data, 4 * row[K.W_CAP], places.ctypes.data
    if 2 * taken < n:
        return 0
    sel = int64(dyn[D_HOT_SEL])
    size = row[K.W_COPY_BYTES]
    new = block[K.B_HOT] + (1 - sel) * size
    told = s + scratch[K.X_TOLD] + K.TOLD_BYTES * (block[K.B_INDEX] % K.TOLD_PLACES)
    fine = call_kernel(
        row[K.W_DENSE],
        Dense(
            cur=block[K.B_HOT] + sel * size, new=new, hist=block[K.B_HIST], n=n,
            first_id=block[K.B_FIRST], tick=targs[K.T_TICK], seed=targs[K.T_SEED],
            params=row[K.W_PARAMS], means=s + scratch[K.X_MEANS], value=said, plane=between,
            order=order, ordinal=before, all_run=int64(taken == n), run=s + scratch[K.X_OVER],
            ok=s + scratch[K.X_OK], told=told, genes=genes_of(block, row, dyn),
        ),
    )  # fmt: skip
    if fine < 0:
        return 0
    dyn[D_HOT_SEL] = uint64(1 - sel)
    switch_on(row, dyn, cold, n, run)
    most = max(row[K.W_CAP], K.STEP_INPUTS_MAX)
    local, picked = u4_at(s + scratch[K.X_LOCAL], most), f4_at(s + scratch[K.X_PICKED], most)
    if fine == taken and dyn[D_SICK] == 0:
        x = f4_at(new, taken)
        if not all_in_order:  # what the readings said is not needed any more
            x = f4_at(s + scratch[K.X_COLUMN], taken)
            valor = f4_at(new, n)
            for j in range(taken):
                x[j] = valor[int64(who[j])]
        note_good_round(who, taken, x, sums, local, picked, s + scratch[K.X_REPAIRS])
        for i in range(n):
            marks[i] |= run[i] * uint8(RAN)
    else:
        ended = u1_at(s + scratch[K.X_ENDED], taken)
        note_round(who, taken, ok, f4_at(new, n), sums, ended, local, picked)
        note_readings(row, dyn, cold, marks, who, ended, taken - fine)
    return taken
