"""What happens to entities that fail: counted run by run, repaired at the end of a tick.

``racha`` says how an entity's last runs ended: 0, the last one was good; 1 … RACHA_MAX, so many
failed since the last good one; NO_RUN, it has not run since the start or since it was reset. The
word D_SICK counts the entities whose racha is not 0: while there is none and nothing fails, no cold
column is looked at.

A Celu block's tick may take several steps, and its repair comes with the last one. What the steps
before it leave for that is committed with them: fallos and racha in their pair, and for each entity
whether it ran and failed in this tick (RAN, FAILED) in the pair ``marks``, written only by a step
that is not the tick's last. Each pair is written in the copy that does not count, as everything is
(see ``block``).
"""

from __future__ import annotations

from numba import int64, njit, uint8, uint32, uint64

from corec.kernels import desc as K
from corec.kernels.address import (
    call_kernel,
    copy_memory,
    i8_at,
    load_u1,
    load_u4,
    store_u1,
    store_u4,
    u1_at,
    u4_at,
)
from corec.kernels.block_words import (
    COLD_ACTIVO,
    COLD_FALLOS,
    COLD_MARKS,
    COLD_RACHA,
    add,
    cold_offset,
    genes_of,
    own_cold,
)
from corec.kernels.calls import Init
from corec.kernels.frames import REPAIR_BYTES, write_repair
from corec.layout import (
    D_ACTIVO_SEL,
    D_ERRORES,
    D_FAILURES,
    D_FALLOS_SEL,
    D_MARKS_SEL,
    D_SICK,
    NO_RUN,
    RACHA_MAX,
    REPAIR_INHERIT,
    REPAIR_RESET,
)
from shm.jit import inner

RAN = 1
FAILED = 2
FALLOS_MAX = 0xFFFFFFFF


@njit(inline="always")
def racha_of(row, dyn, cold, n):
    """The racha that counts, u8[n]."""
    return u1_at(cold + cold_offset(row[K.W_CAP], COLD_RACHA, int64(dyn[D_FALLOS_SEL])), n)


@njit(inline="always")
def fallos_of(row, dyn, cold, n):
    """The fallos that count, u32[n]."""
    return u4_at(cold + cold_offset(row[K.W_CAP], COLD_FALLOS, int64(dyn[D_FALLOS_SEL])), n)


@njit(inline="always")
def failed_once_more(fallos, racha, i):
    """Count a failed run of entity ``i``."""
    if fallos[i] < uint32(FALLOS_MAX):
        fallos[i] += uint32(1)
    if racha[i] == NO_RUN:
        racha[i] = uint8(1)
    elif racha[i] < RACHA_MAX:
        racha[i] += uint8(1)


@inner
def recovers(racha, run, ok):
    """Whether an entity ran well whose racha is not 0."""
    found = uint8(0)
    for i in range(racha.shape[0]):
        found |= run[i] & ok[i] & uint8(racha[i] != 0)
    return found != 0


@inner
def note_runs(row, dyn, cold, run, ok, failures):
    """Count the runs of a Micro block's tick; ``run`` and ``ok`` (u8[n], 0 or 1): who, who well."""
    if failures == 0 and dyn[D_SICK] == 0:
        return
    n = run.shape[0]
    if failures == 0 and not recovers(racha_of(row, dyn, cold, n), run, ok):
        return
    own_cold(cold, row[K.W_CAP], dyn, D_FALLOS_SEL, COLD_FALLOS, n)
    fallos, racha = fallos_of(row, dyn, cold, n), racha_of(row, dyn, cold, n)
    sick = 0
    for i in range(n):
        if ok[i] != 0:
            racha[i] = 0
        elif run[i] != 0:
            failed_once_more(fallos, racha, i)
        sick += int64(racha[i] != 0)
    dyn[D_SICK] = uint64(sick)
    dyn[D_ERRORES] = uint64(failures)
    add(dyn, D_FAILURES, failures)


@inner
def begin_marks(row, dyn, cold, run, begun):
    """Bring into ``run`` (u8[n]) what the tick's steps before this one left, if ``begun``."""
    n = run.shape[0]
    if begun:
        marks = cold + cold_offset(row[K.W_CAP], COLD_MARKS, int64(dyn[D_MARKS_SEL]))
        copy_memory(run.ctypes.data, marks, n)
        return
    for i in range(n):
        run[i] = 0


@inner
def keep_marks(row, dyn, cold, run):
    """Leave ``run`` to the step that follows in this tick."""
    sel = 1 - int64(dyn[D_MARKS_SEL])
    marks = cold + cold_offset(row[K.W_CAP], COLD_MARKS, sel)
    copy_memory(marks, run.ctypes.data, run.shape[0])
    dyn[D_MARKS_SEL] = uint64(sel)


