"""A machine is lost under live input, again and again: the ticks that run again are the same ones.

Readings come all the while, settings change, the supervisor, the leader and the broker are killed,
the memory is gone twice; checkpoint, journal, PostgreSQL and Redis stay. What is in the end, every
row and every message, is what a ``corec.World`` comes to that nobody disturbs and that takes in
what the journal says.
"""

from __future__ import annotations

import json
import signal

import pytest
import redis

from tests.crash.hearing import EARS, MESSAGE, compared, fed, instance, until_out
from tests.crash.worlds import armed
from tests.e2e.conftest import Make
from tests.support.instance import Running, machine_is_lost
from tests.support.ledger import events_of
from tests.support.processes import wait_until

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.slow, pytest.mark.timeout(300)]

def inbox_fill(run: Running) -> float:
    """Share of in.lane that is used."""
    found = run.status()["lanes"][0]
    return float(found["used_bytes"] / found["capacity_bytes"])


def test_a_machine_lost_under_live_input(
    make: Make, pg_dsn: str, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = armed(instance(make), (
        "broker@journal.written:3", "broker@journal.synced:9", "worker 0@leader.after_journal:25",
        "worker 0@leader.before_go:40", "worker 0@collect.pushed:4",
    ))  # fmt: skip
    run = one.start("--tick-hz", "100", "--workers", "2").ready(120.0)
    with fed(valkey_url, 1):
        run.until_tick(40)
        run.ask("set", path="carga", value=0.75)
        made = run.ask("snapshot", 60.0)
        tick = made["tick"]
        run.ask("set", changes={"globals.beta": 0.03, "bloques.legs.parametros.pace": 0.2})
        run.until_tick(tick + 70)
        run.ask("set", changes={"globals.beta": -0.01})
        run.ask("set", path="carga", value=0.5)
        run.until_tick(tick + 110)
        until_out(valkey_url, tick + 80)
        machine_is_lost(one, run)
        run = one.start("--tick-hz", "100", "--workers", "1").ready()
        run.until_tick(tick + 20)
        assert run.status()["carga"] == 0.5
        machine_is_lost(one, run)  # within the stretch that it runs again
        run = one.start("--tick-hz", "100", "--workers", "2").ready()
        run.until_tick(tick + 10)
        run.signal(signal.SIGKILL)  # adopted within it
        run.process.wait()
        wait_until(lambda: not one.processes(), "all its processes end")
        run = one.start("--tick-hz", "100", "--workers", "2").ready()
        run.until_tick(tick + 150)
        run.ask("set", path="carga", value=1.0)
        run.until_tick(tick + 170)
    summary = run.stop().summary
    assert not [e for e in events_of(pg_dsn) if e["tipo"] in ("replay_differs", "input_repeated")]
    monkeypatch.setenv("COREC_HOME", str(one.home))
    with compared(summary, one, pg_dsn, valkey_url) as world:
        assert int(world.frame("ears", ["seen"])["seen"].sum()) > 500
    found = json.loads(one.command(
        "fork", made["path"], "--replay", "--ticks", str(summary["tick"] - tick), "--json"
    ).out)  # fmt: skip
    assert (found["digest"], found["tick"]) == (summary["digest"], summary["tick"])


def test_ticks_that_took_in_most_of_the_inbox_run_again(
    make: Make, pg_dsn: str, valkey_url: str
) -> None:
    """What waited for a paused world comes in at once; its tick fits into the inbox once more."""
    one = instance(make)
    run = one.start("--tick-hz", "100").ready(120.0)
    tick = run.ask("snapshot", 60.0)["tick"]
    packed = b"".join(MESSAGE.pack(k % EARS, 1, 0.5, True) for k in range(20_000))
    run.ask("pause")
    paused = run.status()["tick"]
    for tick in (paused + 1, paused + 2):
        with redis.Redis.from_url(valkey_url) as client:
            for _ in range(50):
                client.xadd("corec:{corec1}:in:1", {"m": packed})
        wait_until(lambda: inbox_fill(run) > 0.75, "the inbox is full", 20)
        run.ask("step", ticks=1)
        run.until_tick(tick)
        assert inbox_fill(run) > 0.2, "one tick leaves some of it"
    run.ask("resume")
    wait_until(lambda: run.status()["messages_in"] == 2_000_000, "all is taken in", 60)
    tick = run.status()["tick"]
    until_out(valkey_url, tick - 1)
    machine_is_lost(one, run)
    run = one.start("--tick-hz", "100").ready().until_tick(tick + 10)
    assert run.stop().code == 0
    assert not [e for e in events_of(pg_dsn) if e["tipo"] in ("replay_differs", "input_repeated")]


def test_what_is_set_while_ticks_run_again_counts_behind_them(
    make: Make, pg_dsn: str, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it is in a checkpoint that is made within the stretch: the journal has not got it yet."""
    one = instance(make)
    run = one.start("--tick-hz", "200").ready(120.0)
    tick = run.ask("snapshot", 60.0)["tick"]
    run.until_tick(tick + 200)
    run.ask("pause")  # the last tick is one of which the journal tells
    last = run.ask("set", changes={"globals.beta": 0.02})["after_tick"]
    run.ask("step", ticks=1)
    until_out(valkey_url, last)
    machine_is_lost(one, run)
    run = one.start("--tick-hz", "20").ready()
    assert run.ask("set", changes={"globals.beta": 0.03})["after_tick"] == last + 1
    assert run.ask("set", path="carga", value=0.5)["after_tick"] == last + 1
    assert run.ask("snapshot", 60.0)["tick"] < last
    machine_is_lost(one, run)
    run = one.start("--tick-hz", "200").ready().until_tick(last + 10)
    assert run.status()["carga"] == 0.5
    run.ask("set", changes={"globals.beta": 0.04})
    run.until_tick(last + 20)
    summary = run.stop().summary
    told = [e["detalle"] for e in events_of(pg_dsn) if e["tipo"] == "setting_changed"]
    assert (0.03, 0.04) in {(one["before"], one["value"]) for one in told}
    monkeypatch.setenv("COREC_HOME", str(one.home))
    with compared(summary, one, pg_dsn, valkey_url):
        pass
