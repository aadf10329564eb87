"""What real servers do: refuse the password, the connection or the write, crash, break off."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from corec import layout as L
from corec.embedded import EmbeddedPostgres
from tests.persister.small_world import SmallWorld, expected_keys, keys_of, small_world
from tests.support.processes import wait_until
from tests.support.proxied import Proxied

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_leaks")]
LANE = 1 << 14
HBA = """local all all peer map=corec
host all app 127.0.0.1/32 scram-sha-256
"""


class External:
    """A PostgreSQL with a role that has a password, on TCP, as operators have it."""

    def __init__(self, server: EmbeddedPostgres, port: int) -> None:
        self.server = server
        self.admin = server.dsn
        self.dsn = make_conninfo(
            host="127.0.0.1", port=port, user="app", password="first-word", dbname="app"
        )

    def ask(self, statement: str) -> None:
        """Run a statement as the administrator."""
        with psycopg.connect(self.admin, autocommit=True) as connection:
            connection.execute(statement.encode())

    def end_sessions(self) -> None:
        """End the persister's session."""
        self.ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, servers_dir: Path) -> Iterator[External]:
    """One for the tests of this file."""
    home = tmp_path_factory.mktemp("external") / "data"
    home.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (home / "hba.conf").write_text(HBA)
    (home / "hba.conf").chmod(0o644)
    (home / "custom.conf").write_text(
        f"listen_addresses = '127.0.0.1'\nhba_file = '{home / 'hba.conf'}'\nmax_connections = 12\n"
        "superuser_reserved_connections = 4\n"
    )
    (home / "custom.conf").chmod(0o644)
    one = EmbeddedPostgres(home, servers_dir / "external", port=port)
    one.start()
    found = External(one, port)
    found.ask("CREATE ROLE app LOGIN PASSWORD 'first-word'")
    yield found
    one.stop()


@pytest.fixture
def external(server: External) -> Iterator[External]:
    """The server with an empty database ``app`` and the first password."""
    server.ask("CREATE DATABASE app OWNER app")
    server.ask("ALTER ROLE app PASSWORD 'first-word'")
    yield server
    server.ask("DROP DATABASE app WITH (FORCE)")


def test_password_is_changed_and_changed_back(
    shm_dir: Path, tmp_path: Path, external: External, capfd: pytest.CaptureFixture[str]
) -> None:
    with small_world(shm_dir, external.dsn, capacity=LANE, state=tmp_path) as world:
        pid = world.start()
        world.publish_ticks(1, 5)
        wait_until(lambda: world.word(L.S_TICK) == 5, "the first rows are durable")
        external.ask("ALTER ROLE app PASSWORD 'second-word'")
        external.end_sessions()
        world.publish_ticks(6, 60)
        wait_until(lambda: world.word(L.S_ERROR) == L.REASON_REFUSED, "the refusal is shown")
        wait_until(lambda: world.word(L.S_STATE) == L.PROC_WAITING_SINK, "it waits")
        assert world.count(L.P_SPOOL_BYTES) > 0
        external.ask("ALTER ROLE app PASSWORD 'first-word'")
        assert world.stop(pid) == 0
        assert keys_of(external.dsn) == expected_keys(world)
        assert world.spool_files() == []
    written = "".join(capfd.readouterr())
    assert "first-word" not in written


def test_too_many_connections(shm_dir: Path, tmp_path: Path, external: External) -> None:
    with small_world(shm_dir, external.dsn, capacity=LANE, state=tmp_path) as world:
        pid = world.start()
        world.publish_ticks(1, 5)
        wait_until(lambda: world.word(L.S_TICK) == 5, "the first rows are durable")
        external.ask("ALTER ROLE app CONNECTION LIMIT 0")
        external.end_sessions()
        world.publish_ticks(6, 60)
        wait_until(lambda: world.word(L.S_ERROR) == L.REASON_REFUSED, "it is shown")
        external.ask("ALTER ROLE app CONNECTION LIMIT -1")
        assert world.stop(pid) == 0
        assert keys_of(external.dsn) == expected_keys(world)


def test_stopped_and_crashed_for_longer_than_the_lanes_last(
    shm_dir: Path, tmp_path: Path, servers_dir: Path
) -> None:
    own = EmbeddedPostgres(tmp_path / "postgres", servers_dir / "own")
    own.start()
    try:
        with small_world(shm_dir, own.dsn, capacity=LANE, state=tmp_path) as world:
            pid = world.start()
            world.publish_ticks(1, 20)
            own.stop()
            world.publish_ticks(21, 80)
            assert world.count(L.P_SPOOL_BYTES) > 0
            own.start()
            for first in (81, 101):
                own.restart(immediate=True)
                world.publish_ticks(first, first + 19)
            assert world.stop(pid) == 0
            assert keys_of(own.dsn) == expected_keys(world)
            assert world.count(L.P_ROWS) == len(world.sent) == 720
            assert world.spool_files() == []
    finally:
        own.stop()


def test_read_only_while_the_spool_drains(
    shm_dir: Path, tmp_path: Path, external: External
) -> None:
    with small_world(shm_dir, external.dsn, capacity=LANE, state=tmp_path) as world:
        pid = world.start()
        world.publish_ticks(1, 5)
        wait_until(lambda: world.word(L.S_TICK) == 5, "the first rows are durable")
        external.ask("ALTER DATABASE app SET default_transaction_read_only = on")
        external.end_sessions()
        world.publish_ticks(6, 60)
        wait_until(lambda: world.word(L.S_ERROR) == L.REASON_SERVER_ERROR, "it is shown")
        assert world.count(L.P_SPOOL_BYTES) > 0
        external.ask("ALTER DATABASE app RESET default_transaction_read_only")
        assert world.stop(pid) == 0
        assert keys_of(external.dsn) == expected_keys(world)


def durable(world: SmallWorld, tick: int) -> bool:
    """Whether ``tick`` is shown as durable."""
    return world.word(L.S_TICK) == tick


def test_connection_breaks_in_the_middle_of_copy(
    shm_dir: Path, tmp_path: Path, proxied: Proxied
) -> None:
    """Again and again, after more and more bytes of what goes to the server."""
    with small_world(shm_dir, proxied.dsn, capacity=1 << 20, state=tmp_path) as world:
        pid = world.start()
        wait_until(lambda: world.word(L.S_STATE) == L.PROC_READY, "it is ready")
        for turn, count in enumerate((1, 100, 700, 1500, 2500, 5000, 12_000, 30_000)):
            before = world.count(L.P_TRANSACTIONS)
            last = turn * 20 + 20
            proxied.proxy.tell(f"cut {count}")
            world.publish_ticks(last - 19, last, messages=40)
            wait_until(partial(durable, world, last), "it is durable", 20.0)
            assert world.count(L.P_TRANSACTIONS) > before
        assert world.stop(pid) == 0
        assert keys_of(proxied.direct) == expected_keys(world)
        assert world.count(L.P_ROWS) == len(world.sent)
