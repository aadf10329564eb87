"""Where frames come from.  Today each lane is its own source.

A disk spool fits in here: something that drains a lane into files and offers the same frames under
the same positions, whose ``release`` frees the files, and the lane once a file is synced.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from corec.persister.offsets import ROWS_PREFIX, LaneNow
from corec.runtime import Runtime
from shm.lane import Frame, Lane
from shm.segment import Segment


class Source(Protocol):
    """Frames in order, each kept until it is released."""

    @property
    def name(self) -> str:
        """The lane's name in ``corec_offsets``."""

    @property
    def capacity(self) -> int:
        """Bytes that can wait before the producer must."""

    def now(self) -> LaneNow:
        """The positions at this moment."""

    def waiting(self, position: int) -> int:
        """Bytes that wait from ``position`` on."""

    def frames(self, position: int, limit_bytes: int | None = None) -> Iterator[Frame]:
        """The frames from ``position`` on, of about ``limit_bytes``, at least one if any."""

    def release(self, position: int) -> bool:
        """Everything before ``position`` is durable; whether that freed something."""


class LaneSource:
    """The frames of a lane, read in place."""

    def __init__(self, name: str, lane: Lane, made: int) -> None:
        self.name = name
        self._lane = lane
        self._made = made

    @property
    def capacity(self) -> int:
        """Bytes of the lane's ring."""
        return self._lane.capacity

    def now(self) -> LaneNow:
        """The positions at this moment; the tail is this process's own."""
        return LaneNow(self.name, self._made, self._lane.tail, self._lane.head)

    def waiting(self, position: int) -> int:
        """Bytes between ``position`` and the lane's head, padding included."""
        return self._lane.head - position

    def frames(self, position: int, limit_bytes: int | None = None) -> Iterator[Frame]:
        """The frames from ``position`` on; valid until released.  Raises LaneCorrupt."""
        return self._lane.frames(position, limit_bytes)

    def release(self, position: int) -> bool:
        """Give the bytes before ``position`` back to the producer."""
        freed = position > self._lane.tail
        self._lane.release(position)
        return freed


def lane_sources(rt: Runtime) -> list[Source]:
    """The rows lanes (``rows-<k>``, by worker), then the event lanes (``events-<role>``).

    Raises RuntimeError when a lane is in none of ``rt.segments``: the time a segment was made tells
    the lanes of a restored world from those before.
    """
    named = [(f"{ROWS_PREFIX}{k}", lane) for k, lane in enumerate(rt.rows)]
    named += [(f"events-{role}", lane) for role, lane in rt.events.items()]
    return [LaneSource(name, lane, _made(name, lane, rt.segments)) for name, lane in named]


def _made(name: str, lane: Lane, segments: Sequence[Segment]) -> int:
    for segment in segments:
        if np.may_share_memory(segment.payload, lane.data):
            return segment.created_unix_ns
    raise RuntimeError(f"lane {name}: its segment is missing in Runtime.segments")
