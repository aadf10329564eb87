"""Folders that nobody but their owner (and root) can read, change or replace.

Theory.  A folder is as private as the folders above it: who may rename an entry of a parent can
put a folder of his own in its place, with the files, locks and sockets he likes.  So a path is
walked from the root by descriptors (``openat`` with ``O_NOFOLLOW``), and what is looked at is what
is entered.  A parent is accepted when

* it is root's or ours, or it was put where only root or the caller could put it and we are root
  (a checkout in a user's home, a volume of another user: root chose to run there);
* and nobody else may rename what is in it: not writable for others, or sticky as ``/tmp`` is.

The group of a parent that its group may write is trusted with what lies in it.  A symbolic link
on the way must be root's or ours, too; the folder itself must be none.  In a user namespace the
files of users outside appear as the overflow user's, who is nobody in there: the host's, trusted.

A folder that is ours and more open than 0700 is closed (an earlier version made some 0755); one
that is not ours is refused, also for root.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import stat
from pathlib import Path

_LINKS_MAX = 40  # as the kernel's own limit
_OPEN = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_PRIVATE = 0o700
_WRITE_BY_OTHERS = 0o022


class NotPrivate(PermissionError):
    """A folder that another user can read, change or replace; the text is one line."""

    def __init__(self, text: str) -> None:
        super().__init__(errno.EACCES, text)

    def __str__(self) -> str:
        return str(self.strerror)


def name_of(uid: int) -> str:
    """``name (uid n)``, or the number alone when it has no name."""
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"


def sane_umask(closed: int) -> None:
    """From now on, what this process and its children make is never closed to its owner, as umask
    0777 would have it, and the bits of ``closed`` are closed to others whatever the umask was."""
    before = os.umask(closed)
    os.umask((before | closed) & 0o077)


def make_private(folder: Path) -> Path:
    """Make ``folder`` and its missing parents with mode 0700 whatever the umask, or check and close
    the one that is there; returns it.

    Raises:
        NotPrivate: it, or a parent, is somebody else's or can be replaced by somebody else.
        NotADirectoryError: something there is no folder. OSError: as the system says.
    """
    os.close(_walked(folder, make=True))
    return folder


def refuse_planted(folder: Path) -> None:
    """Raise as ``make_private`` would, and make nothing; an open folder of ours is closed."""
    if os.path.lexists(folder):
        make_private(folder)
        return
    with contextlib.suppress(FileNotFoundError):  # the first that is missing: ours to make
        check_private(folder)
    around = folder.absolute().parent
    while not around.exists():
        around = around.parent
    if not os.access(around, os.W_OK | os.X_OK, effective_ids=True):
        read_only = os.statvfs(around).f_flag & os.ST_RDONLY
        number = errno.EROFS if read_only else errno.EACCES
        raise OSError(number, os.strerror(number), str(folder.absolute()))


def check_private(folder: Path) -> Path:
    """``folder`` if nobody but its owner can change it, changing nothing: for who reads what an
    instance has put there. Its owner is ours or, for root, anybody.

    Raises as ``make_private`` does, and FileNotFoundError when it is not there.
    """
    os.close(_walked(folder, make=False))
    return folder


def private_file(path: Path, owner: int | None = None) -> int:
    """A descriptor to read ``path`` by: a plain file of ``owner`` (default: us) or of root.

    Raises NotPrivate for any other thing of that name, OSError as the system says.
    """
    owner = os.geteuid() if owner is None else owner
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_uid not in (0, owner):
        os.close(descriptor)
        raise NotPrivate(f"{path}: found something that is no file of {name_of(owner)}")
    return descriptor


def _walked(folder: Path, *, make: bool) -> int:
    """An O_PATH descriptor of ``folder``, every step looked at."""
    trusted = _trusted()
    todo = list(reversed(folder.absolute().parts[1:]))
    at, here, links = os.open("/", _OPEN), Path("/"), 0
    try:
        while todo:
            name = todo.pop()
            below = here.parent if name == ".." else here / name
            try:
                found = _look(at, name, make=make)
            except OSError as error:
                error.filename = str(below)  # and not its last name alone
                raise
            if stat.S_ISLNK(found.st_mode):
                links += 1
                _check_link(below, found, trusted, last=not todo, links=links)
                target = Path(os.readlink(name, dir_fd=at))
                if target.is_absolute():
                    at, here = _entered(at, "/"), Path("/")
                todo += reversed(target.parts[1:] if target.is_absolute() else target.parts)
                continue
            if not stat.S_ISDIR(found.st_mode):
                raise NotADirectoryError(f"{below}: is no folder; move it away")
            around = os.fstat(at)
            at, here = _entered(at, name), below
            entered = os.fstat(at)
            if (entered.st_dev, entered.st_ino) != (found.st_dev, found.st_ino):
                raise NotPrivate(f"{here}: was replaced while it was looked at")
            if todo:
                _check_parent(here, entered, around, trusted)
        _close_to_others(at, here, change=make)
    except BaseException:
        os.close(at)
        raise
    return at


def _look(at: int, name: str, *, make: bool) -> os.stat_result:
    try:
        return os.stat(name, dir_fd=at, follow_symlinks=False)
    except FileNotFoundError:
        if not make:
            raise
    try:
        os.mkdir(name, _PRIVATE, dir_fd=at)
    except FileExistsError:  # somebody was faster: what it is, is looked at like all else
        return os.stat(name, dir_fd=at, follow_symlinks=False)
    made = os.open(name, _OPEN | os.O_DIRECTORY, dir_fd=at)
    try:
        if os.fstat(made).st_uid == os.geteuid():
            _set_mode(made)
        return os.fstat(made)
    finally:
        os.close(made)


def _entered(at: int, name: str) -> int:
    """The folder ``name`` in ``at``, which is closed."""
    below = os.open(name, _OPEN | os.O_DIRECTORY, dir_fd=at)
    os.close(at)
    return below


def _set_mode(descriptor: int) -> None:
    # fchmod refuses an O_PATH descriptor, and a folder made under umask 0777 opens in no other way
    os.chmod(f"/proc/self/fd/{descriptor}", _PRIVATE)


def _trusted() -> frozenset[int]:
    """Users whose folders may be above ours."""
    trusted = {0, os.geteuid()}
    try:
        overflow = int(Path("/proc/sys/kernel/overflowuid").read_bytes())
        rows = [line.split() for line in Path("/proc/self/uid_map").read_bytes().splitlines()]
        spans = [(int(first), int(count)) for first, _outside, count in rows]
    except (OSError, ValueError):
        return frozenset(trusted)
    if spans and not any(first <= overflow < first + count for first, count in spans):
        trusted.add(overflow)
    return frozenset(trusted)


def _check_link(
    path: Path, found: os.stat_result, trusted: frozenset[int], *, last: bool, links: int
) -> None:
    if last:
        raise NotPrivate(f"{path}: found a symbolic link, expected a folder; remove it")
    if found.st_uid not in trusted:
        raise NotPrivate(f"{path}: is a symbolic link of {name_of(found.st_uid)}; remove it")
    if links > _LINKS_MAX:
        raise NotPrivate(f"{path}: more than {_LINKS_MAX} symbolic links on the way")


def _check_parent(
    path: Path, found: os.stat_result, around: os.stat_result, trusted: frozenset[int]
) -> None:
    """``found`` is the parent at ``path``, ``around`` the folder that it is in."""
    chosen_by_root = os.geteuid() == 0 and not around.st_mode & stat.S_IWOTH
    if found.st_uid not in trusted and not chosen_by_root:
        raise NotPrivate(
            f"{path}: belongs to {name_of(found.st_uid)}, who could replace what "
            f"{name_of(os.geteuid())} keeps in it; choose another folder"
        )
    if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
        raise NotPrivate(
            f"{path}: every user may write it (mode {stat.S_IMODE(found.st_mode):04o}) and replace "
            "what is in it; close it with chmod o-w, or choose another folder"
        )


def _close_to_others(descriptor: int, path: Path, *, change: bool) -> None:
    found = os.fstat(descriptor)
    if found.st_uid != os.geteuid() and (change or os.geteuid() != 0):
        raise NotPrivate(
            f"{path}: belongs to {name_of(found.st_uid)}, expected {name_of(os.geteuid())}; "
            "run as that user, remove it, or choose another folder"
        )
    if stat.S_IMODE(found.st_mode) == _PRIVATE:
        return
    if change:
        _set_mode(descriptor)
        found = os.fstat(descriptor)  # some file systems keep no modes
    if stat.S_IMODE(found.st_mode) & (~_PRIVATE if change else _WRITE_BY_OTHERS):
        raise NotPrivate(
            f"{path}: mode {stat.S_IMODE(found.st_mode):04o}, expected 0700; choose another folder"
        )
