"""``corec chaos``: the schedule follows from the seed, a short run ends with an exact ledger."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corec.chaos.plan import FAULTS, schedule

SEED = 20261122


@given(seed=st.integers(0, 2**63), seconds=st.floats(5.0, 600.0))
def test_the_same_seed_gives_the_same_schedule(seed: int, seconds: float) -> None:
    faults = schedule(seed, seconds)
    assert faults == schedule(seed, seconds)
    assert [f.at for f in faults] == sorted(f.at for f in faults)
    assert all(0.0 <= f.pick < 1.0 and f.at <= seconds for f in faults)


def test_a_long_schedule_holds_every_fault() -> None:
    assert {f.what for f in schedule(SEED, 900.0)} == {name for name, _, _ in FAULTS}


def test_a_time_that_is_none_is_refused() -> None:
    command = [sys.executable, "-m", "corec", "chaos", "--for", "soon"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "allowed a time" in ended.stderr


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_short_run_leaves_an_exact_ledger() -> None:
    print(f"seed {SEED}")
    command = [sys.executable, "-m", "corec", "chaos", "--seed", str(SEED), "--for", "12s",
               "--blocks", "5", "--json"]  # fmt: skip
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=380)
    assert ended.returncode == 0, ended.stderr[-3000:]
    report = json.loads(ended.stdout)
    assert report["differences"] == []
    assert report["faults_total"] >= 5
    assert report["rows"] > 0
    assert report["messages"] > 0
