"""Worlds set aside and taken back: no row is touched, none is lost, whatever is killed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from corec import layout as L
from corec.persister.schema import CREATE
from tests.persister.small_world import (
    SmallWorld,
    exit_code,
    expected_keys,
    keys_of,
    monotonic_ns,
    small_world,
)
from tests.support.processes import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_leaks")]

HOUR_NS = 3_600_000_000_000
START_NS = 1_795_348_800_000_000_000
HOURS = 20
"""More than one transaction's worth of leaves (``worlds.CHUNK``)."""


def asked(dsn: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(query.encode()).fetchall()


@contextmanager
def a_world(folder: Path, dsn: str, epoch: int) -> Iterator[SmallWorld]:
    with small_world(folder, dsn, epoch=epoch, blocks=2, persist={"partition": "hour"}) as world:
        yield world


def publish_hours(world: SmallWorld, ticks: range) -> None:
    """One tick in each hour, with a repair in each row."""
    for tick in ticks:
        for block in range(2):
            world.publish(tick, block, repairs=1, unix_ns=START_NS + tick * HOUR_NS)
        world.done(tick)


def test_no_row_is_touched_and_all_come_back(shm_dir: Path, tmp_path: Path, pg_dsn: str) -> None:
    with a_world(shm_dir, pg_dsn, 7) as first:
        publish_hours(first, range(1, 6))
        first.drain()
        rows = asked(pg_dsn, "SELECT ctid, xmin, * FROM bloques ORDER BY tick, id")
        events = asked(pg_dsn, "SELECT ctid, xmin, * FROM eventos ORDER BY tick, bloque")
        with a_world(tmp_path, pg_dsn, 8) as second:
            publish_hours(second, range(1, 3))
            second.drain()
            assert keys_of(pg_dsn) == expected_keys(second)
        aside = asked(pg_dsn, "SELECT ctid, xmin, * FROM mundos_bloques ORDER BY tick, id")
        assert [row[:-1] for row in aside] == rows
        aside = asked(pg_dsn, "SELECT ctid, xmin, * FROM mundos_eventos ORDER BY tick, bloque")
        assert [row[:-1] for row in aside] == events
        # the same lanes, adopted by another start: a world that is in memory still
        first.rt.slot(L.SLOT_PERSISTER).set(L.S_COUNT0 + L.P_OVERLAP, 0)
        publish_hours(first, range(6, 8))
        first.drain()
        assert keys_of(pg_dsn) == expected_keys(first)
        assert first.count(L.P_ROWS) == 14
        query = "SELECT ctid, xmin, * FROM bloques WHERE tick < 6 ORDER BY tick, id"
        assert asked(pg_dsn, query) == rows
        assert asked(pg_dsn, "SELECT count(*), count(DISTINCT mundo) FROM mundos_bloques") == [
            (4, 1)
        ]
        assert asked(pg_dsn, "SELECT epoch FROM corec_mundos WHERE mundo IS NULL") == [(7,)]


@pytest.mark.parametrize(
    "crash", ["persist.aside", "persist.aside:2", "persist.back", "persist.back:7"]
)
def test_killed_while_worlds_change(crash: str, shm_dir: Path, pg_dsn: str) -> None:
    """Epoch 7, 8, and 7 again as restored from a checkpoint; killed in the last change."""
    with a_world(shm_dir, pg_dsn, 7) as first:
        publish_hours(first, range(1, HOURS + 1))
        first.drain()
    with a_world(shm_dir, pg_dsn, 8) as second:
        publish_hours(second, range(1, HOURS + 1))
        second.drain()
    with a_world(shm_dir, pg_dsn, 7) as restored:
        restored.rt.set(L.C_BASE_TICK, 10)
        assert exit_code(restored.start(crash)) == -signal.SIGKILL
        pid = restored.start()
        publish_hours(restored, range(11, HOURS + 5))
        assert restored.stop(pid) == 0
        blocks = ["sensores:00000", "sensores:00001"]
        assert keys_of(pg_dsn) == [(t, b) for t in range(1, HOURS + 5) for b in blocks]
    query = "SELECT count(*), count(DISTINCT (tick, bloque)) FROM eventos"
    assert asked(pg_dsn, query) == [(2 * HOURS + 8, 2 * HOURS + 8)]
    assert asked(pg_dsn, "SELECT count(*), count(DISTINCT mundo) FROM mundos_eventos") == [
        (2 * HOURS, 1)
    ]


def old_layout(dsn: str, instances: list[str]) -> None:
    """Tables as an older CoreC left them: a plain partition with rows, and one without."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in CREATE:
            connection.execute(statement.encode())
        for table, index in (("bloques", "UNIQUE INDEX bloques_2026_11_22_key"),
                             ("eventos", "INDEX eventos_2026_11_22_tick")):  # fmt: skip
            for day in (22, 23):
                connection.execute(
                    f"CREATE TABLE {table}_2026_11_{day} PARTITION OF {table} FOR VALUES"
                    f" FROM ('2026-11-{day} 00:00+00') TO ('2026-11-{day + 1} 00:00+00')".encode()
                )
            columns = "instance_id, id, tick" if table == "bloques" else "instance_id, tick"
            connection.execute(f"CREATE {index} ON {table}_2026_11_22 ({columns})".encode())
        for instance in instances:
            connection.execute(
                "INSERT INTO bloques SELECT %s, 'sensores:00000', 1, n, '2026-11-22 12:00+00', 1,"
                " 1, 0, 0, 1, 1, 1, 1, 1, 1, NULL FROM generate_series(1, 9) n",
                (instance,),
            )
            connection.execute(
                "INSERT INTO corec_offsets VALUES (%s, 'rows-0', 5, 1, 64, 9, 0, 0, 9, -1)",
                (instance,),
            )


@pytest.mark.parametrize("instances", [["corec1"], ["corec1", "otro"], ["otro"]])
def test_new_world_over_tables_of_an_older_corec(
    instances: list[str], shm_dir: Path, pg_dsn: str
) -> None:
    old_layout(pg_dsn, instances)
    with small_world(shm_dir, pg_dsn, epoch=8) as world:
        world.publish_ticks(1, 3)
        world.drain()
        assert keys_of(pg_dsn) == expected_keys(world)
    plain = asked(
        pg_dsn, "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '^bloques'"
    )
    # a partition without a row gives way at once, one that is shared when the others are done
    assert plain == ([("bloques_2026_11_22",)] if "otro" in instances else [])
    if "otro" in instances:
        assert len(keys_of(pg_dsn, "otro")) == 9
    if instances == ["corec1"]:
        found = asked(pg_dsn, "SELECT count(*), count(DISTINCT mundo) FROM mundos_bloques")
        assert found == [(9, 1)]


def test_a_world_of_an_older_corec_goes_on(shm_dir: Path, pg_dsn: str) -> None:
    old_layout(pg_dsn, ["corec1"])
    with small_world(shm_dir, pg_dsn, epoch=5) as world:
        world.publish_ticks(9, 11)
        world.drain()
        restored = [key for key in expected_keys(world) if key != (9, "sensores:00000")]
        assert keys_of(pg_dsn) == sorted([(t, "sensores:00000") for t in range(1, 10)] + restored)
    assert asked(pg_dsn, "SELECT count(*) FROM mundos_bloques") == [(0,)]


def written(world: SmallWorld) -> bool:
    return world.word(L.S_TICK) == 1


def test_many_rows_are_set_aside_as_fast_as_few(shm_dir: Path, pg_dsn: str) -> None:
    """Setting aside is a matter of the catalogue: three hundred times the rows take no longer, or
    less than half of what writing them took, where the machine is busy."""
    seconds, made = [], 0.0
    for epoch, rows in ((7, 1_000), (9, 300_000)):
        with small_world(shm_dir, pg_dsn, epoch=epoch) as world:
            world.publish_ticks(1, 1)
            world.drain()
        with psycopg.connect(pg_dsn) as connection:
            began = monotonic_ns()
            connection.execute(
                'INSERT INTO bloques SELECT instance_id, id, canal, 10 + n, "timestamp",'
                " num_entidades, activas, errores, reparadas, carga, umbral, fitness, media,"
                " desviacion, mensajes, NULL FROM bloques, generate_series(1, %s) n"
                " WHERE id = 'sensores:00000' AND tick = 1",
                (rows,),
            )
            made = (monotonic_ns() - began) / 1e9
        with small_world(shm_dir, pg_dsn, epoch=epoch + 1) as world:
            began = monotonic_ns()
            pid = world.start()
            world.publish_ticks(1, 1)
            wait_until(partial(written, world), "the first row is durable")
            seconds.append((monotonic_ns() - began) / 1e9)
            assert world.stop(pid) == 0
            assert keys_of(pg_dsn) == expected_keys(world)
    assert seconds[1] < seconds[0] + max(1.0, made / 2), (seconds, made)
