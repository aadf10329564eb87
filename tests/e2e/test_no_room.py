"""An embedded instance whose machine has no room, memory or process left while an operator acts.

``docs/durability.md`` has the table. Its servers are its own, so a disk without room takes them,
too; ``RLIMIT_FSIZE`` of the supervisor makes it, which who is started by it inherits.
"""

from __future__ import annotations

import os
import resource
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from corec.control.client import Unreachable
from corec.control.outcome import doing
from corec.control.protocol import ControlError
from tests.e2e.conftest import Make
from tests.e2e.test_operator_faults import (
    limited,
    memory_bytes,
    open_files,
    ticks_on,
)
from tests.support.instance import Instance, Running, small_config
from tests.support.processes import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.usefixtures("no_leaks")]


def processes(run: Running) -> list[int]:
    """Those of CoreC; the servers may be another user's."""
    return [int(row["pid"]) for row in run.status()["processes"]]


def grow(one: Instance, number: int = 10) -> str:
    """What ``corec-ctl grow`` says where it is refused."""
    ended = one.ctl("grow", "sensores", str(number))
    assert ended.code == 1, ended.out
    assert len(ended.complaints) == 1, ended.err
    return ended.complaints[0]


def grown(one: Instance, run: Running) -> int:
    """How many entities it has, and nothing is left of a larger world."""
    assert not list(one.folder.glob("world.seg.*grown*"))
    return int(run.status()["entidades"])


def settings_told(one: Instance) -> list[str | None]:
    """Who made each change of a setting, as the table of events says: nobody, or ``refused``."""
    found = one.ctl("events", "--tipo", "setting_changed", "--json").summary["events"]
    return [event["detalle"].get("by") for event in found]


def grow_without(one: Instance, run: Running) -> None:
    """No room, memory, descriptor: refused before anybody rests."""
    pid, before = run.pid, run.status()["entidades"]
    for what, limit, reason in (
        ("room", (resource.RLIMIT_FSIZE, 1 << 20), "no room"),
        ("memory", (resource.RLIMIT_AS, memory_bytes(pid) + (1 << 20)), ""),
        ("descriptor", (resource.RLIMIT_NOFILE, open_files(pid)), "Too many open files"),
    ):
        with limited(pid, *limit):
            assert reason in grow(one), what
        ticks_on(run)
        assert grown(one, run) == before, what
    wait_until(lambda: settings_told(one) == [None, "refused"] * 3, "each is told and taken back")


def answers(run: Running) -> bool:
    """Whether its nucleus does, with no change under way."""
    with suppress(Unreachable, ControlError):
        return run.status()["state"] == "running" and doing(run.instance.folder) is None
    return False


def killed_while_it_grows(one: Instance, run: Running) -> None:
    """Whoever dies within it: it has grown, or has not and is told, and the world goes on."""
    before = grown(one, run)
    doomed = [run.pid_of(role) for role in ("nucleus", "broker", "worker")]
    with ThreadPoolExecutor() as beside:
        growing = beside.submit(one.ctl, "grow", "sensores", "10")
        wait_until(lambda: doing(one.folder) == "set" or growing.done(), "it is done", 60.0)
        for pid in doomed:  # those that were replaced by now are gone
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        ended = growing.result(90.0)
    wait_until(lambda: answers(run), "its nucleus is back, and nothing is being changed", 60.0)
    ticks_on(run)
    assert grown(one, run) in (before, before + 10)
    assert ended.code == 1 or grown(one, run) == before + 10


def stop_without_memory(run: Running) -> None:
    """A stop for which nobody finds memory ends all the same, and leaves the world."""
    for pid in processes(run):
        resource.prlimit(pid, resource.RLIMIT_AS, (memory_bytes(pid), resource.RLIM_INFINITY))
    run.signal(signal.SIGTERM)
    run.wait(120.0)


def test_no_room(make_embedded: Make) -> None:
    one = make_embedded(small_config(tick_hz=50, workers=2, checkpoint={"every_seconds": 0}))
    run = one.start().ready().until_tick(10)
    grow_without(one, run)
    killed_while_it_grows(one, run)
    ended = run.status()["tick"]
    stop_without_memory(run)
    again = one.run("--ticks", "5").summary
    assert again["tick"] >= ended + 5
    assert again["undelivered_bytes"] == {"postgresql": 0, "redis": 0}
