"""Where frames come from: a lane with what was spooled from it before, or the spool alone.

Frames keep their lane's positions on disk, so both look like a lane: a longer one, or one that
nobody writes any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Final, Protocol

import numpy as np

from corec import layout as L
from corec.persister.batch import LaneView, Mark, Piece, durable_tick, take, take_walked
from corec.persister.bulk import Walked, walked
from corec.persister.generation import Generation, missing
from corec.persister.offsets import ROWS_PREFIX, LaneNow
from corec.persister.walk import FIXES_MAX
from corec.process.roles import committed_tick
from corec.process.runtime import Runtime
from shm.lane import Frame, Lane
from shm.layout import LANE_START
from shm.segment import Segment

JOURNAL_LOOK_S: Final = 0.01
_NO_HEAD = 1 << 62
_OLD_CAPACITY = 1 << 20


class Source(Protocol):
    """Frames in order, each kept until it is released."""

    @property
    def name(self) -> str:
        """The lane's name in ``corec_offsets``."""

    @property
    def capacity(self) -> int:
        """Bytes that can wait before the producer must."""

    @property
    def worker(self) -> int | None:
        """Index of the worker that writes the lane; None for other lanes."""

    def now(self) -> LaneNow:
        """The positions at this moment: the first one that is here, and the end."""

    def waiting(self, position: int) -> int:
        """Bytes that wait from ``position`` on."""

    def pending_tick(self, position: int) -> int | None:
        """A tick that no frame from ``position`` on is below; None when nothing waits."""

    def frames(self, position: int, limit_bytes: int | None = None) -> Iterator[Frame]:
        """The frames from ``position`` on, of about ``limit_bytes``, at least one if any."""

    def walked(self, mark: Mark, limit_bytes: int, overlap_tick: int) -> Walked | None:
        """The rows from ``mark`` on without a look at each; None: take the frames."""

    def release(self, position: int) -> bool:
        """Everything before ``position`` is durable; whether that freed room for the producer."""


class LaneSource:
    """The frames of a lane: first those in the spool, then those in the lane."""

    def __init__(self, name: str, lane: Lane, made: int, worker: int | None = None) -> None:
        self.name = name
        self.made = made
        self.worker = worker
        self.lane = lane
        self.spooled = Generation({})

    @property
    def capacity(self) -> int:
        """Bytes of the lane's ring."""
        return self.lane.capacity

    def now(self) -> LaneNow:
        """The positions at this moment; the tail is this process's own."""
        begin = self.spooled.begin(self.name)
        tail = self.lane.tail
        first = tail if begin is None else min(begin, tail)
        start = int(self.lane.ctl[LANE_START])
        return LaneNow(self.name, self.made, first, self.lane.head, start)

    def waiting(self, position: int) -> int:
        """Bytes between ``position`` and the lane's head, padding included."""
        return self.lane.head - position

    def pending_tick(self, position: int) -> int | None:
        """A tick that no frame from ``position`` on is below; None when nothing waits."""
        spooled = self.spooled.pending_tick(self.name, position)
        if spooled is not None:
            return spooled
        first = next(self.lane.frames(max(position, self.lane.tail)), None)
        return None if first is None else first.tick

    def frames(self, position: int, limit_bytes: int | None = None) -> Iterator[Frame]:
        """The frames from ``position`` on; those of the lane are valid until released.

        Raises LaneCorrupt, OSError.
        """
        taken = 0
        for frame in self.spooled.frames(self.name, position, limit_bytes):
            yield frame
            position = frame.next_position
            taken += position - frame.position
        if limit_bytes is not None and taken >= limit_bytes:
            return
        end = self.spooled.end(self.name)
        if taken and end is not None and position < end:
            return  # the limit came before the end of what is spooled
        tail = self.lane.tail
        position = position if end is None else max(position, end)
        if position < tail:
            yield missing(self.name, position, tail)
            position = tail
        left = None if limit_bytes is None else max(1, limit_bytes - taken)
        yield from self.lane.frames(position, left)

    def walked(self, mark: Mark, limit_bytes: int, overlap_tick: int) -> Walked | None:
        """The rows from ``mark`` on if they are in the lane, and none of them is in the spool."""
        if self.worker is None or not self.in_lane(mark.position):
            return None
        return walked(self.lane, mark.position, limit_bytes, mark[1:4], overlap_tick)

    def release(self, position: int) -> bool:
        """Give the bytes before ``position`` back to the producer."""
        freed = position > self.lane.tail
        self.lane.release(position)
        return freed

    def in_lane(self, position: int) -> bool:
        """Whether all from ``position`` on is in the lane, and nothing of it in the spool."""
        return self.to_spool() <= position

    def to_spool(self) -> int:
        """The first position that is in the lane alone."""
        end = self.spooled.end(self.name)
        return self.lane.tail if end is None else max(end, self.lane.tail)

    def raw(self, begin: int, end: int) -> bytes:
        """A copy of the ring's bytes from ``begin`` to ``end``, which no wrap is between."""
        offset = begin & (self.lane.capacity - 1)
        return self.lane.data[offset : offset + end - begin].tobytes()


