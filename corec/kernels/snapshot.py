"""Blocks packed for a checkpoint, and unpacked from one, in compiled passes.

Two kinds of records, one per block, every part padded to 8 bytes:

    state     commit word, dynamic words, valor, the fields, activo, fallos, racha, the genes, the
              message log: only the copies that count; what the tick left to the next one, if the
              swarm has a post (``corec.layout.post``): how many values, children
              and moves, then those
    history   per ring: u64 number of values; if not 0: i8[n] values pushed so far, u4[n] how many
              of the last ones follow, f4[…] these values, oldest first, entity by entity
"""

from __future__ import annotations

from typing import Final

from numba import int64, njit, types, uint64

from corec.kernels.address import (
    copy_memory,
    load_u1,
    load_u8,
    store_u8,
    u8_at,
)
from corec.kernels.block_words import (
    COLD_ACTIVO,
    COLD_FALLOS,
    COLD_MARKS,
    COLD_RACHA,
    copy_of,
    tick_of,
    word_of,
    words_at,
)
from corec.kernels.block_words import cold_offset as cold_offset
from corec.kernels.frames import LOG_BYTES
from corec.layout import (
    D_ACTIVO_SEL,
    D_FALLOS_SEL,
    D_GENES_SEL,
    D_HOT_SEL,
    D_LOG_N,
    DYN_WORDS,
    FIELDS_MAX,
    OFF_COMMIT,
    OFF_DYN,
)
from corec.layout.post import POST_BORN, POST_HEAD_BYTES, POST_MOVES, POST_SENT, SEND_BYTES
from shm.atomics import fence_seq_cst, load_acquire, store_release
from shm.layout import Counted

# row of a block, int64
_s = Counted()
BLOCK_BASE: Final = _s()
BLOCK_N: Final = _s()
BLOCK_HOT: Final = _s()
BLOCK_LOG: Final = _s()
BLOCK_LOG_CAP: Final = _s()
BLOCK_HIST: Final = _s()
BLOCK_SWARM: Final = _s()
BLOCK_SEEN: Final = _s()  # where the block's counters begin in ``seen``: ring by ring, n each
BLOCK_COLUMNS: Final = _s.end

# row of a swarm, int64
_z = Counted()
Z_CAP: Final = _z()
Z_COPY: Final = _z()
Z_FIELDS: Final = _z()  # columns of a hot copy, valor first
Z_RINGS: Final = _z()
Z_OFFSET: Final = _z(FIELDS_MAX + 1)
Z_SIZE: Final = _z(FIELDS_MAX + 1)
Z_RING_HIST: Final = _z(FIELDS_MAX)  # offset in the history area
Z_RING_LENGTH: Final = _z(FIELDS_MAX)
Z_RING_SLOTS: Final = _z(FIELDS_MAX)
Z_RING_COUNT: Final = _z(FIELDS_MAX)  # offset of its counter column in a hot copy
Z_RING_NEXT: Final = _z(FIELDS_MAX)  # bytes from an entity to the next
Z_RING_STEP: Final = _z(FIELDS_MAX)  # bytes from a slot to the next
Z_GENES: Final = _z()
Z_GENES_BYTES: Final = _z()  # of one copy: a column of float32 for each gene
Z_POST_BYTES: Final = _z()  # of one copy; 0: the swarm has no post
Z_CHILDREN: Final = _z()  # offset of the children in a copy
Z_RECORD: Final = _z()  # bytes of a child
Z_MOVES: Final = _z()  # offset of the moves in a copy
Z_COLUMNS: Final = _z.end

NO_ROOM: Final = -1
MOVED: Final = -2
MALFORMED: Final = -3
LOG_TOUCHED_BYTES: Final = 16_384

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


@njit
def cold_address(block, row, column, sel):
    """Where a copy of a cold column of a block begins."""
    return block[BLOCK_HOT] + 2 * row[Z_COPY] + cold_offset(row[Z_CAP], column, sel)


@njit
def genes_address(block, row, sel):
    """Where a copy of the genes of a block begins: behind the cold pairs."""
    return cold_address(block, row, COLD_MARKS, 2) + sel * row[Z_GENES_BYTES]


@njit
def post_address(block, row, tick):
    """Where a block has what ``tick`` left: behind the genes."""
    return genes_address(block, row, 2) + (tick & 1) * row[Z_POST_BYTES]


@njit
def post_record(row, post):
    """Bytes that what is at ``post`` takes in a record."""
    sent, born = int64(load_u8(post + POST_SENT)), int64(load_u8(post + POST_BORN))
    moves = int64(load_u8(post + POST_MOVES))
    return 24 + SEND_BYTES * sent + row[Z_RECORD] * born + pad8(4 * moves)


@njit
def save_post(row, post, at):
    """Copy what is at ``post`` to ``at``; where that ends."""
    sent, born = int64(load_u8(post + POST_SENT)), int64(load_u8(post + POST_BORN))
    store_u8(at, uint64(sent))
    store_u8(at + 8, uint64(born))
    moves = int64(load_u8(post + POST_MOVES))
    store_u8(at + 16, uint64(moves))
    at += 24
    copy_memory(at, post + POST_HEAD_BYTES, SEND_BYTES * sent)
    at += SEND_BYTES * sent
    copy_memory(at, post + row[Z_CHILDREN], row[Z_RECORD] * born)
    at += row[Z_RECORD] * born
    copy_memory(at, post + row[Z_MOVES], 4 * moves)
    return at + pad8(4 * moves)


