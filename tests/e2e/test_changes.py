"""Reload and upgrade: the world goes on, and ends as if nothing had been changed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from corec.control.outcome import last_change
from tests.e2e.conftest import Make
from tests.support.instance import Instance, small_config
from tests.support.processes import wait_until


def _outcome(instance: Instance, before: int) -> dict[str, object]:
    folder = Path(instance.folder)
    wait_until(lambda: last_change(folder)["number"] > before, "the outcome of the change", 120)
    return last_change(folder)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_reload_takes_over_the_pace_and_refuses_another_world(make: Make) -> None:
    instance = make(small_config(tick_hz=20))
    running = instance.start()
    running.ready().until_tick(5)
    instance.configure(small_config(tick_hz=40))
    os.kill(running.pid, signal.SIGHUP)
    assert _outcome(instance, 0)["accepted"] is True
    running.ready()
    assert running.status()["tick_hz"] == 40
    instance.configure(small_config(seed=7))
    os.kill(running.pid, signal.SIGHUP)
    refused = _outcome(instance, 1)
    assert refused["accepted"] is False
    assert "seed" in str(refused["reason"])
    assert running.ready().status()["tick_hz"] == 40
    running.stop()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_upgrade_keeps_pid_and_world(make: Make) -> None:
    instance = make(small_config(tick_hz=20))
    running = instance.start()
    running.ready().until_tick(5)
    children = {row["pid"] for row in running.status()["processes"]}
    os.kill(running.pid, signal.SIGUSR2)
    assert _outcome(instance, 0)["accepted"] is True
    status = running.ready().status()
    assert status["pid"] == running.pid
    assert not children & {row["pid"] for row in status["processes"]}
    tick = int(status["tick"])
    assert tick > 5
    running.until_tick(tick + 5)
    running.stop()
