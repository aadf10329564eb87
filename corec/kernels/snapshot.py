"""Blocks packed for a checkpoint, and unpacked from one, in compiled passes.

Two kinds of records, one per block, every part padded to 8 bytes:

    state     commit word, dynamic words, valor, the fields, activo, fallos, racha, the genes, the
              message log:
              only the copies that count
    history   per ring: u64 number of values; if not 0: i8[n] values pushed so far, u4[n] how many
              of the last ones follow, f4[…] these values, oldest first, entity by entity

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

A repair that resets an entity, or a phase that gives it new state, sets its counter back to 0: the
block's counts of repairs and of reborn entities tell, and the next round takes its windows whole.
Whoever else sets counters back must count it in one of them.
"""

from __future__ import annotations

from typing import Final

from numba import int64, njit, types, uint32, uint64

from corec.kernels.address import (
    copy_memory,
    i8_at,
    load_f4,
    load_u1,
    load_u8,
    prefetch,
    store_f4,
    store_u8,
    u4_at,
    u8_at,
)
from corec.kernels.block_words import COLD_ACTIVO, COLD_FALLOS, COLD_MARKS, COLD_RACHA
from corec.kernels.block_words import cold_offset as cold_offset
from corec.kernels.frames import LOG_BYTES
from corec.kernels.whole import TRIES_MAX
from corec.layout import (
    D_ACTIVO_SEL,
    D_FALLOS_SEL,
    D_GENES_SEL,
    D_HOT_SEL,
    D_LOG_N,
    D_REBORN,
    D_REPAIRS,
    DYN_WORDS,
    FIELDS_MAX,
    OFF_COMMIT,
    OFF_DYN,
)
from shm.atomics import fence_seq_cst, load_acquire, store_release

# row of a block, int64
S_BASE: Final = 0
S_N: Final = 1
S_HOT: Final = 2
S_LOG: Final = 3
S_LOG_CAP: Final = 4
S_HIST: Final = 5
S_SWARM: Final = 6
S_SEEN: Final = 7  # where the block's counters begin in ``seen``: ring by ring, n each
S_COLUMNS: Final = 8

# row of a swarm, int64
Z_CAP: Final = 0
Z_COPY: Final = 1
Z_FIELDS: Final = 2  # columns of a hot copy, valor first
Z_RINGS: Final = 3
Z_OFFSET: Final = 4
Z_SIZE: Final = Z_OFFSET + FIELDS_MAX + 1
Z_RING_HIST: Final = Z_SIZE + FIELDS_MAX + 1  # offset in the history area
Z_RING_LENGTH: Final = Z_RING_HIST + FIELDS_MAX
Z_RING_SLOTS: Final = Z_RING_LENGTH + FIELDS_MAX
Z_RING_COUNT: Final = Z_RING_SLOTS + FIELDS_MAX  # offset of its counter column in a hot copy
Z_GENES: Final = Z_RING_COUNT + FIELDS_MAX
Z_GENES_BYTES: Final = Z_GENES + 1  # of one copy: a column of float32 for each gene
Z_COLUMNS: Final = Z_GENES_BYTES + 1

NO_ROOM: Final = -1
MOVED: Final = -2
MALFORMED: Final = -3
LOG_TOUCHED_BYTES: Final = 16_384
PREFETCH: Final = 24  # entities ahead: rings lie a page's fifth apart, so each is a miss of its own

_I64 = types.int64
_TABLE = types.int64[:, ::1]
_DYN_STRIDE = OFF_DYN[1] - OFF_DYN[0]


@njit(inline="always")
def pad8(size):
    """``size`` rounded up to 8 bytes."""
    return (size + 7) & ~7


@njit
def state_bytes(row, n, log_n):
    """Bytes of the state record of a block."""
    total = 8 + DYN_WORDS * 8 + 2 * pad8(n) + pad8(4 * n) + LOG_BYTES * log_n
    for f in range(row[Z_FIELDS]):
        total += pad8(n * row[Z_SIZE + f])
    return total + row[Z_GENES] * pad8(4 * n)


