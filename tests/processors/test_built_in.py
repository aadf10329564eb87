"""The built-in processors: both forms agree, and each does what its formula says."""

from __future__ import annotations

import csv
import json
import math
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from corec import layout as L
from corec.entities.processor import Processor
from corec.processors.ewma import ewma
from corec.processors.forest_fire import forest_fire
from corec.processors.kuramoto import kuramoto
from corec.processors.life import life
from corec.processors.sensor import sensor
from corec.processors.sir import sir
from corec.testing import Block, compare

NAB = Path(__file__).resolve().parents[3] / "shared" / "data" / "nab"
pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "processor", [sensor, ewma, kuramoto, sir, life, forest_fire], ids=lambda p: p.name
)
def test_both_forms_agree(processor: Processor) -> None:
    space = {"kind": "grid", "width": 6, "height": 4} if processor.public else None
    assert compare(processor, ticks=40, entities=24, space=space, rtol=0.0) >= 40 * 24


def test_a_forest_burns_as_its_rules_say() -> None:
    """Against arrays: what burns and what is lit by it, tick by tick; growth and lightning, which
    are drawn, by their numbers."""
    wide, high, growth, lightning = 50, 20, 0.05, 0.002
    block = Block(
        forest_fire, entities=wide * high, params={"growth": growth, "lightning": lightning},
        space={"kind": "grid", "width": wide, "height": high, "wrap": False},
    )  # fmt: skip
    grown = struck = empty = trees = 0
    for _ in range(60):
        before = block.view.column("cell").reshape(high, wide).copy()
        block.tick()
        after = block.view.column("cell").reshape(high, wide)
        fire = np.pad(before == 2, 1)
        near = sum(
            fire[1 + dy : high + 1 + dy, 1 + dx : wide + 1 + dx]
            for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx
        )  # fmt: skip
        assert (after[before == 2] == 0).all()
        assert (after[(before == 1) & (near > 0)] == 2).all()
        safe, free = (before == 1) & (near == 0), before == 0
        assert set(np.unique(after[safe])) <= {1, 2}
        assert set(np.unique(after[free])) <= {0, 1}
        grown, empty = grown + int((after[free] == 1).sum()), empty + int(free.sum())
        struck, trees = struck + int((after[safe] == 2).sum()), trees + int(safe.sum())
    for found, of, p in ((grown, empty, growth), (struck, trees, lightning)):
        assert of > 5000
        assert abs(found - of * p) < 5 * math.sqrt(of * p * (1 - p))


def test_ewma_agrees_past_its_warm_up() -> None:
    rng = np.random.default_rng(1)
    series = np.where(rng.random(400) < 0.02, 50.0, rng.normal(10.0, 1.0, 400))
    compare(ewma, ticks=30, entities=12, values=series.tolist(), params={"warmup": 10})


def test_sensor_is_stationary_with_the_stated_moments() -> None:
    block = Block(sensor, entities=1000)
    rows = []
    for _ in range(300):
        block.tick()
        rows.append(block.view.column("valor").copy())
    x: NDArray[np.float32] = np.array(rows)
    for part in (x[:5], x[150:155], x[-5:]):  # from the first tick on: init draws from it
        assert part.mean() == pytest.approx(0.3, abs=0.01)
        assert part.std() == pytest.approx(0.1, abs=0.008)
    steps = np.corrcoef(x[:-1].ravel(), x[1:].ravel())[0, 1]
    assert steps == pytest.approx(0.95, abs=0.01)
    assert block.view.number(L.D_UMBRAL) == pytest.approx(0.53, abs=0.005)


def test_sensor_emits_about_one_per_cent() -> None:
    sent = ticks = 0
    for seed in range(5):
        block = Block(sensor, entities=1000, seed=seed)
        for _ in range(60):
            block.tick()
            ticks += 1
        sent += int(block.view.dyn[L.D_MESSAGES])
    assert 0.006 < sent / (ticks * 1000) < 0.016


def order(block: Block) -> float:
    """Kuramoto's order parameter r of the block."""
    view = block.view
    return math.hypot(view.number(L.D_MEAN0), view.number(L.D_MEAN0 + 1))


