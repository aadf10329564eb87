"""A primary with a standby: the primary dies, the standby is promoted, rows go on there."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from corec import layout as L
from corec.embedded import EmbeddedPostgres
from corec.embedded.providers import postgres_for
from corec.persister.preflight import unfit
from tests.persister.small_world import expected_keys, keys_of, small_world
from tests.support.processes import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_leaks")]

USER = pwd.getpwuid(os.geteuid()).pw_name
# root's server runs under a number without a name, which peer can't look up: the standby is let in
HBA = "local all all peer map=corec\nlocal replication all trust\n"
SETTINGS = (
    "wal_level = replica\nmax_wal_senders = 4\nhba_file = '{folder}/hba.conf'\n"
    "ident_file = '{folder}/ident.conf'\n"
)
IDENT = "".join(f"corec {name} corec\n" for name in ("root", "postgres", "nobody", USER))


def make(folder: Path, sockets: Path, more: str = "") -> EmbeddedPostgres:
    folder.mkdir(exist_ok=True)
    files = {"hba": HBA, "ident": IDENT, "custom": SETTINGS.format(folder=folder) + more}
    for name, text in files.items():
        (folder / f"{name}.conf").write_text(text)
        (folder / f"{name}.conf").chmod(0o644)
    return EmbeddedPostgres(folder, sockets)


class Pair:
    """The two servers."""

    def __init__(self, home: Path, sockets: Path) -> None:
        self.primary = make(home / "primary", sockets / "a")
        self.primary.start()
        self.standby = self._copy(home, sockets)
        self.both = self._both()

    def _copy(self, home: Path, sockets: Path) -> EmbeddedPostgres:
        source = conninfo_to_dict(self.primary.dsn)
        where = make_conninfo(host=source["host"], port=source["port"], user=source["user"])
        target = home / "standby"
        target.mkdir()
        subprocess.run(
            [str(postgres_for().program("pg_basebackup")), "-d", where, "-X", "stream",
             "-c", "fast", "-D", str(target / "pgdata")],
            check=True, capture_output=True,
        )  # fmt: skip
        (target / "pgdata" / "standby.signal").touch()
        if os.geteuid() == 0:  # the server runs as somebody else
            owner = (home / "primary" / "pgdata").stat()
            for path in [target / "pgdata", *(target / "pgdata").rglob("*")]:
                os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
        from_primary = where.replace("'", "''")
        return make(target, sockets / "b", f"primary_conninfo = '{from_primary}'\n")

    def _both(self) -> str:
        self.standby.start()
        found = [conninfo_to_dict(server.dsn) for server in (self.primary, self.standby)]
        return make_conninfo(
            host=",".join(str(one["host"]) for one in found),
            port=",".join(str(one["port"]) for one in found),
            user=found[0]["user"], dbname=found[0]["dbname"], target_session_attrs="read-write",
        )  # fmt: skip

    def ask(self, statement: str) -> Any:
        """One value of the standby."""
        with psycopg.connect(self.standby.dsn, autocommit=True) as connection:
            row = connection.execute(statement.encode()).fetchone()
            return None if row is None else row[0]

    def caught_up(self) -> None:
        """Wait until the standby has everything."""
        with psycopg.connect(self.primary.dsn, autocommit=True) as connection:
            row = connection.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
        assert row is not None
        query = f"SELECT pg_last_wal_replay_lsn() >= '{row[0]}'"
        wait_until(lambda: bool(self.ask(query)), "the standby has everything")

    def fail_over(self) -> None:
        """The primary dies, the standby takes its place."""
        self.primary.stop()
        assert self.ask("SELECT pg_promote(true, 30)")


@pytest.fixture
def pair(tmp_path: Path, servers_dir: Path) -> Iterator[Pair]:
    if not shutil.which(str(postgres_for().bindir / "pg_basebackup")):
        pytest.skip("this PostgreSQL comes without pg_basebackup")
    sockets = servers_dir / tmp_path.name[-8:]
    sockets.mkdir(mode=0o711)
    found = Pair(tmp_path, sockets)
    try:
        yield found
    finally:
        found.standby.stop()
        found.primary.stop()


def test_rows_go_on_at_the_promoted_standby(pair: Pair, shm_dir: Path) -> None:
    with psycopg.connect(pair.standby.dsn, autocommit=True) as connection:
        assert "it is a standby" in str(unfit(connection))
    with small_world(shm_dir, pair.both) as world:
        pid = world.start()
        world.publish_ticks(1, 5, repairs=1)
        wait_until(lambda: world.word(L.S_TICK) == 5, "the first rows are durable")
        pair.caught_up()
        pair.primary.stop()
        world.publish_ticks(6, 8, repairs=1)
        wait_until(lambda: world.word(L.S_STATE) == L.PROC_WAITING_SINK, "the loss is shown")
        pair.fail_over()
        world.publish_ticks(9, 10, repairs=1)
        wait_until(lambda: world.word(L.S_TICK) == 10, "the rows are durable", 30.0)
        assert world.stop(pid) == 0
        assert keys_of(pair.standby.dsn) == expected_keys(world)
        assert pair.ask("SELECT count(*) FROM eventos WHERE tipo = 'repair'") == 60


def test_what_the_standby_never_got_is_a_gap_that_is_told(pair: Pair, shm_dir: Path) -> None:
    with small_world(shm_dir, pair.both) as world:
        pid = world.start()
        world.publish_ticks(1, 3)
        wait_until(lambda: world.word(L.S_TICK) == 3, "the first rows are durable")
        pair.caught_up()
        # the standby hears no more of the primary
        with psycopg.connect(pair.standby.dsn, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET primary_conninfo = ''")
            connection.execute("SELECT pg_reload_conf()")
        wait_until(
            lambda: pair.ask("SELECT count(*) FROM pg_stat_wal_receiver") == 0, "it is cut off"
        )
        world.publish_ticks(4, 6)
        wait_until(lambda: world.word(L.S_TICK) == 6, "the next rows are durable")
        pair.fail_over()
        world.publish_ticks(7, 9)
        wait_until(lambda: world.word(L.S_TICK) == 9, "the last rows are durable", 30.0)
        assert world.stop(pid) == 0
        found = keys_of(pair.standby.dsn)
        assert found == [key for key in expected_keys(world) if not 4 <= key[0] <= 6]
        query = "SELECT count(*) FROM eventos WHERE tipo = 'filas_perdidas'"
        assert pair.ask(query) == world.rt.lanes
