"""A block's words in compiled code: dynamic words, cold pairs, the commit word and what it says."""

from __future__ import annotations

import numpy as np
from numba import int64, njit, uint64

from corec.kernels import desc as K
from corec.kernels.address import copy_memory, u8_at
from corec.layout import (
    COMMIT_TICK_SHIFT,
    D_GENES_SEL,
    D_STEP,
    DYN_WORDS,
    OFF_COMMIT,
    OFF_DYN,
    STEP_IN_WORD,
)
from shm.atomics import store_release
from shm.compiled_killpoint import process_kill_point
from shm.jit import inner
from shm.killpoint import register

K_BEFORE_PUBLISH = register("block.before_publish")
K_BETWEEN_PUBLISH = register("block.between_publish")
K_AFTER_PUBLISH = register("block.after_publish")
K_BEFORE_COMMIT = register("block.before_commit")
K_AFTER_COMMIT = register("block.after_commit")

COLD_ACTIVO, COLD_FALLOS, COLD_RACHA, COLD_MARKS = range(4)


@njit(inline="always")
def get_f(words, k):
    """Word ``k`` as a float64."""
    return words[k : k + 1].view(np.float64)[0]


@njit(inline="always")
def set_f(words, k, value):
    """Store a float64 in word ``k``."""
    words[k : k + 1].view(np.float64)[0] = value


@njit(inline="always")
def add(words, k, value):
    """Add a count to word ``k``."""
    words[k] = words[k] + uint64(value)


@njit(inline="always")
def word_of(tick, step, copy):
    """The commit word that says so: ``world.commits.commit_word``, compiled."""
    count = uint64((step & STEP_IN_WORD) << 1)
    return uint64(tick) << uint64(COMMIT_TICK_SHIFT) | count | uint64(copy)


@njit(inline="always")
def tick_of(word):
    """The tick of a commit word."""
    return int64(word >> uint64(COMMIT_TICK_SHIFT))


@njit(inline="always")
def copy_of(word):
    """Which copy of the dynamic words a commit word names."""
    return int64(word & uint64(1))


@njit(inline="always")
def words_at(base, copy):
    """Address of a copy of the dynamic words of the block at ``base``."""
    return base + OFF_DYN[0] + copy * (OFF_DYN[1] - OFF_DYN[0])


@njit(inline="always")
def genes_of(block, row, dyn):
    """Address of the copy of the genes that counts."""
    return block[K.B_HOT] + row[K.W_GENES_OFF] + int64(dyn[D_GENES_SEL]) * row[K.W_GENES_BYTES]


@inner
def cold_offset(cap, column, copy):
    """Offset of a copy of a cold column from the start of the cold pairs."""
    one = (cap + 63) // 64 * 64
    four = (cap * 4 + 63) // 64 * 64
    if column == COLD_ACTIVO:
        return copy * one
    if column == COLD_FALLOS:
        return 2 * one + copy * four
    return 2 * one + 2 * four + (2 * (column - COLD_RACHA) + copy) * one


@inner
def commit(base, parity, step, tick, dyn):
    """Write the dynamic words, ``step`` (those of the tick that is begun) among them, to the other
    copy and name it. The word has the low bits of the step only, so that a reader sees a change."""
    dyn[D_STEP] = uint64(step)
    other = 1 - parity
    copy_memory(words_at(base, other), dyn.ctypes.data, DYN_WORDS * 8)
    process_kill_point(K_BEFORE_COMMIT)
    words = u8_at(base, OFF_COMMIT // 8 + 1)
    store_release(words, OFF_COMMIT // 8, word_of(tick, step, other))
    process_kill_point(K_AFTER_COMMIT)


@inner
def own_cold(cold, cap, dyn, word, column, n):
    """Copy a cold pair (fallos takes racha along) to its other copy and select that one."""
    sel = int64(dyn[word])
    if column == COLD_ACTIVO:
        copy_memory(
            cold + cold_offset(cap, COLD_ACTIVO, 1 - sel),
            cold + cold_offset(cap, COLD_ACTIVO, sel),
            n,
        )
    else:
        copy_memory(
            cold + cold_offset(cap, COLD_FALLOS, 1 - sel),
            cold + cold_offset(cap, COLD_FALLOS, sel),
            4 * n,
        )
        copy_memory(
            cold + cold_offset(cap, COLD_RACHA, 1 - sel),
            cold + cold_offset(cap, COLD_RACHA, sel),
            n,
        )
    dyn[word] = uint64(1 - sel)
