"""Kernels over many blocks at once: their initial state, and their dynamic words for a reader."""

from __future__ import annotations

from numba import int64, njit, types, uint8, uint64

from corec import layout as L
from corec.kernels import desc as K
from corec.kernels.address import call_kernel, u1_at, u8_at
from corec.kernels.block_words import (
    COLD_ACTIVO,
    COLD_RACHA,
    cold_offset,
    copy_of,
    genes_of,
    get_f,
    set_f,
    tick_of,
    words_at,
)
from corec.kernels.calls import Init
from corec.kernels.public import show
from corec.kernels.running import take_means
from corec.kernels.stats import count_marks
from shm.atomics import fence_seq_cst, load_acquire, store_release

TRIES_MAX = 1000


@njit(
    types.int64(
        types.int64[:, ::1], types.int64[:, ::1], types.int64, types.int64, types.uint64,
        types.int64,
    ),
    cache=True, nogil=True,
)  # fmt: skip
def init_range(blocks, swarms, lo, hi, seed, told):
    """Initial state of the blocks ``lo … hi−1``, committed as tick 0; returns failed inits.

    ``told`` is the address of a record (``entities.told``) for one that fails.
    """
    faults = 0
    for b in range(lo, hi):
        block = blocks[b]
        row = swarms[block[K.B_SWARM]]
        n = block[K.B_N]
        dyn = u8_at(block[K.B_BASE] + L.OFF_DYN[0], L.DYN_WORDS)
        faults += call_kernel(
            row[K.W_INIT],
            Init(
                new=block[K.B_HOT], hist=block[K.B_HIST], first_id=block[K.B_FIRST],
                seed=int64(seed), params=row[K.W_PARAMS], lo=0, hi=n, told=told,
                genes=genes_of(block, row, dyn),
            ),
        )  # fmt: skip
        cold = block[K.B_HOT] + row[K.W_COLD]
        activo = u1_at(cold + cold_offset(row[K.W_CAP], COLD_ACTIVO, 0), n)
        racha = u1_at(cold + cold_offset(row[K.W_CAP], COLD_RACHA, 0), n)
        for i in range(n):
            activo[i] = 1
            racha[i] = uint8(L.NO_RUN)
        set_f(dyn, L.D_UMBRAL, get_f(row, K.W_UMBRAL_FIRST))
        set_f(dyn, L.D_FITNESS, 1.0)
        dyn[L.D_ACTIVAS] = uint64(n)
        dyn[L.D_SICK] = uint64(n)
        if row[K.W_MEANS] > 0:
            take_means(block, row, dyn, cold)
        store_release(u8_at(block[K.B_BASE], L.OFF_COMMIT // 8 + 1), L.OFF_COMMIT // 8, uint64(0))
    return faults


@njit(types.void(types.int64[:, ::1], types.int64[:, ::1], types.int64), cache=True, nogil=True)
def settle_edited(blocks, swarms, b):
    """What block ``b`` says of its entities, after they were written between two ticks: how many
    are active, the means for the next tick, what others see. In what counts; nobody else may
    look."""
    block = blocks[b]
    row = swarms[block[K.B_SWARM]]
    word = u8_at(block[K.B_BASE], L.OFF_COMMIT // 8 + 1)[L.OFF_COMMIT // 8]
    dyn = u8_at(words_at(block[K.B_BASE], copy_of(word)), L.DYN_WORDS)
    cold = block[K.B_HOT] + row[K.W_COLD]
    at = cold + cold_offset(row[K.W_CAP], COLD_ACTIVO, int64(dyn[L.D_ACTIVO_SEL]))
    dyn[L.D_ACTIVAS] = uint64(count_marks(u1_at(at, block[K.B_N])))
    if row[K.W_MEANS] > 0:
        take_means(block, row, dyn, cold)
    if row[K.W_PUBLIC_FIELDS] > 0:
        show(block, row, dyn, tick_of(word))


@njit(
    types.int64(types.uint64[::1], types.int64[::1], types.uint64[:, ::1]),
    cache=True,
    nogil=True,
)
def gather_dynamic(words, starts, out):
    torn = int64(0)
    for b in range(starts.shape[0]):
        base = starts[b]
        good = False
        for _ in range(TRIES_MAX):
            word = load_acquire(words, base + L.OFF_COMMIT // 8)
            copy = words_at(8 * base, copy_of(word)) // 8
            for k in range(L.DYN_WORDS):
                out[b, k] = words[copy + k]
            fence_seq_cst()
            if load_acquire(words, base + L.OFF_COMMIT // 8) == word:
                good = True
                break
        torn += 0 if good else 1
    return torn


@njit(
    types.boolean(
        types.int64[:, ::1], types.int64[:, ::1], types.int64[::1], types.int64, types.int64
    ),
    cache=True, nogil=True,
)  # fmt: skip
def none_is_weak(blocks, swarms, kind, tick, mark):
    """Whether no block that fuses (``kind`` ≥ 0) is weak before ``tick``, and none has done the
    phase ``mark``, which may have been weak. Within a phase: who commits leaves the other copy as
    it was, so what the word names is whole."""
    for b in range(blocks.shape[0]):
        block = blocks[b]
        word = load_acquire(u8_at(block[K.B_BASE], L.OFF_COMMIT // 8 + 1), L.OFF_COMMIT // 8)
        dyn = u8_at(words_at(block[K.B_BASE], copy_of(word)), L.DYN_WORDS)
        if int64(dyn[L.D_TICK]) >= tick:
            return True  # all have done the phase
        if int64(dyn[L.D_PHASE]) >= mark:
            return False
        if kind[b] >= 0 and get_f(dyn, L.D_FITNESS) < get_f(
            swarms[block[K.B_SWARM]], K.W_MIN_FITNESS
        ):
            return False
    return True
