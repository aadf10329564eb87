"""The next batch, taken out of the lanes and being encoded while the one before is on its way.

Nothing is decided early: bytes of a lane that are not released do not change, so a batch that was
taken too soon is the batch that would be taken now, if it still begins where the lanes are durable
and none of it went to the spool meanwhile (``holds``).  Else it is forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple, Protocol

from corec.persister.batch import (
    Batch,
    Mark,
    Piece,
    all_walked,
    shares,
    take_walked,
    worth_writing,
)
from corec.persister.encode import Encoder
from corec.persister.source import LaneSource, Source, piece_of
from corec.persister.stream import Stream


class Marks(Protocol):
    """Where the lanes are durable: the ``Writer``."""

    def mark(self, lane: str) -> Mark:
        """How far a lane is durable."""

    def overlap_tick(self, lane: str) -> int:
        """Frames up to this tick may be in the tables already."""


class Begin(NamedTuple):
    """Where a piece begins."""

    source: LaneSource
    mark: Mark
    overlap_tick: int


class Ahead(NamedTuple):
    """Pieces, and where each begins."""

    begins: list[Begin]
    pieces: list[Piece]

    def holds(self, writer: Marks) -> bool:
        """Whether the pieces are what would be taken now."""
        return all(
            writer.mark(begin.source.name) == begin.mark
            and writer.overlap_tick(begin.source.name) == begin.overlap_tick
            and begin.source.in_lane(begin.mark.position)
            for begin in self.begins
        )


class Batches:
    """Takes batches out of the lanes, one ahead of the one that is asked for."""

    def __init__(
        self, lanes: Sequence[LaneSource], encoder: Encoder, batch_bytes: int, enough_bytes: int
    ) -> None:
        """A batch has about ``batch_bytes`` at most; ``enough_bytes`` are worth one."""
        self._lanes = [lane for lane in lanes if lane.worker is not None]
        self._encoder = encoder
        self._batch_bytes = batch_bytes
        self._enough_bytes = enough_bytes
        self._next: tuple[Ahead, Stream] | None = None

    def forget(self) -> None:
        """The lanes are read from other positions from now on."""
        self._next = None

    def take(self, sources: Sequence[Source], writer: Marks, waiting: Sequence[int]) -> Batch:
        """What the next transaction writes, of ``waiting`` bytes; hold the spool's lock.

        Raises LaneCorrupt, OSError.
        """
        pieces: list[Piece] = []
        stream: Stream | None = None
        if self._next is not None and self._next[0].holds(writer):
            pieces, stream = list(self._next[0].pieces), self._next[1]
        self._next = None
        encoded = stream is not None
        for source, limit in zip(sources, shares(waiting, self._batch_bytes), strict=True):
            mark = writer.mark(source.name)
            # beside rows that are encoded already only events fit in
            if source.waiting(mark.position) and not (encoded and source.worker is not None):
                pieces.append(piece_of(source, mark, limit, writer.overlap_tick(source.name)))
        # only lanes of now give bulks, so nothing is looked ahead of an older generation
        if stream is None and any(p.bulk for p in pieces) and all_walked(pieces):
            stream = self._stream(writer, pieces)
        return Batch(pieces, stream)

    def _stream(self, writer: Marks, pieces: Sequence[Piece]) -> Stream:
        """The COPY stream of ``pieces``; when it is made, the next one is begun."""
        rows = [piece.bulk for piece in pieces if piece.bulk is not None]
        return self._encoder.stream(rows, partial(self._look, writer, pieces))

    def _look(self, writer: Marks, pieces: Sequence[Piece]) -> None:
        """Begin with the batch after ``pieces``."""
        found = None if self._next is not None else self._ahead(writer, pieces)
        if found is not None:
            self._next = found, self._stream(writer, found.pieces)

    def _ahead(self, writer: Marks, pieces: Sequence[Piece]) -> Ahead | None:
        """The rows after ``pieces``; None: too few, or a frame needs a look of its own."""
        after = {piece.lane: piece.mark for piece in pieces}
        marks = [after.get(lane.name) or writer.mark(lane.name) for lane in self._lanes]
        waiting = [s.waiting(mark.position) for s, mark in zip(self._lanes, marks, strict=True)]
        capacities = [lane.capacity for lane in self._lanes]
        if not worth_writing(waiting, capacities, self._enough_bytes):
            return None
        begins: list[Begin] = []
        found: list[Piece] = []
        limits = shares(waiting, self._batch_bytes)
        for lane, mark, limit in zip(self._lanes, marks, limits, strict=True):
            if not limit:
                continue
            begin = Begin(lane, mark, writer.overlap_tick(lane.name))
            walked = lane.walked(mark, limit, begin.overlap_tick)
            if walked is None:
                return None
            begins.append(begin)
            found.append(take_walked(lane.name, walked, mark))
        return Ahead(begins, found)
