"""What a server refuses, sets or holds: told, and rows go on or wait; never lost, never twice."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from corec import layout as L
from corec.embedded import EmbeddedPostgres
from corec.nucleus.doctor import database_checks
from corec.persister.preflight import unfit
from corec.process.events import PARTITION_KEPT
from tests.persister.small_world import SmallWorld, expected_keys, keys_of, small_world
from tests.support.processes import promised, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_leaks")]
TIMEOUTS = (
    "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout",
    "idle_session_timeout", "transaction_timeout",
)  # fmt: skip


@pytest.fixture
def admin(postgres: EmbeddedPostgres) -> Iterator[psycopg.Connection[Any]]:
    """A session that no setting of a test's own database reaches."""
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        yield connection


@contextmanager
def session(dsn: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        yield connection


def database(dsn: str) -> str:
    return str(conninfo_to_dict(dsn)["dbname"])


def ask(dsn: str, *statements: str) -> list[tuple[Any, ...]]:
    """Run statements; the last one's rows."""
    with session(dsn) as connection:
        for statement in statements:
            cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def old_partition(days: int) -> tuple[str, str]:
    """Name and statements of a plain partition that ended long ago."""
    day = datetime.now(UTC) - timedelta(days=days)
    name = f"bloques_{day:%Y_%m_%d}"
    after = day + timedelta(days=1)
    return name, (
        f"CREATE TABLE {name} (LIKE bloques); ALTER TABLE bloques ATTACH PARTITION {name} FOR"
        f" VALUES FROM ('{day:%Y-%m-%d} 00:00+00') TO ('{after:%Y-%m-%d} 00:00+00')"
    )


def reached(world: SmallWorld, tick: int) -> bool:
    return world.word(L.S_TICK) == tick


def told(folder: Path) -> set[str]:
    """The tables that ``corec-ctl doctor`` names, each with a reason."""
    wrong = [check for check in database_checks(folder) if not check["ok"]]
    assert all(check["detail"] for check in wrong)
    return {check["check"].removeprefix("table ") for check in wrong}


def kept_events(dsn: str) -> list[str]:
    query = f"SELECT detalle->>'partition' FROM eventos WHERE tipo = '{PARTITION_KEPT}' ORDER BY 1"
    return [row[0] for row in ask(dsn, query)]


def test_partitions_that_cannot_be_dropped_are_told_once_and_rows_go_on(
    shm_dir: Path, pg_dsn: str, admin: psycopg.Connection[Any]
) -> None:
    """One that a view needs, a leaf that a view needs, one that is somebody else's."""
    role = f"other_{database(pg_dsn)}"
    admin.execute(f"CREATE ROLE {role}".encode())
    app = f"app_{database(pg_dsn)}"
    admin.execute(f"CREATE ROLE {app}".encode())
    ask(pg_dsn, f"GRANT ALL ON SCHEMA public TO {app}")
    dsn = pg_dsn + f"&options=-crole%3D{app}"
    now_ns = int(datetime.now(UTC).timestamp()) * 10**9
    old_ns = int((datetime.now(UTC) - timedelta(days=7)).timestamp()) * 10**9
    try:
        with small_world(shm_dir, dsn, persist={"retention": "2d"}) as world:
            world.publish(1, 0, unix_ns=now_ns)
            world.drain()
            viewed, foreign, free = (old_partition(days) for days in (20, 19, 18))
            ask(dsn, *(statement for _, statement in (viewed, foreign, free)))
            ask(dsn, f"CREATE VIEW january AS SELECT * FROM {viewed[0]}")
            ask(pg_dsn, f"ALTER TABLE {foreign[0]} OWNER TO {role}")
            world.publish(2, 0, unix_ns=old_ns)
            world.drain()
            leaf = ask(dsn, "SELECT tableoid::regclass::text FROM bloques WHERE tick = 2")[0][0]
            ask(dsn, f"CREATE VIEW february AS SELECT * FROM {leaf}")
            for tick in (3, 4):
                pid = world.start()
                world.publish(tick, 0, unix_ns=now_ns)
                world.done(tick)
                wait_until(partial(reached, world, tick), "the row is durable")
                assert told(shm_dir) == {viewed[0], foreign[0], leaf}
                assert world.stop(pid) == 0
            assert sorted(kept_events(dsn)) == sorted([viewed[0], foreign[0], leaf])
            parts = {row[0] for row in ask(dsn, "SELECT relname FROM pg_class")}
            assert free[0] not in parts
            ask(dsn, "DROP VIEW january, february")
            ask(pg_dsn, f"ALTER TABLE {foreign[0]} OWNER TO {app}")
            world.publish(5, 0, unix_ns=now_ns)
            world.drain()
            assert told(shm_dir) == set()
            (version,) = database_checks(shm_dir)
            assert version["ok"]
            assert "." in version["detail"]
            parts = {row[0] for row in ask(dsn, "SELECT relname FROM pg_class")}
            assert not {viewed[0], foreign[0], leaf} & parts
            assert [tick for tick, _ in keys_of(dsn)] == [1, 3, 4, 5]
    finally:
        ask(pg_dsn, f"DROP OWNED BY {app}, {role} CASCADE")
        admin.execute(f"DROP ROLE {app}, {role}".encode())


def test_time_limits_of_the_database_do_not_break_rows(
    shm_dir: Path, pg_dsn: str, admin: psycopg.Connection[Any]
) -> None:
    name = database(pg_dsn)
    known = {
        row[0]
        for row in admin.execute("SELECT name FROM pg_settings WHERE name = ANY (%s)", (
            list(TIMEOUTS),
        ))
    }  # fmt: skip
    for setting in known:
        admin.execute(f"ALTER DATABASE {name} SET {setting} = '150ms'".encode())
    admin.execute(
        f"ALTER DATABASE {name} SET default_transaction_isolation = serializable".encode()
    )
    with small_world(shm_dir, pg_dsn) as world:
        pid = world.start()
        world.publish_ticks(1, 60, messages=60)
        wait_until(lambda: world.word(L.S_TICK) == 60, "the rows are durable", 30.0)
        # longer than any of the limits in an open session
        idle_until = time.monotonic() + 0.5
        wait_until(lambda: time.monotonic() > idle_until, "the session was idle for a while")
        world.publish_ticks(61, 62)
        assert world.stop(pid) == 0
        admin.execute(f"ALTER DATABASE {name} RESET ALL".encode())
        assert keys_of(pg_dsn) == expected_keys(world)


@pytest.mark.parametrize("table", ["bloques", "eventos", "corec_offsets"])
def test_somebody_locks_a_table(table: str, shm_dir: Path, pg_dsn: str) -> None:
    with small_world(shm_dir, pg_dsn) as world:
        pid = world.start()
        world.publish_ticks(1, 2, repairs=1)
        wait_until(lambda: world.word(L.S_TICK) == 2, "the first rows are durable")
        with psycopg.connect(pg_dsn) as other:
            other.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
            world.publish_ticks(3, 4, repairs=1)
            wait_until(lambda: world.word(L.S_STATE) == L.PROC_WAITING_SINK, "it is shown", 20.0)
        wait_until(lambda: world.word(L.S_TICK) == 4, "they are written", 30.0)
        assert world.stop(pid) == 0
        assert keys_of(pg_dsn) == expected_keys(world)


BREAKAGES = {
    "rights": ("ALTER TABLE bloques OWNER TO {other}", "ALTER TABLE bloques OWNER TO {app}"),
    "a table": ("DROP TABLE eventos", "DROP TABLE bloques, corec_offsets"),
    "a column": ("ALTER TABLE bloques RENAME media TO mean",
                 "ALTER TABLE bloques RENAME mean TO media"),
    "the schema": ("ALTER SCHEMA public RENAME TO gone", "ALTER SCHEMA gone RENAME TO public"),
}  # fmt: skip


@pytest.mark.parametrize("what", list(BREAKAGES))
def test_what_does_not_pass_is_told_a_stop_is_soon_and_the_next_start_delivers(
    what: str, shm_dir: Path, pg_dsn: str, admin: psycopg.Connection[Any]
) -> None:
    app, other = f"app_{database(pg_dsn)}", f"other_{database(pg_dsn)}"
    admin.execute(f"CREATE ROLE {app}; CREATE ROLE {other}".encode())
    ask(pg_dsn, f"GRANT ALL ON SCHEMA public TO {app}")
    dsn = pg_dsn + f"&options=-crole%3D{app}"
    breakage, repair = (text.format(app=app, other=other) for text in BREAKAGES[what])
    try:
        with small_world(shm_dir, dsn, embedded=False) as world:
            pid = world.start()
            world.publish_ticks(1, 2, repairs=1)
            wait_until(lambda: world.word(L.S_TICK) == 2, "the first rows are durable")
            ask(pg_dsn, breakage)
            world.publish_ticks(3, 4, repairs=1)
            wait_until(lambda: world.word(L.S_ERROR) == L.REASON_REFUSED, "it is told")
            assert world.stop(pid, promised(5.0)) == 0
            assert world.count(L.P_SPOOL_BYTES) > 0
            ask(pg_dsn, repair)
            world.drain()
            expected = expected_keys(world)
            if what == "a table":  # what was in it is gone
                expected = [key for key in expected if key[0] > 2]
            assert keys_of(dsn) == expected
            fixes = ask(dsn, "SELECT tick, bloque FROM eventos WHERE tipo = 'repair' ORDER BY 1, 2")
            assert fixes == expected
    finally:
        ask(pg_dsn, f"DROP OWNED BY {app}, {other} CASCADE")
        admin.execute(f"DROP ROLE {app}, {other}".encode())


def reason(dsn: str, *before: str) -> str | None:
    with session(dsn) as connection:
        for statement in before:
            connection.execute(statement.encode())
        return unfit(connection)


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_another_encoding_is_refused(
    encoding: str, pg_dsn: str, admin: psycopg.Connection[Any]
) -> None:
    name = f"{database(pg_dsn)}_{encoding.lower()}"
    libc = "LOCALE_PROVIDER libc" if admin.info.server_version >= 150_000 else ""
    admin.execute(
        f"CREATE DATABASE {name} ENCODING '{encoding}' {libc} LC_COLLATE 'C' LC_CTYPE 'C'"
        " TEMPLATE template0".encode()
    )
    try:
        found = reason(pg_dsn.replace(f"@/{database(pg_dsn)}?", f"@/{name}?"))
        assert found is not None
        assert f"encoding is {encoding}, expected UTF8" in found
    finally:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def test_what_can_never_work_is_refused_with_the_reason(
    shm_dir: Path, pg_dsn: str, admin: psycopg.Connection[Any]
) -> None:
    role = f"weak_{database(pg_dsn)}"
    admin.execute(f"CREATE ROLE {role}".encode())
    weak = f"SET ROLE {role}"
    ask(pg_dsn, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")  # as it is from PostgreSQL 15 on
    try:
        assert reason(pg_dsn) is None
        assert "may not create tables in schema public" in str(reason(pg_dsn, weak))
        assert "read-only" in str(reason(pg_dsn, "SET default_transaction_read_only = on"))
        assert "none of the schemas" in str(reason(pg_dsn, "SET search_path = nowhere"))
        with small_world(shm_dir, pg_dsn) as world:
            world.drain()
        assert reason(pg_dsn) is None
        ask(pg_dsn, f"GRANT ALL ON SCHEMA public TO {role}")
        assert "belongs to role corec" in str(reason(pg_dsn, weak))
        ask(pg_dsn, "ALTER TABLE bloques RENAME fitness TO aptitud")
        assert "lacks fitness float8" in str(reason(pg_dsn))
        ask(pg_dsn, "DROP TABLE bloques")
        assert "bloques is missing while" in str(reason(pg_dsn))
    finally:
        ask(pg_dsn, f"DROP OWNED BY {role} CASCADE")
        admin.execute(f"DROP ROLE {role}".encode())


POISON = {
    "PGHOST": "/nowhere", "PGHOSTADDR": "127.0.0.9", "PGPORT": "1", "PGDATABASE": "nowhere",
    "PGUSER": "nobody", "PGSERVICE": "nowhere", "PGOPTIONS": "-c nothing=1",
    "PGCLIENTENCODING": "LATIN1", "PGSSLMODE": "require", "PGTARGETSESSIONATTRS": "standby",
    "PGCONNECT_TIMEOUT": "x", "PGGSSENCMODE": "require", "PGREQUIREAUTH": "scram-sha-256",
    "PGDATESTYLE": "SQL, DMY", "PGTZ": "Asia/Tokyo", "PGLOADBALANCEHOSTS": "x",
    "PGDATA": "/nowhere",
}  # fmt: skip


def test_variables_of_libpq_reach_neither_the_embedded_server_nor_its_clients(
    shm_dir: Path, tmp_path: Path, servers_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = EmbeddedPostgres(tmp_path / "postgres", servers_dir / "poison")
    with monkeypatch.context() as patched:
        for name, value in POISON.items():
            patched.setenv(name, value)
        server.start()
    try:
        with small_world(shm_dir, server.dsn) as world:
            pid = world.start(before=lambda: os.environ.update(POISON))
            world.publish_ticks(1, 3)
            wait_until(lambda: world.word(L.S_TICK) == 3, "the rows are durable")
            assert world.stop(pid) == 0
            assert keys_of(server.dsn) == expected_keys(world)
    finally:
        server.stop()


def test_somebody_locks_everything_while_it_stops(shm_dir: Path, pg_dsn: str) -> None:
    def waits(world: SmallWorld) -> bool:
        return world.word(L.S_STATE) == L.PROC_WAITING_SINK

    with small_world(shm_dir, pg_dsn) as world:
        world.publish_ticks(1, 1)
        world.drain()
        with psycopg.connect(pg_dsn) as other:
            other.execute("LOCK TABLE bloques IN ACCESS EXCLUSIVE MODE")
            pid = world.start()
            world.publish_ticks(2, 3)
            wait_until(lambda: waits(world), "it is shown", 20.0)
            assert world.stop(pid) == 0
        world.drain()
        assert keys_of(pg_dsn) == expected_keys(world)
