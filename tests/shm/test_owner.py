"""The owner lock: one live owner, freed by any death, never by a child or a probe."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from shm.owner import OwnerAlive, OwnerLock, probe
from tests.shm.helpers import KILLED, fork, reap


def owner_process(path: Path, after: Callable[[OwnerLock], None] = lambda _: None) -> int:
    """A child that holds the lock until it is killed; returns once it has it."""
    ready, done = os.pipe()

    def child() -> None:
        os.close(ready)
        lock = OwnerLock(path)
        lock.acquire()
        after(lock)
        os.write(done, b"x")
        signal.pause()

    pid = fork(child)
    os.close(done)
    assert os.read(ready, 1) == b"x"
    os.close(ready)
    return pid


def test_one_owner_at_a_time_and_its_death_frees_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "owner"
    assert probe(path) is None
    pid = owner_process(path)
    mine = OwnerLock(path)
    for _ in range(3):
        assert probe(path) == pid
        with pytest.raises(OwnerAlive, match=str(pid)) as alive:
            mine.acquire()
        assert alive.value.pid == pid
    assert not mine.held
    os.kill(pid, signal.SIGKILL)
    # A zombie has closed its descriptors: the lock is free before the child is reaped.
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert probe(path) is None
    mine.acquire()
    assert mine.held
    assert probe(path) == os.getpid()
    assert reap(pid) == KILLED
    mine.release(unlink=True)
    mine.release()
    assert os.listdir(tmp_path) == []


def test_a_child_that_let_go_does_not_keep_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "owner"
    grandchild_reads, kept = os.pipe()

    def fork_a_child(lock: OwnerLock) -> None:
        if os.fork() == 0:
            lock.close_in_child()
            os.close(kept)
            os.read(grandchild_reads, 1)  # until the test closes its end
            os._exit(0)

    pid = owner_process(path, fork_a_child)
    assert probe(path) == pid
    os.kill(pid, signal.SIGKILL)
    assert reap(pid) == KILLED
    assert probe(path) is None
    os.close(kept)
    os.close(grandchild_reads)


def test_close_in_child_leaves_the_owner_its_lock(tmp_path: Path) -> None:
    lock = OwnerLock(tmp_path / "owner")
    lock.acquire()
    lock.acquire()  # again is nothing

    def child() -> None:
        lock.close_in_child()
        assert not lock.held
        assert probe(lock.path) == os.getppid()
        with pytest.raises(OwnerAlive):
            OwnerLock(lock.path).acquire()

    assert reap(fork(child)) == 0
    assert probe(lock.path) == os.getpid()
    lock.release()
    assert probe(lock.path) is None


def test_many_probes_do_not_turn_an_owner_away(tmp_path: Path) -> None:
    path = tmp_path / "owner"
    path.touch()

    def look() -> None:
        while True:
            probe(path)

    pid = fork(look)
    lock = OwnerLock(path)
    for _ in range(300):
        lock.acquire()
        lock.release()
    os.kill(pid, signal.SIGKILL)
    assert reap(pid) == KILLED


def test_an_owner_that_removes_the_file_does_not_split_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "owner"
    first, second = OwnerLock(path), OwnerLock(path)
    for _ in range(20):
        first.acquire()
        first.release(unlink=True)
        second.acquire()
        with pytest.raises(OwnerAlive):
            first.acquire()
        second.release(unlink=True)
    assert os.listdir(tmp_path) == []


def test_a_file_with_rubbish_and_no_lock_is_free(tmp_path: Path) -> None:
    path = tmp_path / "owner"
    path.write_text("not a pid, and much longer than one\n")
    assert probe(path) is None
    lock = OwnerLock(path)
    lock.acquire()
    assert path.read_text() == f"{os.getpid()}\n"
    lock.release()


def test_without_room_for_its_number_nobody_owns(tmp_path: Path) -> None:
    path = tmp_path / "owner"

    def child() -> None:
        before = os.listdir("/proc/self/fd")
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        for _ in range(3):
            with pytest.raises(OSError, match="File too large"):
                OwnerLock(path).acquire()
        assert os.listdir("/proc/self/fd") == before
        assert probe(path) is None

    assert reap(fork(child)) == 0