@pytest.mark.parametrize(("coupling", "low", "high"), [(2.0, 0.9, 1.0), (0.3, 0.0, 0.2)])
def test_kuramoto_synchronises_above_the_critical_coupling_only(
    coupling: float, low: float, high: float
) -> None:
    spread = 0.5
    critical = 4.0 * spread / math.pi
    assert (coupling > critical) == (low > 0.5)
    block = Block(kuramoto, entities=1000, params={"K": coupling, "spread": spread})
    assert order(block) < 0.1
    for _ in range(800):
        block.tick()
    assert low <= order(block) <= high
    theta = block.view.column("theta")
    assert theta.min() >= 0.0
    assert theta.max() < 6.2832


def test_sir_follows_the_deterministic_curve() -> None:
    beta, gamma, seeded, ticks, worlds = 0.3, 0.1, 0.05, 80, 6
    infected = np.zeros(ticks)
    for seed in range(worlds):
        block = Block(sir, entities=1000, seed=seed, params={"seeded": seeded})
        for t in range(ticks):
            block.tick()
            infected[t] += np.count_nonzero(block.view.column("fase") == 1) / 1000 / worlds
        fase = block.view.column("fase")
        assert set(fase.tolist()) <= {0, 1, 2}
        np.testing.assert_array_equal(block.view.column("infected"), fase == 1)
    s, i = 1.0 - seeded, seeded
    curve = []
    for _ in range(ticks):
        new, healed = s * (1.0 - math.exp(-beta * i)), i * (1.0 - math.exp(-gamma))
        s, i = s - new, i + new - healed
        curve.append(i)
    assert max(curve) > 0.25
    assert np.abs(infected - np.array(curve)).max() < 0.05


def test_sir_says_each_new_case_once() -> None:
    block = Block(sir, entities=500, params={"seeded": 0.1})
    start = np.count_nonzero(block.view.column("fase"))
    for _ in range(60):
        block.tick()
    cases = sum(int((f.messages["valor"] == 1.0).sum()) for f in block.messages())
    assert cases == np.count_nonzero(block.view.column("fase")) - start


def test_ewma_goes_on_after_as_many_readings_as_its_counter_holds() -> None:
    block = Block(ewma, entities=1, max_errores=1.0)
    block.view.column("seen")[:] = 2**32 - 2
    for _ in range(3):
        block.tick([(0, 1.0)])
        assert (int(block.view.column("seen")[0]), int(block.view.fallos[0])) == (2**32 - 1, 0)


def test_ewma_finds_a_spike_and_stays_quiet_otherwise() -> None:
    rng = np.random.default_rng(5)
    block = Block(ewma, entities=50)
    scores = []
    for tick in range(400):
        series = rng.normal(100.0, 5.0, 50)
        if tick == 300:
            series[7] += 60.0
        block.tick([(i, float(v)) for i, v in enumerate(series)])
        scores.append(block.view.column("valor").copy())
        if tick == 300:
            sent = np.concatenate([f.messages for f in block.messages() if f.tick == 301])
            assert sent["id"].tolist() == [7]
    found = np.array(scores)
    assert found[300, 7] > 0.99
    found[300, 7] = 0.0
    assert (found[:30] == 0.0).all()  # the warm-up
    assert (found > 0.5).mean() < 0.002
    values, held = block.view.history("values")
    assert held.tolist() == [200] * 50
    assert values[7].max() == pytest.approx(160.0, abs=20.0)


@pytest.mark.needs_shared
def test_ewma_finds_the_labelled_anomalies_of_real_series() -> None:
    """Numenta Anomaly Benchmark, ``rds_cpu_utilization_cc0c53``: both labelled windows."""
    name = "realAWSCloudwatch/rds_cpu_utilization_cc0c53.csv"
    if not (NAB / name).exists():
        pytest.skip("the NAB series are not beside the checkout (shared/data/nab)")
    with (NAB / name).open() as file:
        rows = [(row["timestamp"], float(row["value"])) for row in csv.DictReader(file)]
    labels = json.loads((NAB / "windows.json").read_text())[name]
    windows = [(datetime.fromisoformat(a), datetime.fromisoformat(b)) for a, b in labels]
    block = Block(ewma, entities=1)
    alerts = []
    for when, value in rows:
        block.tick([(0, value)])
        if block.view.column("valor")[0] > 0.5:
            alerts.append(datetime.fromisoformat(when))
    assert len(windows) == 2
    for start, end in windows:
        assert any(start <= when <= end for when in alerts)
    outside = [w for w in alerts if not any(a <= w <= b for a, b in windows)]
    assert len(outside) < len(rows) // 100
