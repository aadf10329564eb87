"""A world on disk: one file, compressed, checksummed, made whole or not at all.

::

    8 bytes magic
    parts, each   u32 CRC32C | u32 length | u32 kind | u32 first block | u32 end block | data
                  kind 1 history records, 2 state records (``corec.kernels.snapshot``), both a
                  Zstandard frame, or plain when 16 is added; 3 the JSON head, the last part
    u64 offset of the head | u32 CRC32C of these 8 bytes | 8 bytes end magic

A part's checksum covers everything behind it in the part, so no byte of the file goes unchecked.
History parts of the same blocks are laid over each other in the order of the file. The head comes
last because the tick, the digest and the positions are known last; it names the columns
(``packing.shape_of``), so a file can be checked without its configuration.

Names sort by tick; which one a start goes on with, and which may go, is ``kept``'s. A file gets its
name by ``rename`` after ``fsync``; before that it is ``.checkpoint-…``, which the next one who
makes a checkpoint removes.
"""

from __future__ import annotations

import json
import os
import stat
import struct
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import google_crc32c
import numpy as np
import zstandard
from numpy.typing import NDArray

from corec.durable import sync_file
from corec.kernels.histories import load_history
from corec.kernels.snapshot import load_state
from corec.world.packing import Packing

MAGIC: Final = b"CORECHK3"
END: Final = b"CORECEND"
HISTORY: Final = 1
STATE: Final = 2
HEAD: Final = 3
PLAIN: Final = 16
PREFIX: Final = "checkpoint-"
SUFFIX: Final = ".corec"
BAD: Final = ".bad"
_FIELDS: Final = struct.Struct("<IIII")
_PART_BYTES: Final = 4 + _FIELDS.size
_FOOT: Final = struct.Struct("<QI8s")
_PART_BYTES_MAX: Final = 2**31
_SYNC_BYTES: Final = 32 << 20
_SAMPLE_BYTES: Final = 128 << 10
_WORTH_PACKING: Final = 0.75


class CheckpointRefused(Exception):
    """A checkpoint is damaged or of another world; the text says what was found."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint file and what its head says."""

    path: Path
    head: dict[str, Any]

    @property
    def tick(self) -> int:
        """The tick it holds."""
        return int(self.head["tick"])


class Part(NamedTuple):
    """One part of a file; ``offset`` is where its data begins."""

    kind: int
    lo: int
    hi: int
    offset: int
    size: int
    crc: int


