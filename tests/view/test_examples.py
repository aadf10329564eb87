"""The programs in ``examples/`` that need no instance, run as they stand."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.instance import REPO
from tests.support.processes import patient

SHARED_NAB = REPO.parent / "shared" / "data" / "nab"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # they compile an entity


def _output(name: str, folder: Path = REPO, *arguments: str) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COREC_")}
    environment["PYTHONPATH"] = os.pathsep.join([str(REPO), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(REPO / "examples" / name), *arguments], cwd=folder, env=environment,
        text=True, capture_output=True, timeout=patient(250), check=False,
    )  # fmt: skip
    said = [line for line in done.stderr.splitlines() if not line.startswith("  NAB: ")]
    assert (done.returncode, said) == (0, [])
    return done.stdout


def test_a_parameter_of_the_running_world() -> None:
    usual, faster = (int(line.rpartition(" ")[2]) for line in _output("parameter.py").splitlines())
    assert 4_500 < usual < 5_500  # after 200 ticks of 0.005 half of them have got beyond 1
    assert 9_000 < faster < 10_100


def test_who_comes_later() -> None:
    first, second = _output("growing.py").splitlines()
    assert first == "60,000 bearings, the first 10,000 as usual: True"
    old, new = (float(word.rstrip(",")) for word in second.split() if word[0].isdigit())
    assert 0.2 < new < 0.3  # 50 ticks of 0.005
    assert old > new


def test_the_state_as_a_table() -> None:
    if importlib.util.find_spec("pandas") is None:
        pytest.skip("pandas is not installed here")
    text = _output("dataframe.py")
    assert "'tick': 200" in text
    assert "replaced" in text


def test_genes_that_evolve() -> None:
    scores = [float(line.split()[2]) for line in _output("evolving.py").splitlines()]
    assert len(scores) == 4
    assert scores == sorted(scores)
    assert scores[0] < -20.0
    assert scores[-1] > -0.1


def test_detectors_that_evolve() -> None:
    """Better than the parameters it comes with on series that no candidate has heard."""
    if not SHARED_NAB.exists():
        pytest.skip("the NAB series are not beside the checkout (shared/data/nab)")
    text = _output("evolving_detector.py", REPO, str(SHARED_NAB), "100", "10")
    points = {
        tuple(line.partition(":")[0].split()): float(line.split()[2])
        for line in text.splitlines() if " points, " in line
    }  # fmt: skip
    assert points["heard", "evolved"] > points["heard", "default"] + 5.0
    assert points["unseen", "evolved"] > points["unseen", "default"] + 5.0


def test_a_threshold_out_of_a_sweep(tmp_path: Path) -> None:
    text = _output("sweep.py", tmp_path)
    shares = [float(line.split()[2].rstrip("%")) for line in text.splitlines()]
    assert len(shares) == 10
    assert shares[0] < 10.0 < 70.0 < shares[-1]
    assert _output("sweep.py", tmp_path) == text
    assert (tmp_path / "threshold.jsonl").read_bytes().count(b"\n") == 51


def test_entities_that_meet() -> None:
    alive = [float(line.split()[2]) for line in _output("life.py").splitlines()]
    assert len(alive) == 5
    assert 0.03 < alive[-1] < alive[0] < 0.3
    together = [float(line.split()[2].rstrip("%")) for line in _output("boids.py").splitlines()]
    assert len(together) == 4
    assert together[0] < 10.0 < 60.0 < together[-1]
    weeks = [line.replace(",", "").split() for line in _output("epidemic.py").splitlines()]
    ill, were = ([int(week[k]) for week in weeks] for k in (2, 4))
    assert max(ill) > 10 * ill[0] > 0
    assert were == sorted(were)
    assert were[-1] > 50_000


def test_who_moves_and_what_burns() -> None:
    shares = [int(line.split()[2].rstrip("%")) for line in _output("schelling.py").splitlines()]
    assert shares == sorted(shares)
    assert shares[0] < 75 < shares[-1]
    rows = [line.replace(",", "").split() for line in _output("forest_fire.py").splitlines()]
    assert all(20.0 < float(row[2].rstrip("%")) < 60.0 for row in rows)
    assert all(500 < int(row[5]) < 20_000 for row in rows)


def test_wolves_sheep_and_grass() -> None:
    rows = [line.split() for line in _output("wolf_sheep.py").splitlines()]
    sheep, wolves = ([int(row[k]) for row in rows] for k in (2, 4))
    assert len(rows) == 10
    assert min(sheep) > 100
    assert min(wolves) > 10