class OldSource:
    """A lane that is no more; what was spooled from it is."""

    worker = None
    capacity = _OLD_CAPACITY

    def __init__(self, name: str, spooled: Generation) -> None:
        self.name = name
        self._spooled = spooled

    def now(self) -> LaneNow:
        """The positions; whatever mark the table has is before the lane's unknown end."""
        begin = self._spooled.begin(self.name) or 0
        return LaneNow(self.name, self._spooled.made[self.name], begin, _NO_HEAD)

    def waiting(self, position: int) -> int:
        """Bytes from ``position`` to the end of what was spooled."""
        return max(0, (self._spooled.end(self.name) or 0) - position)

    def pending_tick(self, position: int) -> int | None:
        """A tick that no frame from ``position`` on is below; None when nothing waits."""
        return self._spooled.pending_tick(self.name, position)

    def frames(self, position: int, limit_bytes: int | None = None) -> Iterator[Frame]:
        """The frames from ``position`` on.  Raises OSError."""
        return self._spooled.frames(self.name, position, limit_bytes)

    def walked(self, mark: Mark, limit_bytes: int, overlap_tick: int) -> Walked | None:
        """Never: files are read frame by frame."""
        return None

    def release(self, position: int) -> bool:
        """Nothing: files go as a whole (``Spool.collect``)."""
        return False


def lane_sources(rt: Runtime) -> list[LaneSource]:
    """The rows lanes (``rows-<k>``, by worker), then the event lanes (``events-<role>``).

    Raises RuntimeError when a lane is in none of ``rt.segments``: the time a segment was made tells
    the lanes of a restored world from those before.
    """
    found = [
        LaneSource(f"{ROWS_PREFIX}{k}", lane, _made(f"{ROWS_PREFIX}{k}", lane, rt.segments), k)
        for k, lane in enumerate(rt.rows)
    ]
    for role, lane in rt.events.items():
        name = f"events-{role}"
        found.append(LaneSource(name, lane, _made(name, lane, rt.segments)))
    return found


def covered_tick(
    rt: Runtime, lanes: Sequence[LaneSource], positions: Sequence[int]
) -> int | None:
    """The highest T such that every frame of ticks <= T is before ``positions``; None: unknown."""
    views = []
    workers = rt.get(L.C_WORKERS) or rt.lanes
    for source, position in zip(lanes, positions, strict=True):
        if source.worker is None:
            continue
        # the worker's word before the lane: see LaneView
        done = rt.slot(L.SLOT_WORKER0 + source.worker).get(L.S_TICK)
        first = source.pending_tick(position)
        if source.worker < workers:
            views.append(LaneView(done, first))
        elif first is not None:  # a lane whose worker was taken away, not empty yet
            views.append(LaneView(first, first))
    return durable_tick(views)


def at_rest(rt: Runtime) -> bool:
    """Whether the world is paused and has run what it was asked for: nothing more comes."""
    if not rt.get(L.C_PAUSED):
        return False
    return committed_tick(rt.get) >= rt.get(L.C_STEP_LIMIT)


def ring_producer(rt: Runtime, source: Source) -> None:
    """``source`` has room again: tell the worker that may wait for it."""
    if source.worker is not None:
        rt.doorbells[L.SLOT_WORKER0 + source.worker].ring()


async def written_down(rt: Runtime) -> None:
    """Wait until the journal has what entered the ticks whose frames can be seen now: before that,
    nothing of them may become durable (``corec.journal.file``)."""
    head = rt.journal.head
    # a word of shared memory: nothing on this loop tells when it changes
    while rt.journal.tail < head:  # noqa: ASYNC110
        await asyncio.sleep(JOURNAL_LOOK_S)


def _made(name: str, lane: Lane, segments: Sequence[Segment]) -> int:
    for segment in segments:
        if np.may_share_memory(segment.payload, lane.data):
            return segment.created_unix_ns
    raise RuntimeError(f"lane {name}: its segment is missing in Runtime.segments")


def piece_of(source: Source, mark: Mark, limit: int, overlap_tick: int) -> Piece:
    """What is to be written of a source that is durable up to ``mark``, of about ``limit`` bytes.

    Raises LaneCorrupt, OSError.
    """
    found = source.walked(mark, limit, overlap_tick)
    if found is not None:
        return take_walked(source.name, found, mark)
    frames = _few_events(source.frames(mark.position, limit))
    return take(source.name, map(_kept, frames), mark)


def _few_events(frames: Iterator[Frame]) -> Iterator[Frame]:
    """The first of ``frames`` that become ``FIXES_MAX`` events together; one at least."""
    events = 0
    for k, frame in enumerate(frames):
        events += _events_in(frame)
        if k and events > FIXES_MAX:
            return
        yield frame


def _events_in(frame: Frame) -> int:
    if frame.kind == L.KIND_ROW_FRAME:
        return frame.b  # repairs
    return 1 + (frame.b if frame.kind == L.KIND_GENERATION_FRAME else 0)  # births


def _kept(frame: Frame) -> Frame:
    """``frame`` with bytes of its own: the spooler may release the lane while they are written."""
    if isinstance(frame.payload.obj, bytes):
        return frame
    return frame._replace(payload=memoryview(bytes(frame.payload)))
