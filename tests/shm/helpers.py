"""Forked processes and shared memory for the tests of ``shm``."""

from __future__ import annotations

import contextlib
import gc
import mmap
import os
import select
import signal
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.support.processes import children_of, command_of

DEADLINE_SECONDS = 60.0
KILLED = -int(signal.SIGKILL)


def shared_bytes(count: int) -> npt.NDArray[np.uint8]:
    """uint8[count] of zeros, shared with every process forked from now on, page-aligned."""
    return np.frombuffer(mmap.mmap(-1, count), np.uint8)


def shared_words(count: int) -> npt.NDArray[np.uint64]:
    """uint64[count] of zeros, shared likewise."""
    return shared_bytes(count * 8).view(np.uint64)


def fork(body: Callable[[], Any]) -> int:
    """Run ``body`` in a child that exits with 0, or with 1 and a traceback; returns its pid."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        body()
        status = 0
    except BaseException:  # noqa: BLE001  # pytest's own must not run on in the child either
        traceback.print_exc()
    finally:
        os._exit(status)


def reap(pid: int, seconds: float = DEADLINE_SECONDS) -> int:
    """Wait for a child and return its exit code, or minus the signal that ended it.

    A child that is still there at the deadline is killed and fails the test.
    """
    descriptor = os.pidfd_open(pid)
    try:
        ready, _, _ = select.select([descriptor], [], [], seconds)
        if not ready:
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    finally:
        os.close(descriptor)
    assert ready, f"child {pid} did not end within {seconds} s"
    return os.waitstatus_to_exitcode(status)


def _descriptors() -> set[tuple[str, str]]:
    found = set()
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the one that listed the folder
            found.add((descriptor, os.readlink(f"/proc/self/fd/{descriptor}")))
    return found


@contextlib.contextmanager
def no_leaks() -> Iterator[None]:
    """Fail if a file descriptor or a child process is left over, be it a zombie.

    Children from before are the session's servers.
    """
    before, children = _descriptors(), children_of(os.getpid())
    yield
    if _descriptors() - before:
        gc.collect()  # a mapping in a reference cycle is no leak
    left = _descriptors() - before
    assert not left, f"file descriptors left open: {left}"
    orphans = {pid: command_of(pid) for pid in children_of(os.getpid()) - children}
    assert not orphans, f"child processes are left: {orphans}"
