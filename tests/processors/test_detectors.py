"""The detectors against references in NumPy that were written from their sources."""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import corec
from corec import layout as L
from corec.entities.registry import resolve
from corec.lab.bench import nab
from corec.lab.bench.detectors import CHOSEN_ON, run
from corec.placing import place_block
from corec.processors import detector, gate, rate, seasonal, spot, stuck
from corec.testing import Block, compare
from tests.docs.documents import ROOT, blocks
from tests.support.hostile import hostile

SHARED_NAB = ROOT.parent / "shared" / "data" / "nab"
pytestmark = pytest.mark.slow
GATED = ("detector", "spot", "seasonal", "rate", "stuck")
MODULES = (detector, spot, seasonal, rate, stuck, gate)
Numbers = NDArray[np.float64]


def said(name: str, readings: Sequence[float] | Numbers, idle: int = 0, **params: float) -> Numbers:
    """``valor`` after each reading of one series, the first after ``idle`` ticks; none fails."""
    block = Block(resolve(name), entities=1, params=params)
    for _ in range(idle):
        block.tick()
    found = np.zeros(len(readings))
    for k, value in enumerate(readings):
        block.tick([(0, float(value))])
        found[k] = block.view.column("valor")[0]
    assert block.view.fallos[0] == 0
    return found


def alerts(found: Numbers) -> list[int]:
    """Which readings were alerts; nothing lies between a half and three quarters."""
    assert not ((found >= 0.5) & (found < 0.75)).any()
    assert ((found >= 0.0) & (found <= 1.0)).all()
    return np.flatnonzero(found >= 0.75).tolist()


@pytest.mark.parametrize("name", [n for n in GATED if n != "stuck"])
def test_no_storm_of_alerts_and_no_failure_whatever_comes(name: str) -> None:
    series = [hostile(seed) for seed in range(8)]
    params = {"period": 48} if name == "seasonal" else {}
    block = Block(resolve(name), entities=len(series), params=params)
    found = []
    for row in np.stack(series, axis=1):
        block.tick([(k, float(np.float32(v))) for k, v in enumerate(row)])
        found.append(block.view.column("valor").copy())
    assert block.view.fallos.sum() == 0
    shown = np.array(found, np.float64)
    total = 0
    for one in shown.T:
        at = alerts(one)
        total += len(at)
        assert np.diff(at).min(initial=31) > 30
    assert total > 8


@pytest.mark.parametrize("name", GATED)
def test_the_plain_form_has_the_same_bits(name: str) -> None:
    rng = np.random.default_rng(5)
    values = np.where(rng.random(500) < 0.03, 9.0, rng.normal(0.0, 1.0, 500).round(1)).tolist()
    params: dict[str, dict[str, float]] = {
        "detector": {"warmup": 30, "pause": 4}, "spot": {"learn": 20, "risk": 0.01, "pause": 3},
        "seasonal": {"period": 20, "bins": 4, "periods": 1, "width": 2},
        "rate": {"times": 3}, "stuck": {"many": 2, "again": 1},
    }  # fmt: skip
    exact = 1e-5 if name == "spot" else 0.0  # spot has exp and ln; Python's are float64
    compare(resolve(name), ticks=60, entities=3, values=values, params=params[name], rtol=exact)


def test_detectors_fit_one_entity_under_their_own_names() -> None:
    names = [n for m in MODULES for n in (*m.STATE, *m.PARAMS, *getattr(m, "HISTORY", {}))]
    assert len(names) == len(set(names))
    for name in GATED:
        processor = resolve(name)
        state = sum(field.itemsize for field in processor.fields)
        history = sum(4 * (ring.length + 12) - 8 for ring in processor.history)
        assert 2 * (4 + state) + 14 + history + 16 <= 1000, name


