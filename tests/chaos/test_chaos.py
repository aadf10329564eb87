"""``corec chaos``: the schedule follows from the seed, a short run ends with an exact ledger."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corec.lab.chaos.plan import EVERYBODY, FAULTS, NEEDS_SERVERS, WORKERS, WORKERS_MAX, schedule
from tests.support.processes import patient

SEED = 20261122  # of the long run in docs/chaos-report.md
SHORT_SEED = 20261220  # its first 12 s hold a fault of every kind that fits into them


@given(seed=st.integers(0, 2**63), seconds=st.floats(5.0, 600.0))
def test_the_same_seed_gives_the_same_schedule(seed: int, seconds: float) -> None:
    faults = schedule(seed, seconds)
    assert faults == schedule(seed, seconds)
    assert [f.at for f in faults] == sorted(f.at for f in faults)
    assert all(0.0 <= f.pick < 1.0 and f.at <= seconds for f in faults)


def test_a_long_schedule_holds_every_fault() -> None:
    assert {f.what for f in schedule(SEED, 900.0)} == {name for name, _, _ in FAULTS}


@given(seed=st.integers(0, 2**63))
def test_who_starts_anew_finds_the_servers(seed: int) -> None:
    faults = schedule(seed, 300.0)
    away = [f for f in faults if f.what.partition(" ")[2] in ("postgres", "valkey")]
    for fault in faults:
        if fault.what in NEEDS_SERVERS:
            assert not any(a.at <= fault.at <= a.end for a in away)


@given(seed=st.integers(0, 2**63))
def test_a_frozen_process_is_left_to_the_supervisor(seed: int) -> None:
    faults = schedule(seed, 300.0)
    for frozen in (f for f in faults if f.what.startswith("freeze")):
        during = {f.what for f in faults if frozen.at <= f.at <= frozen.end and f is not frozen}
        role = frozen.what.partition(" ")[2]
        assert not during & {f"kill {role}", f"stop {role}", *EVERYBODY}


@given(seed=st.integers(0, 2**63))
def test_there_are_always_workers_and_never_many(seed: int) -> None:
    workers = WORKERS
    for fault in schedule(seed, 300.0):
        if fault.what in NEEDS_SERVERS:
            workers = WORKERS
        workers += {"more workers": 1, "fewer workers": -1}.get(fault.what, 0)
        assert 1 <= workers <= WORKERS_MAX


def test_the_long_run_is_dense_enough() -> None:
    counted = Counter(f.what.partition(" ")[0] for f in schedule(SEED, 900.0))
    assert counted["kill"] >= 200
    assert counted["restart"] >= 10


def test_a_time_that_is_none_is_refused() -> None:
    command = [sys.executable, "-m", "corec", "chaos", "--for", "soon"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "allowed a time" in ended.stderr


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_short_run_leaves_an_exact_ledger() -> None:
    print(f"seed {SHORT_SEED}")
    command = [sys.executable, "-m", "corec", "chaos", "--seed", str(SHORT_SEED), "--for", "12s",
               "--blocks", "5", "--json"]  # fmt: skip
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=patient(380)
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    report = json.loads(ended.stdout)
    assert report["differences"] == []
    assert report["faults_total"] >= 12
    roles = ("worker", "persister", "broker", "nucleus", "tasks", "supervisor")
    assert all(report["kills"][role] for role in roles), report["kills"]
    assert all(report["server_restarts"][name] for name in ("postgres", "valkey"))
    assert report["cuts"]
    assert report["digest"] == report["digest_undisturbed"]
    assert report["rows"] > 0
    assert report["messages"] > 0
    assert report["alerts_answered"] > 0
