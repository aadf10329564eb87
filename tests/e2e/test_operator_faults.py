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
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from corec import layout as L
from corec.control.client import Client
from corec.control.outcome import doing, last_change
from corec.control.protocol import ControlError
from corec.supervisor.segments import world_files
from tests.e2e.conftest import Make
from tests.e2e.test_life import checkpoints
from tests.support.instance import Instance, Running, control_word, small_config
from tests.support.ledger import events_of
from tests.support.processes import children_of, command_of, is_running, promised, wait_until

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
    run.ready()  # a busy machine may be behind its pace for a while


def memory_bytes(pid: int) -> int:
    """Its address space."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def open_files(pid: int) -> int:
    """The limit on descriptors that leaves it no other: the lowest number that is free."""
    used = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    return min(set(range(len(used) + 1)) - used)


def refused(run: Running, wish: str) -> str:
    """Why the instance does not do it."""
    with pytest.raises(ControlError) as error:
        run.ask(wish, 60.0)
    return str(error.value)


def each_that_needs_no_room(run: Running) -> None:
    """Set, pause, step and resume go on."""
    run.ask("set", path="carga", value=0.5)
    paused = run.ask("pause")["tick"]
    assert run.ask("step", ticks=3)["tick"] == paused + 3
    run.ask("resume")
    run.until_tick(paused + 10)


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
    with limited(pid, resource.RLIMIT_NOFILE, open_files(pid)):  # who ends could not begin again
        ended = one.ctl("set", "persist.every_ticks", "7")
        assert (ended.code, "Too many open files" in ended.err) == (1, True), ended.err
        ticks_on(run)
        outcome = asked(run, signal.SIGTTOU, last_change(one.folder)["number"])
        assert (outcome["accepted"], "Too many open files" in outcome["reason"]) == (False, True)
        ticks_on(run)
        assert run.status()["workers"] == 2
    # all that can be refused was granted; then there is no process to be had, for a while
    worker = run.pid_of("worker", 1)
    os.kill(worker, signal.SIGSTOP)
    run.signal(signal.SIGTTOU)
    wait_until(lambda: control_word(one.folder, L.C_REST) & 1, "the workers are to leave", 60.0)
    # a limit below what those who left give back
    with limited(pid, resource.RLIMIT_NOFILE, min(8, open_files(pid))):
        os.kill(worker, signal.SIGCONT)
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


def checks(run: Running) -> list[int]:
    """The processes that look whether new code can adopt its world."""
    return [child for child in children_of(run.pid) if "--adopt" in command_of(child)]


def stopped_while_it_upgrades(one: Instance, run: Running) -> dict[str, Any]:
    """A stop ends what is done and what waits, and each is told; it is no stop before it is one.

    Returns its summary.
    """
    tick = run.status()["tick"]
    with ThreadPoolExecutor() as beside:
        upgrade = beside.submit(one.ctl, "upgrade")
        wait_until(lambda: checks(run), "the check runs", 30.0)
        workers = beside.submit(one.ctl, "workers", "3")
        stopped = beside.submit(one.ctl, "stop", "--json")
        for asked_for in (upgrade, workers):
            ended = asked_for.result(60.0)
            assert ended.code in (1, 3)
            assert "instance" in ended.err
        assert stopped.result(60.0).summary["stopped"] is True
    summary = run.wait(promised(1.0)()).summary
    assert summary["ticks"] == summary["tick"] >= tick
    assert summary["ticks"] / summary["seconds"] < 60, "ticks and seconds are of the same time"
    assert summary["entity_updates"] >= summary["ticks"] * 290, "the sensors, in every tick"
    return summary


def test_upgrade(make: Make, pg_dsn: str) -> None:
    one, run = make_one(make)
    pid, number = run.pid, 0

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
    wait_until(lambda: checks(run), "the check runs", 30.0)
    os.kill(checks(run)[0], signal.SIGKILL)
    wait_until(lambda: last_change(one.folder)["number"] == number + 4, "the outcome", 60.0)
    assert "killed by SIGKILL" in last_change(one.folder)["reason"]
    ticks_on(run)

    # what was asked for meanwhile is done by the new code, and nothing of the run is forgotten
    asked(run, signal.SIGTTIN, number + 4)
    ticks_on(run)
    one.configure(one.config | {"tick_hz": 49})
    gate = one.home / "gate"
    broken.write_text(MODULE + GATED.format(gate=str(gate)))
    with ThreadPoolExecutor() as beside:
        upgrade = beside.submit(one.ctl, "upgrade", "--json")
        wait_until(lambda: checks(run), "the check runs", 30.0)
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
    assert run.status()["tick_hz"] == 49, "an upgrade reads the configuration anew"

    gate.unlink()
    summary = stopped_while_it_upgrades(one, run)
    assert summary["workers"] == 4
    told = [e["detalle"]["aceptada"] for e in events_of(pg_dsn) if e["tipo"] == "actualizacion"]
    assert told == [False, False, False, False, True, False]
    assert json.loads(run.texts()[0])["digest"] == summary["digest"]


def holds(one: Instance) -> bool:
    """Whether somebody waits for the world to stand still."""
    released = control_word(one.folder, L.C_HOLD_RELEASE)
    return control_word(one.folder, L.C_HOLD_REQUEST) > released


def wishes_refused(one: Instance, run: Running) -> None:
    """Each wish with each fault, and then without."""
    nucleus = run.pid_of("nucleus")
    with limited(nucleus, resource.RLIMIT_AS, memory_bytes(nucleus)):
        for wish in ("snapshot", "digest"):
            assert "no memory" in refused(run, wish).lower(), wish
        each_that_needs_no_room(run)
    with limited(nucleus, resource.RLIMIT_FSIZE, 1 << 10):
        for wish, reason in (("snapshot", "File too large"), ("digest", "no room for a copy")):
            assert reason in refused(run, wish), wish
        each_that_needs_no_room(run)
    with Client(one.folder / "control.sock") as client:
        client.ask("status")  # it is accepted before there is no descriptor any more
        before = resource.prlimit(nucleus, resource.RLIMIT_NOFILE)
        resource.prlimit(nucleus, resource.RLIMIT_NOFILE, (open_files(nucleus), before[1]))
        for wish in ("snapshot", "digest"):
            with pytest.raises(ControlError, match="Too many open files"):
                client.ask(wish, {}, 60.0)
        assert client.ask("set", {"path": "carga", "value": 0.5})["value"] == 0.5
        resource.prlimit(nucleus, resource.RLIMIT_NOFILE, before)
    ticks_on(run)
    status = run.status()["checkpoint"]
    assert (status["state"], status["failed"], status["made"]) == ("failed", 3, 0)
    assert run.ask("snapshot", 60.0)["tick"] > 10
    assert run.ask("digest", 60.0)["digest"]


def killed_while_it_waits(one: Instance, run: Running) -> None:
    """For a worker that is frozen: asked again, where that changes nothing."""
    worker = run.pid_of("worker", 1)
    for words in (["snapshot"], ["digest"], ["set", "carga", "0.75"], ["pause"]):
        os.kill(worker, signal.SIGSTOP)
        with ThreadPoolExecutor() as beside:
            asked_for = beside.submit(one.ctl, *words)
            wait_until(lambda: holds(one), f"{words[0]} waits", 9.0)
            nucleus = run.pid_of("nucleus")
            os.kill(nucleus, signal.SIGKILL)
            os.kill(worker, signal.SIGCONT)
            ended = asked_for.result(60.0)
        again = words[0] in ("snapshot", "digest")
        assert ended.code == (0 if again else 1), (words, ended.err)
        assert again or "may have been done all the same: corec-ctl status" in ended.err
        run.ready()
    assert (run.status()["carga"], run.status()["state"]) == (0.5, "paused"), "one of them stands"


def frozen_for_good(run: Running) -> None:
    """Until the supervisor replaces it; the word that was set stands all the same."""
    worker = run.pid_of("worker", 1)
    os.kill(worker, signal.SIGSTOP)
    with ThreadPoolExecutor() as beside:
        changed = beside.submit(run.ask, "set", 60.0, path="carga", value=1.0)
        resumed = beside.submit(run.ask, "resume", 60.0)
        late = [asked_for.exception(90.0) for asked_for in (changed, resumed)]
    assert all(found is None or "no tick has shown it yet" in str(found) for found in late), late
    wait_until(lambda: not is_running(worker), "the frozen one is replaced", 30.0)
    ticks_on(run)
    assert run.status()["carga"] == 1.0


def killed_within_a_step(one: Instance, run: Running) -> None:
    """The ticks that were asked for go on, no more."""
    last = run.ask("pause")["tick"] + 200
    os.kill(worker := run.pid_of("worker", 1), signal.SIGSTOP)  # the first tick waits for it
    with ThreadPoolExecutor() as beside:
        asked_for = beside.submit(one.ctl, "step", "200")
        wait_until(lambda: control_word(one.folder, L.C_STEP_LIMIT) == last, "it steps", 9.0)
        os.kill(run.pid_of("nucleus"), signal.SIGKILL)
        os.kill(worker, signal.SIGCONT)
        assert asked_for.result(60.0).code == 1
    assert run.ready().until_tick(last).status()["tick"] == last
    run.ask("resume")
    ticks_on(run)


def no_room_to_stop_or_restore(one: Instance, run: Running) -> None:
    """The world stays where its checkpoint finds no room; restore needs room, too."""
    for pid in (run.pid, *children_of(run.pid)):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1 << 10, resource.RLIM_INFINITY))
    stopped = run.stop()
    assert stopped.code == 1, "there is no room for the log either"
    assert any(name.endswith("control.seg") for name in one.runtime_files())
    run = one.start().ready()
    tick = run.status()["tick"]
    ticks_on(run)
    # and the same world once more, through a crash: to restore is refused while it can't be kept
    assert run.ask("snapshot", 60.0)["tick"] >= tick
    run.signal(signal.SIGKILL)
    run.process.wait()
    wait_until(lambda: not one.processes(), "its processes end", 10.0)
    held = world_files(one.folder)
    name = max(checkpoints(run)).name
    starved = subprocess.run(
        [sys.executable, "-m", "corec", "checkpoint", "restore", name], cwd=one.home,
        env=one.environment, capture_output=True, text=True, timeout=240, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 10, 1 << 10)),
    )  # fmt: skip
    assert (starved.returncode, starved.stdout) == (1, ""), starved.stderr
    assert len(starved.stderr.splitlines()) == 1, starved.stderr
    assert world_files(one.folder) == held
    assert one.command("checkpoint", "restore", name).code == 0
    assert one.run("--ticks", "5").summary["tick"] >= tick


def test_what_the_nucleus_does(make: Make) -> None:
    """set, pause, resume, step, snapshot, digest: each with each fault, and then without."""
    one = make(small_config(tick_hz=50, workers=2, checkpoint={"every_seconds": 0}))
    run = one.start().ready().until_tick(10)
    wishes_refused(one, run)
    killed_while_it_waits(one, run)
    frozen_for_good(run)
    killed_within_a_step(one, run)
    no_room_to_stop_or_restore(one, run)
