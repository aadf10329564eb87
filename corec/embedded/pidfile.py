"""PostgreSQL's postmaster.pid: what it tells us, and what a killed server leaves by it.

Its lines: 1 process number, 2 data directory, 3 start time, 4 port, 5 socket directory, 6 listen
address, 7 key and number of a tiny System V shared memory segment, 8 status. The server holds the
segment only to notice a second server on its data; killed, it cannot remove it.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Iterator
from pathlib import Path

_SEGMENT_LINE = 6
_STATUS_LINE = 7
_IPC_RMID = 0
_DETACH_SECONDS = 2.0


def _lines(pid_file: Path) -> list[str]:
    try:
        return pid_file.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return []


def is_ready(pid_file: Path, pid: int) -> bool:
    """Does the server with this process number take connections?"""
    lines = _lines(pid_file)
    return len(lines) > _STATUS_LINE and lines[0] == str(pid) and lines[_STATUS_LINE][:5] == "ready"


def in_use(sockets: Path) -> bool:
    """Is the server named by a socket's lock file alive?"""
    for lock in sockets.glob("*.lock"):
        try:
            pid = int(lock.read_text(encoding="utf-8").split("\n", 1)[0])
            if b"postgres" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return True
        except (OSError, ValueError):
            continue  # a torn file, or nobody: stale
    return False


def disarm(pid_file: Path) -> None:
    """Let a server start though the number in a stale file is in use again.

    PostgreSQL checks only whether *some* process of its user has that number. It exempts its own
    parent's, so that is what we write; the other lines it needs. Call it with no server running in
    this directory.
    """
    lines = _lines(pid_file)
    if lines and lines[0].strip() != str(os.getpid()):
        with pid_file.open("r+", encoding="utf-8") as stream:
            stream.write("\n".join([str(os.getpid()), *lines[1:], ""]))
            stream.truncate()


def removing_segment(pid_file: Path) -> Iterator[None]:
    """Remove the segment of a server that was killed, as its next start would, unless somebody is
    attached to it. Call it with no server running in this directory. Yields while it waits.

    A process that ends loses its name in /proc before its memory is taken apart, so one that is
    seen no more may be attached for a moment yet.
    """
    lines = _lines(pid_file)
    if len(lines) <= _SEGMENT_LINE:
        return  # a clean stop removed the file and the segment
    wanted = lines[_SEGMENT_LINE].split()
    deadline = time.monotonic() + _DETACH_SECONDS
    while (attached := _attached(wanted)) is not None:
        if attached == 0:
            ctypes.CDLL(None).shmctl(int(wanted[1]), _IPC_RMID, None)
            return
        if time.monotonic() >= deadline:
            return
        yield


def _attached(wanted: list[str]) -> int | None:
    """How many are attached to the segment of this key and number; None: it is not there."""
    try:
        table = Path("/proc/sysvipc/shm").read_text(encoding="utf-8").splitlines()[1:]
    except OSError:
        return None
    for row in table:
        key, number, _mode, _size, _cpid, _lpid, attached, *_rest = row.split()
        # the kernel prints the key signed, PostgreSQL unsigned
        if [str(int(key) % 2**32), number] == wanted:
            return int(attached)
    return None
