"""The database is away: rows wait on disk, each is in the table once, whatever is killed."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from pathlib import Path

import psycopg
import pytest

from corec import layout as L
from corec.persister import process, reach
from corec.persister.status import Status
from tests.persister.small_world import SmallWorld, exit_code, expected_keys, keys_of, small_world
from tests.support.processes import wait_until
from tests.support.proxied import Proxied

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_leaks")]
LANE = 1 << 14
"""Eleven ticks fill more than half of such a lane, and it is spooled at once."""


def check_all(world: SmallWorld, dsn: str) -> None:
    """Everything that was published is in the tables, once; nothing is left on disk."""
    assert keys_of(dsn) == expected_keys(world)
    with psycopg.connect(dsn) as connection:
        row = connection.execute(
            "SELECT count(*), count(DISTINCT (tick, entidad)) FROM eventos"
        ).fetchone()
    repairs = sum(int(sent.row["reparadas"]) for sent in world.sent)
    assert row == (repairs, repairs)
    assert world.count(L.P_ROWS) == len(world.sent)
    assert world.count(L.P_DROPPED) == world.count(L.P_SPOOL_BYTES) == 0
    assert list(world.spool.iterdir()) == []


def spooled(world: SmallWorld) -> None:
    """Wait until the lanes are empty and everything is on disk, which is shown last."""
    wait_until(lambda: all(lane.used == 0 for lane in world.rt.rows), "the lanes are spooled")

    def shown() -> bool:
        sizes = sum(file.stat().st_size for file in world.spool_files())
        return world.count(L.P_SPOOL_BYTES) == sizes > 0

    wait_until(shown, "the spool's size is shown")


def test_away_for_longer_than_the_lanes_last(
    shm_dir: Path, tmp_path: Path, proxied: Proxied
) -> None:
    with small_world(shm_dir, proxied.dsn, capacity=LANE, state=tmp_path) as world:
        pid = world.start()
        world.publish_ticks(1, 5, repairs=1)
        wait_until(lambda: world.word(L.S_TICK) == 5, "the first rows are durable")
        assert list(world.spool.iterdir()) == []
        proxied.proxy.tell("refuse")
        world.publish_ticks(6, 60, repairs=1)
        spooled(world)
        wait_until(lambda: world.word(L.S_STATE) == L.PROC_WAITING_SINK, "it waits")
        assert world.word(L.S_ERROR) == L.REASON_UNREACHABLE
        assert world.word(L.S_TICK) == 5
        files = world.spool_files()
        assert sum(f.stat().st_size for f in files) == world.count(L.P_SPOOL_BYTES)
        assert {f.stat().st_mode & 0o777 for f in files} == {0o600}
        proxied.proxy.tell("pass")
        wait_until(lambda: world.word(L.S_TICK) == 60, "all is durable", 20.0)
        assert world.word(L.S_STATE) == L.PROC_READY
        world.publish_ticks(61, 63, repairs=1)
        assert world.stop(pid) == 0
        check_all(world, proxied.direct)


@pytest.mark.parametrize(
    "point",
    [
        "spool.before_append",
        "spool.file_made",
        "spool.torn",
        "spool.torn:2",
        "spool.before_sync",
        "spool.before_sync:2",
        "spool.after_sync",
        "spool.after_sync:2",
        "spool.before_release",
        "spool.after_release",
    ],
)
def test_killed_while_spooling(point: str, shm_dir: Path, tmp_path: Path, proxied: Proxied) -> None:
    with small_world(shm_dir, proxied.dsn, capacity=LANE, state=tmp_path) as world:
        proxied.proxy.tell("refuse")
        # before it starts: they are spooled in one go, or a second one would be among them
        world.publish_ticks(1, 11, repairs=1)
        pid = world.start(point)
        if point.endswith(":2"):
            spooled(world)
            world.publish_ticks(12, 22, repairs=1)
        assert exit_code(pid) == -signal.SIGKILL
        # a worker killed between publish and commit publishes its last frame again
        world.publish(world.sent[-1].tick, 5, repairs=1, again=True)
        pid = world.start()
        world.publish_ticks(23, 40, repairs=1)
        spooled(world)
        proxied.proxy.tell("pass")
        world.publish_ticks(41, 44, repairs=1)
        assert world.stop(pid) == 0
        check_all(world, proxied.direct)
        assert world.count(L.P_DUPLICATES) == 1


@pytest.mark.parametrize(
    "point",
    [
        "persist.before_copy",
        "persist.before_commit",
        "persist.after_commit",
        "persist.before_release",
        "spool.before_delete",
        "spool.after_delete",
        "persist.after_release",
    ],
)
def test_killed_while_the_spool_drains(
    point: str, shm_dir: Path, tmp_path: Path, proxied: Proxied
) -> None:
    with small_world(shm_dir, proxied.dsn, capacity=LANE, state=tmp_path) as world:
        proxied.proxy.tell("refuse")
        pid = world.start()
        for first in (1, 21):  # two files: a persister never goes on in one it did not make
            world.publish_ticks(first, first + 19, repairs=1)
            spooled(world)
            os.kill(pid, signal.SIGKILL)
            assert exit_code(pid) == -signal.SIGKILL
            pid = world.start() if first == 1 else world.start(point)
        assert len(world.spool_files()) == 2
        proxied.proxy.tell("pass")
        assert exit_code(pid) == -signal.SIGKILL
        pid = world.start()
        world.publish_ticks(41, 45, repairs=1)
        assert world.stop(pid) == 0
        check_all(world, proxied.direct)


def test_server_without_an_answer(shm_dir: Path, tmp_path: Path, proxied: Proxied) -> None:
    """It took the rows and says nothing: the lanes go to disk while they may be committed."""
    with small_world(shm_dir, proxied.dsn, capacity=LANE, state=tmp_path) as world:
        pid = world.start()
        world.publish_ticks(1, 5)
        wait_until(lambda: world.word(L.S_TICK) == 5, "the first rows are durable")
        proxied.proxy.tell("hold")
        world.publish_ticks(6, 60)
        spooled(world)
        proxied.proxy.tell("pass")
        assert world.stop(pid) == 0
        check_all(world, proxied.direct)


def test_paced_world_does_not_wait_for_a_slow_server(
    shm_dir: Path, tmp_path: Path, proxied: Proxied, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For its pace alone: that the server says nothing is not yet known, however busy all are."""
    for module in (process, reach):
        monkeypatch.setattr(module, "SILENT_S", 60.0)
    with small_world(shm_dir, proxied.dsn, capacity=LANE, state=tmp_path) as world:
        world.rt.set(L.C_TICK_HZ, 0x4024_0000_0000_0000)  # 10.0
        with psycopg.connect(proxied.direct, autocommit=True) as connection:
            pid = world.start()
            wait_until(lambda: world.word(L.S_STATE) == L.PROC_READY, "it is ready")
            with connection.transaction():
                connection.execute("LOCK TABLE corec_offsets IN ACCESS EXCLUSIVE MODE")
                world.publish_ticks(1, 30)
                assert world.word(L.S_ERROR) == 0
                assert world.count(L.P_SPOOL_BYTES) > 0
        assert world.stop(pid) == 0
        check_all(world, proxied.direct)


