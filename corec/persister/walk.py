"""Row frames out of a lane in one compiled call: an object per frame costs more than all the rest.

What a frame carries is copied in words of 8 bytes: ``L.ROW``, ``L.REPAIR`` and ``L.LOG_DTYPE`` have
a whole number of them.  Nothing is bounds-checked: the caller (``bulk``) makes the arrays large
enough.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba.core import types

from corec import layout as L
from corec.layout.frames import repairs_at, row_entries, row_payload_bytes, row_step
from shm.atomics import Indices, Words
from shm.jit import BYTES, INDICES, WORDS, compiled, inlined
from shm.layout import FRAME_HEADER_BYTES, Counted
from shm.memory import Bytes
from shm.ring import (
    frame_a,
    frame_b,
    frame_c,
    frame_flags,
    frame_kind,
    frame_len,
    frame_size,
    frame_tick,
)

_INT64: Any = np.int64

# state of ``walk``, int64[STATE_WORDS]: in and out
_state = Counted()
POSITION: Final = _state()
LAST_TICK: Final = _state()
LAST_BLOCK: Final = _state()
LAST_STEP: Final = _state()
# in
HEAD: Final = _state()
LIMIT: Final = _state()
OVERLAP_TICK: Final = _state()
# out
ROWS: Final = _state()
LOGS: Final = _state()
FIXES: Final = _state()
DUPLICATES: Final = _state()
FRAMES: Final = _state()
STATE_WORDS: Final = _state.end

ROW_WORDS: Final = L.ROW.itemsize // 8
FIX_WORDS: Final = L.REPAIR.itemsize // 8
ROW_HEAD: Final = 3
"""Of a row beside ROW: tick, block, log entries."""
FIX_HEAD: Final = 3
"""Of a repair beside REPAIR: tick, block, the time of the tick (ns since 1970)."""
FIXES_MAX: Final = 1 << 16
"""Repairs in one piece (or events of any kind, where frames are taken one by one: ``source``),
unless its first frame has more: each becomes an event, of eight times its bytes and at the cost of
some rows, so a transaction of nothing else would take many seconds."""
LOG_WORDS: Final = L.LOG_DTYPE.itemsize // 8
assert L.ROW.itemsize % 8 == L.REPAIR.itemsize % 8 == L.LOG_DTYPE.itemsize % 8 == 0


@inlined
def _copy(target: Words, target_at: int, source: Words, source_at: int, count: int) -> None:
    for k in range(count):
        target[target_at + k] = source[source_at + k]


@inlined
def _after(tick: int, block: int, step: int, tick0: int, block0: int, step0: int) -> bool:
    """(tick, block, step) > (tick0, block0, step0)."""
    if tick != tick0:
        return tick > tick0
    return block > block0 if block != block0 else step > step0


@compiled(types.void(BYTES, WORDS, INDICES, WORDS, INDICES, WORDS, WORDS, INDICES))
def walk(
    data: Bytes,
    ring: Words,
    state: Indices,
    rows: Words,
    row_heads: Indices,
    logs: Words,
    fixes: Words,
    fix_heads: Indices,
) -> None:
    """Copy row frames out of a lane from ``state[POSITION]`` on, as ``batch.take`` takes them.
    ``ring`` is ``data``, in words.

    Stops where ``Lane.frames`` would (head, limit), where the repairs become more than
    ``FIXES_MAX``, and before the first frame that is not plain:
    of another kind, of a tick up to ``OVERLAP_TICK``, longer than the lane or shorter than its own
    header allow.  Room: what the limit (or one frame) can hold of each.
    """
    mask = ring.size - 1
    position = state[POSITION]
    begin = end = position
    tick0, block0, step0 = state[LAST_TICK], state[LAST_BLOCK], state[LAST_STEP]
    n_rows = n_logs = n_fixes = duplicates = frames = 0
    while position < state[HEAD]:
        at = (position >> 3) & mask
        to_wrap = (ring.size - at) << 3
        kind = L.KIND_PADDING
        if to_wrap >= FRAME_HEADER_BYTES:
            kind = frame_kind(data, position)
        if kind == L.KIND_PADDING:
            position += to_wrap
            continue
        length, flags = frame_len(data, position), frame_flags(data, position)
        size = frame_size(length)
        if position + size > state[HEAD] or size > to_wrap or size > data.size // 4:
            break  # no frame is larger than a quarter of the ring
        if frames and position + size - begin > state[LIMIT]:
            break
        block, repairs = frame_a(data, position), frame_b(data, position)
        tick, word = frame_tick(data, position), _INT64(frame_c(data, position))
        if kind != L.KIND_ROW_FRAME or tick < 0 or word < 0 or tick <= state[OVERLAP_TICK]:
            break
        step = row_step(word)
        if not _after(tick, block, step, tick0, block0, step0):
            duplicates += 1
            frames += 1
            position += size
            end = position
            continue
        if n_fixes + repairs > FIXES_MAX and frames:
            break
        has_row = flags & L.ROW_HAS_ROW
        entries = row_entries(word) if has_row else 0
        if row_payload_bytes(has_row, repairs, entries) > length:
            break
        at += FRAME_HEADER_BYTES >> 3
        unix_ns = _INT64(ring[at])
        if has_row:
            _copy(rows, n_rows * ROW_WORDS, ring, at, ROW_WORDS)
        at += repairs_at(has_row) >> 3
        _copy(fixes, n_fixes * FIX_WORDS, ring, at, repairs * FIX_WORDS)
        for k in range(repairs):
            fix_heads[(n_fixes + k) * FIX_HEAD] = tick
            fix_heads[(n_fixes + k) * FIX_HEAD + 1] = block
            fix_heads[(n_fixes + k) * FIX_HEAD + 2] = unix_ns
        n_fixes += repairs
        at += repairs * FIX_WORDS
        _copy(logs, n_logs * LOG_WORDS, ring, at, entries * LOG_WORDS)
        n_logs += entries
        if has_row:
            row_heads[n_rows * ROW_HEAD] = tick
            row_heads[n_rows * ROW_HEAD + 1] = block
            row_heads[n_rows * ROW_HEAD + 2] = entries
            n_rows += 1
        tick0, block0, step0 = tick, block, step
        frames += 1
        position += size
        end = position
    state[POSITION] = end  # after a frame: padding alone is not taken
    state[LAST_TICK], state[LAST_BLOCK], state[LAST_STEP] = tick0, block0, step0
    state[ROWS], state[LOGS], state[FIXES] = n_rows, n_logs, n_fixes
    state[DUPLICATES], state[FRAMES] = duplicates, frames
