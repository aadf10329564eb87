"""Worlds that follow each other under one instance_id: new, resumed, restored, or a zombie."""

from __future__ import annotations

import signal
from pathlib import Path

import psycopg
import pytest

from corec import layout as L
from corec.process.life import TAKEN_OVER
from tests.persister.small_world import (
    exit_code,
    expected_keys,
    keys_of,
    small_world,
)
from tests.support.processes import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_leaks")]


def instances_of(dsn: str, table: str) -> dict[str, int]:
    """Rows of a table by instance_id."""
    with psycopg.connect(dsn) as connection:
        query = f"SELECT instance_id, count(*) FROM {table} GROUP BY 1"
        return dict(connection.execute(query.encode()).fetchall())


def test_new_world_sets_the_older_one_aside(shm_dir: Path, pg_dsn: str) -> None:
    with small_world(shm_dir, pg_dsn, epoch=7) as world:
        world.publish_ticks(1, 3, repairs=1)
        world.drain()
    with small_world(shm_dir, pg_dsn, epoch=7, instance="otro") as world:
        world.publish_ticks(1, 1)
        world.drain()
    with small_world(shm_dir, pg_dsn, epoch=8) as world:
        world.publish_ticks(1, 2)
        world.drain()
        assert world.count(L.P_ROWS) == 12
        assert keys_of(pg_dsn) == expected_keys(world)
    assert instances_of(pg_dsn, "bloques") == {"corec1": 12, "otro": 6}
    assert instances_of(pg_dsn, "eventos") == {}
    assert instances_of(pg_dsn, "mundos_bloques") == {"corec1": 18}
    with psycopg.connect(pg_dsn) as connection:
        found = connection.execute(
            "SELECT DISTINCT mundo FROM mundos_bloques UNION SELECT mundo FROM mundos_eventos"
            " UNION SELECT mundo FROM corec_mundos WHERE mundo IS NOT NULL"
        ).fetchall()
    assert len(found) == 1
    assert found[0][0].startswith("corec1~20")


@pytest.mark.parametrize("crash", [None, "persist.before_commit:2", "persist.after_commit"])
@pytest.mark.parametrize("lanes", [1, 2, 3])
def test_restored_world_writes_only_what_is_missing(
    lanes: int, crash: str | None, shm_dir: Path, pg_dsn: str
) -> None:
    """The checkpoint of tick 10 is restored after tick 20, with another number of workers."""
    with small_world(shm_dir, pg_dsn, lanes=2) as world:
        world.publish_ticks(1, 20, repairs=1)
        world.publish(20, 5, step=1, row=False, repairs=1)
        world.drain()
    with psycopg.connect(pg_dsn) as connection:
        # these waited in a lane when the machine went down: of some ticks one frame of two, so
        # that a row is there without its repairs, or they without it
        lost = (("bloques", "id", "14, 15, 20"), ("eventos", "bloque", "15, 16, 20"))
        for table, column, ticks in lost:
            query = f"DELETE FROM {table} WHERE tick IN ({ticks}) AND {column} = 'sensores:00003'"
            connection.execute(query.encode())
    with small_world(shm_dir, pg_dsn, lanes=lanes) as world:
        world.rt.set(L.C_BASE_TICK, 10)
        pid = world.start(crash)
        world.publish_ticks(11, 14, repairs=1)
        if crash is not None and crash.endswith(":2"):
            wait_until(lambda: world.count(L.P_TRANSACTIONS) >= 2, "a transaction")
        world.publish_ticks(15, 25, repairs=1)
        if crash is not None:
            assert exit_code(pid) == -signal.SIGKILL
            pid = world.start()
        assert world.stop(pid) == 0
        blocks = [f"sensores:{b:05d}" for b in range(6)]
        assert keys_of(pg_dsn) == [(t, b) for t in range(1, 26) for b in blocks]
        with psycopg.connect(pg_dsn) as connection:
            repeated = connection.execute(
                "SELECT tick, bloque FROM eventos GROUP BY tick, bloque, entidad"
                " HAVING count(*) > 1"
            ).fetchall()
            every = connection.execute(
                "SELECT DISTINCT tick, bloque FROM eventos ORDER BY tick, bloque"
            ).fetchall()
        assert every == [(t, b) for t in range(1, 26) for b in blocks]
        # the one entity that was repaired in two steps of its tick; the tables hold both
        assert repeated == [(20, "sensores:00005")]


def test_resumed_world_goes_on(shm_dir: Path, pg_dsn: str) -> None:
    with small_world(shm_dir, pg_dsn) as world:
        world.publish_ticks(1, 3)
        world.drain()
        world.publish_ticks(4, 6)
        world.drain()
        assert keys_of(pg_dsn) == expected_keys(world)
        assert world.count(L.P_ROWS) == 36
    assert list(instances_of(pg_dsn, "bloques")) == ["corec1"]


def test_zombie_writes_nothing_and_says_why(
    shm_dir: Path, tmp_path: Path, pg_dsn: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with (
        small_world(shm_dir, pg_dsn, epoch=7) as old,
        small_world(tmp_path, pg_dsn, epoch=8) as new,
    ):
        pid = old.start()
        old.publish_ticks(1, 2)
        wait_until(lambda: old.word(L.S_TICK) == 2, "the old world writes")
        new.publish_ticks(1, 1)
        new.drain()
        old.publish_ticks(3, 4)
        assert exit_code(pid) == TAKEN_OVER
        assert old.word(L.S_ERROR) != L.REASON_NONE
        assert old.rt.rows[0].used > 0
        assert exit_code(old.start()) == TAKEN_OVER, "a restart of the zombie is one too"
        assert keys_of(pg_dsn) == expected_keys(new)
        assert "belongs to world 8, expected 7" in capfd.readouterr().out


def test_tables_dropped_while_it_runs_are_made_again(shm_dir: Path, pg_dsn: str) -> None:
    with small_world(shm_dir, pg_dsn) as world:
        pid = world.start()
        world.publish_ticks(1, 2)
        wait_until(lambda: world.word(L.S_TICK) == 2, "the first rows are durable")
        with psycopg.connect(pg_dsn) as connection:
            connection.execute("DROP TABLE bloques, eventos, corec_offsets")
        world.publish_ticks(3, 4)
        assert world.stop(pid) == 0
        assert keys_of(pg_dsn) == [k for k in expected_keys(world) if k[0] > 2]


def test_rows_somebody_else_wrote_do_not_stop_it(shm_dir: Path, pg_dsn: str) -> None:
    with small_world(shm_dir, pg_dsn) as world:
        world.publish_ticks(1, 2)
        world.drain()
        with psycopg.connect(pg_dsn) as connection:
            connection.execute(
                "INSERT INTO bloques SELECT instance_id, id, canal, 3,"
                ' "timestamp", num_entidades, activas, errores, reparadas, carga, umbral, fitness,'
                " media, desviacion, mensajes, payload FROM bloques"
                " WHERE tick = 2 AND id = 'sensores:00001'"
            )
        world.publish_ticks(3, 4)
        world.drain()
        assert keys_of(pg_dsn) == expected_keys(world)