class PartWriter:
    """Appends parts to a file that is being made; syncs now and then, so that the last sync and
    whoever else syncs to this disk need not wait for all of it. A sync goes on beside what is
    written next."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self._aside = ThreadPoolExecutor(1, "checkpoint-sync")
        self._syncing: Future[None] | None = None
        self._packer = zstandard.ZstdCompressor(level=1)
        self.begin()

    def begin(self) -> None:
        """Nothing is in the file yet, whatever there was. Raises OSError."""
        self._settle()
        self.parts = self._unsynced = 0
        self.file.seek(0)
        self.file.truncate()
        self.file.write(MAGIC)

    def close(self) -> None:
        """Close the file, whatever becomes of what it holds; again, too. Raises OSError: not all of
        it is in the file."""
        try:
            self._settle()
        finally:
            self._aside.shutdown()
            self.file.close()

    def write(
        self, kind: int, lo: int, hi: int, data: NDArray[np.uint8] | bytes, *, pack: bool = True
    ) -> None:
        """One part. ``pack`` false: as it is, and without waiting for the disk; else packed, if
        that makes it much smaller. Raises OSError."""
        plain = np.frombuffer(data, np.uint8)
        packed = pack and self._shrinks(plain)
        body = np.frombuffer(self._packer.compress(plain.data), np.uint8) if packed else plain
        fields = _FIELDS.pack(len(body), kind if packed else kind | PLAIN, lo, hi)
        # an array, not a memoryview: the checksum takes no other memory that could change
        crc = google_crc32c.extend(google_crc32c.value(fields), body)
        self.file.write(crc.to_bytes(4, "little") + fields)
        self.file.write(body.data)
        self.parts += 1
        self._unsynced += len(body)
        if pack and self._unsynced >= _SYNC_BYTES:
            self._unsynced = 0
            self._settle()
            self.file.flush()
            try:
                self._syncing = self._aside.submit(os.fdatasync, self.file.fileno())
            except RuntimeError:  # no thread is to be had
                os.fdatasync(self.file.fileno())

    def end(self) -> int:
        """Where the next part goes; all before it can be read back. Raises OSError."""
        self.file.flush()
        return self.file.tell()

    def _settle(self) -> None:
        """Wait for the sync that goes on. Raises OSError: what it found."""
        syncing, self._syncing = self._syncing, None
        if syncing is not None:
            syncing.result()

    def _shrinks(self, plain: NDArray[np.uint8]) -> bool:
        """Whether packing is worth its time, by a piece out of the middle: measured values hardly
        shrink, and packing and unpacking them takes longer than writing them."""
        if len(plain) <= _SAMPLE_BYTES:
            return True
        at = (len(plain) - _SAMPLE_BYTES) // 2
        sample = plain[at : at + _SAMPLE_BYTES]
        return len(self._packer.compress(sample.data)) < _WORTH_PACKING * _SAMPLE_BYTES

    def finish(self, head: dict[str, Any]) -> None:
        """The head and the end, on disk. Raises OSError."""
        at = self.end()
        self.write(HEAD, 0, 0, json.dumps(head).encode(), pack=False)
        offset = at.to_bytes(8, "little")
        self._settle()
        self.file.write(_FOOT.pack(at, google_crc32c.value(offset), END))
        sync_file(self.file)


class Contents:
    """A checkpoint file, open for reading. Use as a context manager."""

    def __init__(self, path: Path, shown: Path | None = None) -> None:
        """Raises CheckpointRefused for anything but a file, OSError when it can't be opened."""
        self.path = shown or path
        # not to block: a FIFO of this name would wait for a writer for ever
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise self.refuse("is not a file")
        self.file: BufferedReader = open(descriptor, "rb")  # noqa: SIM115 - closed by __exit__
        self._unpacker = zstandard.ZstdDecompressor()
        self._raw = np.zeros(0, np.uint8)

    def __enter__(self) -> Contents:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def refuse(self, what: str) -> CheckpointRefused:
        """The error that says ``what`` about this file."""
        return CheckpointRefused(f"{self.path}: {what}")

    def head_offset(self) -> int:
        """Where the head part begins. Raises CheckpointRefused, OSError."""
        self.file.seek(0)
        magic = self.file.read(len(MAGIC))
        if magic != MAGIC:
            if magic.startswith(MAGIC[:7]):
                raise self.refuse(f"found format {magic[7:]!r}, expected {MAGIC[7:]!r}")
            raise self.refuse("is not a checkpoint of CoreC")
        size = os.fstat(self.file.fileno()).st_size
        self.file.seek(max(len(MAGIC), size - _FOOT.size))
        foot = self.file.read(_FOOT.size)
        if len(foot) != _FOOT.size or foot[-len(END) :] != END:
            raise self.refuse("is cut short: it does not end where it should")
        offset, crc, _ = _FOOT.unpack(foot)
        if google_crc32c.value(foot[:8]) != crc or not len(MAGIC) <= offset < size:
            raise self.refuse("its end does not match its checksum")
        return int(offset)

    def head(self) -> dict[str, Any]:
        """The head. Raises CheckpointRefused, OSError."""
        part = self._part_at(self.head_offset())
        if part.kind != HEAD | PLAIN:
            raise self.refuse(f"found a part of kind {part.kind} in the place of its head")
        found: dict[str, Any] = json.loads(self.data(part).tobytes())
        return found

    def parts(self, end: int) -> Iterator[Part]:
        """The parts that begin before offset ``end``, which the last one must reach."""
        at = len(MAGIC)
        while at < end:
            part = self._part_at(at)
            yield part
            at = part.offset + part.size
        if at != end:
            raise self.refuse("its parts do not add up to its length")

    def _part_at(self, offset: int) -> Part:
        self.file.seek(offset)
        raw = self.file.read(_PART_BYTES)
        if len(raw) != _PART_BYTES:
            raise self.refuse(f"is cut short at byte {offset}")
        size, kind, lo, hi = _FIELDS.unpack(raw[4:])
        if size > _PART_BYTES_MAX:
            raise self.refuse(f"found a part of {size} bytes at byte {offset}")
        return Part(kind, lo, hi, offset + _PART_BYTES, size, int.from_bytes(raw[:4], "little"))

    def body(self, part: Part) -> NDArray[np.uint8]:
        """The data of ``part`` as it is stored, checked; good until the next part is read, whose
        place it is. Raises CheckpointRefused, OSError."""
        size, start = _FIELDS.size + part.size, part.offset - _FIELDS.size
        there = max(0, min(size, os.fstat(self.file.fileno()).st_size - start))
        if self._raw.size < there:
            self._raw = np.zeros(there, np.uint8)
        self.file.seek(start)
        raw = self._raw[: self.file.readinto(self._raw[:there].data)]
        if len(raw) != size or google_crc32c.value(raw) != part.crc:
            what = "its head" if part.kind == HEAD | PLAIN else f"blocks {part.lo}–{part.hi - 1}"
            raise self.refuse(
                f"{what} at byte {part.offset} cut short or do not match the checksum"
            )
        return raw[_FIELDS.size :]

    def data(self, part: Part) -> NDArray[np.uint8]:
        """The data of ``part``, checked and unpacked; as ``body``. Raises CheckpointRefused,
        OSError."""
        body = self.body(part)
        if part.kind & PLAIN:
            return body
        try:
            return np.frombuffer(self._unpacker.decompress(body.data), np.uint8)
        except zstandard.ZstdError as error:
            which = f"blocks {part.lo}–{part.hi - 1}"
            raise self.refuse(f"{which} cannot be unpacked: {error}") from None

    def load_into(self, packing: Packing, first: int, part: Part) -> None:
        """Put a part's records into a world whose block 0 is block ``first`` of the file."""
        kernels = {HISTORY: load_history, STATE: load_state}
        kernel = kernels.get(part.kind & ~PLAIN)
        lo, hi = part.lo - first, part.hi - first
        if kernel is None or not 0 <= lo < hi <= packing.plan.n_blocks:
            raise self.refuse(f"found a part {part.kind} of blocks {part.lo}–{part.hi - 1}")
        data = self.data(part)
        address, size = int(data.ctypes.data), int(data.size)
        if kernel(packing.blocks, packing.swarms, lo, hi, address, size) != 0:
            raise self.refuse(f"blocks {part.lo}–{part.hi - 1} do not have the expected columns")


def read_head(path: Path) -> Checkpoint:
    """The head of a checkpoint file.

    Raises:
        CheckpointRefused: not a checkpoint, or its head is damaged. OSError: it can't be read.
    """
    with Contents(path) as contents:
        return Checkpoint(path, contents.head())


def checkpoint_name(tick: int) -> str:
    """The file name of the checkpoint of ``tick``."""
    return f"{PREFIX}{tick:020d}{SUFFIX}"


def checkpoint_files(folder: Path) -> list[Path]:
    """What has a checkpoint's name in ``folder``, by falling tick, whatever it is: see ``kept``."""
    return sorted(folder.glob(f"{PREFIX}*{SUFFIX}"), reverse=True)


def set_aside_bad(path: Path) -> Path:
    """Rename a damaged file so that nobody takes it for a checkpoint; its new path."""
    aside = path.with_name(path.name + BAD)
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}{BAD}{number}")
    path.rename(aside)
    return aside
