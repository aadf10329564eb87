"""Fixtures: one real PostgreSQL and one real Valkey for the whole test session.

`pg_dsn` and `valkey_url` are clean for each test: a database of its own, an emptied Valkey. Tests
that kill or stop a server make their own with `EmbeddedPostgres` / `EmbeddedValkey`.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psycopg
import pytest
import redis

from corec.embedded import EmbeddedPostgres, EmbeddedValkey

_database_numbers = itertools.count()
_ROOM: Final = 4 << 30
"""Bytes: several processes of pytest have servers, each with 40 MB and a log of as much."""


def _memory() -> str | None:
    """Where files are memory, if there is plenty of it."""
    path = "/dev/shm"
    there = os.access(path, os.W_OK) and shutil.disk_usage(path).free > _ROOM
    return path if there else None


@pytest.fixture(scope="session")
def servers_dir() -> Iterator[Path]:
    """A directory for the session's servers, with a short name (a socket's path is limited).

    In memory where there is room: a database is some 300 files, and one is made for each test.
    """
    path = Path(tempfile.mkdtemp(prefix="corec-test-", dir=_memory()))
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def postgres(servers_dir: Path) -> Iterator[EmbeddedPostgres]:
    """The session's PostgreSQL. Do not stop it.

    It waits for no disk: what a lost machine leaves is looked at with servers of a test's own.
    """
    folder = servers_dir / "postgres"
    folder.mkdir()
    (folder / "custom.conf").write_text("fsync = off\nfull_page_writes = off\n")
    server = EmbeddedPostgres(folder, servers_dir / "run")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def valkey(servers_dir: Path) -> Iterator[EmbeddedValkey]:
    """The session's Valkey. Do not stop it."""
    server = EmbeddedValkey(servers_dir / "valkey", servers_dir / "run")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def pg_dsn(postgres: EmbeddedPostgres) -> Iterator[str]:
    """Address of an empty database of the test's own, dropped afterwards."""
    name = f"test_{next(_database_numbers)}"
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        # its files are copied, a quarter of the CPU time of writing them through the log
        copied = " STRATEGY file_copy" if connection.info.server_version >= 150_000 else ""
        connection.execute(f"CREATE DATABASE {name}{copied}")
        yield postgres.dsn.replace("@/corec?", f"@/{name}?")
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def valkey_url(valkey: EmbeddedValkey) -> str:
    """Address of the session's Valkey, empty."""
    with redis.Redis.from_url(valkey.url) as client:
        client.flushall()
    return valkey.url


@pytest.fixture
def shm_dir() -> Iterator[Path]:
    """A directory on tmpfs (where there is one) for runtime files; removed afterwards.

    Fails the test if a file is left in it: whoever makes a segment or a socket removes it.
    """
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    path = Path(tempfile.mkdtemp(prefix="corec-test-", dir=base))
    yield path
    left = sorted(str(p.relative_to(path)) for p in path.rglob("*") if not p.is_dir())
    shutil.rmtree(path)
    assert not left, f"files left in the runtime directory: {left}"