def test_a_thousand_fit_a_block_of_a_mebibyte() -> None:
    """Each alone, and ``detector`` with two others as docs/detectors.md says."""
    for name in GATED:
        assert place_block(resolve(name), 1000, L.MIB) is not None

    @corec.celu(
        state={**detector.STATE, **rate.STATE, **stuck.STATE, **gate.STATE},
        params={**detector.PARAMS, **rate.PARAMS, **stuck.PARAMS, **gate.PARAMS},
        history=detector.HISTORY,
    )
    def three(me: Any, value: Any) -> Any:
        a, b, c = (m.strength(me, value) for m in (detector, rate, stuck))
        return gate.speak(me, max(a, b, c))

    assert place_block(three, 1000, L.MIB) is not None


def test_the_gate_speaks_once() -> None:
    found = said("rate", [0.0, 1.0, 3.0, 9.0, 9.5, 20.0, 0.0], limit=2.0, pause=2)
    assert found.tolist() == [0.0, 0.25, 0.75, 0.0, 0.0, pytest.approx(1 - 0.25 / 5.25), 0.0]
    at_the_edge = said("rate", [0.0, np.nextafter(np.float32(2.0), np.float32(0.0))], limit=2.0)
    assert at_the_edge[1] < 0.5


def reference_rate(x: Numbers, times: float, alpha: float, after: int) -> Numbers:
    """QARTOD's test 7 with an exponentially weighted root mean square of the steps."""
    steps, square, ratios = np.diff(x), 0.0, [0.0]
    for k, step in enumerate(steps, 1):
        scale = times * (math.sqrt(square) + 1e-6 * abs(x[k - 1]))
        if k < after:
            square = float(np.mean(steps[:k] ** 2))
            ratios.append(0.0)
        else:
            ratios.append(abs(step) / scale)
            square += alpha * (min(abs(step), scale) ** 2 - square)
    return np.array(ratios)


def strengths(found: Numbers) -> Numbers:
    """The gate undone, where it was open."""
    return np.where(found < 0.5, 2.0 * found, 0.25 / (1.0 - np.minimum(found, 1 - 1e-12)))


def test_rate_is_the_test_of_the_rate_of_change() -> None:
    rng = np.random.default_rng(1)
    x = np.cumsum(rng.normal(0, 1, 600))
    x[300:] += 40.0
    expected = reference_rate(x, 8.0, 0.02, 30)
    found = said("rate", x, pause=0)
    np.testing.assert_allclose(strengths(found), expected, rtol=2e-3, atol=1e-4)
    assert alerts(found) == [300]


def test_stuck_counts_equal_readings() -> None:
    rng = np.random.default_rng(2)
    lengths = rng.integers(1, 30, 60)
    x = np.repeat(np.arange(60) % 7 * 10.0, lengths) + rng.uniform(0, 0.2, lengths.sum())
    starts = np.cumsum(lengths) - lengths
    expected = [int(s) + 11 for s, n in zip(starts, lengths, strict=True) if n >= 12]
    assert alerts(said("stuck", x, many=12, band=0.25)) == expected
    again = [int(s) + k for s, n in zip(starts, lengths, strict=True) for k in range(11, n, 5)]
    assert alerts(said("stuck", x, many=12, band=0.25, again=5)) == again
    assert alerts(said("stuck", x, many=12)) == []  # none is the same to the bit
    assert alerts(said("stuck", np.full(40, 0.1), many=20.5)) == [20]


