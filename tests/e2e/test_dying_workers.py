"""Workers that die while their number changes."""

from __future__ import annotations

import os
import random
import secrets
import select
import signal
from contextlib import suppress
from functools import partial

import pytest

from corec.control.outcome import last_change
from tests.e2e.conftest import Make
from tests.e2e.test_operator_faults import make_one, ticks_on
from tests.support.instance import Instance
from tests.support.processes import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.usefixtures("no_leaks")]


def _told_since(one: Instance, number: int) -> bool:
    return bool(last_change(one.folder)["number"] > number)


def test_a_worker_dies_while_there_are_to_be_more_or_fewer(make: Make) -> None:
    """Before, within and behind the attempt to make a process, and the rest that follows."""
    one, run = make_one(make)
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    count = 2
    for number in (signal.SIGTTIN, signal.SIGTTOU) * 5:
        before, victim = last_change(one.folder)["number"], run.pid_of("worker", rng.randrange(2))
        run.signal(number)
        select.select([], [], [], rng.choice((0.0, 0.002, 0.005, 0.01, 0.02, 0.05)))
        with suppress(ProcessLookupError):  # it has left already
            os.kill(victim, signal.SIGKILL)
        wait_until(partial(_told_since, one, before), "told", 120.0)
        assert last_change(one.folder)["accepted"], last_change(one.folder)
        count += 1 if number == signal.SIGTTIN else -1
        ticks_on(run)
        assert run.status()["workers"] == count
    assert run.stop().code == 0
