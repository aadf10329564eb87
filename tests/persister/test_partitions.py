"""Partitions on a real server: boundaries, many at once, mixed units, retention."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from corec.persister.partitions import Partitions, world_key
from corec.persister.periods import Unit
from corec.persister.reasons import ForeignSchema
from corec.persister.retention import Retention
from corec.persister.schema import ensure_schema
from corec.persister.writer import connect
from tests.persister.small_world import expected_keys, keys_of, small_world

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_leaks")]

MIDNIGHT = datetime(2027, 1, 1, tzinfo=UTC)


def partitions_of(dsn: str, table: str = "bloques") -> list[str]:
    with psycopg.connect(dsn) as connection:
        found = connection.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits"
            " WHERE inhparent = %s::regclass ORDER BY 1",
            (table,),
        ).fetchall()
    return [name for (name,) in found]


def places_of(dsn: str) -> dict[str, int]:
    """Rows of ``bloques`` by partition: by the one that their leaf is in."""
    with psycopg.connect(dsn) as connection:
        found = connection.execute(
            "SELECT inhparent::regclass::text, count(*) FROM bloques b"
            " JOIN pg_inherits i ON i.inhrelid = b.tableoid GROUP BY 1"
        ).fetchall()
    return dict(found)


@pytest.mark.parametrize(
    ("unit", "names"),
    [
        ("hour", ("bloques_2026_12_31_23", "bloques_2027_01_01_00")),
        ("day", ("bloques_2026_12_31", "bloques_2027_01_01")),
        ("month", ("bloques_2026_12", "bloques_2027_01")),
    ],
)
def test_rows_on_both_sides_of_a_boundary(
    unit: Unit, names: tuple[str, str], shm_dir: Path, pg_dsn: str
) -> None:
    last_ns = int(MIDNIGHT.timestamp()) * 10**9 - 1
    with small_world(shm_dir, pg_dsn, persist={"partition": unit}) as world:
        for tick, unix_ns in ((1, last_ns - 999), (2, last_ns + 1), (3, last_ns + 10**9)):
            for block in range(6):
                world.publish(tick, block, unix_ns=unix_ns, repairs=1)
        world.done(3)
        world.drain()
        assert keys_of(pg_dsn) == expected_keys(world)
    assert places_of(pg_dsn) == {names[0]: 6, names[1]: 12}
    assert {name.replace("bloques", "eventos") for name in names} <= set(
        partitions_of(pg_dsn, "eventos")
    )
    now = datetime.now(UTC)
    form = {"hour": "%Y_%m_%d_%H", "day": "%Y_%m_%d", "month": "%Y_%m"}[unit]
    assert f"bloques_{now.strftime(form)}" in partitions_of(pg_dsn)
    assert len(partitions_of(pg_dsn)) >= 5


def test_each_partition_has_its_indexes(shm_dir: Path, pg_dsn: str) -> None:
    with small_world(shm_dir, pg_dsn) as world:
        world.publish_ticks(1, 1)
        world.drain()
    with psycopg.connect(pg_dsn) as connection:
        found = connection.execute(
            "SELECT indexdef FROM pg_indexes WHERE tablename = 'bloques_2026_11_22' ORDER BY 1"
        ).fetchall()
        storage = connection.execute(
            "SELECT attstorage::text FROM pg_attribute"
            " WHERE attrelid = 'bloques_2026_11_22'::regclass AND attname = 'payload'"
        ).fetchone()
    text = "\n".join(line for (line,) in found)
    assert "UNIQUE" in text
    assert "(instance_id, id, tick)" in text
    assert '(canal, "timestamp" DESC)' in text
    assert storage == ("e",)


def test_a_table_that_was_dropped_is_made_anew_where_it_can_be_nobody_elses(pg_dsn: str) -> None:
    async def tables(*, ours: bool) -> str:
        connection = await connect(pg_dsn)
        try:
            return await ensure_schema(connection, ours=ours)
        finally:
            await connection.close()

    def indexes() -> list[tuple[str, ...]]:
        with psycopg.connect(pg_dsn) as connection:
            return connection.execute(
                "SELECT indexname FROM pg_indexes WHERE tablename IN ('bloques', 'eventos')"
            ).fetchall()

    asyncio.run(tables(ours=False))
    whole = sorted(indexes())
    for table in ("bloques", "eventos"):
        with psycopg.connect(pg_dsn, autocommit=True) as connection:
            connection.execute(f"DROP TABLE {table}")
        with pytest.raises(ForeignSchema, match=f"the table {table} is missing while .* put it"):
            asyncio.run(tables(ours=False))
        assert asyncio.run(tables(ours=True)) == "public"
        assert sorted(indexes()) == whole
    with psycopg.connect(pg_dsn, autocommit=True) as connection:
        connection.execute("DROP TABLE corec_offsets")
    with pytest.raises(ForeignSchema, match="corec_offsets is missing"):
        asyncio.run(tables(ours=True))  # where rows go on is not to be guessed


def test_many_make_the_same_tables_and_partitions_at_once(pg_dsn: str) -> None:
    moments = [MIDNIGHT + timedelta(days=d) for d in range(5)]

    async def one(unit: Unit) -> list[str]:
        connection = await connect(pg_dsn)
        try:
            await connection.execute("SET TIME ZONE 'UTC'")
            schema = await ensure_schema(connection)
            partitions = Partitions(connection, schema, unit, "corec1", world_key("corec1", 7))
            return await partitions.ensure("bloques", moments)
        finally:
            await connection.close()

    async def all_of_them() -> list[list[str]]:
        return await asyncio.gather(*(one("day") for _ in range(8)))

    made = asyncio.run(all_of_them())
    assert sorted(name for names in made for name in names) == partitions_of(pg_dsn)
    assert partitions_of(pg_dsn) == [f"bloques_2027_01_0{d}" for d in range(1, 6)]


def test_units_may_change(shm_dir: Path, tmp_path: Path, pg_dsn: str) -> None:
    """Days, then months: this month goes on in days, an untouched one is a month."""
    units: list[Unit] = ["day", "month", "hour"]
    for number, unit in enumerate(units):
        folder = shm_dir / unit
        folder.mkdir()
        options = {"instance": f"i{number}", "persist": {"partition": unit}}
        with small_world(folder, pg_dsn, **options) as world:
            for tick, day in ((1, 0), (2, 1), (3, 40)):
                moment = MIDNIGHT + timedelta(days=day)
                world.publish(tick, 0, unix_ns=int(moment.timestamp()) * 10**9)
            world.drain()
    assert places_of(pg_dsn) == {
        "bloques_2027_01_01": 3,
        "bloques_2027_01_02": 3,
        "bloques_2027_02_10": 3,
    }


def test_retention_drops_what_is_old_and_keeps_what_others_have(
    shm_dir: Path, tmp_path: Path, pg_dsn: str
) -> None:
    now = datetime.now(UTC)
    old_ns = [int((now - timedelta(days=d)).timestamp()) * 10**9 for d in (9, 5, 0)]
    with small_world(tmp_path, pg_dsn, instance="otro") as other:
        other.publish(1, 0, unix_ns=old_ns[1])
        other.drain()
    with small_world(shm_dir, pg_dsn, persist={"retention": "2d"}) as world:
        for tick, unix_ns in enumerate(old_ns, 1):
            world.publish(tick, 0, unix_ns=unix_ns, repairs=1)
        world.done(3)
        world.drain()
        world.publish(4, 0, unix_ns=old_ns[2])
        world.drain()
        assert keys_of(pg_dsn) == [(3, "sensores:00000"), (4, "sensores:00000")]
    assert keys_of(pg_dsn, "otro") == [(1, "sensores:00000")]
    days = [(now - timedelta(days=d)).strftime("%Y_%m_%d") for d in (9, 5)]
    assert f"bloques_{days[0]}" not in partitions_of(pg_dsn)
    assert f"bloques_{days[1]}" in partitions_of(pg_dsn)
    assert f"eventos_{days[1]}" not in partitions_of(pg_dsn, "eventos")


def test_clock_that_jumped_ahead_drops_nothing(shm_dir: Path, pg_dsn: str) -> None:
    with small_world(shm_dir, pg_dsn) as world:
        now = datetime.now(UTC)
        world.publish(1, 0, unix_ns=int(now.timestamp()) * 10**9)
        world.drain()

    async def drop() -> list[str]:
        connection = await connect(pg_dsn)
        try:
            await connection.execute("SET TIME ZONE 'UTC'")
            schema = await ensure_schema(connection)
            key = world_key("corec1", 7)
            partitions = Partitions(connection, schema, "day", "corec1", key)
            retention = Retention(connection, partitions, "corec1", timedelta(days=2))
            return (await retention.round(datetime.now(UTC) + timedelta(days=365))).names
        finally:
            await connection.close()

    assert asyncio.run(drop()) == []
    assert keys_of(pg_dsn) == [(1, "sensores:00000")]
