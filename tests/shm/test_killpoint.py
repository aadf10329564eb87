"""Kill points kill where they are told to, at the pass they are told, and nowhere else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from numba.core import types

from shm import killpoint
from shm.compiled_killpoint import compiled_kill_point, process_kill_point
from shm.jit import compiled
from shm.killpoint import kill_point
from tests.shm.helpers import KILLED, fork, reap, shared_words
from tests.support.processes import patient

K_TEST = killpoint.register("test.compiled")
ARMED_TYPE = types.Array(types.int64, 1, "C")


@compiled(types.int64(ARMED_TYPE, types.int64))
def _pass_by_argument(armed: npt.NDArray[np.int64], passes: int) -> int:
    for _ in range(passes):
        compiled_kill_point(K_TEST, armed)
    return passes


@compiled(types.int64(types.Array(types.uint64, 1, "C"), types.int64))
def _pass_by_process(progress: npt.NDArray[np.uint64], passes: int) -> int:
    for _ in range(passes):
        progress[0] += np.uint64(1)
        process_kill_point(K_TEST)
    return passes


def test_nothing_armed_nothing_killed() -> None:
    kill_point("test.python")
    assert _pass_by_argument(np.zeros(2, np.int64), 5) == 5
    assert _pass_by_process(np.zeros(1, np.uint64), 5) == 5


@pytest.mark.parametrize("pass_number", [1, 3])
def test_an_armed_point_kills_at_its_pass(pass_number: int) -> None:
    progress = shared_words(1)

    def python() -> None:
        killpoint.arm("test.python", pass_number)
        for _ in range(5):
            progress[0] += np.uint64(1)
            kill_point("test.another")
            kill_point("test.python")

    def by_process() -> None:
        killpoint.arm("test.compiled", pass_number)
        _pass_by_process(progress, 5)

    for body in (python, by_process):
        progress[0] = 0
        assert reap(fork(body)) == KILLED
        assert progress[0] == pass_number

    def by_argument(passes: int) -> None:
        killpoint.arm("test.compiled", pass_number)
        _pass_by_argument(killpoint.ARMED.copy(), passes)

    assert reap(fork(lambda: by_argument(pass_number - 1))) == 0
    assert reap(fork(lambda: by_argument(pass_number))) == KILLED


def test_a_disarmed_child_lives() -> None:
    def child() -> None:
        killpoint.arm("test.python")
        killpoint.disarm()
        kill_point("test.python")

    assert reap(fork(child)) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("value", "code", "output"),
    [("a.b:2", KILLED, "1"), ("a.b", KILLED, ""), ("a.b:9", 0, "12"), ("", 0, "12")],
)
def test_the_environment_arms_at_import(value: str, code: int, output: str) -> None:
    program = (
        "from shm.killpoint import kill_point\n"
        "for k in '12':\n    kill_point('a.b')\n    print(k, end='', flush=True)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {killpoint.ENVIRONMENT: value},
        cwd=root,
        capture_output=True,
        text=True,
        timeout=patient(60),
        check=False,
    )
    assert (done.returncode, done.stdout) == (code, output), done.stderr


def test_what_the_environment_may_say() -> None:
    assert killpoint.parse("a.b") == ("a.b", 1)
    assert killpoint.parse("a.b:12") == ("a.b", 12)
    for wrong in (":3", "a:0", "a:x", "a:-1"):
        with pytest.raises(ValueError, match="name:n"):
            killpoint.parse(wrong)
    with pytest.raises(ValueError, match="expected 1 or more"):
        killpoint.arm("a", 0)


def test_codes_are_stable_and_registered() -> None:
    assert killpoint.KILL_POINTS["test.compiled"] == K_TEST == killpoint.code_of("test.compiled")
    assert killpoint.register("test.compiled") == K_TEST
    assert all(0 < code < 2**63 for code in killpoint.KILL_POINTS.values())