def test_stopped_while_away_and_restored(shm_dir: Path, tmp_path: Path, proxied: Proxied) -> None:
    """What was spooled comes first, though the restored world has other lanes."""
    with small_world(shm_dir, proxied.dsn, state=tmp_path) as world:
        pid = world.start()
        world.publish_ticks(1, 10, repairs=1)
        wait_until(lambda: world.word(L.S_TICK) == 10, "the first rows are durable")
        proxied.proxy.tell("refuse")
        world.publish_ticks(11, 20, repairs=1)
        assert world.stop(pid) == 0
        assert world.word(L.S_STATE) == L.PROC_DRAINED
        assert len(world.spool_files()) == 1
        sent = world.sent
    # from the checkpoint of tick 15, twice; the first time the database is still away
    for lanes in (3, 1):
        with small_world(shm_dir, proxied.dsn, state=tmp_path, lanes=lanes) as world:
            pid = world.start()
            world.publish_ticks(16, 25, repairs=1)
            if lanes == 1:
                proxied.proxy.tell("pass")
            assert world.stop(pid) == 0
            if lanes == 3:
                assert len(world.spool_files()) == 2
                continue
            world.sent = [*sent, *(one for one in world.sent if one.tick > 20)]
            check_all(world, proxied.direct)


def test_spool_of_another_world_is_set_aside(
    shm_dir: Path, tmp_path: Path, proxied: Proxied, capfd: pytest.CaptureFixture[str]
) -> None:
    proxied.proxy.tell("refuse")
    with small_world(shm_dir, proxied.dsn, state=tmp_path, epoch=7) as world:
        pid = world.start()
        world.publish_ticks(1, 5)
        spooled(world)
        os.kill(pid, signal.SIGKILL)
        exit_code(pid)
        before = world.spool_files()[0].read_bytes()
    proxied.proxy.tell("pass")
    with small_world(shm_dir, proxied.dsn, state=tmp_path, epoch=8) as world:
        world.publish_ticks(1, 3)
        world.drain()
        assert keys_of(proxied.direct) == expected_keys(world)
        assert world.spool_files() == []
        (aside,) = world.spool_files(".aside")
        assert aside.read_bytes() == before
    assert "set the spool of another world aside" in capfd.readouterr().out
    with small_world(shm_dir, proxied.dsn, state=tmp_path, epoch=7) as back:
        back.drain()
        assert not back.spool_files(".aside")
        assert not back.spool_files()
        found = keys_of(proxied.direct)
        assert {tick for tick, _ in found} <= {1, 2, 3, 4, 5}
        assert found
        assert len(found) == len(set(found))


