"""Another local user, played by root: a forked child that takes on a uid, tries things and reports.

The child is no new program, since the interpreter may lie where only root can enter; whatever it
needs is imported before the fork.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

NAMES = ("nobody", "games")


def as_user(uid: int, gid: int, what: Callable[[], Any]) -> Any:
    """What ``what()`` returns in a child that is this user, through JSON."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(reader)
            os.setgroups([])
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            os.umask(0o022)
            os.write(writer, json.dumps(what()).encode())
            code = 0
        except BaseException as error:  # noqa: BLE001 - the child's end, told to its parent
            sys.stderr.write(f"stranger: {error!r}\n")
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        text = file.read()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    return json.loads(text)


def _succeeds(what: Callable[[], object]) -> bool:
    try:
        what()
    except OSError:
        return False
    return True


def _ask(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5.0)
        client.connect(path)


def _open(path: str, flags: int) -> None:
    os.close(os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC))


def opened(paths: Iterable[str]) -> list[str]:
    """Everything a user gets done with these files, folders and sockets: ``verb path``."""
    done = []
    for path in paths:
        parent, name = os.path.split(path)
        tries: dict[str, Callable[[], object]] = {
            "read": partial(_open, path, os.O_RDONLY),
            "write": partial(_open, path, os.O_WRONLY),
            "stat": partial(os.stat, path),
            "list": partial(os.listdir, path),
            "make": partial(os.mkdir, f"{path}/planted"),
            "connect": partial(_ask, path),
            "chmod": partial(os.chmod, path, 0o777),
            "rename": partial(os.rename, path, f"{parent}/.{name}.taken"),
        }
        done += [f"{verb} {path}" for verb, what in tries.items() if _succeeds(what)]
    return done


def reached(pids: Iterable[int]) -> list[str]:
    """Everything a user gets done with these processes."""
    done = []
    for pid in pids:
        tries: dict[str, Callable[[], object]] = {
            "signal": partial(os.kill, pid, 0),
            "environ": Path(f"/proc/{pid}/environ").read_bytes,
            "descriptors": partial(os.listdir, f"/proc/{pid}/fd"),
            "memory": partial(_open, f"/proc/{pid}/mem", os.O_RDONLY),
            "root": partial(os.listdir, f"/proc/{pid}/root"),
            "cwd": partial(os.listdir, f"/proc/{pid}/cwd"),
        }
        done += [f"{verb} {pid}" for verb, what in tries.items() if _succeeds(what)]
    return done
