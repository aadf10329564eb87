"""The directories of one embedded server: whose they are, who holds them, what was left in them.

Ownership of a data directory is a POSIX record lock (fcntl) on `owner.lock`, held by the process
that called start(). Not flock: forked workers would share a flock and keep it for a while after
their supervisor was killed; a record lock belongs to one process and ends with it at once. Record
locks do not exclude a second holder *within* a process, so `_held` does.

Whoever holds the lock is the only rightful owner of any server running on that directory, so a
server found there is an orphan (its death signal still under way, or a frozen process) and may be
ended. It is recognised by a mark in its command line, the directory's device and inode: command
lines are readable for every user, /proc/<pid>/exe and cwd are not.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import pwd
import signal
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from corec.embedded.errors import EmbeddedServerError
from corec.private import make_private, name_of

SOCKET_PATH_BYTES_MAX = 107  # sun_path without its closing zero, unix(7)
_LOCK_WAIT_S = 1.0
_LEFTOVER_WAIT_S = 10.0
_SERVER_NAMES = (b"postgres", b"valkey-")
_held: set[tuple[int, int]] = set()


@dataclass(frozen=True)
class User:
    """An operating-system user a server runs as."""

    name: str
    uid: int
    gid: int


def user_of(uid: int) -> User:
    """The user with this number; raises EmbeddedServerError when the system has no name for it."""
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        raise EmbeddedServerError(
            f"user number {uid} has no name on this system, and PostgreSQL needs one: add it to "
            "the passwd file, run as another user, or name an external database"
        ) from None
    return User(entry.pw_name, entry.pw_uid, entry.pw_gid)


def make_dir(path: Path) -> None:
    """Make `path` private (`corec.private`); raises EmbeddedServerError when it can't be."""
    try:
        make_private(path)
    except OSError as error:
        raise EmbeddedServerError(f"cannot use {path}: {error}") from error


def write_file(path: Path, text: str) -> None:
    """Replace `path` by `text` in one step, with mode 0600 whatever the umask."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    fresh.unlink(missing_ok=True)  # of a killed predecessor with this number
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, 0o600)
        file.write(text)
    fresh.replace(path)


def mark_of(path: Path) -> str:
    """What a server of this data directory has in its command line. Raises OSError."""
    found = path.stat()
    return f"corec-{found.st_dev:x}-{found.st_ino:x}"


class Home:
    """A data directory held by this process from `acquire` to `release`."""

    def __init__(self, path: Path) -> None:
        make_dir(path)
        self.path = path.resolve()
        found = self.path.stat()
        self._key = (found.st_dev, found.st_ino)
        self.mark = mark_of(self.path)
        self._lock_fd = -1
        self.server_uid: int | None = None  # whose the server's processes are, if not ours

    def acquire(self) -> None:
        """Take the lock; raises EmbeddedServerError when a living process holds it."""
        deadline = time.monotonic() + _LOCK_WAIT_S
        lock = self.path / "owner.lock"
        if self._key in _held:
            raise EmbeddedServerError(f"{self.path} is already in use by this process")
        try:
            fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise EmbeddedServerError(
                f"cannot open {lock} as {name_of(os.geteuid())}: {error.strerror}"
            ) from error
        while True:
            try:
                fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > deadline:
                    holder = os.pread(fd, 32, 0).decode(errors="replace").strip() or "unknown"
                    os.close(fd)
                    raise EmbeddedServerError(
                        f"{self.path} is in use by the running process {holder}: stop that "
                        "instance, or give this one another directory"
                    ) from None
                time.sleep(0.02)
        try:
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            os.close(fd)
            raise EmbeddedServerError(f"cannot write {lock}: {error.strerror}") from error
        self._lock_fd = fd
        _held.add(self._key)

    def release(self) -> None:
        """Give the directory back. Harmless when it is not held."""
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1
            _held.discard(self._key)

    def leftovers(self) -> list[int]:
        """Process numbers of servers that carry this directory's mark and are not yet dead."""
        users, wanted = {os.geteuid(), self.server_uid}, self.mark.encode()
        found: list[int] = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                command = Path(f"/proc/{entry}/cmdline").read_bytes()  # empty for a zombie
                ours = Path(f"/proc/{entry}").stat().st_uid in users
            except OSError:
                continue  # gone, or hidden from us and then not ours either
            name = os.path.basename(command.split(b"\0", 1)[0].split(b" ", 1)[0])
            server = name.startswith(_SERVER_NAMES) or b"launch.py" in command
            if ours and server and wanted in command:
                found.append(int(entry))
        return found

    def ending_leftovers(self, first: signal.Signals) -> Iterator[None]:
        """End every server still running here: `first`, then SIGKILL; yields until all are gone.

        Raises EmbeddedServerError when one survives. Call with the lock held, and with no server
        of our own running.
        """
        started = time.monotonic()
        sent: dict[int, signal.Signals] = {}
        while pids := self.leftovers():
            waited_s = time.monotonic() - started
            if waited_s > _LEFTOVER_WAIT_S:
                raise EmbeddedServerError(
                    f"processes {pids} of an earlier run still use {self.path} and do not end"
                )
            wanted = first if waited_s < _LEFTOVER_WAIT_S / 2 else signal.SIGKILL
            for pid in pids:
                if sent.get(pid) is not wanted:
                    sent[pid] = wanted
                    try:
                        os.kill(pid, wanted)
                        os.kill(pid, signal.SIGCONT)
                    except ProcessLookupError:
                        pass  # it ended by itself
            yield


@dataclass(frozen=True)
class SocketDir:
    """Where a server's socket goes; `made` tells that we made it and have to remove it."""

    path: Path
    made: bool

    def remove(self) -> None:
        """Remove the directory if it is ours and empty."""
        if self.made:
            try:
                self.path.rmdir()
            except OSError:
                pass  # another server's socket is still in it


def socket_place(wanted: Path, mark: str, longest_name: str) -> SocketDir:
    """`wanted`, or, where the socket's path would be too long for the kernel or has a comma in it
    (to libpq, the end of one host's name), a short directory in the temporary folder. The short one
    has the same name every time, so a later start finds and cleans what a killed one left. Nothing
    is made here."""
    wanted = wanted.absolute()
    whole = os.fsencode(wanted / longest_name)
    if len(whole) <= SOCKET_PATH_BYTES_MAX and b"," not in whole:
        return SocketDir(wanted, made=not wanted.exists())
    short = hashlib.blake2s(f"{mark}:{os.geteuid()}:{wanted}".encode(), digest_size=6).hexdigest()
    return SocketDir(Path(tempfile.gettempdir()) / f"corec-{short}", made=True)


def socket_dir(wanted: Path, mark: str, longest_name: str) -> SocketDir:
    """Make the private directory of `socket_place`.

    Raises EmbeddedServerError when it belongs to somebody else.
    """
    place = socket_place(wanted, mark, longest_name)
    make_dir(place.path)
    return place


def socket_path(data_dir: Path, wanted: Path, longest_name: str) -> Path:
    """Where the server of `data_dir` has its sockets' directory, also while it does not run.

    Raises EmbeddedServerError when there is no such `data_dir`.
    """
    try:
        return socket_place(wanted, mark_of(data_dir), longest_name).path
    except OSError as error:
        raise EmbeddedServerError(f"cannot use {data_dir}: {error.strerror}") from error
