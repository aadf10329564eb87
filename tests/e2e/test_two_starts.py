"""Two starts with one instance_id on one Redis, each with a state folder of its own."""

from __future__ import annotations

import os
import shutil
import signal

import pytest
import redis

from tests.e2e.conftest import Make
from tests.support.instance import Instance, small_config
from tests.support.processes import promised, wait_until

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.slow, pytest.mark.timeout(300)]


def apart(make: Make, name: str) -> Instance:
    """An instance with an embedded PostgreSQL of its own, on the session's Valkey."""
    one = make(small_config(db_config={"embedded": True}), name=name)
    one.environment.pop("COREC_DB_URL")
    return one


def with_valkey(make: Make, name: str) -> Instance:
    """An instance with an embedded Valkey of its own, in the session's PostgreSQL."""
    one = make(small_config(redis_config={"embedded": True}), name=name)
    one.environment.pop("COREC_REDIS_URL")
    return one


def test_one_database(make: Make) -> None:
    """Refused, let in after a clean end, taken over by wish; the loser stops."""
    first, second = with_valkey(make, "first"), with_valkey(make, "second")
    running = first.start().ready().until_tick(15)
    refused = second.run()
    assert refused.code == 4
    (line,) = refused.complaints
    assert "held on PostgreSQL" in line
    assert f"pid {running.pid} on " in line
    winner = second.start("--take-over").ready()
    ended = running.wait(30)
    assert ended.code == 1
    assert "another instance has taken over" in ended.err
    winner.until_tick(winner.status()["tick"] + 20)
    assert winner.stop().code == 0
    # the winner is gone: the loser's world goes on where it stood
    back = first.start("--ticks", "3")
    assert back.wait().code == 0


def aside(one: Instance) -> list[bytes]:
    """Streams that somebody set aside."""
    with redis.Redis.from_url(one.environment["COREC_REDIS_URL"]) as client:
        return sorted(client.scan_iter(f"corec:{{{one.instance_id}}}:aside:*"))


def test_the_second_is_refused(make: Make) -> None:
    first, second = apart(make, "first"), apart(make, "second")
    running = first.start().ready()
    refused = second.run("--fresh")
    assert refused.code == 4
    (line,) = refused.complaints
    assert "held" in line
    assert f"pid {running.pid} on " in line
    assert "--take-over" in line
    assert second.runtime_files() == []
    assert aside(first) == []
    assert running.stop().code == 0
    # a clean end gives the lease back at once
    assert second.run("--ticks", "3").summary["ticks"] == 3


def test_one_state_folder_is_one_world(make_embedded: Make) -> None:
    """Whatever else is apart: two worlds of one epoch would write over each other."""
    first = make_embedded(name="first")
    state = str(first.home / "state")
    first.configure(small_config(state_dir=state))
    second = make_embedded(small_config(state_dir=state), name="second")
    running = first.start().ready()
    refused = second.run()
    assert refused.code == 4
    (line,) = refused.complaints
    assert f"is running already, as pid {running.pid} in {state}/corec1" in line
    assert second.runtime_files() == []
    restored = second.command("checkpoint", "restore", "1")
    assert restored.code == 4
    assert f"is running, as pid {running.pid}" in restored.err
    assert second.runtime_files() == []
    assert running.stop().code == 0
    assert second.run("--ticks", "3").summary["ticks"] == 3


def test_a_crash_blocks_nobody(make: Make) -> None:
    """Killed whole: itself again at once, another one after the lease."""
    first, second = apart(make, "first"), apart(make, "second")
    running = first.start().ready()
    running.signal(signal.SIGKILL)
    running.process.wait()
    again = first.start().ready(promised(20.0)())
    again.signal(signal.SIGKILL)
    again.process.wait()
    wait_until(lambda: not first.processes(), "all its processes end")
    assert second.run("--ticks", "3", seconds=90).summary["ticks"] == 3
    shutil.rmtree(first.folder)


def test_taken_over_by_wish(make: Make) -> None:
    """Once and for all: the loser stops with a clear error and does not come back."""
    first, second = apart(make, "first"), apart(make, "second")
    loser = first.start().ready().until_tick(5)
    winner = second.start("--take-over").ready()
    ended = loser.wait(30)
    assert ended.code == 1
    assert "another instance has taken over" in ended.err
    begun = aside(first)
    assert begun, "the loser's streams"
    assert first.run().code == 4
    tick = winner.status()["tick"]
    winner.until_tick(tick + 20)
    assert aside(first) == begun
    winner.ready()
    assert winner.stop().code == 0
    shutil.rmtree(first.folder)


def test_a_copied_state_folder_is_another_instance(make: Make) -> None:
    first, second = apart(make, "first"), apart(make, "second")
    assert first.run("--ticks", "3").code == 0
    shutil.copytree(first.home / "var", second.home / "var", dirs_exist_ok=True)
    running = first.start().ready()
    refused = second.run()
    assert refused.code == 4
    assert running.stop().code == 0
    assert os.listdir(second.home / "var")
