"""What a world has told of entities that came later is theirs, too, while ticks run again in which
there were none of them yet: its tasks, and the spool, come to it late."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import redis

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
