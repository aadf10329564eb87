"""Exactly once: killed at each point, run twice at once, with a server that comes and goes."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psycopg
import pytest

from corec import layout as L
from corec.embedded import EmbeddedPostgres
from tests.persister.small_world import (
    exit_code,
    expected_keys,
    keys_of,
    rows_of,
    small_world,
)
from tests.support.processes import is_running, promised, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_leaks")]

POINTS = [
    f"persist.{when}_{what}"
    for what in ("copy", "commit", "release")
    for when in ("before", "after")
]


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, postgres: EmbeddedPostgres
) -> list[object]:
    """The rows of ticks 1 to 9 in a run that nothing disturbed."""
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        connection.execute("CREATE DATABASE undisturbed")
    dsn = postgres.dsn.replace("@/corec?", "@/undisturbed?")
    with small_world(tmp_path_factory.mktemp("undisturbed"), dsn) as world:
        world.publish_ticks(1, 9, repairs=1)
        world.drain()
    return [*rows_of(dsn), *events_of(dsn)]


def events_of(dsn: str) -> list[object]:
    with psycopg.connect(dsn) as connection:
        return [
            *connection.execute(
                "SELECT tick, tipo, bloque, entidad, detalle FROM eventos"
                " ORDER BY tick, bloque, entidad"
            ).fetchall()
        ]


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("point", POINTS)
def test_killed_at_each_point(
    point: str, nth: int, shm_dir: Path, pg_dsn: str, undisturbed: list[object]
) -> None:
    with small_world(shm_dir, pg_dsn) as world:
        pid = world.start(f"{point}:{nth}")
        world.publish_ticks(1, 3, repairs=1)
        if nth > 1:
            # the take-over is a transaction too
            wait_until(lambda: world.count(L.P_TRANSACTIONS) >= 2, "the first transaction")
        world.publish_ticks(4, 7, repairs=1)
        assert exit_code(pid) == -signal.SIGKILL
        # a worker killed between publish and commit publishes its last frame again
        world.publish(7, 5, repairs=1, again=True)
        pid = world.start()
        world.publish_ticks(8, 9, repairs=1)
        assert world.stop(pid) == 0
        assert [*rows_of(pg_dsn), *events_of(pg_dsn)] == undisturbed
        assert world.count(L.P_ROWS) == len(world.sent) == 54
        assert world.count(L.P_DUPLICATES) == 1
        assert world.word(L.S_TICK) == 9


def test_server_crashes_in_mid_run(shm_dir: Path, tmp_path: Path, servers_dir: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "postgres", servers_dir / "crash")
    server.start()
    try:
        with small_world(shm_dir, server.dsn, capacity=1 << 16) as world:
            pid = world.start()
            for turn in range(3):
                world.publish_ticks(turn * 40 + 1, turn * 40 + 20)
                server.restart(immediate=True)
                world.publish_ticks(turn * 40 + 21, turn * 40 + 40)
            assert world.stop(pid) == 0
            assert keys_of(server.dsn) == expected_keys(world)
            assert world.count(L.P_ROWS) == len(world.sent) == 720
    finally:
        server.stop()


def test_away_beats_and_holds_everything(shm_dir: Path, tmp_path: Path, servers_dir: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "postgres", servers_dir / "away")
    server.start()
    dsn = server.dsn
    try:
        with small_world(shm_dir, dsn) as world:
            pid = world.start()
            world.publish_ticks(1, 5)
            wait_until(lambda: world.word(L.S_TICK) == 5, "the first rows are durable")
            server.stop()
            world.publish_ticks(6, 10)
            wait_until(
                lambda: world.word(L.S_STATE) == L.PROC_WAITING_SINK, "the outage is noticed"
            )
            assert world.word(L.S_ERROR) == L.REASON_UNREACHABLE
            assert world.word(L.S_TICK) == 5
            assert world.rt.rows[0].used > 0
            before = world.word(L.S_BEAT_NS)
            wait_until(lambda: world.word(L.S_BEAT_NS) > before, "a heartbeat", promised(1.0))
            server.start()
            wait_until(lambda: world.word(L.S_STATE) == L.PROC_READY, "it is ready again", 20.0)
            assert world.word(L.S_ERROR) == L.REASON_NONE
            assert world.stop(pid) == 0
            assert keys_of(dsn) == expected_keys(world)
    finally:
        server.stop()


def test_frozen_server_is_shown_and_leaving_does_not_wait_for_it(
    shm_dir: Path, tmp_path: Path, servers_dir: Path
) -> None:
    server = EmbeddedPostgres(tmp_path / "postgres", servers_dir / "frozen")
    server.start()
    try:
        with small_world(shm_dir, server.dsn) as world:
            pid = world.start()
            wait_until(lambda: world.word(L.S_STATE) == L.PROC_READY, "it is ready")
            backend = _backend(server.dsn)
            os.kill(backend, signal.SIGSTOP)
            try:
                world.publish_ticks(1, 3)
                wait_until(
                    lambda: world.word(L.S_STATE) == L.PROC_WAITING_SINK, "the silence is noticed"
                )
                before = world.word(L.S_BEAT_NS)
                wait_until(lambda: world.word(L.S_BEAT_NS) > before, "a heartbeat", promised(1.0))
                world.rt.set(L.C_STOP, L.STOP_NOW)
                assert exit_code(pid, promised(2.0)) == 0
            finally:
                os.kill(backend, signal.SIGCONT)
            world.rt.set(L.C_STOP, L.STOP_NO)
            world.drain()
            assert keys_of(server.dsn) == expected_keys(world)
    finally:
        server.stop()


def _backend(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'corec persister'"
        ).fetchone()
    assert row is not None
    return int(row[0])


def test_two_persisters_of_one_world_write_nothing_twice(shm_dir: Path, pg_dsn: str) -> None:
    """One of them is the zombie that the supervisor believes dead."""
    with small_world(shm_dir, pg_dsn) as world:
        pids = [world.start(), world.start()]
        for turn in range(5):
            world.publish_ticks(turn * 3 + 1, turn * 3 + 3)
            wait_until(
                lambda: all(lane.used == 0 for lane in world.rt.rows), "the lanes are empty", 20.0
            )
        world.rt.set(L.C_STOP, L.STOP_SINKS)
        assert [exit_code(pid) for pid in pids] == [0, 0]
        world.rt.set(L.C_STOP, L.STOP_NO)
        assert keys_of(pg_dsn) == expected_keys(world)


def test_orphan_leaves(shm_dir: Path, pg_dsn: str) -> None:
    with small_world(shm_dir, pg_dsn) as world:
        parent = os.fork()
        if not parent:
            world.start()
            signal.pause()
            os._exit(0)
        wait_until(lambda: world.word(L.S_STATE) == L.PROC_READY, "it is ready")
        pid = world.word(L.S_PID)
        os.kill(parent, signal.SIGKILL)
        exit_code(parent)
        wait_until(lambda: not is_running(pid), "it leaves", promised(2.0))


def test_flood_through_small_lanes(shm_dir: Path, pg_dsn: str) -> None:
    with small_world(shm_dir, pg_dsn, capacity=1 << 15, lanes=3) as world:
        pid = world.start()
        world.publish_ticks(1, 200, messages=40)
        assert world.stop(pid) == 0
        assert keys_of(pg_dsn) == expected_keys(world)
        assert world.count(L.P_TRANSACTIONS) > 5


def test_what_is_shown_as_durable_is_in_the_table(shm_dir: Path, pg_dsn: str) -> None:
    with small_world(shm_dir, pg_dsn) as world:
        pid = world.start()
        for tick in range(1, 10):
            world.publish_ticks(tick, tick)
            if tick % 3 == 0:
                wait_until(lambda: world.word(L.S_TICK) > 0, "something is durable")
            durable = world.word(L.S_TICK)
            there = [key for key in keys_of(pg_dsn) if key[0] <= durable] if durable else []
            assert len(there) == durable * world.rt.plan.n_blocks
        assert world.stop(pid) == 0
        assert world.word(L.S_TICK) == 9
