"""The histories of blocks, packed for a checkpoint while the world ticks, and unpacked.

Theory of the history, which is copied while the world ticks.  Value s of a ring of ``length``
values (s = 0 for the first ever) lies in slot s mod (length + HISTORY_SPARE), and is part of a
committed window while length more have not been committed.  A round reads a block's counters c
(untorn: the commit word is the same before and after), then the values that were pushed since the
round before and are still in the window.  Workers may push meanwhile, so a slot may be read that
holds a newer value already, s' >= s + slots.  A push that is committed later ends the window of s
(c' >= s' + 1 > s + length), and s' itself belongs to a later round; a push that is never committed
(a processor that failed after it, a kill) lies at most HISTORY_SPARE values ahead of what is
committed, so s is out of the window then, too.  So the rounds laid over each other in their order,
the last one made while the world is held, are the windows of the tick of that hold, whatever was
pushed while they were made.

A repair that resets an entity, a phase that gives it new state, and a birth set its counter back to
0: the block's counts of repairs, of reborn entities and of births tell, and the next round takes
its windows whole. Whoever else sets counters back must count it in one of them.
"""

from __future__ import annotations

from typing import Final

from numba import int64, njit, types, uint32, uint64

from corec.kernels.address import (
    copy_memory,
    i8_at,
    load_f4,
    load_u8,
    prefetch,
    store_f4,
    store_u8,
    u4_at,
    u8_at,
)
from corec.kernels.block_words import copy_of, words_at
from corec.kernels.snapshot import (
    BLOCK_BASE,
    BLOCK_HIST,
    BLOCK_HOT,
    BLOCK_N,
    BLOCK_SEEN,
    BLOCK_SWARM,
    MALFORMED,
    MOVED,
    NO_ROOM,
    Z_COPY,
    Z_RING_COUNT,
    Z_RING_HIST,
    Z_RING_LENGTH,
    Z_RING_NEXT,
    Z_RING_SLOTS,
    Z_RING_STEP,
    Z_RINGS,
    pad8,
)
from corec.kernels.whole import TRIES_MAX
from corec.layout import (
    D_BIRTHS,
    D_HOT_SEL,
    D_REBORN,
    D_REPAIRS,
    DYN_WORDS,
    OFF_COMMIT,
)
from shm.atomics import fence_seq_cst, load_acquire
from shm.jit import inner

PREFETCH: Final = 24  # entities ahead: rings lie a page's fifth apart, so each is a miss of its own

_I64 = types.int64
_TABLE = types.int64[:, ::1]


