"""What happens to entities that fail: counted, and repaired when they are too many."""

from __future__ import annotations

from numba import int64, njit, uint32

from corec.kernels import desc as K
from corec.kernels.address import call_kernel, load_u1, store_u1, u1_at, u4_at
from corec.kernels.block_words import COLD_FALLOS, COLD_RACHA, cold_offset, own_cold
from corec.kernels.frames import REPAIR_BYTES, write_repair
from corec.layout import D_FALLOS_SEL, REPAIR_INHERIT, REPAIR_RESET


@njit
def copy_entity(copy, row, i, j, count):
    """Give entity ``i`` the first ``count`` columns of entity ``j`` in one hot copy."""
    for f in range(count):
        size = row[K.W_FIELD_SIZE + f]
        at = copy + row[K.W_FIELD_OFFSET + f]
        for byte in range(size):
            store_u1(at + i * size + byte, load_u1(at + j * size + byte))


@njit
def next_healthy(ok, i, n):
    """The next j after ``i``, cyclically, with ``ok[j]``; −1 when there is none."""
    for step in range(1, n):
        j = i + step
        if j >= n:
            j -= n
        if ok[j] != 0:
            return j
    return int64(-1)


@njit
def repair(block, row, new, dyn, cold, ok, ran, failed, n_failed, out, targs):
    """Autoreparación: list (REPAIR) in ``out`` what was done; returns how many.

    A failed entity takes the state of the next healthy one, cyclically; one that fails twice
    running, or finds nobody healthy, goes back to its initial state. History stays its own.
    ``ran`` is marked with 2 where an entity was repaired: one that failed at several readings of
    a step is repaired once.
    """
    n = block[K.B_N]
    cap = row[K.W_CAP]
    racha = u1_at(cold + cold_offset(cap, COLD_RACHA, int64(dyn[D_FALLOS_SEL])), n)
    count = 0
    last_i = n
    last_donor = int64(-1)
    for k in range(n_failed):
        i = int64(failed[k])
        if ran[i] == 2:
            continue
        ran[i] = 2
        donor = int64(-1)
        if racha[i] < 2:
            if last_i < i and not last_i < last_donor <= i:
                donor = last_donor  # nobody between the two is healthy: no second search
            else:
                donor = next_healthy(ok, i, n)
            last_i = i
            last_donor = donor
        if donor >= 0:
            copy_entity(new, row, i, donor, row[K.W_STATE_FIELDS])
        else:
            call_kernel(
                row[K.W_INIT],
                (
                    new,
                    block[K.B_HIST],
                    block[K.B_FIRST],
                    targs[K.T_SEED],
                    row[K.W_PARAMS],
                    i,
                    i + 1,
                ),
            )
            racha[i] = 0
        write_repair(
            out + REPAIR_BYTES * count, block[K.B_FIRST] + i,
            block[K.B_FIRST] + (donor if donor >= 0 else i),
            REPAIR_INHERIT if donor >= 0 else REPAIR_RESET,
        )  # fmt: skip
        count += 1
    return count


@njit
def note_failures(row, dyn, cold, n, ran, failed, n_failed):
    """Count failures per entity; ``racha`` (failures running) restarts where one ran well.

    Marks the failed with 3 in ``ran``, where 1 says that an entity ran.
    """
    cap = row[K.W_CAP]
    own_cold(cold, cap, dyn, D_FALLOS_SEL, COLD_FALLOS, n)
    sel = int64(dyn[D_FALLOS_SEL])
    fallos = u4_at(cold + cold_offset(cap, COLD_FALLOS, sel), n)
    racha = u1_at(cold + cold_offset(cap, COLD_RACHA, sel), n)
    for k in range(n_failed):
        ran[int64(failed[k])] = 3
    for i in range(n):
        if ran[i] == 1:
            racha[i] = 0
    for k in range(n_failed):
        i = int64(failed[k])
        fallos[i] += uint32(1)
        if racha[i] < 255:
            racha[i] += 1


@njit
def any_racha(row, dyn, cold, n):
    """Whether some entity failed at its last run."""
    racha = u1_at(cold + cold_offset(row[K.W_CAP], COLD_RACHA, int64(dyn[D_FALLOS_SEL])), n)
    found = 0
    for i in range(n):
        found |= int64(racha[i])
    return found != 0