@inner
def note_readings(row, dyn, cold, run, locals_, ended, failures):
    """Count the runs of a step of readings: the k-th was of entity ``locals_[k]`` and ended so
    (``ended[k]``: K.ENDED_WELL, K.ENDED_BADLY, 0 when nothing ran)."""
    n = run.shape[0]
    racha = racha_of(row, dyn, cold, n)
    changes = failures > 0
    for k in range(ended.shape[0]):
        i = int64(locals_[k])
        if ended[k] == K.ENDED_WELL:
            run[i] |= uint8(RAN)
            changes |= racha[i] != 0
    if not changes:
        return
    own_cold(cold, row[K.W_CAP], dyn, D_FALLOS_SEL, COLD_FALLOS, n)
    fallos, racha = fallos_of(row, dyn, cold, n), racha_of(row, dyn, cold, n)
    for k in range(ended.shape[0]):
        i = int64(locals_[k])
        if ended[k] == K.ENDED_WELL:
            if racha[i] != 0:
                racha[i] = 0
                dyn[D_SICK] -= uint64(1)
        elif ended[k] == K.ENDED_BADLY:
            if run[i] & uint8(FAILED) == 0:
                add(dyn, D_ERRORES, 1)
            run[i] |= uint8(RAN | FAILED)
            if racha[i] == 0:
                add(dyn, D_SICK, 1)
            failed_once_more(fallos, racha, i)
    add(dyn, D_FAILURES, failures)


@inner
def end_marks(row, dyn, cold, run, ok):
    """Mark in ``ok`` who ran in this tick and ran well the last time."""
    n = run.shape[0]
    racha = racha_of(row, dyn, cold, n)
    for i in range(n):
        ok[i] = uint8(run[i] != 0) & uint8(racha[i] == 0)


@inner
def copy_entity(copy, row, i, j, count):
    """Give entity ``i`` the first ``count`` columns of entity ``j`` in one hot copy."""
    for f in range(count):
        size = row[K.W_FIELD_SIZE + f]
        at = copy + row[K.W_FIELD_OFFSET + f]
        for byte in range(size):
            store_u1(at + i * size + byte, load_u1(at + j * size + byte))


@inner
def reset_entity(block, row, new, dyn, targs, i):
    """Give entity ``i`` the state it started with."""
    age = load_u4(new + row[K.W_GENERACION] + 4 * i) if row[K.W_VIVO] >= 0 else uint32(0)
    call_kernel(
        row[K.W_INIT],
        Init(
            new=new, hist=block[K.B_HIST], first_id=block[K.B_FIRST], seed=targs[K.T_SEED],
            params=row[K.W_PARAMS], lo=i, hi=i + 1, told=0, genes=genes_of(block, row, dyn),
        ),
    )  # fmt: skip
    if row[K.W_VIVO] >= 0:  # whose place it is stays
        store_u4(new + row[K.W_GENERACION] + 4 * i, age)
    if row[K.W_SILENCE] > 0:
        i8_at(new + row[K.W_HEARD], block[K.B_N])[i] = targs[K.T_TICK]


@inner
def next_healthy(racha, activo, start):
    """The first entity from ``start`` on that is active and whose last run was good; n: none."""
    j = start
    while j < racha.shape[0] and (racha[j] != 0 or activo[j] == 0):
        j += 1
    return j


@inner
def repair(block, row, new, dyn, cold, held, run, ok, out, targs):
    """Autoreparación at the end of a tick: list (REPAIR) in ``out`` what was done; says how many.

    Everyone who ran and is not ``ok`` takes the state of the next healthy entity, cyclically; who
    failed twice running, or finds nobody healthy, goes back to the initial state. ``held``: the
    copy of racha that the committed words name, which is not written.
    """
    n = block[K.B_N]
    cap = row[K.W_CAP]
    if int64(dyn[D_FALLOS_SEL]) == held:
        own_cold(cold, cap, dyn, D_FALLOS_SEL, COLD_FALLOS, n)
    racha = racha_of(row, dyn, cold, n)
    activo = u1_at(cold + cold_offset(cap, COLD_ACTIVO, int64(dyn[D_ACTIVO_SEL])), n)
    first = next_healthy(racha, activo, 0)
    following = first
    count = 0
    for i in range(n):
        if run[i] == 0 or ok[i] != 0:
            continue
        donor = int64(-1)
        if first < n and racha[i] == 1:
            if following <= i:
                following = next_healthy(racha, activo, i + 1)
            donor = following if following < n else first
        if donor >= 0:
            copy_entity(new, row, i, donor, row[K.W_STATE_FIELDS])
        else:
            reset_entity(block, row, new, dyn, targs, i)
            racha[i] = uint8(NO_RUN)
        write_repair(
            out + REPAIR_BYTES * count, block[K.B_FIRST] + i,
            block[K.B_FIRST] + (donor if donor >= 0 else i),
            REPAIR_INHERIT if donor >= 0 else REPAIR_RESET,
        )  # fmt: skip
        count += 1
    return count
