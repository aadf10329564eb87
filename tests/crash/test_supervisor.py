"""The supervisor dies; its children leave, the world stays, the next start goes on with it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import redis

from tests.crash.worlds import (
    armed,
    assert_same,
    deaths_expected,
    instance,
    killed,
    left_by,
    spared,
    world,
)
from tests.e2e.conftest import Make
from tests.support.instance import Instance, Running
from tests.support.ledger import MESSAGE
from tests.support.processes import promised, wait_until

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.slow]


def kill_supervisor(run: Running) -> None:
    """SIGKILL; everybody is gone within two seconds, and the world is still there."""
    os.kill(run.pid, signal.SIGKILL)
    run.process.wait(10)
    wait_until(lambda: not run.instance.processes(), "its children leave", promised(2.0))
    assert (run.instance.folder / "world.seg").exists()


def test_the_next_start_goes_on(make: Make, pg_dsn: str, valkey_url: str) -> None:
    """Again and again, with other numbers of workers, and killed in the middle of ticks."""
    one = instance(make, world())
    for workers, tick in (("2", 9), ("3", 22), ("1", 31)):
        run = one.start("--tick-hz", "50", "--workers", workers).ready().until_tick(tick)
        kill_supervisor(run)
    ended = one.run("--ticks", "12", "--tick-hz", "0", "--workers", "2")
    summary = ended.summary
    assert summary["tick"] > 31 + 12
    calm = instance(make, world("calm"), "calm")
    again = calm.run("--ticks", str(summary["tick"]), "--tick-hz", "0", "--workers", "1").summary
    wanted = left_by(again, pg_dsn, valkey_url, "calm")
    assert_same(left_by(summary, pg_dsn, valkey_url, "corec1"), wanted)


def test_children_die_before_and_with_their_supervisor(
    make: Make, pg_dsn: str, valkey_url: str
) -> None:
    """Frames published and not committed, batches sent and not released wait for the adopter."""
    deaths = ("worker@block.after_publish:90", "broker@broker.after_multi:4",
              "persister@persist.after_commit:2")  # fmt: skip
    one = armed(instance(make, world()), deaths)
    run = one.start("--tick-hz", "50", "--workers", "2")
    died = deaths_expected(deaths, 2).total()
    log = one.output(0, "err")
    wait_until(lambda: log.read_text().count("SIGKILL") >= died, "all of them died", 30)
    kill_supervisor(run)
    ended = spared(one).run("--ticks", "20", "--tick-hz", "0", "--workers", "1")
    assert not killed(ended)
    calm = instance(make, world("calm"), "calm")
    ticks = str(ended.summary["tick"])
    again = calm.run("--ticks", ticks, "--tick-hz", "0", "--workers", "3").summary
    wanted = left_by(again, pg_dsn, valkey_url, "calm")
    assert_same(left_by(ended.summary, pg_dsn, valkey_url, "corec1"), wanted)


def test_killed_while_it_makes_the_world(make: Make) -> None:
    """Half a world is no world: the next start makes a new one and clears the rest away."""
    one = instance(make, world())
    for number in ("1", "3", "7"):
        armed(one, (f"segment.create.before_rename:{number}",))
        assert one.run("--ticks", "5").code == -signal.SIGKILL
    summary = spared(one).run("--ticks", "5", "--tick-hz", "0").summary
    assert summary["tick"] == 5


def entity_valor(one: Instance, number: int) -> float:
    """What a running instance says of an entity."""
    return float(one.runs[-1].ask("entity", id=number)["valor"])


def test_a_reading_of_a_tick_that_never_went(make: Make, valkey_url: str) -> None:
    """The leader dies when it has decided what a tick takes in, the instance is stopped before its
    successor decides anew: the checkpoint must not say that the reading was applied."""
    bloques = [{"id": "k", "canal": 4, "entidades": 20, "procesador": "crash_entities:keeper"}]
    one = armed(instance(make, world(bloques=bloques)), ("worker 0@leader.before_go:1",))
    with redis.Redis.from_url(valkey_url) as client:
        client.xadd("corec:{corec1}:in:4", {"m": MESSAGE.pack(7, 4, 0.0625, True)})
    run = one.start("--tick-hz", "0.4", "--workers", "1")
    log = one.output(0, "err")
    wait_until(lambda: "SIGKILL" in log.read_text(), "the leader dies", 30)
    summary = run.stop().summary
    assert (summary["tick"], summary["restarts"]) == (0, 1)
    run = spared(one).start("--tick-hz", "50").ready()
    wait_until(lambda: entity_valor(one, 7) == 0.0625, "the reading is applied")
    run.until_tick(5)
    assert run.stop().summary["messages_in"] == 1


def test_what_a_kill_leaves_is_private(make: Make) -> None:
    """Memory that waits for the next start is its owner's alone."""
    one = instance(make, world())
    run = one.start("--tick-hz", "50").ready()
    kill_supervisor(run)
    for path in (one.folder, *Path(one.folder).iterdir()):
        assert path.stat().st_mode & 0o077 == 0, path
    assert one.run("--ticks", "1", "--tick-hz", "0").summary["tick"] > 0
