"""Frames that are not there: dropped at the spool's limit, or damaged on disk.

A gap takes part in everything as a frame that stretches from the first lost position to the first
one after it.  It becomes an event in the transaction that moves the lane's mark over it, so each
gap is in ``eventos`` exactly once, beside the rows around it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from corec import layout as L
from corec.layout.frames import PHASE_BLOCK, row_step, row_word
from corec.persister.spool_format import WHY, WHY_CORRUPT, Extent
from corec.process.events import REASON, ROWS_LOST, encode
from shm.lane import Frame

KIND_GAP_FRAME: Final = 0xFFFF
"""Frame kind of a gap; a = block + 1 and c = row_word of the last lost row (a = 0: unknown),
flags = 1: damaged."""


OF_PHASES: Final = {
    L.KIND_COLLECT_FRAME: PHASE_BLOCK // 2, L.KIND_GENERATION_FRAME: PHASE_BLOCK,
    L.KIND_FUSION_FRAME: 2 * PHASE_BLOCK,
}  # fmt: skip
"""Kind of frame → what is added to the number of its block in its key: above that of any block, in
the order of the phases (``corec.world.phases``)."""
KEYED: Final = (L.KIND_ROW_FRAME, *OF_PHASES)
"""Frames that may be published twice, told by their key."""


def gap_frame(extent: Extent, position: int) -> Frame:
    """The gap from ``position`` to the end of ``extent``, as a frame.

    A gap that begins before ``position`` is in part durable already (the reply to a COMMIT was
    lost before its rows were dropped): then its counts are only an upper bound.
    """
    body = {
        "lane": extent.lane,
        "desde": extent.first_tick if extent.first_tick >= 0 else None,
        "hasta": extent.last_tick if extent.last_tick >= 0 else None,
        "filas": extent.rows if extent.rows >= 0 else None,
        "eventos": extent.events if extent.events >= 0 else None,
        "bytes": extent.end - position,
        "exacto": position <= extent.begin and extent.rows >= 0,
        REASON: WHY[extent.why],
    }
    event = encode(ROWS_LOST, body, tick=extent.last_tick, unix_ns=extent.unix_ns or None)
    known = extent.last_block >= 0
    return Frame(
        kind=KIND_GAP_FRAME,
        flags=int(extent.why >= WHY_CORRUPT),
        a=extent.last_block + 1 if known else 0,
        b=max(0, extent.rows) + max(0, extent.events),
        tick=max(0, extent.last_tick),
        c=row_word(extent.last_step, 0) if known else 0,
        payload=memoryview(event),
        position=position,
        next_position=extent.end,
    )


def row_key(frame: Frame) -> tuple[int, int, int]:
    """(tick, block, step) of a row frame, or of one of a phase."""
    if frame.kind in OF_PHASES:
        return frame.tick - 1, OF_PHASES[frame.kind] + frame.a, row_step(frame.c)
    return frame.tick, frame.a, row_step(frame.c)


def lost_key(frame: Frame) -> tuple[int, int, int] | None:
    """(tick, block, step) of the last row in a gap, None when that is not known."""
    return (frame.tick, frame.a - 1, row_step(frame.c)) if frame.a else None


def newly_lost(frames: Iterable[Frame]) -> int:
    """Rows and events lost in damaged gaps: those that no policy has counted when it dropped."""
    return sum(frame.b for frame in frames if frame.kind == KIND_GAP_FRAME and frame.flags)


def count_frames(
    frames: Iterable[Frame], key: tuple[int, int, int]
) -> tuple[int, int, tuple[int, int, int]]:
    """Rows and events in frames, less duplicates of what is up to ``key``; and the new key."""
    rows = events = 0
    for frame in frames:
        if frame.kind in KEYED:
            mine = row_key(frame)
            if mine <= key:
                continue
            key = mine
            events += frame.b
            if frame.kind == L.KIND_ROW_FRAME:
                rows += frame.flags & L.ROW_HAS_ROW
            else:
                events += 1
        elif frame.kind == L.KIND_EVENT_FRAME:
            events += 1
    return rows, events, key
