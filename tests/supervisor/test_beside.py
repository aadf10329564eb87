"""Work beside the watch loop: what comes of it, whatever it does."""

from __future__ import annotations

import errno
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TypeVar

import pytest

from corec.command_line import NO_PROCESS
from corec.supervisor.beside import Failed, command, work
from tests.support.forked import REPO, plain_environment
from tests.support.processes import children_of, is_running, wait_until

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.slow]
T = TypeVar("T")


def driven(steps: Generator[None, None, T]) -> T:
    """The result of ``steps``, each taken 2 ms after the last."""
    pause = select.poll()
    while True:
        try:
            next(steps)
        except StopIteration as end:
            value: T = end.value
            return value
        pause.poll(2)


def hang() -> None:
    """Never return."""
    signal.pause()


def refuse() -> None:
    """What a faulty configuration does."""
    raise ValueError("found 1, expected 2")


def leave() -> None:
    """What a plugin may do when it is imported."""
    sys.exit(3)


def kill_itself() -> None:
    """As the kernel's OOM killer does."""
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_result_comes_back_however_long_it_is() -> None:
    assert driven(work(lambda: "x" * 300_000, "it", 10.0, lambda: None)) == "x" * 300_000


@pytest.mark.parametrize(
    ("function", "seconds", "said"),
    [
        (refuse, 10.0, "found 1, expected 2"),
        (leave, 10.0, "reading it ended its process: exit code 1"),
        (kill_itself, 10.0, "reading it ended its process: killed by SIGKILL"),
        (hang, 0.1, "reading it takes longer than 0.1 s"),
    ],
)
def test_what_fails_is_told(function: Callable[[], None], seconds: float, said: str) -> None:
    with pytest.raises(Failed, match=said):
        driven(work(function, "reading it", seconds, lambda: None))


def test_one_that_is_given_up_leaves_no_process() -> None:
    before = children_of(os.getpid())
    steps = work(hang, "it", 60.0, lambda: None)
    next(steps)
    assert len(children_of(os.getpid()) - before) == 1
    steps.close()
    assert children_of(os.getpid()) == before


def test_a_command_says_how_it_ended_and_what_it_complained_of() -> None:
    words = [sys.executable, "-c", "import sys; print('out'); sys.exit('found x')"]
    assert driven(command(words, "it", 30.0)) == (1, "found x")
    long = [sys.executable, "-c", "import sys; sys.stderr.write('y' * 200_000)"]
    code, text = driven(command(long, "it", 30.0))
    assert (code, len(text)) == (0, 65_536)


def test_a_command_that_hangs_goes_with_its_children(tmp_path: Path) -> None:
    before = children_of(os.getpid())
    told = tmp_path / "pid"
    words = ["/bin/sh", "-c", 'sleep 60 & echo $! >"$0"; wait', str(told)]
    with pytest.raises(Failed, match=r"it takes longer than 2 s"):
        driven(command(words, "it", 2.0))
    wait_until(lambda: not is_running(int(told.read_text())), "its child is gone", 5.0)
    assert not any(map(is_running, children_of(os.getpid()) - before))


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(FileNotFoundError):
        driven(command(["/nowhere/python"], "it", 1.0))


NO_FORK = """
import os, resource
from corec.command_line import text_of
from corec.supervisor.beside import work
if os.geteuid() == 0:
    os.setuid(65531)  # root may have as many as it likes
resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
before = os.listdir("/proc/self/fd")
try:
    next(work(lambda: 1, "it", 10.0, lambda: None))
except OSError as error:
    print(text_of(error))
assert os.listdir("/proc/self/fd") == before
"""


def test_without_a_process_it_is_told_what_to_do() -> None:
    """What a grow, a reload or an upgrade of an ordinary user meets at ulimit -u."""
    ended = subprocess.run(
        [sys.executable, "-c", NO_FORK], cwd=REPO, env=plain_environment(), check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == f"{os.strerror(errno.EAGAIN)}: {NO_PROCESS}\n"