@njit
def load_post(row, post, at, end):
    """Put what is at ``at`` to ``post``; where it ends, or MALFORMED."""
    if at + 24 > end:
        return MALFORMED
    sent, born, moves = int64(load_u8(at)), int64(load_u8(at + 8)), int64(load_u8(at + 16))
    sent_bytes, born_bytes, moves_bytes = SEND_BYTES * sent, row[Z_RECORD] * born, 4 * moves
    children, movers = row[Z_CHILDREN], row[Z_MOVES]
    if sent < 0 or sent_bytes > children - POST_HEAD_BYTES:
        return MALFORMED
    if born < 0 or born_bytes > movers - children:
        return MALFORMED
    if moves < 0 or moves_bytes > row[Z_POST_BYTES] - movers:
        return MALFORMED
    at += 24
    if at + sent_bytes + born_bytes + pad8(moves_bytes) > end:
        return MALFORMED
    store_u8(post + POST_SENT, uint64(sent))
    store_u8(post + POST_BORN, uint64(born))
    store_u8(post + POST_MOVES, uint64(moves))
    copy_memory(post + POST_HEAD_BYTES, at, sent_bytes)
    copy_memory(post + children, at + sent_bytes, born_bytes)
    at += sent_bytes + born_bytes
    copy_memory(post + movers, at, moves_bytes)
    return at + pad8(moves_bytes)


@njit(types.int64(_TABLE, _TABLE, _I64, _I64), cache=True, nogil=True)
def measure_state(blocks, swarms, lo, hi):
    """Bytes that the state records of the blocks ``lo … hi−1`` take now."""
    total = int64(0)
    for b in range(lo, hi):
        block = blocks[b]
        words = u8_at(block[BLOCK_BASE], OFF_COMMIT // 8 + 1)
        word = load_acquire(words, OFF_COMMIT // 8)
        dyn = u8_at(words_at(block[BLOCK_BASE], copy_of(word)), DYN_WORDS)
        log_n = min(int64(dyn[D_LOG_N]), block[BLOCK_LOG_CAP])
        row = swarms[block[BLOCK_SWARM]]
        total += state_bytes(row, block[BLOCK_N], log_n)
        if row[Z_POST_BYTES] > 0:
            total += post_record(row, post_address(block, row, tick_of(word)))
    return total


@njit(types.int64(_TABLE, _TABLE, _I64, _I64), cache=True, nogil=True)
def touch_state(blocks, swarms, lo, hi):
    """Read a byte of every page ``save_state`` may read: a first touch costs a page fault."""
    total = int64(0)
    for b in range(lo, hi):
        block = blocks[b]
        row = swarms[block[BLOCK_SWARM]]
        end = genes_address(block, row, 2) + 2 * row[Z_POST_BYTES]
        for at in range(block[BLOCK_HOT], end, 4096):
            total += int64(load_u1(at))
        end = block[BLOCK_LOG] + 8 * block[BLOCK_LOG_CAP]
        for at in range(block[BLOCK_LOG], min(end, block[BLOCK_LOG] + LOG_TOUCHED_BYTES), 4096):
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
        row = swarms[block[BLOCK_SWARM]]
        n = block[BLOCK_N]
        words = u8_at(block[BLOCK_BASE], OFF_COMMIT // 8 + 1)
        word = load_acquire(words, OFF_COMMIT // 8)
        if word != word_of(tick, 0, copy_of(word)):
            return MOVED
        copy = words_at(block[BLOCK_BASE], copy_of(word))
        dyn = u8_at(copy, DYN_WORDS)
        log_n = int64(dyn[D_LOG_N])
        if log_n > block[BLOCK_LOG_CAP]:
            return MALFORMED
        post = post_address(block, row, tick)
        more = post_record(row, post) if row[Z_POST_BYTES] > 0 else 0
        if at + state_bytes(row, n, log_n) + more > out + room:
            return NO_ROOM
        store_u8(at, word)
        copy_memory(at + 8, copy, DYN_WORDS * 8)
        at += 8 + DYN_WORDS * 8
        hot = block[BLOCK_HOT] + int64(dyn[D_HOT_SEL]) * row[Z_COPY]
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
        copy_memory(at, block[BLOCK_LOG], LOG_BYTES * log_n)
        at += LOG_BYTES * log_n
        if row[Z_POST_BYTES] > 0:
            at = save_post(row, post, at)
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
        row = swarms[block[BLOCK_SWARM]]
        n = block[BLOCK_N]
        if at + 8 + DYN_WORDS * 8 > end:
            return MALFORMED
        word = load_u8(at)
        dyn = u8_at(at + 8, DYN_WORDS)
        log_n = int64(dyn[D_LOG_N])
        if log_n < 0 or log_n > block[BLOCK_LOG_CAP] or at + state_bytes(row, n, log_n) > end:
            return MALFORMED
        for k in (D_HOT_SEL, D_ACTIVO_SEL, D_FALLOS_SEL, D_GENES_SEL):
            if dyn[k] > uint64(1):
                return MALFORMED
        copy = words_at(block[BLOCK_BASE], copy_of(word))
        copy_memory(copy, at + 8, DYN_WORDS * 8)
        at += 8 + DYN_WORDS * 8
        hot = block[BLOCK_HOT] + int64(dyn[D_HOT_SEL]) * row[Z_COPY]
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
        copy_memory(block[BLOCK_LOG], at, LOG_BYTES * log_n)
        at += LOG_BYTES * log_n
        if row[Z_POST_BYTES] > 0:
            at = load_post(row, post_address(block, row, tick_of(word)), at, end)
            if at == MALFORMED:
                return MALFORMED
        store_release(u8_at(block[BLOCK_BASE], OFF_COMMIT // 8 + 1), OFF_COMMIT // 8, word)
    return 0 if at == end else MALFORMED
