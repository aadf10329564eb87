"""What the tests fork (``tests.support.forked``) is what a start is, seen from outside."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.conftest import Make
from tests.support import forked
from tests.support.instance import Instance, Running
from tests.support.processes import is_running, wait_until

CTL = "corec.control.ctl"
STATUS = ("Umask", "Uid", "Threads", "SigBlk", "SigIgn", "SigCgt", "NoNewPrivs")


def shown(run: Running) -> dict[str, object]:
    """What ``/proc`` says of a supervisor and its children."""
    root = Path(f"/proc/{run.pid}")
    rows = [line.split(":\t", 1) for line in (root / "status").read_text().splitlines()]
    opened = []
    for path in (root / "fd").iterdir():
        try:
            opened.append(re.sub(r"\d+|/run-.*", "#", os.readlink(path)))
        except OSError:
            continue  # closed meanwhile
    named = Path(run.instance.home).name
    environ = (root / "environ").read_text().rstrip("\0").replace(named, "#").split("\0")
    return {
        "status": {name: value for name, value in rows if name in STATUS},
        "opened": Counter(name for name in opened if name.startswith(("pipe", "/dev/null"))),
        "words": (root / "cmdline").read_text().rstrip("\0").split("\0")[1:],
        "environment": sorted(set(environ)),
        "folder": os.readlink(root / "cwd").replace(named, "#"),
        "titles": sorted(run.instance.processes().values()),
        "session": os.getsid(run.pid), "group": os.getpgid(run.pid),
    }  # fmt: skip


def test_a_forked_instance_looks_like_a_started_one(make: Make) -> None:
    """Some thread or pipe may be there for a moment only: one looks as the other did once."""
    one = make(name="home-a")
    run = one.start().ready()
    assert isinstance(run.process, forked.Forked)
    seen = [shown(run.until_tick(tick)) for tick in range(5, 20)]
    assert f"COREC_HOME={one.home}".replace("home-a", "#") in str(seen[0]["environment"])
    assert run.stop().code == 0
    one = make(name="home-b")
    one.fresh_interpreter = True
    run = one.start().ready()
    assert not isinstance(run.process, forked.Forked)
    found: list[dict[str, object]] = []

    def alike() -> bool:
        found[:] = [shown(run)]
        return found[0] in seen

    with contextlib.suppress(AssertionError):
        wait_until(alike, "it looks the same", 20.0)
    assert found[0] in seen or found[0] == seen[-1]  # what differs is shown
    assert run.stop().code == 0


@pytest.mark.parametrize("words", [("status",), ("--version",), ("status", "--nonsense"), ("-h",)])
def test_a_command_says_the_same(tmp_path: Path, words: tuple[str, ...]) -> None:
    one = Instance(tmp_path / "home", tmp_path / "run", {"instance_id": "none"})
    ended = one.ctl(*words)
    one.fresh_interpreter = True
    assert ended == one.ctl(*words)


def test_how_one_ends(tmp_path: Path) -> None:
    environment = forked.plain_environment() | {"COREC_RUNTIME_BASE": str(tmp_path)}
    ours, its = os.pipe()
    words = ["top", "--instance", "x" * 100]
    with os.fdopen(ours, "rb") as said:
        process = forked.start(
            CTL, words, cwd=tmp_path, environment=environment, stdout=its, stderr=its
        )
        os.close(its)
        assert isinstance(process, forked.Forked)
        assert b"no instance 'xxx" in said.read()  # to its end: nobody else has it open
    assert process.wait(60.0) == process.poll() == 3
    process.kill()  # it ended: nobody is meant


def test_one_that_is_killed(make: Make) -> None:
    process = make().start().process
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    assert process.poll() is None
    process.kill()
    assert process.wait(60.0) == -signal.SIGKILL
    assert not is_running(process.pid)


@pytest.mark.parametrize(
    ("name", "values"),
    [("LC_ALL", ("C", "C.UTF-8")), ("PYTHONPATH", ("/", "/usr")), ("PYTHONUTF8", ("1", "0"))],
)
def test_another_environment_gets_an_interpreter_of_its_own(
    tmp_path: Path, name: str, values: tuple[str, str]
) -> None:
    environment = forked.plain_environment() | {"PYTHONPATH": str(forked.REPO)}
    environment[name] = next(value for value in values if value != environment.get(name))
    null = subprocess.DEVNULL
    process = forked.start(
        CTL, ["--version"], cwd=tmp_path, environment=environment, stdout=null, stderr=null
    )
    assert isinstance(process, subprocess.Popen)
    process.kill()
    process.wait(60.0)


def test_a_server_that_died_fails_who_asks(tmp_path: Path) -> None:
    server = forked.Server(CTL)
    server.process.kill()
    server.process.wait(60.0)
    with pytest.raises(AssertionError, match="fork server"):
        server.ask(b"{}", [0, 0, 0])
    server.close()


def test_a_server_that_died_is_replaced(tmp_path: Path) -> None:
    one = Instance(tmp_path / "home", tmp_path / "run", {"instance_id": "none"})
    said = one.ctl("--version")
    gone = forked._server(CTL)
    gone.process.kill()
    gone.process.wait(60.0)
    assert one.ctl("--version") == said
    assert forked._server(CTL) is not gone
