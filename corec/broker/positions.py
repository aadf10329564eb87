"""Where the broker stands: ids of entries, positions of streams and lanes, and the names of keys.

All keys of an instance live in one hash slot (``{instance}``), so one MULTI covers them on a
Cluster too. ``state`` says how positions are kept in the hash ``corec:{<instance>}:pos``.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from corec import keys

PART: np.dtype[np.void] = np.dtype([("block", "<u4"), ("step", "<u4")])
U64_MAX = 2**64 - 1
Keys = keys.Keys
_ID = re.compile(rb"(\d{1,20})-(\d{1,20})")


class EntryId(NamedTuple):
    """The id of a stream entry; tuples compare as Redis compares ids."""

    ms: int
    seq: int

    def __str__(self) -> str:
        return f"{self.ms}-{self.seq}"

    def before(self) -> EntryId:
        """The largest id below this one (0-0 stays)."""
        if self.seq:
            return EntryId(self.ms, self.seq - 1)
        return EntryId(self.ms - 1, U64_MAX) if self.ms else self


ZERO = EntryId(0, 0)


def parse_id(text: bytes) -> EntryId:
    """``b"1700000000000-3"`` as an id; raises ValueError for anything else."""
    found = _ID.fullmatch(text)
    if not found:
        raise ValueError(f"stream entry id: found {text[:64]!r}, expected <ms>-<seq>")
    return EntryId(int(found[1]), int(found[2]))


class InPosition(NamedTuple):
    """How far one canal's stream was read: up to message ``next_msg`` of the entry ``ms-seq``.

    ``last`` = 1: the entry is through, the next one follows. All zero: nothing was read.
    """

    ms: int
    seq: int
    next_msg: int
    last: int

    @property
    def id(self) -> EntryId:
        """The entry it stands in."""
        return EntryId(self.ms, self.seq)

    def done_before(self) -> EntryId:
        """The last entry that is through."""
        return self.id if self.last else self.id.before()

    def skip(self, entry: EntryId, count: int) -> int:
        """How many of the ``count`` messages of ``entry`` lie before this position."""
        if entry > self.id:
            return 0
        if entry < self.id or self.last:
            return count
        return min(self.next_msg, count)


NOWHERE = InPosition(0, 0, 0, 1)


def after(entry: EntryId) -> InPosition:
    """The position behind a whole entry."""
    return InPosition(entry.ms, entry.seq, 0, 1)


def parse_in_position(text: bytes) -> InPosition:
    """``b"<id> <next_msg> <last>"``; raises ValueError for anything else."""
    identifier, next_msg, last = text.split(b" ")
    return InPosition(*parse_id(identifier), int(next_msg), int(last))


def format_in_position(position: InPosition) -> str:
    """The text ``parse_in_position`` reads."""
    return f"{position.id} {position.next_msg} {position.last}"


class LanePosition(NamedTuple):
    """The last frame of one out lane that is in the streams."""

    epoch: int
    position: int
    tick: int
    block: int
    step: int
    messages: int

    def __str__(self) -> str:
        return " ".join(map(str, self))


def parse_lane(text: bytes) -> LanePosition:
    """Six whole numbers; raises ValueError for anything else."""
    numbers = [int(part) for part in text.split(b" ")]
    if len(numbers) != len(LanePosition._fields):
        raise ValueError(f"lane position: found {text[:64]!r}, expected six numbers")
    return LanePosition(*numbers)


class Part(NamedTuple):
    """A tick that is in the streams in part: the last step sent of each of its blocks."""

    tick: int
    steps: NDArray[np.void]
    """PART[n], a block at most once."""


def parse_part(text: bytes) -> Part:
    """The value of ``out_part``; raises ValueError when it is torn."""
    tick, colon, packed = text.partition(b":")
    if not colon or len(packed) % PART.itemsize:
        raise ValueError("out_part: expected tick:(u32, u32)…")
    return Part(int(tick), np.frombuffer(packed, PART))


def format_part(part: Part) -> bytes:
    """The value ``parse_part`` reads."""
    return b"%d:" % part.tick + part.steps.tobytes()


def aside_stamp(when: datetime) -> str:
    """The part of an older world's names that says when it was set aside."""
    return when.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%fZ")


def choose_start(
    in_lane: InPosition | None, in_table: InPosition | None, start: EntryId | None
) -> InPosition:
    """Where a canal's stream is read on: the lane's last frame, else the world's table, else where
    the world began, else the stream's beginning."""
    if in_lane is not None:
        return in_lane
    if in_table is not None and in_table != InPosition(0, 0, 0, 0):
        return in_table
    return after(start) if start is not None else NOWHERE
