"""What entities show each other: written when a tick of a block is committed, read by the next.

Who writes: the worker that owns the block, its own stretch of ``pub[T & 1]``, in the step that ends
tick T, after the frames were published and before the commit word. Who reads: every worker, in tick
T + 1, all of ``pub[T & 1]``. Nobody starts tick T + 2, which writes the same copy again, before
every worker has done T + 1 (``worker.steps``): so a copy is never read while it is written.

What a SIGKILL leaves: before the commit word, any part of the block's stretch of ``pub[T & 1]``,
which nobody reads before every block has committed T; the redo reads ``pub[(T − 1) & 1]``, which
nobody writes in tick T, and so writes the same bytes again. After the commit word the stretch is
whole, since it was stored before. An entity that does not run stands in it all the same: a block's
whole stretch is copied from the hot columns that count.

Between two ticks ``pub[T & 1]`` follows from the hot columns, so a checkpoint does not hold it: a
restored world writes it anew (``show_range``). Within a tick it does not follow, and an adopted
world has it where it was: behind the blocks, in the segment of the world.
"""

from __future__ import annotations

from numba import int64, njit, types

from corec import layout as L
from corec.kernels import desc as K
from corec.kernels.address import copy_memory, u8_at
from corec.kernels.block_words import copy_of, tick_of, words_at
from shm.compiled_killpoint import process_kill_point
from shm.jit import inner
from shm.killpoint import register

K_BETWEEN_PUBLIC = register("block.between_public")


@inner
def show(block, row, dyn, tick):
    """Write the block's stretch of each public column of ``tick`` from the hot copy that counts."""
    n = block[K.B_N]
    hot = block[K.B_HOT] + int64(dyn[L.D_HOT_SEL]) * row[K.W_COPY_BYTES]
    shown = row[K.W_PUBLIC] + (tick & 1) * row[K.W_PUBLIC_BYTES]
    local = block[K.B_FIRST] - row[K.W_FIRST_ID]
    for k in range(row[K.W_PUBLIC_FIELDS]):
        size = row[K.W_PUBLIC_SIZE + k]
        target = shown + row[K.W_PUBLIC_TO + k] + local * size
        copy_memory(target, hot + row[K.W_PUBLIC_FROM + k], n * size)
        process_kill_point(K_BETWEEN_PUBLIC)


@njit(
    types.void(types.int64[:, ::1], types.int64[:, ::1], types.int64, types.int64),
    cache=True, nogil=True,
)  # fmt: skip
def show_range(blocks, swarms, lo, hi):
    """``show`` for the blocks ``lo … hi−1`` at rest, of the tick each has committed."""
    for b in range(lo, hi):
        block = blocks[b]
        row = swarms[block[K.B_SWARM]]
        if row[K.W_PUBLIC_FIELDS] == 0:
            continue
        word = u8_at(block[K.B_BASE], L.OFF_COMMIT // 8 + 1)[L.OFF_COMMIT // 8]
        at = words_at(block[K.B_BASE], copy_of(word))
        show(block, row, u8_at(at, L.DYN_WORDS), tick_of(word))
