"""What a world has told of entities that came later is theirs, too, while ticks run again in which
there were none of them yet: its tasks, and the spool, come to it late."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import redis

import corec
from tests.crash.test_grow import FIRST, SECOND, THIRD
from tests.crash.test_grow import config as grown
from tests.crash.test_rows_again import config, tick_of
from tests.support.instance import Instance, machine_is_lost
from tests.support.ledger import messages_of, rows_of
from tests.support.processes import wait_until
from tests.support.proxied import Proxied
from tests.tasks.test_messages import noted, noting

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.slow, pytest.mark.timeout(300)]


def test_messages_of_those_who_came_later_are_told(make: Any, valkey_url: str) -> None:
    one = noting(make, 1)
    run = one.start("--fresh").ready(150.0).until_tick(10)
    run.answered("snapshot")
    assert one.ctl("grow", "on1", "2").code == 0
    run.ready(60.0)
    os.kill(run.pid_of("tasks"), signal.SIGSTOP)
    last = int(run.status()["tick"]) + 20
    run.until_tick(last)
    with redis.Redis.from_url(valkey_url) as client:

        def sent() -> int:
            return int(client.hget("corec:{later}:pos", "out_tick") or 0)

        wait_until(lambda: sent() >= last, "it is sent", 30.0)
        machine_is_lost(one, run)
        out = sent()
        run = one.start("--tick-hz", "0.5").ready(60.0)
        there = {(m.tick, m.id) for m in messages_of(valkey_url, 1, "later") if m.tick <= out}
        assert {entity for _, entity in there} == {0, 1, 2}
        wait_until(lambda: noted(one) >= there, "each message is told", 30.0)
        assert run.status()["tick"] < out
    assert run.stop().code == 0


@pytest.mark.usefixtures("compiled")
def test_rows_of_those_who_came_later_are_in_the_spool(
    tmp_path: Path, shm_dir: Path, proxied: Proxied, valkey_url: str
) -> None:
    asked = config(every_ticks=2)
    one = Instance(tmp_path / "home", shm_dir / "run", asked, db_url=proxied.url,
                   redis_url=valkey_url)  # fmt: skip
    try:
        run = one.start().ready().until_tick(10)
        run.answered("snapshot")
        tick_of(run, 20)
        assert one.ctl("grow", "town", "10").code == 0
        grown = tick_of(run.ready())
        proxied.proxy.tell("refuse")
        wait_until(lambda: run.status()["spool_bytes"] > 0, "rows are spooled", 30.0)
        tick_of(run, 20)
        machine_is_lost(one, run)
        proxied.proxy.tell("pass")
        run = one.start("--tick-hz", "0.5").ready()
        wait_until(lambda: run.status()["spool_bytes"] == 0, "the spool is written", 60.0)
        assert run.status()["tick"] < grown
        found = [row["tick"] for row in rows_of(proxied.direct) if row["id"] == "town:00002"]
        assert max(found) > grown
        (persister,) = (p for p in run.status()["processes"] if p["role"] == "persister")
        assert (persister["state"], persister["restarts"]) == ("ready", 0)
        assert run.stop().code == 0
    finally:
        one.kill()


def test_what_is_set_of_those_who_are_still_to_come(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bloque that the journal has grow later has its settings before: they are shown of nobody,
    and set for when it is there."""
    one = make({**grown(FIRST, SECOND), "tick_hz": 50})
    monkeypatch.setenv("COREC_HOME", str(one.home))
    run = one.start("--workers", "2").ready().until_tick(10)
    made = run.answered("snapshot")["path"]
    planned = [{"at": 5, "set": {"bloques.third.autoreparacion.max_errores": 0.3}}]
    one.configure({**grown(FIRST, SECOND, THIRD), "tick_hz": 50, "schedule": planned})
    assert one.ctl("reload").code == 0
    tick_of(run.ready(), 5)
    assert one.ctl("set", "bloques.third.umbral", "0.2").code == 0
    last = tick_of(run, 10)
    machine_is_lost(one, run)
    run = one.start("--tick-hz", "0.5").ready(60.0)
    assert run.status()["tick"] < last
    assert [swarm["id"] for swarm in run.answered("world")["swarms"]] == ["town", "other"]
    assert run.answered("blocks")["total"] == 5
    assert run.answered("block", id="town:00000")["id"] == "town:00000"
    change = {"bloques.third.parametros.mu": 0.25, "bloques.third.umbral": 0.4}
    after = run.answered("set", changes=change)["after_tick"]
    assert "not a parameter of" in one.ctl("set", "bloques.third.parametros.nu", "1").err
    run.ask("set", path="tick_hz", value=50.0)
    run.until_tick(after + 2)
    third = run.answered("world")["swarms"][2]
    assert (third["id"], third["parametros"]["mu"]) == ("third", 0.25)
    ended = run.stop()
    assert (ended.code, "a module failed" in ended.err) == (0, False)
    with corec.World(Path(one.config_path), checkpoint=made) as world:
        assert world.swarms == ["town", "other"]
        world.set({"bloques.third.parametros.mu": 0.25, "bloques.third.umbral": "siempre"})
        with pytest.raises(ValueError, match="not a parameter of"):
            world.set("bloques.third.parametros.nu", 1)
        world.run(2)
        assert len([m for m in world.messages() if m["canal"] == 3]) == len(world.frame("third"))
