"""A parent that is killed leaves no server, and the next start finds its data."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from corec.embedded import EmbeddedPostgres, EmbeddedServerError, EmbeddedValkey
from tests.support.processes import is_running, promised, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_leaks")]

_OWNER = "tests.support.server_owner"
_ROOT = Path(__file__).parents[2]


class _Owner:
    """A process that owns both servers of `directory`."""

    def __init__(self, directory: Path, *names: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", _OWNER, str(directory), *(names or ("postgres", "valkey"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=_ROOT,
        )
        assert self.process.stdout is not None
        self.started: dict[str, Any] = json.loads(self.process.stdout.readline())

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def pids(self) -> list[int]:
        return [server["pid"] for server in self.started.values()]


def test_killed_parent_leaves_no_server_after_two_seconds(tmp_path: Path) -> None:
    owner = _Owner(tmp_path)
    with psycopg.connect(owner.started["postgres"]["address"], autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 100000) AS number")
        with redis.Redis.from_url(owner.started["valkey"]["address"]) as client:
            client.xadd("stream", {"m": b"x"})
        owner.kill()
        wait_until(
            lambda: not any(map(is_running, owner.pids())), "both servers end", promised(2.0)
        )

    postgres = EmbeddedPostgres(tmp_path / "postgres", tmp_path / "run")
    valkey = EmbeddedValkey(tmp_path / "valkey", tmp_path / "run")
    postgres.start()
    valkey.start()
    with psycopg.connect(postgres.dsn) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (100000,)
    with redis.Redis.from_url(valkey.url) as client:
        assert client.xlen("stream") == 1
    valkey.stop()
    postgres.stop()


def test_start_right_after_the_kill_waits_for_the_old_servers(tmp_path: Path) -> None:
    owner = _Owner(tmp_path)
    for _ in range(3):
        os.kill(owner.process.pid, signal.SIGKILL)
        heir = _Owner(tmp_path)
        assert not any(map(is_running, owner.pids()))
        owner.kill()
        owner = heir
    owner.process.communicate("")
    assert owner.process.returncode == 0


def test_frozen_orphans_are_ended_by_the_next_start(tmp_path: Path) -> None:
    owner = _Owner(tmp_path)
    for pid in owner.pids():
        os.kill(pid, signal.SIGSTOP)
    owner.kill()
    heir = _Owner(tmp_path)
    assert not any(map(is_running, owner.pids()))
    heir.process.communicate("")
    assert heir.process.returncode == 0


def test_data_in_use_by_another_process_is_refused_and_harmless(tmp_path: Path) -> None:
    owner = _Owner(tmp_path)
    for server in (
        EmbeddedPostgres(tmp_path / "postgres", tmp_path / "run2"),
        EmbeddedValkey(tmp_path / "valkey", tmp_path / "run2"),
    ):
        with pytest.raises(EmbeddedServerError, match=rf"process {owner.process.pid}"):
            server.start()
    assert all(map(is_running, owner.pids()))
    owner.process.communicate("")
    assert not any(map(is_running, owner.pids()))


def test_a_fork_of_the_owner_cannot_stop_its_servers(tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path / "valkey", tmp_path / "run")
    server.start()
    pid = os.fork()
    if pid == 0:
        try:
            server._child.stop(((signal.SIGTERM, 1.0),))  # type: ignore[union-attr]  # started
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert server.alive()
    with redis.Redis.from_url(server.url) as client:
        assert client.ping()
    server.stop()
