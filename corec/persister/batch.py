"""Which frames form the next transaction, and how far the lanes are then.  Pure, no I/O.

A lane's frames come in ascending (tick, block, step).  A worker killed between publish and commit
publishes its last frame again; a frame that is not greater than the lane's mark is such a copy.
Events carry no such key: their producers never publish twice, and position alone counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from corec import layout as L
from corec.persister.bulk import Bulk, Walked, bulk_of
from corec.persister.gaps import KEYED, KIND_GAP_FRAME, OF_PHASES, lost_key, row_key
from corec.persister.stream import Stream
from shm.lane import Frame


class Mark(NamedTuple):
    """How far one lane is durable."""

    position: int
    tick: int
    block: int
    step: int
    rows: int
    """Rows of ``bloques`` written through the lane, for this world."""


START = Mark(0, -1, -1, -1, 0)
"""Before the first frame ever."""


@dataclass(frozen=True)
class Piece:
    """One lane's part of a batch: ``frames`` to write, and the lane's mark once they are."""

    lane: str
    frames: list[Frame]
    mark: Mark
    duplicates: int = 0
    bulk: Bulk | None = None
    """What is to be written instead of frames; of frames, none is made before it is needed."""

    def columns(self) -> Bulk:
        """The rows and repairs.  Raises ValueError for a frame that is too short for its header."""
        return bulk_of(self.frames) if self.bulk is None else self.bulk


@dataclass(frozen=True)
class Batch:
    """What one transaction writes."""

    pieces: list[Piece]
    stream: Stream | None = None
    """The COPY stream of the rows if it is being made already; no piece with rows has frames then.
    """

    @property
    def event_frames(self) -> list[Frame]:
        """The event frames of all lanes, lane by lane, and the gaps: each becomes an event."""
        kinds = (L.KIND_EVENT_FRAME, *OF_PHASES, KIND_GAP_FRAME)
        return [f for p in self.pieces for f in p.frames if f.kind in kinds]


def has_row(frame: Frame) -> bool:
    """Whether a frame brings a row of ``bloques`` (and not only repairs)."""
    return frame.kind == L.KIND_ROW_FRAME and bool(frame.flags & L.ROW_HAS_ROW)


def take(lane: str, frames: Iterable[Frame], mark: Mark) -> Piece:
    """The frames of one lane that are still to be written, given its mark."""
    taken: list[Frame] = []
    position, rows = mark.position, mark.rows
    last = (mark.tick, mark.block, mark.step)
    duplicates = 0
    for frame in frames:
        position = frame.next_position
        if frame.kind in KEYED:
            key = row_key(frame)
            if key <= last:
                duplicates += 1
                continue
            last = key
            rows += has_row(frame)
        elif frame.kind == KIND_GAP_FRAME:
            last = max(last, lost_key(frame) or last)
        taken.append(frame)
    return Piece(lane, taken, Mark(position, *last, rows), duplicates)


def take_walked(lane: str, found: Walked, mark: Mark) -> Piece:
    """As ``take``, of frames that ``bulk.walked`` has looked at."""
    after = Mark(found.position, *found.key, mark.rows + len(found.bulk.rows))
    return Piece(lane, [], after, found.duplicates, found.bulk)


def all_walked(pieces: Iterable[Piece]) -> bool:
    """Whether no piece has rows or repairs that are frames still."""
    return not any(f.kind == L.KIND_ROW_FRAME for piece in pieces for f in piece.frames)


class There(NamedTuple):
    """What the tables have already of some frames."""

    rows: AbstractSet[tuple[int, int]]
    """(block, tick)."""
    repairs: Counter[tuple[int, int, int]]
    """(block, tick, entity) → how many."""
    phases: AbstractSet[tuple[str, int, str]] = frozenset()
    """(id of the block, tick, kind of event) of what phases did and is told of."""


def without(piece: Piece, there: There, overlap_tick: int) -> Piece:
    """``piece`` less the rows and the repairs that are there, each asked for by itself.

    Only what is of ticks up to ``overlap_tick`` is looked at: see ``offsets``.  A bulk has none of
    that.  Repairs found are taken out of ``there``: one that happened twice is there twice.
    """
    if piece.bulk is not None:
        return piece
    bulk = piece.columns()
    rows = [
        tick > overlap_tick or (block, tick) not in there.rows
        for block, tick in zip(bulk.blocks.tolist(), bulk.ticks.tolist(), strict=True)
    ]
    fixes: list[bool] = []
    columns = (bulk.fix_blocks, bulk.fix_ticks, bulk.fixes["id"])
    for key in zip(*(column.tolist() for column in columns), strict=True):
        missing = key[1] > overlap_tick or there.repairs[key] <= 0
        fixes.append(missing)
        if not missing:
            there.repairs[key] -= 1
    kept = bulk.kept(np.array(rows, np.bool_), np.array(fixes, np.bool_))
    gone = len(bulk.rows) - len(kept.rows)
    return Piece(
        piece.lane,
        [frame for frame in piece.frames if frame.kind != L.KIND_ROW_FRAME],
        piece.mark._replace(rows=piece.mark.rows - gone),
        piece.duplicates + gone + len(bulk.fixes) - len(kept.fixes),
        kept,
    )


def shares(waiting: Sequence[int], limit: int) -> list[int]:
    """Split ``limit`` bytes over lanes with ``waiting`` bytes each, no lane starved by another.

    What a lane does not need goes to the others; the sum is at most ``limit``.
    """
    given = [0] * len(waiting)
    left = limit
    order = sorted(range(len(waiting)), key=lambda k: waiting[k])
    for done, k in enumerate(order):
        given[k] = min(waiting[k], left // (len(order) - done))
        left -= given[k]
    return given


def worth_writing(waiting: Sequence[int], capacities: Sequence[int], enough: int) -> bool:
    """Whether to write now: ``enough`` bytes in all, or some lane is a quarter full."""
    return sum(waiting) >= enough or any(
        4 * bytes_waiting >= capacity
        for bytes_waiting, capacity in zip(waiting, capacities, strict=True)
    )


class LaneView(NamedTuple):
    """What ``durable_tick`` needs to know of one rows lane, read in this order."""

    done_tick: int
    """The producing worker's last whole tick, read before ``pending_tick``."""
    pending_tick: int | None
    """Tick of the first frame that is not durable; None when there is none."""


def durable_tick(lanes: Iterable[LaneView]) -> int | None:
    """The highest T such that every frame of ticks <= T is durable; None without lanes.

    A worker publishes the frames of T before it says that T is done, so an empty lane is durable
    up to the tick that was done before the lane was looked at.
    """
    ticks = [
        lane.done_tick if lane.pending_tick is None else min(lane.done_tick, lane.pending_tick - 1)
        for lane in lanes
    ]
    return min(ticks, default=None)
