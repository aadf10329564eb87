"""The bytes of a spool file, and what is found in one.

::

    spool-<number>.log
      file head   8s magic, u32 version, u32 n, u32 CRC32C of the JSON, u32 0; JSON[n], zeros to 8
      record      112 bytes of RECORD (below), then ``length`` bytes, zeros to a multiple of 8
      record …

JSON of the head: ``instance``, ``epoch``, ``number``, ``covers`` (the first file number that this
one replaces) and ``lanes``: [name, made] of every lane; a record names its lane by index.

A *data* record holds the bytes of a lane's ring from position ``origin`` on, whole frames without
a wrap, and stands for the positions ``begin`` to ``end`` (padding at the wrap included).  A *gap*
record has no bytes: what stood there was dropped.  Sequence numbers grow in the order in which
records were written.

RECORD, little endian, its last CRC over all before it::

    u32 magic  u16 kind  u16 lane  u32 length  u32 CRC32C of the bytes
    u64 sequence  u64 begin  u64 end  u64 origin  u64 unix_ns
    i64 first_tick  i64 last_tick  i64 last_block  i32 last_step  u32 why
    u64 rows  u64 events  u32 CRC32C of this head  u32 0
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import google_crc32c
import orjson

from shm.lane import Frame, frame_at
from shm.layout import align_up

FILE_MAGIC: Final = b"CORECSPL"
VERSION: Final = 2
RECORD_MAGIC: Final = 0x4443_5253  # "SRCD"
KIND_DATA: Final = 1
KIND_GAP: Final = 2
HEAD_BYTES_MAX: Final = 1 << 20
WHY: Final = ("", "drop_oldest", "drop_new", "corrupt", "missing")
WHY_DROP_OLDEST, WHY_DROP_NEW, WHY_CORRUPT, WHY_MISSING = 1, 2, 3, 4

_FILE: Final = struct.Struct("<8sIIII")
_RECORD: Final = struct.Struct("<IHHII5Q3qiIQQ")
_RECORD_CRC: Final = struct.Struct("<II")
RECORD_BYTES: Final = _RECORD.size + _RECORD_CRC.size
assert RECORD_BYTES == 112


class SpoolDamaged(ValueError):
    """A file's head makes no sense; the text says what was found."""


class Extent(NamedTuple):
    """A stretch of one lane: positions, and what its frames hold."""

    lane: str
    begin: int
    end: int
    unix_ns: int
    first_tick: int
    """-1: unknown, as all of the following."""
    last_tick: int
    last_block: int
    """Block and step of the last row frame: what is not greater than it is a duplicate."""
    last_step: int
    rows: int
    events: int
    why: int = 0
    """Of a gap: index into ``WHY``."""


class Head(NamedTuple):
    """A file's head."""

    instance: str
    epoch: int
    number: int
    covers: int
    lanes: tuple[tuple[str, int], ...]


class Found(NamedTuple):
    """A record in a file."""

    extent: Extent
    offset: int
    """Of its bytes in the file."""
    length: int
    crc: int
    origin: int
    sequence: int


class Scan(NamedTuple):
    """A whole file."""

    head: Head
    records: list[Found]
    good_bytes: int
    """Up to here it holds whole records."""
    damaged: bool
    """Something between good records makes no sense."""


def crc_of(data: bytes) -> int:
    """CRC32C."""
    return int(google_crc32c.value(data))


def merged(first: Extent, second: Extent) -> Extent:
    """The gap of two gaps of one lane that follow each other."""
    known = [tick for tick in (first.first_tick, second.first_tick) if tick >= 0]
    keyed = second if second.last_block >= 0 else first
    return second._replace(
        begin=first.begin,
        first_tick=min(known, default=-1),
        last_tick=max(first.last_tick, second.last_tick),
        last_block=keyed.last_block,
        last_step=keyed.last_step,
        rows=first.rows + second.rows,
        events=first.events + second.events,
    )


def pack_head(head: Head) -> bytes:
    """A file's first bytes."""
    text = orjson.dumps(head._asdict())
    packed = _FILE.pack(FILE_MAGIC, VERSION, len(text), crc_of(text), 0) + text
    return packed.ljust(align_up(len(packed), 8), b"\0")


