"""Who owns a folder: a file lock that the kernel takes back when its holder dies.

Theory.  ``flock`` belongs to the open file description, not to the process: a forked child that
keeps the descriptor keeps the lock, so the lock would outlive its owner.  Children therefore call
``close_in_child`` first thing; the descriptor is O_CLOEXEC for those that exec.  The lock file
holds the owner's pid as text, for messages only: the lock decides, never the text.  A zombie has
closed its descriptors, so an unreaped owner does not look alive.

A kill at any point leaves at most a file with an old pid and no lock on it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

_PROBE_GRACE_SECONDS = 0.05
"""A probe holds a shared lock for microseconds; ``acquire`` outlasts it."""


class OwnerAlive(Exception):
    """Another live process holds the lock; ``pid`` is 0 while it has not written its own yet."""

    def __init__(self, path: Path, pid: int) -> None:
        who = f"process {pid}" if pid else "a process that is just starting"
        super().__init__(f"{path}: found {who} alive as the owner, expected none; stop it first")
        self.path = path
        self.pid = pid


class OwnerLock:
    """An exclusive claim on ``path``, held until ``release`` or death."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._descriptor is not None

    def acquire(self) -> None:
        """Take the lock and write this pid into the file.

        Raises OwnerAlive when another process has it, OSError when the file cannot be made.
        """
        if self._descriptor is not None:
            return
        deadline = time.monotonic() + _PROBE_GRACE_SECONDS
        while True:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(self.path, flags, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pid = _pid_in(descriptor)
                os.close(descriptor)
                if time.monotonic() >= deadline:
                    raise OwnerAlive(self.path, pid) from None
                time.sleep(0.001)
                continue
            if _is_named(descriptor, self.path):
                break
            # The last owner removed the file between our open and our lock.
            os.close(descriptor)
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError:  # a full disk: whoever is refused must not go on holding the lock
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def release(self, *, unlink: bool = False) -> None:
        """Give the lock back, and remove the file first if asked.  Releasing twice is nothing."""
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        os.ftruncate(descriptor, 0)
        if unlink:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)

    @property
    def descriptor(self) -> int:
        """What the lock is held by; made inheritable, it survives an ``exec``, for ``take_over``.

        Raises ValueError when the lock is not held.
        """
        if self._descriptor is None:
            raise ValueError(f"{self.path}: the lock is not held, nothing to hand over")
        return self._descriptor

    def take_over(self, descriptor: int) -> None:
        """Go on with a lock that this process took before its ``exec``.

        Raises OSError when ``descriptor`` is not open.
        """
        os.set_inheritable(descriptor, False)
        self._descriptor = descriptor

    def close_in_child(self) -> None:
        """Drop the inherited descriptor in a forked child; the owner keeps its lock."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)


def probe(path: Path) -> int | None:
    """The pid of the live owner (0: it has not written it yet), or None when nobody holds it.

    Leaves the lock alone, except for a shared lock that a free file is held with for microseconds.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _pid_in(descriptor)
    else:
        return None
    finally:
        os.close(descriptor)


def holds(pid: int, path: Path) -> bool:
    """Whether process ``pid`` has the lock file open, as its owner has; False when it is gone or
    another user's whose descriptors we may not see.

    What a file says about a pid proves nothing: the process of that number may be anybody's.
    """
    try:
        wanted = os.stat(path, follow_symlinks=False)
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                found = os.stat(f"/proc/{pid}/fd/{name}")
                if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
                    return True
    except OSError:
        pass
    return False


def _pid_in(descriptor: int) -> int:
    text = os.pread(descriptor, 32, 0).strip()
    return int(text) if text.isdigit() else 0


def _is_named(descriptor: int, path: Path) -> bool:
    ours = os.fstat(descriptor)
    try:
        named = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return (ours.st_dev, ours.st_ino) == (named.st_dev, named.st_ino)
