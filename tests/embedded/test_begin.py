"""Servers that are begun and not waited for: what a start does while it loads itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
import redis

from corec.embedded import EmbeddedPostgres, EmbeddedServerError, EmbeddedValkey
from tests.support.processes import children_of, patient, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_leaks")]

HEAVY = ("numba", "llvmlite", "psycopg", "redis", "uvloop", "shm.jit", "corec.supervisor.main")


def _databases(dsn: str) -> set[str]:
    with psycopg.connect(dsn) as connection:
        return {str(row[0]) for row in connection.execute("SELECT datname FROM pg_database")}


def test_the_database_is_made_and_started_meanwhile(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "data", tmp_path / "run")
    server.begin()
    assert not server.alive()
    server.begin()  # changes nothing

    def started() -> bool:
        server.advance()
        return server.alive()

    wait_until(started, "initdb has ended and the server runs", 60.0)
    running = server.pid
    server.start()
    assert server.pid == running
    assert _databases(server.dsn) == {"corec", "template0", "template1"}
    server.stop()

    again = EmbeddedPostgres(tmp_path / "data", tmp_path / "run")
    again.begin()
    assert again.alive()
    again.start()
    assert _databases(again.dsn) == {"corec", "template0", "template1"}
    again.stop()


def test_a_database_that_is_missing_later_is_made_and_none_is_renamed(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "data", tmp_path / "run")
    server.start()
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute("CREATE DATABASE postgres")
    with psycopg.connect(server.dsn, dbname="postgres", autocommit=True) as connection:
        connection.execute("DROP DATABASE corec")
    server.restart()
    assert _databases(server.dsn) == {"corec", "postgres", "template0", "template1"}
    server.stop()


def test_stopped_within_initdb_it_leaves_nothing(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "data", tmp_path / "run")
    server.begin()
    made = tmp_path / "data" / "pgdata.new"
    wait_until(lambda: (made / "base").exists(), "initdb is at work", 30.0)
    server.stop()
    assert not made.exists()
    server.start()
    assert "corec" in _databases(server.dsn)
    server.stop()


def test_initdb_that_fails_is_told_by_start(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "data", tmp_path / "run")
    server.begin()
    wait_until(lambda: children_of(initdb_pid(server)), "initdb has a child", 30.0)
    os.kill(initdb_pid(server), signal.SIGKILL)
    with pytest.raises(EmbeddedServerError, match="initdb failed"):
        server.start()
    server.start()
    assert "corec" in _databases(server.dsn)
    server.stop()


def initdb_pid(server: EmbeddedPostgres) -> int:
    """The pid of the initdb that was begun."""
    assert server._making is not None
    return server._making._child.pid


def test_valkey_is_begun_and_answers_after_start(tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path / "data", tmp_path / "run")
    server.begin()
    running = server.pid
    assert running is not None
    server.begin()
    server.start()
    server.start()
    assert server.pid == running
    with redis.Redis.from_url(server.url) as client:
        assert client.ping()
    server.stop()

    server.begin()
    server.stop()
    assert server.pid is None


def test_what_begins_a_start_loads_nothing_heavy() -> None:
    code = f"import sys, corec.supervisor.begin; print([n for n in {HEAVY} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=patient(60),
        check=True,
    )
    assert done.stdout.strip() == "[]"
