"""The measurements that documents cite run: each kind of what they do, once, on a small world."""

from __future__ import annotations

import signal

import pytest

from corec.lab.bench.server import Server
from corec.lab.measure import faults, recovery, where

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.usefixtures("no_leaks"),
]
ENTITIES = 2000
TICK_HZ = 20.0


def test_each_kind_of_fault_is_felt_and_over() -> None:
    with Server(recovery.config(ENTITIES), workers=2) as server:
        bench = faults.Bench(server, TICK_HZ)
        steps = recovery.one_kill(server, 1)
        assert set(steps) == set(recovery.STEPS)
        assert 0.0 < steps["reaped"] <= steps["committed"]
        for role in ("nucleus", "worker"):  # the others' places are watched as a worker's
            bench.hit(role, signal.SIGKILL, f"{role} killed")
        bench.embedded("valkey", signal.SIGKILL, "broker")
        bench.change("one worker fewer (TTOU)", signal.SIGTTOU, 2.0)
        bench.supervisor()
        bench.refused()
        server.stop()
    assert len(bench.found) == 2 + 5
    assert all(len(ms) == 1 and ms[0] > 0.0 for ms in bench.found.values())


def test_each_part_of_a_tick_can_be_timed_alone() -> None:
    parts = where.parts()
    assert all(sample() > 0.0 for sample in parts.values())
    assert set(where.registers()) < set(parts)
