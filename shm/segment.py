"""Named segments: files on a tmpfs, mapped shared, that outlive the processes that use them.

Theory.  A creator builds the file under a temporary name (allocated in full, so that a full tmpfs
is an error here and never a SIGBUS at some later store), writes and checksums the header page, and
renames it into place.  Whoever finds the final name finds a whole segment; a kill before the rename
leaves only ``.<name>.<pid>.<random>.new``, which ``remove_leftovers`` deletes.  The header is
written once and never changes, so any number of processes may check it at any time.

A mapping lives as long as any NumPy view of it: ``close`` drops this object's hold, and the kernel
mapping (and the descriptor that CPython's ``mmap`` keeps) goes with the last view.  Unmapping under
a live view would turn a forgotten array into a segmentation fault.

Rejected: ``multiprocessing.shared_memory`` (its resource tracker unlinks live segments) and memfd
(dies with its last holder).
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import secrets
import stat
import struct
import time
from pathlib import Path
from typing import NamedTuple

import google_crc32c
import numpy as np
import numpy.typing as npt

from shm.killpoint import kill_point, register
from shm.layout import (
    SEGMENT_CRC,
    SEGMENT_CRC_OFFSET,
    SEGMENT_HEADER,
    SEGMENT_HEADER_BYTES,
    SEGMENT_KIND_BYTES,
    SEGMENT_MAGIC,
    SEGMENT_VERSION,
    WORD_BYTES,
    segment_bytes,
)
from shm.owner import OwnerAlive, OwnerLock, probe

__all__ = [
    "OwnerAlive",
    "OwnerLock",
    "Segment",
    "SegmentNoSpace",
    "SegmentRefused",
    "probe",
    "remove_leftovers",
]

_TEMPORARY_SUFFIX = ".new"
register("segment.create.before_rename")


class SegmentRefused(Exception):
    """A file that is not the segment that was asked for; nothing was mapped or changed."""

    def __init__(self, path: Path, found: str, expected: str) -> None:
        super().__init__(
            f"segment {path}: found {found}, expected {expected}; "
            "set the file aside, or point to the folder it belongs to"
        )
        self.path = path
        self.found = found
        self.expected = expected


class SegmentNoSpace(OSError):
    """The file system cannot hold the segment; nothing is left behind.

    ``asked_bytes`` and ``free_bytes`` say by how much.
    """

    def __init__(self, path: Path, asked_bytes: int, free_bytes: int) -> None:
        super().__init__(
            errno.ENOSPC,
            f"segment {path.name} needs {asked_bytes} bytes, {free_bytes} are free in its folder; "
            "make the tmpfs larger or the world smaller",
            str(path),
        )
        self.path = path
        self.asked_bytes = asked_bytes
        self.free_bytes = free_bytes


class _Header(NamedTuple):
    magic: bytes
    version: int
    header_bytes: int
    kind: bytes
    layout_hash: int
    size: int
    payload_bytes: int
    epoch: int
    created_unix_ns: int


class Segment:
    """One mapped segment.  Make it with ``create`` or ``attach``."""

    def __init__(self, path: Path, header: _Header, mapping: mmap.mmap) -> None:
        self.path = path
        self.kind = header.kind.rstrip(b"\0").decode("ascii")
        self.layout_hash = header.layout_hash
        self.epoch = header.epoch
        self.created_unix_ns = header.created_unix_ns
        self.size = header.size
        self._inode = 0
        self._mapping: mmap.mmap | None = mapping
        self._payload: npt.NDArray[np.uint8] | None = np.frombuffer(
            mapping, np.uint8, header.payload_bytes, SEGMENT_HEADER_BYTES
        )

    @classmethod
    def create(
        cls, path: Path, *, kind: str, layout_hash: int, payload_bytes: int, epoch: int
    ) -> Segment:
        """Make a zero-filled segment of mode 0600 at ``path``, replacing what was there.

        ``kind`` is 1..16 ASCII characters; ``layout_hash`` and ``epoch`` are u64.
        Raises ValueError for an impossible argument, SegmentNoSpace when the file system is too
        small, OSError for what else the file system refuses.
        """
        kind_bytes = _kind_bytes(kind)
        if payload_bytes < 1:
            raise ValueError(f"segment {path}: found payload of {payload_bytes} bytes")
        size = segment_bytes(payload_bytes)
        header = _Header(
            SEGMENT_MAGIC,
            SEGMENT_VERSION,
            SEGMENT_HEADER_BYTES,
            kind_bytes,
            layout_hash,
            size,
            payload_bytes,
            epoch,
            time.time_ns(),
        )
        page = _header_page(header)
        temporary = path.with_name(
            f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}{_TEMPORARY_SUFFIX}"
        )
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(temporary, flags, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
            _allocate(descriptor, path, size)
            mapping = mmap.mmap(descriptor, size, mmap.MAP_SHARED)
            mapping[:SEGMENT_HEADER_BYTES] = page
            kill_point("segment.create.before_rename")
            os.rename(temporary, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
        finally:
            inode = os.fstat(descriptor).st_ino
            os.close(descriptor)
        return cls._mapped(path, header, mapping, inode)

    @classmethod
    def attach(cls, path: Path, *, kind: str, layout_hash: int, writable: bool = True) -> Segment:
        """Map the segment at ``path``, of any epoch; read-only unless ``writable``.

        Raises FileNotFoundError when there is none, SegmentRefused when the file is not a whole
        segment of this version, kind and layout.
        """
        access = (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path, access | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise SegmentRefused(path, "something that is no regular file", "a segment")
            page = os.pread(descriptor, SEGMENT_HEADER_BYTES, 0)
            header = _checked_header(path, page, status.st_size, kind, layout_hash)
            protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
            mapping = mmap.mmap(descriptor, header.size, mmap.MAP_SHARED, protection)
        finally:
            os.close(descriptor)
        return cls._mapped(path, header, mapping, status.st_ino)

    @classmethod
    def _mapped(cls, path: Path, header: _Header, mapping: mmap.mmap, inode: int) -> Segment:
        with contextlib.suppress(OSError, AttributeError):
            # A hint: most kernels have transparent huge pages off for shared memory.
            mapping.madvise(mmap.MADV_HUGEPAGE)
        segment = cls(path, header, mapping)
        segment._inode = inode
        return segment

    @property
    def payload(self) -> npt.NDArray[np.uint8]:
        """uint8[payload_bytes], page-aligned.  Raises ValueError after ``close``."""
        if self._payload is None:
            raise ValueError(f"segment {self.path} is closed")
        return self._payload

    @property
    def words(self) -> npt.NDArray[np.uint64]:
        """uint64[payload_bytes // 8], the payload seen as words."""
        payload = self.payload
        return payload[: payload.size // WORD_BYTES * WORD_BYTES].view(np.uint64)

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._payload is None

    def close(self) -> bool:
        """Give up the mapping; true when it is gone, false when a view still keeps it alive.

        Views taken from ``payload`` or ``words`` stay valid, and the memory is unmapped with the
        last of them.  Closing twice changes nothing.
        """
        mapping, self._mapping, self._payload = self._mapping, None, None
        if mapping is None:
            return True
        try:
            mapping.close()
        except BufferError:
            return False
        return True

    def unlink(self) -> None:
        """Remove the name, unless it is gone or names another segment by now; mappings stay."""
        with contextlib.suppress(FileNotFoundError):
            if os.stat(self.path, follow_symlinks=False).st_ino == self._inode:
                os.unlink(self.path)

    def __enter__(self) -> Segment:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"{self.size} bytes, epoch {self.epoch}"
        return f"<Segment {self.kind} {self.path.name}: {state}>"


def remove_leftovers(folder: Path) -> int:
    """Delete what killed creators left in ``folder`` and return how many files that were.

    To be called by the owner of the folder, while nobody else creates segments in it.
    """
    leftovers = list(folder.glob(f".*{_TEMPORARY_SUFFIX}"))
    for leftover in leftovers:
        leftover.unlink(missing_ok=True)
    return len(leftovers)


def _kind_bytes(kind: str) -> bytes:
    if not kind or not kind.isascii() or "\0" in kind or len(kind) > SEGMENT_KIND_BYTES:
        raise ValueError(f"segment kind: found {kind!r}, expected 1..16 ASCII characters")
    return kind.encode("ascii").ljust(SEGMENT_KIND_BYTES, b"\0")


def _header_page(header: _Header) -> bytes:
    try:
        page = SEGMENT_HEADER.pack(*header).ljust(SEGMENT_CRC_OFFSET, b"\0")
    except struct.error as error:
        raise ValueError(f"segment header: {error}; layout_hash and epoch are u64") from None
    return page + SEGMENT_CRC.pack(google_crc32c.value(page))


def _allocate(descriptor: int, path: Path, size: int) -> None:
    """Back every byte of the file now.  Raises SegmentNoSpace."""
    usage = os.fstatvfs(descriptor)
    free = usage.f_bavail * usage.f_frsize
    # Asked first: an allocation that fails half way has already evicted somebody's memory.
    # A tmpfs mounted without a limit reports no blocks at all.
    if usage.f_blocks and size > free:
        raise SegmentNoSpace(path, size, free)
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EFBIG, errno.ENOMEM, errno.EDQUOT):
            raise
        raise SegmentNoSpace(path, size, free) from error


def _checked_header(
    path: Path, page: bytes, file_size: int, kind: str, layout_hash: int
) -> _Header:
    """The header if it is the one expected.  Raises SegmentRefused with the first difference."""
    if len(page) < SEGMENT_HEADER_BYTES:
        raise SegmentRefused(path, f"{len(page)} bytes", f"a header of {SEGMENT_HEADER_BYTES}")
    header = _Header(*SEGMENT_HEADER.unpack_from(page))
    if header.magic != SEGMENT_MAGIC:
        raise SegmentRefused(path, f"magic {header.magic!r}", f"{SEGMENT_MAGIC!r}")
    if header.version != SEGMENT_VERSION:
        raise SegmentRefused(path, f"version {header.version}", f"version {SEGMENT_VERSION}")
    (stored_crc,) = SEGMENT_CRC.unpack_from(page, SEGMENT_CRC_OFFSET)
    crc = google_crc32c.value(page[:SEGMENT_CRC_OFFSET])
    if stored_crc != crc:
        raise SegmentRefused(path, f"header checksum {stored_crc:#010x}", f"{crc:#010x}")
    expected_kind = _kind_bytes(kind)
    if header.kind != expected_kind:
        found_kind = header.kind.rstrip(b"\0")
        raise SegmentRefused(path, f"kind {found_kind!r}", f"kind {kind.encode()!r}")
    if header.layout_hash != layout_hash:
        raise SegmentRefused(path, f"layout {header.layout_hash:016x}", f"{layout_hash:016x}")
    fits = header.size == segment_bytes(header.payload_bytes)
    if header.size != file_size or not fits or header.header_bytes != SEGMENT_HEADER_BYTES:
        raise SegmentRefused(path, f"a file of {file_size} bytes", f"{header.size} bytes")
    return header
