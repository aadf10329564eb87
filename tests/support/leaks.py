"""Fixture `no_leaks`: a test leaves no file descriptor, no process and no tmpfs file behind.

Use it for a whole file with `pytestmark = pytest.mark.usefixtures("no_leaks")`.

While such a test runs, pytest is the *subreaper* of its descendants: a process whose parent was
killed becomes our child instead of init's, so nothing escapes the check however it was orphaned.
Commands that are forked (`tests.support.forked`) are looked for at their servers, which stay.
The price: an orphan that ended stays a zombie until the check reaps it, so ask
`processes.is_running(pid)`, which knows zombies, and not `os.kill(pid, 0)`.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import forked
from tests.support.processes import children_of, command_of, is_running, promised, wait_until

_PR_SET_CHILD_SUBREAPER = 36
_SETTLE_S = 3.0
_OTHERS = ("corec", "PostgreSQL.", "sem.mp-")


def _descriptors() -> dict[str, str]:
    found = {}
    for entry in os.listdir("/proc/self/fd"):
        try:
            found[entry] = os.readlink(f"/proc/self/fd/{entry}")
        except OSError:
            continue  # the one listdir itself had open
    return found


def _tmpfs_names() -> set[str]:
    """What this user has in /dev/shm beside runtime directories, database servers' memory and
    semaphores of `multiprocessing`.

    Those (`corec…`, `PostgreSQL.…`) may be another instance's, or another test session's, that runs
    meanwhile; the `shm_dir` fixture looks into the one a test uses itself, and `tests/embedded`
    at what its servers leave. A semaphore (`sem.mp-…`) keeps its name only in programs that spawn
    their processes, and CoreC forks them.
    """
    root = Path("/dev/shm")
    if not root.is_dir():
        return set()
    me = os.geteuid()
    names = set()
    for path in root.iterdir():
        try:
            if path.stat().st_uid == me and not path.name.startswith(_OTHERS):
                names.add(path.name)
        except OSError:
            continue  # it went away meanwhile
    return names


def _used(name: str) -> bool:
    """Whether some process has it open or mapped: none of the test's is left, so it is another's.

    What went away since it was listed was another's, too.
    """
    path = f"/dev/shm/{name}"
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if path in (process / "maps").read_text(errors="replace"):
                return True
            if any(os.readlink(fd).startswith(path) for fd in (process / "fd").iterdir()):
                return True
        except OSError:
            continue  # it ended meanwhile, or is another user's
    return not Path(path).exists()


def _become_subreaper(on: bool) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(on), 0, 0, 0)


def _children() -> set[int]:
    """Ours, and the commands that the fork servers were asked for (it reaps those itself)."""
    servers = forked.own_processes()
    return children_of(os.getpid(), *servers) - servers


def _reap(pids: set[int]) -> None:
    for pid in pids:
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            continue  # its own Popen object was faster


@pytest.fixture
def no_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the test if it leaves a descriptor, a process or a tmpfs file."""
    for name in ("postgres", "valkey", "pg_dsn", "valkey_url", "shm_dir"):
        if name in request.fixturenames:
            request.getfixturevalue(name)  # the session's servers are not this test's leak
    gc.collect()
    gc.freeze()  # what is here already (compiled kernels: seconds of work) is not looked at again
    before_fds, before_children = _descriptors(), _children()
    before_names = _tmpfs_names()
    _become_subreaper(True)
    yield
    gc.collect()
    left: set[int] = set()

    def settled() -> bool:
        left.clear()
        left.update(_children() - before_children)
        _reap({pid for pid in left if not is_running(pid)})
        return not left

    try:
        wait_until(settled, "the test's processes end", promised(_SETTLE_S))
    except AssertionError:
        pass  # reported below, with their names
    leaked = {pid: command_of(pid) for pid in left if is_running(pid)}
    for pid in leaked:
        os.kill(pid, signal.SIGKILL)
    wait_until(settled, "the leaked processes are reaped")
    _become_subreaper(False)
    now = _descriptors()
    mine = forked.own_descriptors()
    leaked_fds = {fd: now[fd] for fd in now if before_fds.get(fd) != now[fd] and fd not in mine}
    leaked_names = {name for name in _tmpfs_names() - before_names if not _used(name)}
    assert not leaked, f"processes left: {leaked}"
    assert not leaked_fds, f"file descriptors left: {leaked_fds}"
    assert not leaked_names, f"files left in /dev/shm: {leaked_names}"
