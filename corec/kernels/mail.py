"""What was sent in the last tick, sorted by the blocks that get it, before their readings.

Every worker looks through the posts of all blocks (``post``) and takes what is for its own. Nobody
writes those posts in this tick, so a redo finds the same; and since what was sent comes first, an
entity's ``activo`` is what no reading of this tick has changed when it is asked for here: of what
is not applied yet.
"""

from __future__ import annotations

import numpy as np
from numba import int64, njit, types, uint8, uint32

from corec import layout as L
from corec.kernels import desc as K
from corec.kernels.address import load_f4, load_u4, load_u8, u1_at, u8_at
from corec.kernels.block_words import COLD_ACTIVO, cold_offset, copy_of, words_at
from corec.kernels.inputs import block_of
from corec.kernels.post import post_of
from corec.layout.post import POST_HEAD_BYTES, POST_SENT, SEND_BYTES
from shm.jit import inner

_TABLE = types.int64[:, ::1]
_I64 = types.int64


@njit(
    types.int64(_TABLE, _TABLE, types.int64[::1], _I64, _TABLE, _I64, _I64, _I64, _I64),
    cache=True, nogil=True,
)  # fmt: skip
def count_sent(blocks, swarms, senders, tick, ranges, first_id, end_id, lo, hi):
    """Count what was sent in ``tick`` to the entities ``first_id … end_id−1`` into ``B_SENT`` of
    their blocks, ``lo … hi−1``; how much it is. ``senders``: the blocks whose entities send."""
    for b in range(lo, hi):
        blocks[b, K.B_SENT] = 0
    total = int64(0)
    for s in senders:
        post = post_of(blocks[s], swarms[blocks[s, K.B_SWARM]], tick)
        for j in range(int64(load_u8(post + POST_SENT))):
            entity = int64(load_u4(post + POST_HEAD_BYTES + SEND_BYTES * j))
            if first_id <= entity < end_id:
                blocks[block_of(entity, ranges), K.B_SENT] += 1
                total += 1
    return total


@inner
def activo_of(block, row):
    """The committed ``activo``, u1[n]."""
    word = u8_at(block[K.B_BASE], L.OFF_COMMIT // 8 + 1)[L.OFF_COMMIT // 8]
    dyn = u8_at(words_at(block[K.B_BASE], copy_of(word)), L.DYN_WORDS)
    at = cold_offset(row[K.W_CAP], COLD_ACTIVO, int64(dyn[L.D_ACTIVO_SEL]))
    return u1_at(block[K.B_HOT] + row[K.W_COLD] + at, block[K.B_N])


@inner
def by_entity(local, value, n):
    """Sort what one block gets by entity; of one entity's the first comes first."""
    count = local.shape[0]
    at = np.zeros(n + 1, np.int64)
    for j in range(count):
        at[int64(local[j]) + 1] += 1
    for i in range(n):
        at[i + 1] += at[i]
    sorted_local, sorted_value = local.copy(), value.copy()
    for j in range(count):
        i = int64(local[j])
        sorted_local[at[i]], sorted_value[at[i]] = local[j], value[j]
        at[i] += 1
    local[:] = sorted_local
    value[:] = sorted_value


@njit(
    types.void(
        _TABLE, _TABLE, types.int64[::1], _I64, _TABLE, _I64, _I64, _I64, _I64, types.int64[::1],
        types.uint32[::1], types.float32[::1], types.uint8[::1], types.int64[::1],
        types.int64[::1], types.uint32[::1], types.float32[::1], types.uint8[::1],
    ),
    cache=True, nogil=True,
)  # fmt: skip
def place_sent(
    blocks, swarms, senders, tick, ranges, first_id, end_id, lo, hi, in_start, local, value,
    active, cursor, to_start, to_local, to_value, to_active,
):  # fmt: skip
    """Merge what ``count_sent`` counted and the readings (``in_start`` … ``active``, as in
    ``inputs``) into arrays of the same kind; ``cursor``: scratch."""
    readings, total = local.shape[0], to_local.shape[0]
    width = to_value.shape[0] // max(total, 1)
    to_start[lo] = 0
    for b in range(lo, hi):
        cursor[b] = to_start[b]
        sent, count = blocks[b, K.B_SENT], in_start[b + 1] - in_start[b]
        first, target = in_start[b], to_start[b] + sent
        for j in range(count):
            to_local[target + j], to_active[target + j] = local[first + j], active[first + j]
        for a in range(width):
            for j in range(count):
                to_value[a * total + target + j] = value[a * readings + first + j]
            for j in range(sent):
                to_value[a * total + to_start[b] + j] = np.float32(0.0)
        to_start[b + 1] = target + count
    for s in senders:
        post = post_of(blocks[s], swarms[blocks[s, K.B_SWARM]], tick)
        for j in range(int64(load_u8(post + POST_SENT))):
            at = post + POST_HEAD_BYTES + SEND_BYTES * j
            entity = int64(load_u4(at))
            if first_id <= entity < end_id:
                b = block_of(entity, ranges)
                place = cursor[b]
                to_local[place] = uint32(entity - blocks[b, K.B_FIRST])
                to_value[place] = load_f4(at + 4)
                cursor[b] = place + 1
    for b in range(lo, hi):
        sent = blocks[b, K.B_SENT]
        if sent == 0:
            continue
        block, first = blocks[b], to_start[b]
        row = swarms[block[K.B_SWARM]]
        if row[K.W_KIND] == L.KIND_MICRO:
            by_entity(to_local[first : first + sent], to_value[first : first + sent], block[K.B_N])
        activo = activo_of(block, row)
        for j in range(first, first + sent):
            to_active[j] = uint8(activo[int64(to_local[j])] != 0)