def reference_seasonal(x: Numbers, period: int, bins: int, gamma: float, width: float) -> Numbers:
    """Brutlag's coefficients and deviations, with variances, over whole parts at a time."""
    parts = x.reshape(-1, bins, period // bins)
    level: dict[int, float] = {}
    variance: dict[int, float] = {}
    pool, pooled, ratios = 0.0, 0, []
    for cycle, row in enumerate(parts):
        for part, readings in enumerate(row):
            entered = []
            for value in readings:
                ratio = 0.0
                if part in level:
                    e = value - level[part]
                    most = width * math.sqrt(0.5 * (variance[part] + pool))
                    if cycle >= 2:
                        ratio = abs(e) / most
                        e = min(max(e, -most), most)
                        value = level[part] + e
                    pooled += 1
                    pool += max(0.01, 1 / pooled) * (e * e - pool)
                entered.append(value)
                ratios.append(ratio)
            m, w = float(np.mean(entered)), float(np.var(entered))
            if part in level:
                e = m - level[part]
                level[part] += gamma * e
                variance[part] += gamma * (w + e * e - variance[part])
            else:
                level[part], variance[part] = m, w
    return np.array(ratios)


def test_seasonal_knows_the_hour() -> None:
    period, bins, cycles = 96, 12, 9
    rng = np.random.default_rng(3)
    phase = 2 * np.pi * np.arange(period * cycles) / period
    x = 20.0 + 8.0 * np.sin(phase) + rng.normal(0, 0.5, len(phase))
    night = 6 * period + 3 * period // 4
    x[night] = 27.0  # usual at noon
    expected = reference_seasonal(x, period, bins, 0.3, 5.0)
    found = said("seasonal", x, idle=period - 1, period=period, bins=bins, pause=0)
    np.testing.assert_allclose(strengths(found), expected, rtol=5e-3, atol=1e-3)
    assert alerts(found) == [night]


def test_a_gap_of_periods_leaves_the_profile() -> None:
    block = Block(resolve("seasonal"), entities=1, params={"period": 8, "bins": 4, "periods": 1})
    usual = [1.0, 1.1, 5.0, 5.1, 9.0, 9.1, 3.0, 3.1]

    def tick(value: float | None) -> float:
        tick_number = block.view.tick + 1
        block.tick([] if value is None else [(0, usual[tick_number % 8] + value)])
        return float(block.view.column("valor")[0])

    for k in range(64):
        assert tick(0.01 * (k % 3)) < 0.5
    for _ in range(8 * 30):
        tick(None)
    assert all(tick(0.0) < 0.5 for _ in range(8))
    assert tick(4.0) >= 0.75


@pytest.mark.parametrize(("every", "params"), [(1, {"period": 1}), (1, {"period": 9, "bins": 1}),
                                               (24, {"period": 24})])  # fmt: skip
def test_one_part_a_period_is_a_part(every: int, params: dict[str, float]) -> None:
    """A sensor that is read once a day, too, has always the same part: it was never over."""
    block = Block(resolve("seasonal"), entities=1, params=params)
    readings = np.random.default_rng(4).normal(20.0, 0.5, 80)
    readings[70] = 40.0
    found = []
    for value in readings:
        block.tick([(0, float(value))])
        found.append(float(block.view.column("valor")[0]))
        for _ in range(every - 1):
            block.tick()
    assert alerts(np.array(found)) == [70]


def reference_spot(x: Numbers, learn: int, risk: float, quantile: float, follow: float) -> Any:
    """DSPOT with moments, from the paper: strengths of all readings, both sides."""
    drift, first, ratios = x[0], [], []
    for value in x[:learn]:
        first.append(value - drift)
        drift += follow * first[-1]
        ratios.append(0.0)
    j = int(learn * (1 - np.float32(quantile)))
    ordered = sorted(first)
    edges = {1: ordered[learn - 1 - j], -1: -ordered[j]}
    peaks = {s: [s * v - edges[s] for v in first if s * v > edges[s]] for s in (1, -1)}
    n, z = learn, dict.fromkeys((1, -1), 0.0)

    def fit(side: int) -> float:
        mean, variance = np.mean(peaks[side]), np.var(peaks[side])
        r = min(mean**2 / max(variance, 1e-30), 1.0)
        gamma, sigma, share = (1 - r) / 2, mean * (r + 1) / 2, risk * n / len(peaks[side])
        if gamma < 1e-3:
            return float(-sigma * math.log(share))
        return float(sigma / gamma * (share**-gamma - 1))

    z = {side: fit(side) for side in (1, -1)}
    for value in x[learn:]:
        d = value - drift
        side = 1 if d > edges[1] else -1 if -d > edges[-1] else 0
        ratio = (side * d - edges[side]) / z[side] if side else 0.0
        d = min(max(d, -edges[-1] - z[-1]), edges[1] + z[1])
        drift += follow * d
        ratios.append(ratio)
        n += 1
        if side:
            peaks[side].append(side * d - edges[side])
            z[side] = fit(side)
    return np.array(ratios)


def test_spot_is_dspot_with_moments() -> None:
    rng = np.random.default_rng(4)
    x = rng.gumbel(0, 1, 1500) + np.linspace(0, 30, 1500)
    x[700], x[900] = x[700] + 25, x[900] - 12
    found = said("spot", x, pause=0)
    expected = reference_spot(x, 100, 1e-4, 0.95, 0.05)
    np.testing.assert_allclose(strengths(found), expected, rtol=5e-3, atol=2e-3)
    assert {700, 900} <= set(alerts(found))


def test_spot_keeps_to_its_risk() -> None:
    """A risk of 10⁻⁴ a side: 50 of 250,000; of a normal tail it finds fewer, by its r."""
    entities, ticks = 100, 3000
    block = Block(resolve("spot"), entities=entities, params={"pause": 0})
    rng = np.random.default_rng(6)
    beyond = 0
    for tick in range(ticks):
        values = rng.normal(0, 1, entities)
        block.tick([(k, float(v)) for k, v in enumerate(values)])
        if tick >= 500:
            beyond += int((block.view.column("valor") >= 0.75).sum())
    assert 5 <= beyond <= 100


def test_detector_finds_what_no_threshold_could() -> None:
    rng = np.random.default_rng(8)
    phase = 2 * np.pi * np.arange(2000) / 100
    wave = np.sin(phase) + rng.normal(0, 0.03, 2000)
    low, spike = wave.copy(), wave.copy()
    low[1515:1535] = -0.8
    spike[1500] += 3.0
    assert abs(low).max() <= abs(wave).max()
    usual = alerts(said("detector", wave))
    assert len(usual) <= 2
    for series in (low, spike):
        at = alerts(said("detector", series))
        assert any(1500 <= k < 1600 for k in at)
        assert [k for k in at if k < 1500] == [k for k in usual if k < 1500]


def test_two_in_one_as_the_document_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = blocks(ROOT / "docs" / "detectors.md", "python")
    (tmp_path / "my_probe.py").write_text(block.text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    probe = importlib.import_module("my_probe").probe
    rng = np.random.default_rng(9)
    readings = rng.normal(20.0, 0.5, 300)
    readings[100:] += 30.0
    readings[200:230] = 50.0
    compare(probe, ticks=40, entities=2, values=readings.tolist(), rtol=0.0)
    found = Block(probe, entities=1)
    valor = []
    for value in readings:
        found.tick([(0, float(value))])
        valor.append(found.view.column("valor")[0])
    assert alerts(np.array(valor, np.float64)) == [100, 219]


@pytest.mark.needs_shared
def test_detector_on_the_series_it_was_chosen_on() -> None:
    """30 labelled series of the Numenta Anomaly Benchmark; what it scores on the others is in
    docs/detectors.md, with the command that says it."""
    if not SHARED_NAB.exists():
        pytest.skip("the NAB series are not beside the checkout (shared/data/nab)")
    labels = json.loads((SHARED_NAB / "windows.json").read_text("utf-8"))
    series = [
        nab.read_file(SHARED_NAB / name, name, labels[name])
        for name in sorted(labels) if name.startswith(CHOSEN_ON)
    ]  # fmt: skip
    found = run("detector", series)
    for scores in found.values():
        assert np.diff(alerts(scores)).min(initial=31) > 30
    board, each = nab.Board(series), [found[s.name] for s in series]
    assert board.best(each).points >= 80.0
    assert board.at(each, 0.5).points >= 80.0
    old = run("ewma", series)
    assert board.best([old[s.name] for s in series]).points < 10.0