def pack_record(extent: Extent, lane: int, sequence: int, origin: int, payload: bytes) -> bytes:
    """A record; a gap when ``payload`` is empty."""
    packed = _RECORD.pack(
        RECORD_MAGIC, KIND_DATA if payload else KIND_GAP, lane, len(payload), crc_of(payload),
        sequence, extent.begin, extent.end, origin, extent.unix_ns, extent.first_tick,
        extent.last_tick, extent.last_block, extent.last_step, extent.why, extent.rows,
        extent.events,
    )  # fmt: skip
    record = packed + _RECORD_CRC.pack(crc_of(packed), 0) + payload
    return record.ljust(align_up(len(record), 8), b"\0")


def scan(path: Path, *, last: bool) -> Scan:
    """Read a file's head and the heads of its records.

    ``last``: nothing was written after this file, so its end may be torn: the bytes of its last
    record are checked, and what is not whole there is left out.
    Raises SpoolDamaged, OSError; EOFError for a last file that ends within its head.
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        head, start = _scan_head(file, path, size, last)
        names = [name for name, _ in head.lanes]
        records: list[Found] = []
        at, good, damaged = start, start, False
        while at + RECORD_BYTES <= size:
            file.seek(at)
            found = _unpack(file.read(RECORD_BYTES), at, names)
            following = at if found is None else found.offset + align_up(found.length, 8)
            stale = found is not None and records and found.sequence <= records[-1].sequence
            if found is None or stale or following > size:
                at += 8  # look for the next head
                continue
            damaged = damaged or at != good
            records.append(found)
            at = good = following
        if good != size:
            damaged = damaged or not last
        if last and records and not damaged:
            tail = records[-1]
            file.seek(tail.offset)
            if crc_of(file.read(tail.length)) != tail.crc:
                records.pop()
                good = tail.offset - RECORD_BYTES
        return Scan(head, records, good, damaged)


def _scan_head(file: Any, path: Path, size: int, last: bool) -> tuple[Head, int]:
    raw = file.read(_FILE.size)
    if len(raw) == _FILE.size:
        magic, version, length, crc, _ = _FILE.unpack(raw)
        if magic != FILE_MAGIC or version != VERSION or length > HEAD_BYTES_MAX:
            raise SpoolDamaged(
                f"{path.name}: found {magic!r} version {version}, expected {FILE_MAGIC!r} "
                f"version {VERSION}"
            )
        text = file.read(length)
        start = align_up(_FILE.size + length, 8)
        if start <= size:
            if crc_of(text) != crc:
                raise SpoolDamaged(f"{path.name}: the checksum of its head is wrong")
            body = orjson.loads(text)
            lanes = tuple((str(name), int(made)) for name, made in body.pop("lanes"))
            return Head(**body, lanes=lanes), start
    if last:
        raise EOFError(f"{path.name}: it ends within its head")
    raise SpoolDamaged(f"{path.name}: it ends within its head")


def _unpack(raw: bytes, at: int, names: list[str]) -> Found | None:
    (
        magic, _, lane, length, crc, sequence, begin, end, origin, unix_ns, first, last, block,
        step, why, rows, events,
    ) = _RECORD.unpack_from(raw)  # fmt: skip
    if magic != RECORD_MAGIC or lane >= len(names) or why >= len(WHY):
        return None
    if _RECORD_CRC.unpack_from(raw, _RECORD.size)[0] != crc_of(raw[: _RECORD.size]):
        return None
    extent = Extent(names[lane], begin, end, unix_ns, first, last, block, step, rows, events, why)
    return Found(extent, at + RECORD_BYTES, length, crc, origin, sequence)


def frames_in(payload: bytes, origin: int) -> Iterator[Frame]:
    """The frames in a record's bytes, with their positions in the lane."""
    view = memoryview(payload)
    at = 0
    while at < len(payload):
        frame = frame_at(view, at, origin + at)
        if frame is None:
            return
        yield frame
        at = frame.next_position - origin
