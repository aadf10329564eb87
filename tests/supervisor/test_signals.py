"""Signals of the supervisor: none is lost, and those of a terminal are no wishes."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios

import pytest

from tests.support.instance import REPO
from tests.support.processes import hear_signals, patient

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.slow]

PROGRAM = """
import os, signal, sys
from corec.supervisor import signals as S
S.stop_the_start()
{before}
noted = S.Signals()
{after}
print([signal.Signals(n).name for n in noted.take()])
"""


def told(before: str = "", after: str = "", **options: object) -> str:
    """What a program of its own takes, with signals sent before and after ``Signals`` is there."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(before=before, after=after)],
        cwd=REPO, capture_output=True, text=True, timeout=patient(60), check=True,
        preexec_fn=hear_signals, **options,  # type: ignore[call-overload]  # as given
    )  # fmt: skip
    return str(done.stdout).strip()


def kill(*names: str) -> str:
    """Python text that sends the program these signals, in turn."""
    return "\n".join(f"os.kill(os.getpid(), signal.SIG{name})" for name in names)


def test_those_that_come_while_it_starts_are_kept() -> None:
    names = told(kill("HUP", "TTIN", "TTOU", "USR2", "USR1"))
    assert sorted(eval(names)) == ["SIGHUP", "SIGTTIN", "SIGTTOU", "SIGUSR1", "SIGUSR2"]


def test_a_stop_while_it_starts_ends_the_start() -> None:
    for name in ("TERM", "INT", "QUIT"):
        text = f"try:\n    {kill(name)}\nexcept S.StopWanted as stop:\n    print(stop); sys.exit()"
        assert told(text) == f"SIG{name}"


def test_a_stop_that_nobody_heard_is_heard_later() -> None:
    """Around a fork the interpreter calls hooks, and drops what they raise."""
    text = f"class Hook:\n    def __del__(self):\n        {kill('TERM')}\nhook = Hook()\ndel hook"
    heard = "except S.StopWanted as stop:\n    print(stop); sys.exit()"
    assert told(f"{text}\ntry:\n    S.stop_the_start()\n{heard}") == "SIGTERM"
    assert told(text) == "['SIGTERM']"
    hook = f"os.register_at_fork(after_in_parent=lambda: {kill('TERM')})"
    fork = f"{hook}\ntry:\n    with S.stops_later():\n        os.fork() or os._exit(0)"
    assert told(f"{fork}\n{heard}") == "SIGTERM"


def test_those_that_wait_survive_an_exec() -> None:
    again = (
        "if len(sys.argv) < 2:\n"
        "    S.wait_for_the_watch()\n"
        f"    {kill('TERM')}\n"
        f"    {kill('TTIN')}\n"
        "    os.execv(sys.executable, [sys.executable, '-c', 'import signal; print(sorted('\n"
        "        'n.name for n in signal.sigpending()))', 'x'])"
    )
    assert told(again) == "['SIGTERM', 'SIGTTIN']"


def test_they_are_heard_though_their_descriptor_is_refused() -> None:
    refused = "os.dup2(os.open('/', os.O_RDONLY), noted._descriptor)  # a folder is not read"
    names = told(after=f"{refused}\n{kill('TTIN', 'HUP', 'TERM')}")
    assert sorted(eval(names)) == ["SIGHUP", "SIGTERM", "SIGTTIN"]


def test_a_hangup_by_a_process_is_a_reload_unless_the_terminal_is_gone() -> None:
    assert told(after=kill("HUP")) == "['SIGHUP']"
    main, side = pty.openpty()
    os.close(main)  # as when a connection drops
    try:
        assert told(after=kill("HUP"), stdin=side) == "['SIGTERM']"
        ignored = "signal.signal(signal.SIGHUP, signal.SIG_IGN)"  # nohup
        assert told(ignored, after=kill("HUP"), stdin=side) == "[]"
    finally:
        os.close(side)


def test_a_terminal_that_stops_background_writers_is_written_to() -> None:
    """``stty tostop``: the kernel would send TTOU to the group, and TTOU is a worker fewer."""
    main, side = pty.openpty()
    attributes = termios.tcgetattr(side)
    attributes[3] |= termios.TOSTOP
    termios.tcsetattr(side, termios.TCSANOW, attributes)
    name = os.ttyname(side)
    program = f"""
import fcntl, os, signal, subprocess, sys, termios
os.setsid()
tty = os.open({name!r}, os.O_RDWR)  # the controlling terminal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTTOU])
child = os.fork()
if child == 0:
    os.setpgid(0, 0)  # a background job
    from corec.supervisor import signals as S
    S.stop_the_start()
    noted = S.Signals()
    os.write(tty, b"written")
    print(noted.take())
    sys.stdout.flush()
    os._exit(0)
print(os.waitpid(child, os.WUNTRACED)[1])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPO, capture_output=True, text=True,
        timeout=patient(60),
        check=False,
    )  # fmt: skip
    os.close(side)
    os.close(main)
    assert done.stdout.split() == ["[]", "0"], done.stderr
