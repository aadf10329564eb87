"""A wall clock that jumps an hour either way changes no tick, no time-out, no back-off.

Everything that waits asks CLOCK_MONOTONIC. The wall clock is only written down: the time of a tick
(``C_TICK_UNIX_NS``), of a row, of an event, of a log line, and the name of a partition.
"""

from __future__ import annotations

import ast
import os
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from corec.control.client import Unreachable
from tests.crash.clock import Clock
from tests.crash.worlds import assert_same, instance, left_by, world
from tests.e2e.conftest import Make
from tests.support.instance import REPO, Instance, Running
from tests.support.ledger import rows_of
from tests.support.processes import wait_until
from tests.support.proxied import Proxied

HOUR = 3600.0
HZ = 50
WALL_CLOCK = {
    # who may ask what time it is, and what it does with the answer
    "corec/lab/bench/machine.py": "date of a measurement",
    "corec/lab/bench/world.py": "tick clock of a world without processes",
    "corec/broker/worlds.py": "name under which a stream is set aside",
    "corec/cache.py": "how long compiled code was not used",
    "corec/lab/measure/met.py": "tick clock of a world without processes",
    "corec/lab/chaos/receiver.py": "when a webhook was taken, beside what its sender says",
    "corec/cli/saved.py": "name under which a world is set aside",
    "corec/control/failed.py": "when a processor raised, as shown",
    "corec/process/events.py": "time of an event",
    "corec/nucleus/errors.py": "how long ago a processor raised; whether it is told again",
    "corec/persister/session.py": "names of partitions, what is older than retention",
    "corec/persister/spooler.py": "time of a gap",
    "corec/persister/upkeep.py": "names of partitions, what is older than retention",
    "corec/persister/writer.py": "time of an event",
    "corec/supervisor/aside.py": "name under which a world is set aside",
    "corec/supervisor/begun.py": "start shown in instance.json",
    "corec/supervisor/segments.py": "start shown in status",
    "corec/tasks/streams.py": "time shown of an entry whose id is ahead of the clock",
    "corec/tasks/webhook.py": "time of a signature, which the receiver may limit",
    "corec/view/world.py": "tick clock of a world in this process",
    "corec/worker/leader.py": "tick clock; the pace of a replaced leader's first tick",
    "corec/world/kept.py": "date of a checkpoint, always later than those there are",
    "corec/world/snapshot.py": "date of a checkpoint",
    "shm/segment.py": "date of a segment",
}
ASKED = {("time", "time"), ("time", "time_ns"), ("time", "gmtime"), ("time", "localtime"),
         ("time", "strftime"), ("datetime", "now"), ("datetime", "utcnow"),
         ("datetime", "today")}  # fmt: skip


def asks_the_wall_clock(path: Path) -> bool:
    """Whether a file calls one of ``ASKED``."""
    return any(
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr) in ASKED
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    )


def test_who_asks_the_wall_clock() -> None:
    """Whoever is added here says what for; nothing that waits belongs here."""
    paths = [p for top in ("corec", "shm") for p in (REPO / top).rglob("*.py")]
    found = {str(p.relative_to(REPO)) for p in paths if asks_the_wall_clock(p)}
    assert found == set(WALL_CLOCK)


@pytest.fixture
def one(
    tmp_path: Path, shm_dir: Path, proxied: Proxied, valkey_url: str, compiled: None
) -> Iterator[Instance]:
    """An instance whose database can be cut off, with partitions of an hour."""

    def make(config: dict[str, object], *, name: str) -> Instance:
        base = shm_dir / f"run-{name}"
        return Instance(tmp_path / name, base, config, db_url=proxied.url, redis_url=valkey_url)

    config = world(persist={"every_ticks": 4, "partition": "hour"})
    made = instance(make, config)
    try:
        yield made
        made.assert_clean()
    finally:
        made.kill()


def replaced(run: Running, role: str) -> None:
    """Kill the first of a role and wait for its successor."""
    pid = run.pid_of(role)
    os.kill(pid, signal.SIGKILL)

    def another() -> bool:
        try:
            return run.pid_of(role) not in (pid, 0)
        except Unreachable:
            return False

    wait_until(another, f"another {role}", 20.0)


def ticks_go_on(run: Running) -> None:
    """Half a second's ticks, in well under the time a wrong clock would make of them."""
    run.until_tick(run.status()["tick"] + HZ // 2, 15.0)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("no_leaks")
def test_jumps_of_an_hour(one: Instance, make: Make, proxied: Proxied, valkey_url: str) -> None:
    clock = Clock(one)
    run = one.start("--tick-hz", str(HZ), "--workers", "2").ready().until_tick(10)
    for hours in (1.0, -1.0, 1.0):
        proxied.proxy.tell("refuse")  # so that somebody waits in a back-off when the clock jumps
        wait_until(lambda: run.status()["state"] == "degraded", "the database is away")
        clock.jump_to(hours * HOUR)
        ticks_go_on(run)
        for role in ("worker", "persister", "nucleus"):
            replaced(run, role)
        ticks_go_on(run)
        proxied.proxy.tell("pass")
        wait_until(lambda: run.status()["state"] == "running", "the rows are written")
    ended = run.stop()
    summary = ended.summary
    assert summary["restarts"] == 9
    assert "no sign of life" not in ended.err
    rows = rows_of(proxied.direct)
    times = [row["timestamp"] for row in rows]
    assert max(times) - min(times) > timedelta(hours=1.9), "the clock was seen to jump"

    calm = instance(make, world("calm"), "calm")
    again = calm.run("--ticks", str(summary["tick"]), "--tick-hz", "0", "--workers", "1").summary
    wanted = left_by(again, proxied.direct, valkey_url, "calm")
    assert_same(left_by(summary, proxied.direct, valkey_url, "corec1"), wanted)
