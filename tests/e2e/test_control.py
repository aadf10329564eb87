"""``corec-ctl`` and the nucleus on a whole instance: what is promised while everything is real."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from typing import Any

import pytest

from corec.control.client import Unreachable
from corec.control.protocol import ControlError
from tests.e2e.conftest import Make
from tests.support.instance import Instance
from tests.support.processes import wait_until

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.slow, pytest.mark.timeout(300)]


def ctl(one: Instance, *arguments: str) -> Any:
    """The JSON that ``corec-ctl ARGUMENTS --json`` prints, by the instance's configuration."""
    return one.ctl(*arguments, "--json", "--config", str(one.config_path)).summary


def test_pause_step_digest_and_the_final_digest_agree(make: Make) -> None:
    one = make()
    running = one.start("--tick-hz", "200", "--workers", "2").ready()
    paused = ctl(one, "pause")["tick"]
    assert ctl(one, "step", "7")["tick"] == paused + 7
    digest = ctl(one, "digest")
    assert digest["tick"] == paused + 7
    assert ctl(one, "digest")["digest"] == digest["digest"]
    entity = ctl(one, "entity", "329")
    assert (entity["bloque"], entity["tick"]) == ("detectores:00001", paused + 7)
    assert ctl(one, "block", "sensores:00005")["tick"] == paused + 7
    assert ctl(one, "blocks")["total"] == 8
    assert ctl(one, "doctor")["ok"]
    assert ctl(one, "stop")["stopped"]
    summary = running.wait().summary
    assert (summary["digest_tick"], summary["digest"]) == (digest["tick"], digest["digest"])


def test_workers_come_and_go(make: Make) -> None:
    one = make()
    running = one.start("--tick-hz", "100", "--workers", "1").ready()
    assert len(ctl(one, "workers", "3")["workers"]) == 3
    tick = ctl(one, "status")["tick"]
    running.until_tick(tick + 20)
    assert len(ctl(one, "workers", "2")["workers"]) == 2
    running.until_tick(running.ready().status()["tick"] + 20)
    assert running.stop().summary["ticks"] > 40


def test_a_killed_nucleus_holds_nothing_up(make: Make) -> None:
    one = make()
    running = one.start("--tick-hz", "100").ready()
    for _ in range(3):
        nucleus = running.pid_of("nucleus")
        os.kill(nucleus, signal.SIGKILL)
        tick = ctl(one, "status")["tick"]

        def back(tick: int = tick, before: int = nucleus) -> bool:
            try:
                status = running.status()
            except (Unreachable, ControlError):
                return False
            row = status["processes"][0]
            return bool(row["pid"] != before and status["tick"] > tick + 10)

        wait_until(back, "another nucleus answers and the world ticks")
    url = running.ready().status()["http_url"]
    with urllib.request.urlopen(f"{url}/readyz", timeout=10) as answer:
        assert json.load(answer) == {"ready": True, "reasons": []}
    assert running.stop().summary["restarts"] == 3
