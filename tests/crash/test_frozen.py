"""A process that is frozen (SIGSTOP, nobody sends SIGCONT) is noticed, killed and replaced."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

from corec.process.roles import KILLED_SECONDS
from tests.crash.worlds import assert_same, instance, left_by, world
from tests.e2e.conftest import Make
from tests.support.ledger import events_of
from tests.support.processes import is_running, promised, wait_until

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.slow, pytest.mark.timeout(300)]

ROLES = ("worker 0", "worker 1", "persister", "broker", "nucleus")
NOTICED_SECONDS = KILLED_SECONDS + 5.0


def test_every_role_frozen_at_once(make: Make, pg_dsn: str, valkey_url: str) -> None:
    """All of them in the middle of their work: one test, as noticing takes ten seconds."""
    one = instance(make, world())
    run = one.start("--tick-hz", "50", "--workers", "2").ready().until_tick(15)
    frozen = {}
    for role in ROLES:
        name, _, index = role.partition(" ")
        frozen[role] = run.pid_of(name, int(index or 0))
    for pid in frozen.values():
        os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    killed = promised(NOTICED_SECONDS)
    wait_until(lambda: not any(map(is_running, frozen.values())), "all are killed", killed)
    assert time.monotonic() - began > KILLED_SECONDS - 2.0
    run.ready()
    again = {row["role"]: row for row in run.status()["processes"]}
    assert {row["state"] for row in again.values()} <= {"ready", "waiting"}
    assert not {row["pid"] for row in run.status()["processes"]} & set(frozen.values())
    run.until_tick(run.status()["tick"] + 15)
    ended = run.stop()
    lines = [json.loads(line) for line in ended.err.splitlines() if line.startswith("{")]
    noticed = [line["process"] for line in lines if "no sign of life" in line["event"]]
    assert set(noticed) >= set(ROLES)
    assert ended.summary["restarts"] == len(ROLES)
    assert [e["tipo"] for e in events_of(pg_dsn)].count("reinicio") == len(ROLES)

    tick = str(ended.summary["tick"])
    calm = instance(make, world("calm"), "calm").run("--ticks", tick, "--tick-hz", "0")
    wanted = left_by(calm.summary, pg_dsn, valkey_url, "calm")
    assert_same(left_by(ended.summary, pg_dsn, valkey_url, "corec1"), wanted)
