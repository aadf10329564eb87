"""The spool: frames that left their lanes for the disk because the database does not take them.

Theory.  One persister of an instance has the spool (a lock on its folder).  It appends what a lane
has published, syncs, and only then releases the lane; it reads what waits for the database, and
deletes a file once a COMMIT covers all of it.  Positions are the lane's: to everybody else the
spool is just the older part of a lane that has become longer.

    step                                    what a kill leaves
    append to a file                        a torn end: cut off at the next start; the frames are
                                            in their lane still
    fdatasync                               the same, or whole records that are in the lane as well:
                                            reading goes on in the lane where the spool ends
    release of the lane                     nothing half done
    COMMIT (rows and the lane's mark)       the file is there still; the next take-over reads the
                                            mark, which is past it
    delete                                  nothing half done
    drop: write a stub aside                a .tmp, removed at the next start
    drop: rename it over the file           the rows are gone and the gap is known, both at once
    drop: delete the stub it replaces       the next start sees that a newer one covers it

A stub is a file of gap records, so a gap has its place among the rows and becomes an event when it
is reached (``gaps``).  Only ``drop_*`` and damage make gaps.  A damaged file is read as far as it
makes sense and then renamed ``*.bad``; one of another world is renamed ``*.aside``.  Neither counts
against the limit, and nobody deletes them but the operator.

An error while writing (disk full) cuts the file back to its last synced record and ends it; what
was to be written is in the lanes still.

Everything that changes or reads files is done under ``lock``; the slow part of it (write, sync,
rename) in a thread, so that the process goes on showing life.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from corec.durable import give_name, sync_file, sync_folder
from corec.log import get_logger
from corec.persister.generation import Generation, SpoolFile
from corec.persister.spool_format import (
    RECORD_BYTES,
    WHY_DROP_OLDEST,
    Extent,
    Found,
    Head,
    crc_of,
    merged,
    pack_head,
    pack_record,
)
from corec.persister.spool_scan import load, remove
from shm.killpoint import kill_point
from shm.layout import align_up

log = get_logger(__name__)
FILE_BYTES_MAX: Final = 64 << 20
STUB_RESERVE_BYTES: Final = 64 << 10


class Chunk(NamedTuple):
    """Frames of one lane that follow each other, for one record."""

    extent: Extent
    origin: int
    payload: bytes


class Spool:
    """The files in ``folder``; ``open`` comes first."""

    def __init__(
        self, folder: Path, instance: str, epoch: int, made: Mapping[str, int], cap_bytes: int
    ) -> None:
        """``made``: the lanes of now, name → when made (ns)."""
        self.folder = folder
        self.lock = asyncio.Lock()
        self.current = Generation(made)
        self.older: list[Generation] = []
        self.aside = 0
        """Files of other worlds that were set aside at the start."""
        self.cap_bytes = cap_bytes - min(STUB_RESERVE_BYTES, cap_bytes // 16)
        self.file_bytes = min(FILE_BYTES_MAX, max(cap_bytes // 8, 128 << 10))
        self._head = Head(instance, epoch, 0, 0, tuple(sorted(made.items())))
        self._index = {name: k for k, (name, _) in enumerate(self._head.lanes)}
        self._number = 0
        self._sequence = 0
        self._folder_fd = -1
        self._fd = -1
        self._file: SpoolFile | None = None

    def open(self) -> bool:
        """Take the folder's lock and read what is there; false while another process has it.

        Raises OSError: the folder cannot be made or read.
        """
        if self._folder_fd >= 0:
            return True
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = load(self.folder, self._head, self.current)
        except BlockingIOError:
            os.close(fd)
            return False
        except BaseException:
            os.close(fd)
            raise
        self._folder_fd = fd
        self.older, self.aside = found.older, found.aside
        self._number, self._sequence = found.number, found.sequence
        return True

    def close(self) -> None:
        """Let go of the folder; the files stay."""
        self._seal()
        if self._folder_fd >= 0:
            os.close(self._folder_fd)
            self._folder_fd = -1

    @property
    def disk_bytes(self) -> int:
        """Bytes of all files that count against the limit."""
        generations = (*self.older, self.current)
        return sum(file.size for one in generations for file in one.files)

    def room(self) -> int:
        """Bytes of chunks that still fit (heads apart)."""
        return max(0, self.room_max - self.disk_bytes)

    @property
    def room_max(self) -> int:
        """Bytes of chunks that fit into an empty spool."""
        return max(0, self.cap_bytes - len(pack_head(self._head)))

    @property
    def dropping(self) -> bool:
        """Whether the last file is a stub: frames that came last were dropped."""
        return bool(self.current.files) and self.current.files[-1].stub

    @staticmethod
    def size_of(chunk: Chunk) -> int:
        """Bytes of the record of a chunk."""
        return RECORD_BYTES + align_up(len(chunk.payload), 8)

    async def append(self, chunks: Sequence[Chunk]) -> None:
        """Make ``chunks`` durable, in order; hold ``lock``.  Raises OSError: none of them is."""
        if not await asyncio.to_thread(self.open):
            raise BlockingIOError("another persister has the spool")
        file, head = self._file, b""
        if file is None:
            self._number += 1
            path = self._path(self._number)
            file = SpoolFile(path, self._number, self._number, 0)
            head = pack_head(self._head._replace(number=self._number, covers=self._number))
        parts, founds, at, sequence = [head], [], file.size + len(head), self._sequence
        for chunk in chunks:
            sequence += 1
            lane = self._index[chunk.extent.lane]
            part = pack_record(chunk.extent, lane, sequence, chunk.origin, chunk.payload)
            founds.append(
                Found(
                    chunk.extent, at + RECORD_BYTES, len(chunk.payload), crc_of(chunk.payload),
                    chunk.origin, sequence,
                )
            )  # fmt: skip
            parts.append(part)
            at += len(part)
        try:
            await asyncio.to_thread(self._write, file, b"".join(parts))
        except OSError:
            self._seal()
            raise
        kill_point("spool.after_sync")
        if self._file is None:
            self._file = file
            self.current.files.append(file)
        file.size, self._sequence = at, sequence
        for found in founds:
            self.current.add(file, found)
        if file.size >= self.file_bytes:
            self._seal()

    def _write(self, file: SpoolFile, data: bytes) -> None:
        """Append and sync; on an error the file is as before."""
        fresh = self._fd < 0
        try:
            if fresh:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                self._fd = os.open(file.path, flags, 0o600)
                sync_folder(self.folder)
                kill_point("spool.file_made")
            half = len(data) // 2
            _write_all(self._fd, data[:half])
            kill_point("spool.torn")
            _write_all(self._fd, data[half:])
            kill_point("spool.before_sync")
            os.fdatasync(self._fd)
        except OSError:
            with contextlib.suppress(OSError):
                if fresh:
                    file.path.unlink()
                else:
                    os.ftruncate(self._fd, file.size)
            raise

    async def drop_oldest(self) -> list[Extent] | None:
        """Replace the oldest file by the gap it leaves; hold ``lock``.

        Files with frames that are on their way to the database stay.  Returns what was lost, None
        when there is no file to drop.  Raises OSError.
        """
        for generation in (*self.older, self.current):
            before: SpoolFile | None = None
            for file in list(generation.files):
                if file.stub or generation.pinned(file):
                    before = file if file.stub else None
                    continue
                if file is self._file:
                    self._seal()
                lost = [extent._replace(why=WHY_DROP_OLDEST) for extent in generation.lost_in(file)]
                if lost:
                    await self._stub(generation, [before, file] if before else [file], lost)
                else:
                    remove(file)
                    generation.drop(file)
                return lost
        return None

    async def put_gaps(self, lost: Sequence[Extent]) -> None:
        """Note that the next frames of some lanes are dropped; hold ``lock``.  Raises OSError."""
        self._seal()
        last = self.current.files[-1] if self.dropping else None
        await self._stub(self.current, [last] if last else [], list(lost))

    async def _stub(self, generation: Generation, old: list[SpoolFile], lost: list[Extent]) -> None:
        """Make one stub of the gaps in ``old``'s stubs and of ``lost``, in place of ``old``."""
        gaps: dict[str, Extent] = {}
        for file in old:
            if file.stub:
                gaps |= {extent.lane: extent for extent in generation.lost_in(file)}
        for extent in lost:
            known = gaps.get(extent.lane)
            gaps[extent.lane] = merged(known, extent) if known else extent
        if old:
            number, covers = old[-1].number, old[0].covers
        else:
            self._number += 1
            number = covers = self._number
        lanes = tuple(sorted(generation.made.items()))
        head = self._head._replace(number=number, covers=covers, lanes=lanes)
        names = [name for name, _ in lanes]
        parts, founds, at = [pack_head(head)], [], len(pack_head(head))
        for extent in gaps.values():
            self._sequence += 1
            end = extent.end
            parts.append(pack_record(extent, names.index(extent.lane), self._sequence, end, b""))
            founds.append(Found(extent, at + RECORD_BYTES, 0, 0, end, self._sequence))
            at += RECORD_BYTES
        path = self._path(number)
        await asyncio.to_thread(self._put, path, b"".join(parts), [f.path for f in old])
        generation.replace(old, SpoolFile(path, number, covers, at, stub=True), founds)

    def _put(self, path: Path, data: bytes, old: list[Path]) -> None:
        """Write ``path`` at once or not at all, then remove the others of ``old``."""
        aside = path.with_suffix(".tmp")
        fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(fd, "wb", buffering=0) as file:
            _write_all(fd, data)
            sync_file(file)
        kill_point("spool.stub_written")
        give_name(aside, path)
        kill_point("spool.stub_renamed")
        for other in old:
            if other != path:
                other.unlink(missing_ok=True)

    def collect(self, generation: Generation) -> None:
        """Delete the files of ``generation`` that are wholly durable; hold ``lock``."""
        for file in list(generation.files):
            if generation.durable(file):
                if file is self._file:
                    self._seal()
                kill_point("spool.before_delete")
                remove(file)
                kill_point("spool.after_delete")
                generation.drop(file)
        if generation is not self.current and not generation.files and generation in self.older:
            self.older.remove(generation)

    def _seal(self) -> None:
        """Nothing more goes into the file that is open."""
        self._file = None
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def _path(self, number: int) -> Path:
        return self.folder / f"spool-{number:012d}.log"


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
