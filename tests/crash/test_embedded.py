"""The embedded servers die under a running instance: started again, nothing lost or doubled."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from corec.embedded import EmbeddedPostgres, EmbeddedValkey
from tests.crash.worlds import Left, assert_same, instance, left_by, world
from tests.e2e.conftest import Make
from tests.support.instance import Ended, Instance, Running
from tests.support.ledger import events_of
from tests.support.processes import children_of, command_of, wait_until

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.slow, pytest.mark.timeout(300)]


def server_of(run: Running, program: str) -> int:
    """Process number of the supervisor's PostgreSQL or Valkey; 0 while there is none."""
    found = [pid for pid in children_of(run.pid) if program in command_of(pid)]
    return found[0] if found else 0


def another(run: Running, program: str, before: int) -> bool:
    """Whether a new one has taken the place of process ``before``."""
    return server_of(run, program) not in (0, before)


@contextmanager
def servers_of(one: Instance, sockets: Path) -> Iterator[tuple[str, str]]:
    """The servers of an instance that has ended, started on their data: dsn and URL."""
    data = one.home / "var" / "state" / one.instance_id
    postgres = EmbeddedPostgres(data / "postgres", sockets / "pg")
    valkey = EmbeddedValkey(data / "valkey", sockets / "redis")
    try:
        postgres.start()
        valkey.start()
        yield postgres.dsn, valkey.url
    finally:
        valkey.stop()
        postgres.stop()


def read(one: Instance, ended: Ended, sockets: Path) -> tuple[Left, list[str]]:
    """What an ended instance left, and its events of servers."""
    with servers_of(one, sockets) as (dsn, url):
        name = one.instance_id
        servers = [
            e["detalle"]["servidor"] for e in events_of(dsn, name) if e["tipo"] == "servidor"
        ]
        return left_by(ended.summary, dsn, url, name), servers


def test_killed_servers_come_back(make_embedded: Make, shm_dir: Path) -> None:
    one = instance(make_embedded, world())
    run = one.start("--tick-hz", "50", "--workers", "2").ready().until_tick(10)
    killed = (("valkey-server", signal.SIGKILL), ("postgres", signal.SIGQUIT),
              ("postgres", signal.SIGKILL), ("valkey-server", signal.SIGKILL))  # fmt: skip
    for program, number in killed:
        before = server_of(run, program)
        os.kill(before, number)
        wait_until(partial(another, run, program, before), f"another {program}", 20.0)
        run.until_tick(run.status()["tick"] + 15)
        wait_until(lambda: run.status()["state"] == "running", "both are reached again")
    ended = run.stop()
    assert ended.summary["restarts"] == 0, "no process of the instance died with them"
    found, servers = read(one, ended, shm_dir / "found")
    assert servers == ["valkey", "postgres", "postgres", "valkey"]

    calm = instance(make_embedded, world("calm"), "calm")
    quiet = calm.run("--ticks", str(ended.summary["tick"]), "--tick-hz", "0")
    wanted, servers = read(calm, quiet, shm_dir / "wanted")
    assert servers == []
    assert_same(found, wanted)
