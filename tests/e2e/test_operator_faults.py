"""What an operator asks for while the machine refuses: told, and the world ticks on as it was.

One instance, and for each wish each fault that can be made for it from outside: no room, no file,
no process, no memory, no program, a check that is killed, broken code. ``docs/durability.md`` has
the table.
"""

from __future__ import annotations

import json
import os
import resource
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from corec.control.outcome import doing, last_change
from tests.e2e.conftest import Make
from tests.support.instance import Instance, Running, small_config
from tests.support.ledger import events_of
from tests.support.processes import children_of, command_of, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.usefixtures("no_leaks")]

MODULE = """
from corec.modules.base import ModuloBase

class Quiet(ModuloBase):
    nombre = "quiet"

    async def ejecutar(self):
        return None
"""

GATED = """
import os, select

while not os.path.exists({gate!r}):
    select.select([], [], [], 0.05)
"""


@contextmanager
def limited(pid: int, what: int, soft: int) -> Iterator[None]:
    """A process with less of something."""
    before = resource.prlimit(pid, what)
    resource.prlimit(pid, what, (soft, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, what, before)


def asked(run: Running, number: int, before: int) -> dict[str, Any]:
    """The outcome of a wish."""
    run.signal(number)
    folder = run.instance.folder
    wait_until(lambda: last_change(folder)["number"] > before, "the outcome", 120.0)
    return last_change(folder)


def ticks_on(run: Running) -> None:
    """It runs, everybody is up, and ticks are committed."""
    run.ready()
    run.until_tick(run.status()["tick"] + 5)
    assert run.status()["state"] == "running"


def memory_bytes(pid: int) -> int:
    """Its address space."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def open_files(pid: int) -> int:
    """The limit on descriptors that leaves it no other: the lowest number that is free."""
    used = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    return min(set(range(len(used) + 1)) - used)


def make_one(make: Make) -> tuple[Instance, Running]:
    """An instance with a module of its own, two workers, 50 ticks a second."""
    one = make(small_config(tick_hz=50, workers=2, modules=["quiet:Quiet"]))
    (one.home / "plugins").mkdir()
    (one.home / "plugins" / "quiet.py").write_text(MODULE)
    one.environment["PYTHONPATH"] += f":{one.home / 'plugins'}"
    return one, one.start().ready()


def test_reload(make: Make, pg_dsn: str) -> None:
    one, run = make_one(make)
    pid, number = run.pid, 0
    right = one.config
    changed = right | {"tick_hz": 60}
    many = right | {f"unknown_key_number_{k}": 1 for k in range(1500)}
    cases: list[tuple[str, Any, Any, str]] = [
        ("64 KiB of faults", many, None, "unknown_key_number_"),
        ("another world", right | {"seed": 99}, None, "seed"),
        ("no descriptor", changed, (resource.RLIMIT_NOFILE, open_files(pid)), "Too many open"),
    ]
    for what, config, limit, reason in cases:
        one.configure(config)
        if limit is None:
            outcome = asked(run, signal.SIGHUP, number)
        else:
            with limited(pid, *limit):
                outcome = asked(run, signal.SIGHUP, number)
        number += 1
        assert (outcome["change"], outcome["accepted"]) == ("reload", False), what
        assert reason in outcome["reason"], what
        ticks_on(run)
        assert run.status()["tick_hz"] == 50
    one.config_path.write_text("{")
    assert asked(run, signal.SIGHUP, number)["accepted"] is False
    one.configure(changed)
    assert asked(run, signal.SIGHUP, number + 1)["accepted"] is True
    ticks_on(run)
    assert run.status()["tick_hz"] == 60
    assert run.status()["workers"] == 2
    assert run.stop().summary["restarts"] == 0
    told = [e["detalle"]["aceptada"] for e in events_of(pg_dsn) if e["tipo"] == "recarga"]
    assert told == [False, False, False, False, True]


def test_workers(make: Make) -> None:
    one, run = make_one(make)
    pid = run.pid
    for what, limit in (
        ("no room", (resource.RLIMIT_FSIZE, 1 << 20)),
        ("no memory", (resource.RLIMIT_AS, memory_bytes(pid) + (1 << 20))),
        ("no descriptor", (resource.RLIMIT_NOFILE, open_files(pid))),
    ):
        before = last_change(one.folder)["number"]
        with limited(pid, *limit):
            outcome = asked(run, signal.SIGTTIN, before)
        assert outcome["accepted"] is False, what
        assert "no room for more workers" in outcome["reason"], what
        ticks_on(run)
        assert run.status()["workers"] == 2, what
    # all that can be refused was granted; then there is no process to be had, for a while
    # a limit below what those who left give back
    with limited(pid, resource.RLIMIT_NOFILE, min(8, open_files(pid))):
        run.signal(signal.SIGTTOU)
        wait_until(lambda: "no process can be made" in run.texts()[1], "it says so", 60.0)
        assert run.process.poll() is None, "the supervisor lives without its processes"
    ticks_on(run)
    assert run.status()["workers"] == 1
    asked(run, signal.SIGTTOU, last_change(one.folder)["number"])
    assert "expected 1 to 8" in last_change(one.folder)["reason"]
    for _ in range(2):
        asked(run, signal.SIGTTIN, last_change(one.folder)["number"])
    one.configure(one.config | {"tick_hz": 60})
    asked(run, signal.SIGHUP, last_change(one.folder)["number"])
    ticks_on(run)
    assert run.status()["workers"] == 3, "a reload of something else leaves the number alone"
    assert run.stop().summary["workers"] == 3


def test_upgrade(make: Make, pg_dsn: str) -> None:
    one, run = make_one(make)
    pid, number = run.pid, 0

    def checks() -> list[int]:
        return [child for child in children_of(pid) if "--adopt" in command_of(child)]

    broken = one.home / "plugins" / "quiet.py"
    with limited(pid, resource.RLIMIT_NOFILE, open_files(pid)):
        assert "Too many open" in asked(run, signal.SIGUSR2, number)["reason"]
    ticks_on(run)
    broken.write_text("def broken(:\n")
    outcome = asked(run, signal.SIGUSR2, number + 1)
    assert outcome["accepted"] is False
    assert "quiet" in outcome["reason"]
    assert "SyntaxError" in outcome["reason"]
    broken.write_text("import sys\nsys.exit('gone')\n")
    assert "SystemExit" in asked(run, signal.SIGUSR2, number + 2)["reason"]
    ticks_on(run)
    broken.write_text(MODULE)
    run.signal(signal.SIGUSR2)
    wait_until(checks, "the check runs", 30.0)
    os.kill(checks()[0], signal.SIGKILL)
    wait_until(lambda: last_change(one.folder)["number"] == number + 4, "the outcome", 60.0)
    assert "killed by SIGKILL" in last_change(one.folder)["reason"]
    ticks_on(run)

    # what was asked for meanwhile is done by the new code, and nothing of the run is forgotten
    asked(run, signal.SIGTTIN, number + 4)
    ticks_on(run)
    gate = one.home / "gate"
    broken.write_text(MODULE + GATED.format(gate=str(gate)))
    with ThreadPoolExecutor() as beside:
        upgrade = beside.submit(one.ctl, "upgrade", "--json")
        wait_until(checks, "the check runs", 30.0)
        others = [beside.submit(one.ctl, *words) for words in (["workers", "4"], ["snapshot"])]
        assert others[1].result(60.0).code == 0, "a checkpoint is made meanwhile"
        assert one.ctl("digest").code == 0
        ticks_on(run)
        assert doing(one.folder) == "upgrade"
        assert not upgrade.done()
        assert not others[0].done()
        gate.touch()
        assert upgrade.result(120.0).summary["accepted"] is True
        assert others[0].result(60.0).code == 0
    ticks_on(run)
    assert run.status()["pid"] == pid
    assert run.status()["workers"] == 4
    tick = run.status()["tick"]

    # a stop ends what is done and what waits, and each is told; it is no stop before it is one
    gate.unlink()
    with ThreadPoolExecutor() as beside:
        upgrade = beside.submit(one.ctl, "upgrade")
        wait_until(checks, "the check runs", 30.0)
        workers = beside.submit(one.ctl, "workers", "3")
        stopped = beside.submit(one.ctl, "stop", "--json")
        for asked_for in (upgrade, workers):
            ended = asked_for.result(60.0)
            assert ended.code in (1, 3)
            assert "instance" in ended.err
        assert stopped.result(60.0).summary["stopped"] is True
    summary = run.wait(1.0).summary
    assert summary["workers"] == 4
    assert summary["ticks"] == summary["tick"] >= tick
    assert summary["ticks"] / summary["seconds"] < 60, "ticks and seconds are of the same time"
    assert summary["entity_updates"] >= summary["ticks"] * 290, "the sensors, in every tick"
    told = [e["detalle"]["aceptada"] for e in events_of(pg_dsn) if e["tipo"] == "actualizacion"]
    assert told == [False, False, False, False, True, False]
    assert json.loads(run.texts()[0])["digest"] == summary["digest"]
