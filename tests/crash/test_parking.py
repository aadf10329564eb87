"""A process that dies at once again and again is parked; the rest goes on, and nothing is lost."""

from __future__ import annotations

import json
import signal
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from corec.supervisor.restarts import (
    DELAY_SECONDS_MAX,
    FIRST_DELAY_SECONDS,
    QUICK_DEATHS_MAX,
    QUICK_SECONDS,
    TRIAL_SECONDS,
    Restarts,
)
from tests.crash.worlds import armed, assert_same, instance, left_by, world
from tests.e2e.conftest import Make
from tests.support.instance import Instance, Running
from tests.support.ledger import events_of
from tests.support.processes import wait_until

PARKED = "process is parked"


def test_restarts_wait_longer_and_longer_and_are_forgiven() -> None:
    one, now, delays = Restarts(), 100.0, []
    for _ in range(QUICK_DEATHS_MAX):
        one.start(now)
        now += QUICK_SECONDS / 2
        assert not one.parked
        delays.append(round(one.died(now) - now, 6))
        now += delays[-1]
    assert one.parked
    assert one.due == now
    growing = [FIRST_DELAY_SECONDS * 2**k for k in range(QUICK_DEATHS_MAX - 2)]
    assert delays == [0.0, *(min(d, DELAY_SECONDS_MAX) for d in growing), TRIAL_SECONDS]
    one.start(now)
    assert one.parked, "a trial is not yet a life"
    assert one.died(now + 0.1) == now + 0.1 + TRIAL_SECONDS
    one.forgive(now + 1)
    assert not one.parked
    assert one.due == now + 1
    one.start(now + 1)
    assert one.died(now + 2 + QUICK_SECONDS) == now + 2 + QUICK_SECONDS, "at once after a life"
    assert one.count == QUICK_DEATHS_MAX + 2


def test_a_running_process_is_not_started_by_forgiving() -> None:
    one = Restarts()
    one.start(1.0)
    one.forgive(2.0)
    assert one.due is None


def readiness(run: Running) -> tuple[int, list[str]]:
    """Code and reasons of ``/readyz``."""
    url = f"http://127.0.0.1:{run.http_port}/readyz"
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return int(answer.status), json.loads(answer.read())["reasons"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())["reasons"]


def until_parked(one: Instance) -> Running:
    """Start it until somebody is: on a busy machine a life may take so long to come to its death
    that it is none that ended at once, and then there are not deaths enough."""
    for _ in range(3):
        run = one.start("--tick-hz", "50", "--workers", "2")
        log = one.output(run.number, "err")

        def over(log: Path = log) -> bool:
            return PARKED in (said := log.read_text()) or said.count("SIGKILL") >= QUICK_DEATHS_MAX

        wait_until(over, "it has died often enough", 120.0)
        if PARKED in log.read_text():
            return run
        assert run.ready().stop().code == 0
    raise AssertionError("each time some life lasted a second")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize(
    ("role", "point"), [("broker", "broker.before_multi"), ("worker 1", "worker.before_done")]
)
def test_parked(make: Make, pg_dsn: str, valkey_url: str, role: str, point: str) -> None:
    one = armed(instance(make, world()), (f"{role}@{point}:1",) * QUICK_DEATHS_MAX)
    run = until_parked(one)

    def row() -> dict[str, Any]:
        name, _, index = role.partition(" ")
        rows = run.status()["processes"]
        return next(r for r in rows if (r["role"], r["index"]) == (name, int(index or 0)))

    status = run.status()
    run.http_port = int(status["http_url"].rpartition(":")[2])
    assert row()["state"] == "parked"
    assert row()["restarts"] == QUICK_DEATHS_MAX
    assert status["state"] == "degraded"
    code, reasons = readiness(run)
    assert code == 503
    assert f"{role if ' ' in role else role + ' 0'} is parked" in reasons
    if role == "broker":
        run.until_tick(status["tick"] + 5)
    run.signal(signal.SIGHUP)
    wait_until(lambda: row()["state"] in ("ready", "waiting"), "it lives again", 20)
    run.until_tick(status["tick"] + 5)
    wait_until(lambda: readiness(run)[0] == 200, "ready again", 20)
    summary = run.stop().summary
    assert [e["tipo"] for e in events_of(pg_dsn)].count("aparcado") == 1

    calm = instance(make, world("calm"), "calm")
    again = calm.run("--ticks", str(summary["tick"]), "--tick-hz", "0").summary
    wanted = left_by(again, pg_dsn, valkey_url, "calm")
    assert_same(left_by(summary, pg_dsn, valkey_url, "corec1"), wanted)
