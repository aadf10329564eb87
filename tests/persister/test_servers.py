"""Servers as operators have them: ordinary roles, rights taken away, tables of somebody else."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from corec import layout as L
from corec.embedded import EmbeddedPostgres
from corec.persister.reach import Reach
from corec.persister.writer import connect
from tests.persister.small_world import exit_code, expected_keys, keys_of, small_world
from tests.support.processes import promised, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_leaks")]


@pytest.fixture
def owner_dsn(postgres: EmbeddedPostgres) -> Iterator[str]:
    """A database as an operator makes one: owned by a role that is nothing but its owner."""
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        connection.execute("CREATE ROLE app NOSUPERUSER NOCREATEDB NOCREATEROLE")
        connection.execute("CREATE DATABASE app OWNER app")
        yield postgres.dsn.replace("@/corec?", "@/app?") + "&options=" + quote("-c role=app")
        connection.execute("DROP DATABASE app WITH (FORCE)")
        connection.execute("DROP ROLE app")


def test_role_that_only_owns_its_database(shm_dir: Path, owner_dsn: str) -> None:
    with small_world(shm_dir, owner_dsn, persist={"retention": "1d", "partition": "hour"}) as world:
        world.publish(1, 0, unix_ns=10**18)
        world.drain()
        world.publish_ticks(2, 4, unix_ns=2 * 10**18)
        world.drain()
        assert keys_of(owner_dsn) == expected_keys(world)[1:]
    with psycopg.connect(owner_dsn) as connection:
        row = connection.execute(
            "SELECT current_user, (SELECT rolname FROM pg_roles r JOIN pg_class c"
            " ON c.relowner = r.oid WHERE c.relname = 'bloques')"
        ).fetchone()
    assert row == ("app", "app")


def test_read_only_for_a_while(shm_dir: Path, owner_dsn: str, postgres: EmbeddedPostgres) -> None:
    with small_world(shm_dir, owner_dsn) as world:
        pid = world.start()
        world.publish_ticks(1, 2)
        wait_until(lambda: world.word(L.S_TICK) == 2, "the first rows are durable")
        _set_database(postgres, "ALTER DATABASE app SET default_transaction_read_only = on")
        world.publish_ticks(3, 4)
        wait_until(
            lambda: world.word(L.S_ERROR) == L.REASON_SERVER_ERROR, "it waits for the server"
        )
        wait_until(lambda: world.word(L.S_STATE) == L.PROC_WAITING_SINK, "it waits")
        _set_database(postgres, "ALTER DATABASE app RESET default_transaction_read_only")
        assert world.stop(pid) == 0
        assert keys_of(owner_dsn) == expected_keys(world)


def _set_database(postgres: EmbeddedPostgres, statement: str) -> None:
    """Change a setting of the database and end its sessions, as an administrator would."""
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        connection.execute(statement.encode())
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'app'"
        )


def test_role_loses_its_right_for_a_while(
    shm_dir: Path, owner_dsn: str, postgres: EmbeddedPostgres
) -> None:
    with small_world(shm_dir, owner_dsn) as world:
        pid = world.start()
        world.publish_ticks(1, 1)
        wait_until(lambda: world.word(L.S_TICK) == 1, "the first rows are durable")
        with psycopg.connect(owner_dsn, autocommit=True) as connection:
            connection.execute("REVOKE INSERT ON bloques FROM app")
            world.publish_ticks(2, 3)
            wait_until(lambda: world.word(L.S_ERROR) == L.REASON_REFUSED, "it is refused")
            connection.execute("GRANT INSERT ON bloques TO app")
        assert world.stop(pid) == 0
        assert keys_of(owner_dsn) == expected_keys(world)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("CREATE TABLE eventos (a int)", "public.eventos is not a table as CoreC makes it"),
        (
            "CREATE TABLE bloques (id text, canal int8) PARTITION BY RANGE (id)",
            "public.bloques lacks instance_id text, canal int2, tick int8",
        ),
    ],
)
def test_tables_of_somebody_else(
    statement: str, message: str, shm_dir: Path, pg_dsn: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with psycopg.connect(pg_dsn) as connection:
        connection.execute(statement.encode())
    with small_world(shm_dir, pg_dsn) as world:
        world.publish_ticks(1, 1)
        pid = world.start()
        wait_until(lambda: world.word(L.S_ERROR) != L.REASON_NONE, "it is told")
        os.kill(pid, 0)  # it waits, and writes as soon as the tables are right
        assert message in capfd.readouterr().out
        assert world.rt.rows[0].used > 0


@pytest.mark.parametrize(
    "dsn",
    [
        "host=127.0.0.1 port={port} user=u password=hunter2secret dbname=d",
        "postgresql://u:hunter2secret@127.0.0.1:{port}/d",
        "postgresql://u:hunter2secret@127.0.0.1:no/d",
    ],
)
def test_password_is_never_shown(
    dsn: str, shm_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        with small_world(shm_dir, dsn.format(port=free.getsockname()[1])) as world:
            pid = world.start()
            wait_until(lambda: world.word(L.S_STATE) == L.PROC_WAITING_SINK, "it waits")
            before = world.word(L.S_BEAT_NS)
            wait_until(lambda: world.word(L.S_BEAT_NS) > before, "a heartbeat", promised(1.0))
            world.rt.set(L.C_STOP, L.STOP_NOW)
            assert exit_code(pid, promised(2.0)) == 0
    shown = capfd.readouterr()
    assert "hunter2secret" not in shown.out + shown.err
    assert shown.out.count("takes no rows") == 1


def test_a_long_transaction_that_goes_on_is_not_silent(postgres: EmbeddedPostgres) -> None:
    """Each answer counts, and each piece of a COPY that the server takes."""

    async def steps() -> None:
        connection = await connect(postgres.dsn)
        try:
            late = 0.0
            reach = Reach(lambda: time.monotonic() + late)
            assert reach.silent_seconds() == 0.0
            began = time.monotonic()
            reach.asked()
            late = 60.0
            assert reach.silent_seconds() >= 60.0
            reach.connected(connection)
            assert reach.silent_seconds() >= 60.0, "it has answered nothing yet"
            await connection.execute("CREATE TEMP TABLE t (x text)")
            assert connection.heard >= began
            assert reach.silent_seconds() <= 60.0 + time.monotonic() - connection.heard
            async with connection.cursor() as cursor, cursor.copy("COPY t FROM STDIN") as copy:
                for _ in range(3):
                    heard = connection.heard
                    await copy.write("x" * (1 << 20))
                    assert connection.heard > heard
        finally:
            await connection.close()

    asyncio.run(steps())