@inner
def read_counters(block, row, fresh):
    """The counters of all rings at one commit into ``fresh``; the block's repairs, or −1."""
    n = block[BLOCK_N]
    words = u8_at(block[BLOCK_BASE], OFF_COMMIT // 8 + 1)
    for _ in range(TRIES_MAX):
        word = load_acquire(words, OFF_COMMIT // 8)
        dyn = u8_at(words_at(block[BLOCK_BASE], copy_of(word)), DYN_WORDS)
        hot = block[BLOCK_HOT] + (int64(dyn[D_HOT_SEL]) & 1) * row[Z_COPY]
        repairs = int64(dyn[D_REPAIRS]) + int64(dyn[D_REBORN]) + int64(dyn[D_BIRTHS])
        for r in range(row[Z_RINGS]):
            copy_memory(fresh + 8 * n * r, hot + row[Z_RING_COUNT + r], 8 * n)
        fence_seq_cst()
        if load_acquire(words, OFF_COMMIT // 8) == word:
            return repairs
    return int64(-1)


@njit(inline="always")
def pushed(count, seen, whole, length):
    """How many values of a ring are to be written, its counter having been ``seen`` before."""
    return min(count if whole or count < seen else count - seen, length)


@njit(
    types.int64(
        _TABLE, _TABLE, _I64, _I64, types.int64[::1], types.int64[::1], types.int64[::1],
        types.int64[::1], _I64, _I64, types.int64[::1],
    ),
    cache=True, nogil=True,
)  # fmt: skip
def save_history(
    blocks, swarms, lo, hi, seen, seen_repairs, fresh, fresh_repairs, out, room, result
):
    """Write the history records of the blocks ``lo … hi−1``: what was pushed since ``seen``.

    ``seen`` (int64, one counter per entity and ring) and ``seen_repairs`` (int64[blocks]) move on
    when all went well; ``fresh``, ``fresh_repairs`` are scratch of the same shapes. ``result``
    becomes (bytes, values). Returns 0, NO_ROOM, or MOVED for a block that never held still.
    """
    at = out
    total = int64(0)
    end = out + room
    for b in range(lo, hi):
        block = blocks[b]
        row = swarms[block[BLOCK_SWARM]]
        n = block[BLOCK_N]
        if row[Z_RINGS] == 0:
            continue
        repairs = read_counters(block, row, int64(fresh[block[BLOCK_SEEN] :].ctypes.data))
        if repairs < 0:
            return MOVED
        fresh_repairs[b] = repairs
        whole = repairs != seen_repairs[b]
        for r in range(row[Z_RINGS]):
            start = block[BLOCK_SEEN] + r * n
            length = row[Z_RING_LENGTH + r]
            slots = row[Z_RING_SLOTS + r]
            values = int64(0)
            for i in range(n):
                values += pushed(fresh[start + i], seen[start + i], whole, length)
            head = 8 if values == 0 else 8 + 8 * n + pad8(4 * n)
            if at + head + pad8(4 * values) > end:
                return NO_ROOM
            store_u8(at, uint64(values))
            at += 8
            if values == 0:
                continue
            total += values
            counts = i8_at(at, n)
            taken = u4_at(at + 8 * n, n)
            at += 8 * n + pad8(4 * n)
            table = block[BLOCK_HIST] + row[Z_RING_HIST + r]
            between, step = row[Z_RING_NEXT + r], row[Z_RING_STEP + r]
            for i in range(n):
                ahead = i + PREFETCH
                if ahead < n and (whole or fresh[start + ahead] != seen[start + ahead]):
                    next_place = (fresh[start + ahead] - 1) % slots
                    prefetch(table + ahead * between + next_place * step)
                count = fresh[start + i]
                new = pushed(count, seen[start + i], whole, length)
                counts[i] = count
                taken[i] = uint32(new)
                if new == 0:  # the divisions would cost more than all the rest
                    continue
                ring = table + i * between
                place = (count - new) % slots
                for _ in range(new):
                    store_f4(at, load_f4(ring + step * place))
                    at += 4
                    place += 1
                    if place == slots:
                        place = 0
            at = pad8(at - out) + out
    for b in range(lo, hi):
        block = blocks[b]
        count = swarms[block[BLOCK_SWARM], Z_RINGS] * block[BLOCK_N]
        for k in range(block[BLOCK_SEEN], block[BLOCK_SEEN] + count):
            seen[k] = fresh[k]
        if count > 0:
            seen_repairs[b] = fresh_repairs[b]
    result[0] = at - out
    result[1] = total
    return 0


@njit(types.int64(_TABLE, _TABLE, _I64, _I64, _I64, _I64), cache=True, nogil=True)
def load_history(blocks, swarms, lo, hi, source, size):
    """Lay history records at ``source`` (``size`` bytes) over the rings; 0 or MALFORMED."""
    at = source
    end = source + size
    for b in range(lo, hi):
        block = blocks[b]
        row = swarms[block[BLOCK_SWARM]]
        n = block[BLOCK_N]
        for r in range(row[Z_RINGS]):
            if at + 8 > end:
                return MALFORMED
            values = int64(load_u8(at))
            at += 8
            if values == 0:
                continue
            if values < 0 or values > size or at + 8 * n + pad8(4 * n) + pad8(4 * values) > end:
                return MALFORMED
            counts = i8_at(at, n)
            taken = u4_at(at + 8 * n, n)
            at += 8 * n + pad8(4 * n)
            slots = row[Z_RING_SLOTS + r]
            length = row[Z_RING_LENGTH + r]
            table = block[BLOCK_HIST] + row[Z_RING_HIST + r]
            between, step = row[Z_RING_NEXT + r], row[Z_RING_STEP + r]
            left = values
            for i in range(n):
                new = int64(taken[i])
                left -= new
                if new > length or new > counts[i] or left < 0:
                    return MALFORMED
                ring = table + i * between
                place = (counts[i] - new) % slots
                for _ in range(new):
                    store_f4(ring + step * place, load_f4(at))
                    at += 4
                    place += 1
                    if place == slots:
                        place = 0
            if left != 0:
                return MALFORMED
            at = pad8(at - source) + source
    return 0 if at == end else MALFORMED
