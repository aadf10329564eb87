"""The spooled frames of one set of lanes, and which files hold them.  An index; it only reads.

Lanes are made with a world, and again when it is restored from a checkpoint (then ``made`` differs
and positions start anew).  What was spooled from one set is a *generation*; an older one is written
to the database before anything of a newer one.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from corec.log import get_logger
from corec.persister.batch import Mark
from corec.persister.gaps import count_frames, gap_frame
from corec.persister.spool_format import (
    WHY_CORRUPT,
    WHY_MISSING,
    Extent,
    Found,
    crc_of,
    frames_in,
)
from shm.lane import Frame

log = get_logger(__name__)
NO_KEY = (-1, -1, -1)


@dataclass
class SpoolFile:
    """A file of the spool."""

    path: Path
    number: int
    covers: int
    size: int
    stub: bool = False
    """Only gaps: what it replaced was dropped."""
    damaged: bool = False
    first: dict[str, int] = field(default_factory=dict)
    """Per lane the first position in it, and (``ends``) the first after it."""
    ends: dict[str, int] = field(default_factory=dict)

    def add(self, extent: Extent) -> None:
        """A record of ``extent`` is in it."""
        self.first.setdefault(extent.lane, extent.begin)
        self.ends[extent.lane] = extent.end


class Record(NamedTuple):
    """A record and the file it is in."""

    file: SpoolFile
    found: Found

    @property
    def extent(self) -> Extent:
        """Which stretch of the lane."""
        return self.found.extent

    @property
    def data_end(self) -> int:
        """Position after its last frame."""
        found = self.found
        return found.origin + found.length if found.length else found.extent.end


class Generation:
    """Files and records of one set of lanes."""

    def __init__(self, made: Mapping[str, int]) -> None:
        """``made``: lane → when it was made (ns)."""
        self.made = dict(made)
        self.files: list[SpoolFile] = []
        self.marks: dict[str, Mark] = {}
        """How far each lane is known to be durable in the database; it may be further."""
        self.on_the_way: dict[str, int] = {}
        """Lane → position before which frames were sent to the database, outcome unknown."""
        self._records: dict[str, list[Record]] = {}

    @property
    def lanes(self) -> list[str]:
        """The lanes that have records."""
        return [lane for lane, records in self._records.items() if records]

    def holds(self, lanes: Mapping[str, int]) -> bool:
        """Whether frames of ``lanes`` (name → made) belong here."""
        return all(self.made.get(name) == made for name, made in lanes.items())

    def add(self, file: SpoolFile, found: Found) -> None:
        """Index one more record, the last of its lane."""
        file.add(found.extent)
        records = self._records.setdefault(found.extent.lane, [])
        if not records or found.extent.end > records[-1].extent.end:
            records.append(Record(file, found))

    def drop(self, file: SpoolFile) -> None:
        """Forget a file and its records."""
        self.files.remove(file)
        for lane in file.ends:
            self._records[lane] = [r for r in self._records[lane] if r.file is not file]

    def replace(self, old: list[SpoolFile], stub: SpoolFile, gaps: list[Found]) -> None:
        """Put ``stub`` with its ``gaps`` where the last of ``old`` was, and forget those."""
        at = self.files.index(old[-1]) if old else len(self.files)
        self.files.insert(at, stub)
        for file in old:
            self.drop(file)
        for found in gaps:
            stub.add(found.extent)
            records = self._records.setdefault(found.extent.lane, [])
            k = bisect_right(records, found.extent.begin, key=lambda r: r.extent.begin)
            records.insert(k, Record(stub, found))

    def durable(self, file: SpoolFile) -> bool:
        """Whether the database has everything in ``file``."""
        return all(
            lane in self.marks and end <= self.marks[lane].position
            for lane, end in file.ends.items()
        )

    def pinned(self, file: SpoolFile) -> bool:
        """Whether something in ``file`` is on its way to the database."""
        return any(first < self.on_the_way.get(lane, -1) for lane, first in file.first.items())

    def begin(self, lane: str) -> int | None:
        """The first position that is here; None: nothing of the lane is."""
        records = self._records.get(lane)
        return records[0].extent.begin if records else None

    def end(self, lane: str) -> int | None:
        """The first position after everything that is here."""
        records = self._records.get(lane)
        return records[-1].extent.end if records else None

    def last_key(self, lane: str) -> tuple[int, int, int]:
        """(tick, block, step) of the lane's last row frame in here, as far as it is known."""
        for record in reversed(self._records.get(lane, [])):
            extent = record.extent
            if extent.last_block >= 0:
                return extent.last_tick, extent.last_block, extent.last_step
        return NO_KEY

    def pending_tick(self, lane: str, position: int) -> int | None:
        """A tick that no frame from ``position`` on is below; None when nothing waits here."""
        records = self._records.get(lane, [])
        k = bisect_right(records, position, key=lambda r: r.data_end)
        return records[k].extent.first_tick if k < len(records) else None

    def frames(self, lane: str, position: int, limit_bytes: int | None) -> Iterator[Frame]:
        """The frames from ``position`` on, gaps included, of about ``limit_bytes``.

        Raises OSError when a file cannot be read.
        """
        records = self._records.get(lane, [])
        k = bisect_right(records, position, key=lambda r: r.extent.end)
        taken = 0
        for record in records[k:]:
            extent = record.extent
            if extent.begin > position:
                yield missing(lane, position, extent.begin)
            at = max(position, extent.begin)
            position = extent.end
            if record.data_end <= at:
                continue
            payload = self._payload(record)
            if payload is None:
                lost = extent if extent.why else extent._replace(why=WHY_CORRUPT)
                yield gap_frame(lost, at)
                continue
            for frame in frames_in(payload, record.found.origin):
                if frame.position < at:
                    continue
                size = frame.next_position - frame.position
                if limit_bytes is not None and taken and taken + size > limit_bytes:
                    return
                taken += size
                yield frame
            if limit_bytes is not None and taken >= limit_bytes:
                return

    def lost_in(self, file: SpoolFile) -> list[Extent]:
        """What dropping ``file`` loses: one extent per lane, of what is not known to be durable."""
        lost = []
        for lane in file.ends:
            mark = self.marks[lane].position if lane in self.marks else -1
            parts = [
                self._rest(record, mark)
                for record in self._records[lane]
                if record.file is file and record.extent.end > mark
            ]
            if parts:
                first, last = parts[0], parts[-1]
                keyed = next((p for p in reversed(parts) if p.last_block >= 0), last)
                known = [part.first_tick for part in parts if part.first_tick >= 0]
                lost.append(
                    last._replace(
                        begin=first.begin,
                        first_tick=min(known, default=-1),
                        last_tick=max(part.last_tick for part in parts),
                        last_block=keyed.last_block,
                        last_step=keyed.last_step,
                        rows=sum(part.rows for part in parts),
                        events=sum(part.events for part in parts),
                    )
                )
        return lost

    def _rest(self, record: Record, mark: int) -> Extent:
        """What of a record is after ``mark``, which is inside it or before it."""
        extent = record.extent
        if mark <= extent.begin or not record.found.length:
            return extent
        payload = self._payload(record)
        if payload is None:
            return extent
        left = [f for f in frames_in(payload, record.found.origin) if f.position >= mark]
        rows, events, _ = count_frames(left, NO_KEY)
        return extent._replace(
            begin=mark, first_tick=left[0].tick if left else -1, rows=rows, events=events
        )

    def _payload(self, record: Record) -> bytes | None:
        """A record's bytes; None for a gap and for what is damaged."""
        if not record.found.length:
            return None
        fd = os.open(record.file.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            payload = os.pread(fd, record.found.length, record.found.offset)
        finally:
            os.close(fd)
        if len(payload) == record.found.length and crc_of(payload) == record.found.crc:
            return payload
        if not record.file.damaged:
            record.file.damaged = True
            log.error("a file of the spool is damaged", file=str(record.file.path))
        return None


def missing(lane: str, begin: int, end: int) -> Frame:
    """The gap of positions that are neither here nor in the lane; nobody knows what they held."""
    extent = Extent(lane, begin, end, 0, -1, -1, -1, -1, -1, -1, WHY_MISSING)
    log.error("frames of a lane are missing", lane=lane, bytes=end - begin)
    return gap_frame(extent, begin)
