"""Mapping a world's pages before they are needed.

A page of shared memory that this process has not used yet costs a fault at its first use, nine a
block in a tick. A *read* fault maps the sixteen pages around it at once, writable as they are
(shared memory keeps no account of first writes), so reading ahead costs a fifth of what the writes
of the first tick would: 500 blocks in 3 ms instead of 15.
"""

from __future__ import annotations

from numba import int64, njit, types

from corec.kernels import desc as K
from corec.kernels.address import load_u1
from corec.kernels.block_words import COLD_RACHA, cold_offset
from corec.kernels.frames import LOG_BYTES
from corec.layout import BLOCK_HOT_BASE
from shm.jit import inner

PAGE_BYTES = 4096


@inner
def touch(start, size):
    """Read a byte of each page of ``start … start + size``."""
    seen = int64(load_u1(start + size - 1))
    for at in range(start, start + size, PAGE_BYTES):
        seen += int64(load_u1(at))
    return seen


@njit(
    types.int64(types.int64[:, ::1], types.int64[:, ::1], types.int64, types.int64),
    cache=True, nogil=True,
)  # fmt: skip
def touch_range(blocks, swarms, lo, hi):
    """Touch what each tick uses of the blocks ``lo … hi−1``: words, hot and cold columns, the log's
    beginning. The result says nothing; it is there so that the reads are done."""
    seen = int64(0)
    for b in range(lo, hi):
        block = blocks[b]
        row = swarms[block[K.B_SWARM]]
        seen += touch(block[K.B_BASE], BLOCK_HOT_BASE)
        seen += touch(block[K.B_HOT], row[K.W_COLD] + cold_offset(row[K.W_CAP], COLD_RACHA, 2))
        seen += touch(block[K.B_LOG], min(LOG_BYTES * block[K.B_LOG_CAP], PAGE_BYTES))
    return seen
