"""Instances at a terminal that goes, stops, or never reads, and with nothing at all to write to."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.conftest import Make
from tests.e2e.test_life import checkpoints
from tests.support.instance import Instance, Running, small_config
from tests.support.processes import hear_signals, patient, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.usefixtures("no_leaks")]

STDERR = 2


def started(
    one: Instance, *options: str, before: Callable[[], None] | None = None, **streams: int
) -> Running:
    """``corec run``, with descriptors of the test's own."""
    for name in ("out", "err"):
        one.output(len(one.runs), name).touch()
    process = subprocess.Popen(
        [sys.executable, "-m", "corec", "run", *options],
        cwd=one.home,
        env=one.environment,
        start_new_session=True,
        preexec_fn=before,
        **({"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL} | streams),
    )  # type: ignore[call-overload]  # streams as given
    one.runs.append(Running(process, one, len(one.runs)))
    return one.runs[-1]


@contextmanager
def terminal() -> Iterator[tuple[int, int]]:
    """Both ends of a terminal; the first may be closed meanwhile."""
    main, side = pty.openpty()
    try:
        yield main, side
    finally:
        os.close(side)
        try:
            os.close(main)
        except OSError:
            pass  # the test has closed it


def owns_terminal() -> None:
    """Make standard input the controlling terminal."""
    hear_signals()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def owns_terminal_under_nohup() -> None:
    """The same, as nohup does it."""
    owns_terminal()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def at(side: int) -> dict[str, int]:
    """All three streams at the terminal."""
    return {"stdin": side, "stdout": side, "stderr": side}


def drained_by(main: int, run: Running) -> None:
    """Wait until it runs, and read what it says meanwhile."""
    os.set_blocking(main, False)

    def runs() -> bool:
        try:
            os.read(main, 1 << 16)
        except BlockingIOError:
            pass  # it says nothing now
        return run._state() in ("running", "paused")

    wait_until(runs, "it runs", 120.0)


def test_a_closed_terminal_stops_it_in_order(make: Make) -> None:
    one = make(small_config(tick_hz=50))
    with terminal() as (main, side):
        run = started(one, before=owns_terminal, **at(side))
        drained_by(main, run)
        os.close(main)
        assert run.process.wait(patient(60)) == 0
    assert len(checkpoints(run)) == 1
    one.assert_clean()


def test_with_nohup_it_goes_on(make: Make) -> None:
    one = make(small_config(tick_hz=50))
    with terminal() as (main, side):
        run = started(one, before=owns_terminal_under_nohup, **at(side))
        drained_by(main, run)
        os.close(main)
        os.kill(run.pid_of("worker"), signal.SIGKILL)
        run.until_tick(run.status()["tick"] + 50)
        run.signal(signal.SIGTERM)
        assert run.process.wait(patient(60)) == 0
    assert len(checkpoints(run)) == 1


def test_a_stopped_terminal_holds_nothing_up(make: Make) -> None:
    one = make(small_config(tick_hz=50))
    with terminal() as (main, side):
        run = started(one, before=owns_terminal, **at(side))
        drained_by(main, run)
        os.write(main, b"\x13")  # Ctrl-S
        os.kill(run.pid_of("worker"), signal.SIGKILL)
        run.until_tick(run.status()["tick"] + 50)
        run.signal(signal.SIGTERM)
        assert run.process.wait(patient(60)) == 0
    assert len(checkpoints(run)) == 1


def test_a_pipe_that_nobody_reads_from_the_start(make: Make) -> None:
    one = make(small_config(tick_hz=50, log={"level": "debug"}))
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(write, False)
    os.write(write, b"x" * 4096)
    os.set_blocking(write, True)
    try:
        run = started(one, stdout=write, stderr=write)
        run.ready().until_tick(20)
        run.signal(signal.SIGTERM)
        assert run.process.wait(patient(60)) == 0
    finally:
        os.close(read)
        os.close(write)
    assert len(checkpoints(run)) == 1


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_closed_streams(make: Make, closed: tuple[int, ...]) -> None:
    def close() -> None:
        for number in closed:
            os.close(number)

    one = make(small_config(tick_hz=50))
    run = started(one, "--ticks", "20", "--json", before=close)
    assert run.process.wait(patient(120)) == 0
    assert len(checkpoints(run)) == 1
    one.assert_clean()


LOUD = """
import os
import corec

print("a plugin speaks")
os.write(1, b"and its library\\n")

@corec.micro(state={"x": "f4"})
def loud(me):
    me.x = me.random()
    return me.x
"""


def test_what_a_plugin_prints_does_not_spoil_the_document(make: Make) -> None:
    swarm = {"id": "a", "canal": 1, "entidades": 20, "procesador": "loud:loud"}
    one = make(small_config(bloques=[swarm]))
    (one.home / "plugins").mkdir()
    (one.home / "plugins" / "loud.py").write_text(LOUD)
    checked = one.command("check", str(one.config_path), "--json")
    assert json.loads(checked.out)["ok"] is True
    assert "a plugin speaks" in checked.err
    ended = one.run("--ticks", "3", "--tick-hz", "0")
    assert ended.summary["tick"] == 3
    assert "and its library" in ended.err
    (one.home / "plugins" / "loud.py").write_text("import sys\nsys.exit(0)\n")
    refused = one.run("--ticks", "3")
    assert refused.code == 2
    (line,) = refused.complaints
    assert "loud" in line
    assert "SystemExit" in line


def test_a_summary_that_can_not_be_written_is_told(make: Make) -> None:
    one = make(small_config(tick_hz=50))
    with open("/dev/full", "wb") as full, one.output(0, "err").open("wb") as err:
        run = started(one, "--ticks", "20", "--json", stdout=full.fileno(), stderr=err.fileno())
        assert run.process.wait(patient(120)) == 1
    assert "the summary could not be written" in one.output(0, "err").read_text()
    assert "Traceback" not in one.output(0, "err").read_text()
    assert len(checkpoints(run)) == 1
    one.assert_clean()
