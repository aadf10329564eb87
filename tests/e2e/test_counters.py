"""What ``/metrics`` and ``doctor`` say of a living instance: counters that grow, and its pace."""

from __future__ import annotations

import os
import signal
from typing import Any
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from tests.e2e.conftest import Make
from tests.support.instance import Running, small_config
from tests.support.processes import wait_until

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.slow, pytest.mark.timeout(300)]

WORKED = ("corec_ticks_total", "corec_entity_updates_total", "corec_entity_failures_total")
Counters = dict[tuple[str, str], float]


def counters(run: Running) -> Counters:
    """Every sample of a worker's counters, by metric and worker; other workers have just begun, and
    with them a nucleus that may not answer yet."""
    with urlopen(run.answered("status")["http_url"] + "/metrics", timeout=20) as answer:
        families = list(parse(answer.read().decode()))
    return {
        (sample.name, sample.labels["worker"]): sample.value
        for family in families
        for sample in family.samples
        if sample.name in WORKED
    }


def settled(run: Running, before: Counters) -> Counters:
    """Counters that have grown since ``before``, none of them having fallen meanwhile."""
    seen = before

    def grown() -> bool:
        nonlocal seen
        found = counters(run)
        for key, value in seen.items():
            assert found[key] >= value, key
        seen = found
        name = "corec_entity_updates_total"
        return sum(v for (n, _), v in found.items() if n == name) > 1000 + sum(
            v for (n, _), v in before.items() if n == name
        )

    wait_until(grown, "it updates on", 30.0)
    return seen


def test_no_counter_falls_whoever_comes_leaves_or_dies(make: Make) -> None:
    one = make(small_config(tick_hz=100.0))
    run = one.start("--workers", "2").ready()
    found = settled(run, {})
    for workers in ("4", "1", "3"):
        assert one.ctl("workers", workers, "--config", str(one.config_path)).code == 0
        before, found = found, settled(run, found)
        rate = sum(found.values()) - sum(before.values())
        assert rate < 1e7, "nothing is counted twice"
    os.kill(run.pid_of("worker"), signal.SIGKILL)
    found = settled(run, found)
    stopped = run.stop()
    again = one.start("--workers", "2").ready()
    found = settled(again, found)
    ended: dict[str, Any] = again.stop().summary
    assert stopped.code == 0
    updates = sum(v for (name, _), v in found.items() if name == "corec_entity_updates_total")
    assert updates <= ended["tick"] * ended["entidades"]
    assert updates > stopped.summary["tick"] * 280 * 0.99  # Micro entities run in each tick


def test_a_world_that_cannot_keep_its_pace_says_so(make: Make) -> None:
    one = make(small_config(tick_hz=50.0))
    run = one.start("--workers", "1").ready()

    def pace() -> dict[str, Any]:
        checks = {row["check"]: row for row in run.ask("doctor")["checks"]}
        found: dict[str, Any] = checks["pace"]
        return found

    wait_until(lambda: run.status()["achieved_hz"] > 0, "it has a pace")
    assert pace()["ok"]
    before = run.status()["overruns"]
    run.ask("set", path="tick_hz", value=1e6)
    wait_until(lambda: run.status()["behind"], "it is behind", 40.0)
    status = run.status()
    assert status["state"] == "degraded"
    assert status["achieved_hz"] < 5e5
    assert status["overruns"] - before > status["achieved_hz"]
    assert not pace()["ok"]
    assert "of 1e+06 ticks a second" in pace()["detail"]
    run.ask("set", path="tick_hz", value=2.0)
    wait_until(lambda: run.status()["state"] == "running", "a pace it can keep")
    assert run.stop().code == 0
