"""Rows and repairs as columns: what is encoded, and the two ways there.

``bulk_of`` makes them of frames, whatever those are and wherever they were.  ``walked`` makes them
straight of a lane, as far as its frames are rows and repairs whose turn it is: nearly always.  Both
give the same arrays and the same mark (``tests/persister/test_bulk.py``); ``walked`` stops before
any other frame, and the caller then takes frames one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from corec import layout as L
from corec.layout.frames import TIME_BYTES, log_at, repairs_at, row_entries, row_payload_bytes
from corec.persister import walk as W
from shm.lane import Frame, Lane
from shm.layout import FRAME_HEADER_BYTES

Ints = npt.NDArray[np.int64]
_ROW_BYTES = L.ROW.itemsize
_REPAIR_BYTES = L.REPAIR.itemsize
_LOG_BYTES = L.LOG_DTYPE.itemsize


class Bulk(NamedTuple):
    """n rows and m repairs, in the order of their frames; all arrays are contiguous copies."""

    rows: npt.NDArray[np.void]
    """ROW[n]."""
    ticks: Ints
    blocks: Ints
    counts: Ints
    """Log entries of each row."""
    logs: npt.NDArray[np.void]
    """LOG_DTYPE[sum of ``counts``]."""
    fixes: npt.NDArray[np.void]
    """REPAIR[m]."""
    fix_ticks: Ints
    fix_blocks: Ints
    fix_times: Ints
    """Time of the tick of each repair, ns since 1970."""

    def kept(self, rows: npt.NDArray[np.bool_], fixes: npt.NDArray[np.bool_]) -> Bulk:
        """The rows and repairs where ``rows`` (bool[n]) and ``fixes`` (bool[m]) are true."""
        return Bulk(
            self.rows[rows], self.ticks[rows], self.blocks[rows], self.counts[rows],
            self.logs[np.repeat(rows, self.counts)], self.fixes[fixes], self.fix_ticks[fixes],
            self.fix_blocks[fixes], self.fix_times[fixes],
        )  # fmt: skip


class Walked(NamedTuple):
    """What ``walked`` found in a lane."""

    bulk: Bulk
    position: int
    key: tuple[int, int, int]
    """(tick, block, step) of the last frame."""
    duplicates: int


NO_FIXES: Final[npt.NDArray[np.void]] = np.empty(0, L.REPAIR)
NO_FIX_HEADS: Final = (np.empty(0, np.int64),) * 3
"""The last three fields of a ``Bulk`` without repairs."""


def bulk_of(frames: Sequence[Frame]) -> Bulk:
    """The rows and repairs in row frames; frames of other kinds are passed over.

    Raises ValueError when a frame is too short to hold what its header says.
    """
    heads: list[tuple[int, int, int]] = []
    fix_heads: list[tuple[int, int, int]] = []
    rows: list[memoryview] = []
    logs: list[memoryview] = []
    fixes: list[memoryview] = []
    for frame in frames:
        if frame.kind != L.KIND_ROW_FRAME:
            continue
        has_row = frame.flags & L.ROW_HAS_ROW
        entries = row_entries(frame.c) if has_row else 0
        fixes_at, logs_at = repairs_at(has_row), log_at(has_row, frame.b)
        log_end = row_payload_bytes(has_row, frame.b, entries)
        if log_end > len(frame.payload):
            raise ValueError(
                f"row frame at {frame.position}: found {len(frame.payload)} bytes, its header says "
                f"{log_end}"
            )
        if frame.b:
            fixes.append(frame.payload[fixes_at:logs_at])
            unix_ns = int.from_bytes(frame.payload[:TIME_BYTES], "little")
            fix_heads += [(frame.tick, frame.a, unix_ns)] * frame.b
        if has_row:
            rows.append(frame.payload[:_ROW_BYTES])
            heads.append((frame.tick, frame.a, entries))
            logs.append(frame.payload[logs_at:log_end])
    return _bulk(
        np.frombuffer(b"".join(rows), L.ROW),
        np.array(heads, np.int64).reshape(-1, W.ROW_HEAD),
        np.frombuffer(b"".join(logs), L.LOG_DTYPE),
        np.frombuffer(b"".join(fixes), L.REPAIR),
        np.array(fix_heads, np.int64).reshape(-1, W.FIX_HEAD),
    )


def walked(
    lane: Lane, position: int, limit_bytes: int, key: tuple[int, int, int], overlap_tick: int
) -> Walked | None:
    """The rows and repairs in a lane from ``position`` (not released) on, of about ``limit_bytes``.

    ``key`` is (tick, block, step) of the last frame before, and frames up to ``overlap_tick`` are
    not taken.  None: the first frame must be looked at by itself, or nothing waits.
    """
    head = lane.head
    state = np.zeros(W.STATE_WORDS, np.int64)
    state[: W.ROWS] = (position, *key, head, limit_bytes, overlap_tick)
    # the first frame may be longer than the limit
    room = min(head - position, max(limit_bytes, lane.capacity // 4))
    n = room // (FRAME_HEADER_BYTES + _ROW_BYTES) + 1
    m = room // _REPAIR_BYTES + 1
    rows = np.empty(n, L.ROW)
    heads = np.empty((n, W.ROW_HEAD), np.int64)
    logs = np.empty(room // _LOG_BYTES + 1, L.LOG_DTYPE)
    fixes = np.empty(m, L.REPAIR)
    fix_heads = np.empty((m, W.FIX_HEAD), np.int64)
    W.walk(
        lane.data, lane.data.view(np.uint64), state, rows.view(np.uint64), heads.reshape(-1),
        logs.view(np.uint64), fixes.view(np.uint64), fix_heads.reshape(-1),
    )  # fmt: skip
    if not state[W.FRAMES]:
        return None
    n, m = int(state[W.ROWS]), int(state[W.FIXES])
    bulk = _bulk(rows[:n], heads[:n], logs[: int(state[W.LOGS])], fixes[:m], fix_heads[:m])
    tick, block, step = state[W.LAST_TICK : W.LAST_STEP + 1].tolist()
    return Walked(bulk, int(state[W.POSITION]), (tick, block, step), int(state[W.DUPLICATES]))


def _bulk(
    rows: npt.NDArray[np.void],
    heads: npt.NDArray[np.int64],
    logs: npt.NDArray[np.void],
    fixes: npt.NDArray[np.void],
    fix_heads: npt.NDArray[np.int64],
) -> Bulk:
    ticks, blocks, counts = (np.ascontiguousarray(heads[:, k]) for k in range(W.ROW_HEAD))
    fix_ticks, fix_blocks, fix_times = (
        np.ascontiguousarray(fix_heads[:, k]) for k in range(W.FIX_HEAD)
    )
    return Bulk(rows, ticks, blocks, counts, logs, fixes, fix_ticks, fix_blocks, fix_times)