@njit(types.int64(_TABLE, _TABLE, _I64, _I64), cache=True, nogil=True)
def measure_state(blocks, swarms, lo, hi):
    """Bytes that the state records of the blocks ``lo … hi−1`` take now."""
    total = int64(0)
    for b in range(lo, hi):
        block = blocks[b]
        words = u8_at(block[S_BASE], OFF_COMMIT // 8 + 1)
        parity = int64(load_acquire(words, OFF_COMMIT // 8) & uint64(1))
        dyn = u8_at(block[S_BASE] + OFF_DYN[0] + parity * _DYN_STRIDE, DYN_WORDS)
        log_n = min(int64(dyn[D_LOG_N]), block[S_LOG_CAP])
        total += state_bytes(swarms[block[S_SWARM]], block[S_N], log_n)
    return total


@njit
def cold_address(block, row, column, sel):
    """Where a copy of a cold column of a block begins."""
    return block[S_HOT] + 2 * row[Z_COPY] + cold_offset(row[Z_CAP], column, sel)


@njit
def genes_address(block, row, sel):
    """Where a copy of the genes of a block begins: behind the cold pairs."""
    return cold_address(block, row, COLD_MARKS, 2) + sel * row[Z_GENES_BYTES]


@njit(types.int64(_TABLE, _TABLE, _I64, _I64), cache=True, nogil=True)
def touch_state(blocks, swarms, lo, hi):
    """Read a byte of every page ``save_state`` may read: a first touch costs a page fault."""
    total = int64(0)
    for b in range(lo, hi):
        block = blocks[b]
        row = swarms[block[S_SWARM]]
        end = genes_address(block, row, 2)
        for at in range(block[S_HOT], end, 4096):
            total += int64(load_u1(at))
        end = block[S_LOG] + 8 * block[S_LOG_CAP]
        for at in range(block[S_LOG], min(end, block[S_LOG] + LOG_TOUCHED_BYTES), 4096):
            total += int64(load_u1(at))
    return total


@njit(types.int64(_TABLE, _TABLE, _I64, _I64, _I64, _I64, _I64), cache=True, nogil=True)
def save_state(blocks, swarms, lo, hi, tick, out, room):
    """Write the state records of the blocks ``lo … hi−1`` to address ``out``.

    Returns their bytes, NO_ROOM when ``room`` bytes are too few, MOVED when a block has not
    committed exactly ``tick``.
    """
    at = out
    for b in range(lo, hi):
        block = blocks[b]
        row = swarms[block[S_SWARM]]
        n = block[S_N]
        words = u8_at(block[S_BASE], OFF_COMMIT // 8 + 1)
        word = load_acquire(words, OFF_COMMIT // 8)
        if int64(word >> uint64(1)) != tick << 15:
            return MOVED
        copy = block[S_BASE] + OFF_DYN[0] + int64(word & uint64(1)) * _DYN_STRIDE
        dyn = u8_at(copy, DYN_WORDS)
        log_n = int64(dyn[D_LOG_N])
        if log_n > block[S_LOG_CAP]:
            return MALFORMED
        if at + state_bytes(row, n, log_n) > out + room:
            return NO_ROOM
        store_u8(at, word)
        copy_memory(at + 8, copy, DYN_WORDS * 8)
        at += 8 + DYN_WORDS * 8
        hot = block[S_HOT] + int64(dyn[D_HOT_SEL]) * row[Z_COPY]
        for f in range(row[Z_FIELDS]):
            size = n * row[Z_SIZE + f]
            copy_memory(at, hot + row[Z_OFFSET + f], size)
            at += pad8(size)
        copy_memory(at, cold_address(block, row, COLD_ACTIVO, int64(dyn[D_ACTIVO_SEL])), n)
        at += pad8(n)
        sel = int64(dyn[D_FALLOS_SEL])
        copy_memory(at, cold_address(block, row, COLD_FALLOS, sel), 4 * n)
        at += pad8(4 * n)
        copy_memory(at, cold_address(block, row, COLD_RACHA, sel), n)
        at += pad8(n)
        genes = genes_address(block, row, int64(dyn[D_GENES_SEL]))
        for g in range(row[Z_GENES]):
            copy_memory(at, genes + g * (row[Z_GENES_BYTES] // row[Z_GENES]), 4 * n)
            at += pad8(4 * n)
        copy_memory(at, block[S_LOG], LOG_BYTES * log_n)
        at += LOG_BYTES * log_n
        fence_seq_cst()
        if load_acquire(words, OFF_COMMIT // 8) != word:
            return MOVED
    return at - out


@njit(types.int64(_TABLE, _TABLE, _I64, _I64, _I64, _I64), cache=True, nogil=True)
def load_state(blocks, swarms, lo, hi, source, size):
    """Put the state records at ``source`` (``size`` bytes) into zeroed blocks; 0 or MALFORMED."""
    at = source
    end = source + size
    for b in range(lo, hi):
        block = blocks[b]
        row = swarms[block[S_SWARM]]
        n = block[S_N]
        if at + 8 + DYN_WORDS * 8 > end:
            return MALFORMED
        word = load_u8(at)
        dyn = u8_at(at + 8, DYN_WORDS)
        log_n = int64(dyn[D_LOG_N])
        if log_n < 0 or log_n > block[S_LOG_CAP] or at + state_bytes(row, n, log_n) > end:
            return MALFORMED
        for k in (D_HOT_SEL, D_ACTIVO_SEL, D_FALLOS_SEL, D_GENES_SEL):
            if dyn[k] > uint64(1):
                return MALFORMED
        copy = block[S_BASE] + OFF_DYN[0] + int64(word & uint64(1)) * _DYN_STRIDE
        copy_memory(copy, at + 8, DYN_WORDS * 8)
        at += 8 + DYN_WORDS * 8
        hot = block[S_HOT] + int64(dyn[D_HOT_SEL]) * row[Z_COPY]
        for f in range(row[Z_FIELDS]):
            bytes_ = n * row[Z_SIZE + f]
            copy_memory(hot + row[Z_OFFSET + f], at, bytes_)
            at += pad8(bytes_)
        copy_memory(cold_address(block, row, COLD_ACTIVO, int64(dyn[D_ACTIVO_SEL])), at, n)
        at += pad8(n)
        sel = int64(dyn[D_FALLOS_SEL])
        copy_memory(cold_address(block, row, COLD_FALLOS, sel), at, 4 * n)
        at += pad8(4 * n)
        copy_memory(cold_address(block, row, COLD_RACHA, sel), at, n)
        at += pad8(n)
        genes = genes_address(block, row, int64(dyn[D_GENES_SEL]))
        for g in range(row[Z_GENES]):
            copy_memory(genes + g * (row[Z_GENES_BYTES] // row[Z_GENES]), at, 4 * n)
            at += pad8(4 * n)
        copy_memory(block[S_LOG], at, LOG_BYTES * log_n)
        at += LOG_BYTES * log_n
        store_release(u8_at(block[S_BASE], OFF_COMMIT // 8 + 1), OFF_COMMIT // 8, word)
    return 0 if at == end else MALFORMED


@njit
def read_counters(block, row, fresh):
    """The counters of all rings at one commit into ``fresh``; the block's repairs, or −1."""
    n = block[S_N]
    words = u8_at(block[S_BASE], OFF_COMMIT // 8 + 1)
    for _ in range(TRIES_MAX):
        word = load_acquire(words, OFF_COMMIT // 8)
        dyn = u8_at(block[S_BASE] + OFF_DYN[0] + int64(word & uint64(1)) * _DYN_STRIDE, DYN_WORDS)
        hot = block[S_HOT] + (int64(dyn[D_HOT_SEL]) & 1) * row[Z_COPY]
        repairs = int64(dyn[D_REPAIRS]) + int64(dyn[D_REBORN])
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
        row = swarms[block[S_SWARM]]
        n = block[S_N]
        if row[Z_RINGS] == 0:
            continue
        repairs = read_counters(block, row, int64(fresh[block[S_SEEN] :].ctypes.data))
        if repairs < 0:
            return MOVED
        fresh_repairs[b] = repairs
        whole = repairs != seen_repairs[b]
        for r in range(row[Z_RINGS]):
            start = block[S_SEEN] + r * n
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
            table = block[S_HIST] + row[Z_RING_HIST + r]
            for i in range(n):
                ahead = i + PREFETCH
                if ahead < n and (whole or fresh[start + ahead] != seen[start + ahead]):
                    next_place = (fresh[start + ahead] - 1) % slots
                    prefetch(table + 4 * (ahead * slots + next_place))
                count = fresh[start + i]
                new = pushed(count, seen[start + i], whole, length)
                counts[i] = count
                taken[i] = uint32(new)
                if new == 0:  # the divisions would cost more than all the rest
                    continue
                ring = table + 4 * i * slots
                place = (count - new) % slots
                for _ in range(new):
                    store_f4(at, load_f4(ring + 4 * place))
                    at += 4
                    place += 1
                    if place == slots:
                        place = 0
            at = pad8(at - out) + out
    for b in range(lo, hi):
        block = blocks[b]
        count = swarms[block[S_SWARM], Z_RINGS] * block[S_N]
        for k in range(block[S_SEEN], block[S_SEEN] + count):
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
        row = swarms[block[S_SWARM]]
        n = block[S_N]
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
            table = block[S_HIST] + row[Z_RING_HIST + r]
            left = values
            for i in range(n):
                new = int64(taken[i])
                left -= new
                if new > length or new > counts[i] or left < 0:
                    return MALFORMED
                ring = table + i * slots * 4
                place = (counts[i] - new) % slots
                for _ in range(new):
                    store_f4(ring + 4 * place, load_f4(at))
                    at += 4
                    place += 1
                    if place == slots:
                        place = 0
            if left != 0:
                return MALFORMED
            at = pad8(at - source) + source
    return 0 if at == end else MALFORMED