def limit_file_size(pid: int, limit: int) -> None:
    """What a full disk is to a process: it can write no file beyond ``limit`` bytes."""
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))


def test_disk_refuses_for_a_while(shm_dir: Path, tmp_path: Path, proxied: Proxied) -> None:
    with small_world(shm_dir, proxied.dsn, capacity=LANE, state=tmp_path) as world:
        proxied.proxy.tell("refuse")
        pid = world.start()
        world.publish_ticks(1, 20)
        spooled(world)
        size = world.count(L.P_SPOOL_BYTES)
        limit_file_size(pid, size + 3000)
        world.publish_ticks(21, 31)
        wait_until(lambda: world.word(L.S_ERROR) == L.REASON_FULL, "the full disk is shown")
        wait_until(lambda: world.word(L.S_STATE) == L.PROC_WAITING_SINK, "it waits")
        assert [f.stat().st_size for f in world.spool_files()] == [size]
        assert world.rt.rows[0].used > 0
        limit_file_size(pid, resource.RLIM_INFINITY)
        wait_until(lambda: world.word(L.S_ERROR) != L.REASON_FULL, "it goes on by itself")
        spooled(world)
        proxied.proxy.tell("pass")
        assert world.stop(pid) == 0
        check_all(world, proxied.direct)


def test_folder_that_cannot_be_made(shm_dir: Path, tmp_path: Path, proxied: Proxied) -> None:
    """Without a spool everything is as it was: rows wait in the lanes."""
    state = tmp_path / "state"
    state.write_text("in the way")
    with small_world(shm_dir, proxied.dsn, capacity=LANE, state=state) as world:
        proxied.proxy.tell("refuse")
        pid = world.start()
        world.publish_ticks(1, 11)
        wait_until(lambda: world.word(L.S_ERROR) == L.REASON_FULL, "it is shown")
        state.unlink()
        wait_until(lambda: world.word(L.S_ERROR) == L.REASON_UNREACHABLE, "it goes on")
        world.publish_ticks(12, 30)
        spooled(world)
        proxied.proxy.tell("pass")
        assert world.stop(pid) == 0
        check_all(world, proxied.direct)


def test_a_server_without_room_that_is_gone_for_a_moment(shm_dir: Path, tmp_path: Path) -> None:
    """It ends for that very reason, again and again: what is told does not change each time."""
    with small_world(shm_dir, "host=/nowhere", state=tmp_path) as world:
        status = Status(world.rt)
        for reason, told in (
            (L.REASON_UNREACHABLE, L.REASON_UNREACHABLE),
            (L.REASON_FULL, L.REASON_FULL),
            (L.REASON_UNREACHABLE, L.REASON_FULL),
            (L.REASON_REFUSED, L.REASON_REFUSED),
            (L.REASON_UNREACHABLE, L.REASON_FULL),
        ):
            status.waiting(reason, "")
            assert world.word(L.S_ERROR) == told
        status.ready()
        status.waiting(L.REASON_UNREACHABLE, "")
        assert world.word(L.S_ERROR) == L.REASON_UNREACHABLE


def test_a_connection_that_was_refused_has_its_answer(shm_dir: Path, tmp_path: Path) -> None:
    """Or the pause until the next one would become a silence, which is told for the reason."""
    with small_world(shm_dir, "host=/nowhere", state=tmp_path) as world:
        persister = process.Persister(world.rt)
        with pytest.raises(psycopg.OperationalError):
            asyncio.run(persister._connected())
        assert persister._reach.silent_seconds() == 0.0
        assert persister._reach.away_seconds() > 0.0
