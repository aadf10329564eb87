"""Random numbers of evolution, and the genes that a world starts with.

Philox with a key of its own: the world's seed XOR ``KEY``, so that nothing that a processor draws
moves when evolution draws, and the other way round. Word k of entity ``id`` after tick s is

    philox(counter = (id, k >> 2, s mod 2³², s >> 32), key)[k & 3]

one call for four words of one entity. The start is s = 0; an evolution follows a tick s ≥ 1.

Who writes: whoever makes the world, before anybody ticks it; afterwards ``kernels.evolution``, and
of mortals the step and the settlement that a child is born in (``kernels.lives``).
Compiled only for worlds that have genes.
"""

from __future__ import annotations

from typing import Final

from numba import float32, int64, njit, types, uint64

from corec import layout as L
from corec.kernels import desc as K
from corec.kernels.address import f4_at, u8_at
from corec.kernels.block_words import genes_of
from corec.kernels.philox import INV_2_24, philox4x32

KEY: Final = int.from_bytes(b"evolucio", "big")
"""0x65766f6c7563696f."""


@njit(inline="always")
def four_words(entity, group, after, seed):
    """The words 4 · ``group`` … of ``entity`` after tick ``after``: u64 whose low halves count."""
    low = uint64(0xFFFFFFFF)
    key = uint64(seed) ^ uint64(KEY)
    return philox4x32(
        uint64(entity), uint64(group), uint64(after) & low, uint64(after) >> uint64(32),
        key & low, key >> uint64(32),
    )  # fmt: skip


@njit(inline="always")
def uniform_of(word):
    """float32 in [0, 1) of the low half of a u64."""
    return float32(int64((word & uint64(0xFFFFFFFF)) >> uint64(8))) * INV_2_24


@njit(
    types.void(types.int64[:, ::1], types.int64[:, ::1], types.int64, types.int64, types.uint64),
    cache=True, nogil=True,
)  # fmt: skip
def draw_genes(blocks, swarms, lo, hi, seed):
    """The genes of the blocks ``lo … hi−1`` at the start, uniform in their ranges."""
    for b in range(lo, hi):
        block = blocks[b]
        row = swarms[block[K.B_SWARM]]
        count = row[K.W_GENES]
        if count == 0:
            continue
        n = block[K.B_N]
        table = f4_at(row[K.W_GENES_TABLE], 3 * count)
        dyn = u8_at(block[K.B_BASE] + L.OFF_DYN[0], L.DYN_WORDS)
        base, size = genes_of(block, row, dyn), row[K.W_GENES_BYTES] // count
        for group in range((count + 3) // 4):
            for i in range(n):
                words = four_words(block[K.B_FIRST] + i, group, 0, seed)
                for part in range(min(4, count - 4 * group)):
                    k = 4 * group + part
                    word = words[0]
                    if part == 1:
                        word = words[1]
                    elif part == 2:
                        word = words[2]
                    elif part == 3:
                        word = words[3]
                    low, high = table[3 * k], table[3 * k + 1]
                    value = low + uniform_of(word) * (high - low)
                    f4_at(base + k * size, n)[i] = min(value, high)
