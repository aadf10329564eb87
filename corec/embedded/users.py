"""Which user PostgreSQL runs as. It refuses root; an ordinary user's is that user.

Root's is a number that no user of the system has, so that nobody else can signal the server, trace
it or read its files. initdb wants a user with a name: it runs as one (`postgres`, else `nobody`),
below folders that this one cannot enter without the capability that it is lent (launch.py), and the
files are handed over when it is done. The hand-over ends with the folder itself, whose owner says
how far it came: a killed one is done again from the start.

A number from 65533 down to 65520: not for users of Debian, Fedora or systemd, and inside the 65536
of a container's user namespace.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from corec.embedded.errors import EmbeddedServerError
from corec.embedded.home import User, user_of
from corec.private import name_of

_NAMED_FOR_ROOT = ("postgres", "nobody")
_NUMBERS = range(65533, 65519, -1)


def server_user(pgdata: Path) -> User:
    """Whose the database files are, or who is to make them. Raises EmbeddedServerError."""
    me = os.geteuid()
    owner = pgdata.stat().st_uid if pgdata.exists() else None
    if me != 0:
        if owner not in (None, me):
            raise EmbeddedServerError(
                f"{pgdata} belongs to {name_of(owner or 0)} and this process runs as "
                f"{name_of(me)}: run as that user, remove {pgdata.parent}, or give another "
                "directory"
            )
        return user_of(me)
    if owner:
        return _numbered(owner) if owner in _NUMBERS else user_of(owner)
    return _named()


def hand_over(pgdata: Path, user: User) -> User:
    """Give root's database files to a number that is nobody's; returns who the server runs as.

    They stay where they are when they are another user's than initdb's, or no number is free.
    """
    if os.geteuid() != 0 or user.name not in _NAMED_FOR_ROOT:
        return user
    nobodys = _free_number()
    if nobodys is None:
        return user
    try:
        for folder, folders, files in os.walk(pgdata, topdown=False):
            for name in (*files, *folders):
                os.chown(
                    os.path.join(folder, name), nobodys.uid, nobodys.gid, follow_symlinks=False
                )
        os.chown(pgdata, nobodys.uid, nobodys.gid)
    except PermissionError:  # a container without that capability
        return user
    return nobodys


def _named() -> User:
    for name in _NAMED_FOR_ROOT:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return User(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise EmbeddedServerError(
        f"PostgreSQL refuses to run as root and none of the users {', '.join(_NAMED_FOR_ROOT)} "
        "exists: add one, start CoreC as an ordinary user, or name an external database"
    )


def _numbered(number: int) -> User:
    return User(f"corec-{number}", number, number)


def _free_number() -> User | None:
    """The first number that is no user's and that this user namespace has."""
    try:
        rows = [row.split() for row in Path("/proc/self/uid_map").read_bytes().splitlines()]
        spans = [range(int(first), int(first) + int(count)) for first, _outside, count in rows]
    except (OSError, ValueError):
        return None
    for number in _NUMBERS:
        try:
            pwd.getpwuid(number)
        except KeyError:
            if any(number in span for span in spans):
                return _numbered(number)
    return None
