"""media, desviacion, means and histogram: the bits that docs/rules.md says, and near the truth.

Each column is held twice: against the rule in plain Python floats, bit for bit, and against exact
integers, since a rule may be followed and be wrong.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from numba import njit
from numpy.typing import NDArray

from corec import layout as L
from corec.entities.processor import celu, micro
from corec.kernels import desc as K
from corec.kernels import stats
from corec.kernels.frames import select_over
from corec.kernels.stats import deviation, histogram, mean_where, moments
from corec.testing import Block
from tests.kernels.reference import celu_statistics, lane_sum, micro_statistics

EPS = 2.0**-53
HUGE = float(np.finfo(np.float32).max)
TINY = float(np.finfo(np.float32).smallest_subnormal)
SIZES = (1, 2, 3, 15, 16, 17, 31, 33, 255, 1000, 4097, 65_535)
Column = NDArray[np.float32]


@micro
def echo(me: Any) -> Any:
    """What a reading set."""
    return me.valor


@celu
def echo_celu(me: Any, value: Any) -> Any:
    """What arrived."""
    return value


@micro(state={"x": "f4"}, means=("x",))
def spill(me: Any) -> Any:
    """A field that leaves float32 beside a result that does not."""
    me.x = me.valor * 1.0e30
    return me.valor


def columns(n: int) -> dict[str, Column]:
    """Columns of n values that are hard to sum."""
    rng = np.random.default_rng(n)
    normal = rng.normal(size=n)
    wide = normal * 10.0 ** rng.integers(-38, 38, n)
    outlier = np.full(n, 0.3) + 0.01 * normal
    outlier[0] = 3e38
    nearly = np.full(n, 16_777_216.0)
    nearly[-1] += 2.0
    first = np.full(n, 1e10)
    first[0] = math.nextafter(1e10, 2e10) + 2048.0
    found = {
        "sensor": 0.3 + 0.1 * normal, "far": 2e7 + normal, "wide": wide, "outlier": outlier,
        "nearly": nearly, "first": first, "equal": np.full(n, 0.1), "zero": np.zeros(n),
        "ids": np.arange(n) / 64.0, "tiny": rng.integers(0, 9, n) * TINY,
        "extremes": np.where(rng.random(n) < 0.5, HUGE, -HUGE),
        "mixed": np.where(rng.random(n) < 0.5, normal, np.sign(normal) * HUGE),
    }  # fmt: skip
    few = ("sensor", "outlier", "mixed") if n > 4000 else found  # exact sums take their time
    return {name: found[name].astype(np.float32) for name in few}


def exact(values: Column) -> tuple[Fraction, Fraction]:
    """Mean and Σ(x − mean)² of float32 values, by integers of 2⁻¹⁴⁹."""
    whole = [int(Fraction(float(v)) * 2**149) for v in values]
    total, n = sum(whole), len(whole)
    spread = Fraction(n * sum(w * w for w in whole) - total * total, n)
    return Fraction(total, n * 2**149), spread / Fraction(2) ** 298


def near(values: Column, media: float, sigma: float, ulps: int) -> None:
    """media and sigma are those of ``values``, but for a few units in the last place."""
    mean, spread = exact(values)
    size = max(abs(float(v)) for v in values)
    assert abs(Fraction(media) - mean) <= ulps * EPS * size
    truth = math.sqrt(spread / (len(values) - 1)) if len(values) > 1 else 0.0
    assert abs(sigma - truth) <= ulps * EPS * truth


def padded(values: NDArray[Any]) -> NDArray[Any]:
    """The same with room for a whole group of sixteen, as a block's columns have."""
    room = np.full(len(values) + 16, 3, values.dtype)
    room[: len(values)] = values
    return room[: len(values)]


def listed(over: NDArray[np.uint64], valor: Column) -> list[tuple[int, np.float32]]:
    """Who has a bit, with its value."""
    local, picked = np.zeros(len(valor), np.uint32), np.zeros(len(valor), np.float32)
    count = select_over(over, valor, local, picked)
    return list(zip(local[:count].tolist(), picked[:count], strict=True))


@njit
def _count(marks: Any) -> Any:
    """Compiled code alone can call it."""
    return stats.count_marks(marks)  # type: ignore[no-untyped-call]  # compiled


@pytest.mark.parametrize("n", [*SIZES, 7, 8, 9, 2040, 2041, 4080])
@pytest.mark.parametrize("share", [1.0, 0.3, 0.0])
def test_marks_are_counted_at_every_length(n: int, share: float) -> None:
    marks = (np.random.default_rng(n).random(n + 1) < share).astype(np.uint8)
    assert _count(marks[:n]) == int(marks[:n].sum())
    assert _count(marks[1:]) == int(marks[1:].sum())  # wherever they begin


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("share", [1.0, 0.7])
def test_mean_and_deviation_of_a_micro_block(n: int, share: float) -> None:
    good = padded((np.random.default_rng(n).random(n) < share).astype(np.uint8))
    good[n // 2] = 1
    for name, column in columns(n).items():
        valor, over = padded(column), np.full((n + 63) // 64, np.iinfo(np.uint64).max)
        count = int(good.sum())
        media, moment = moments(valor, good, count, np.float32(0.25), over)
        sigma = deviation(moment, count)
        kept = [(int(i), valor[i]) for i in np.flatnonzero(good)]
        assert (media, sigma) == micro_statistics(kept), name
        near(valor[good != 0], media, sigma, 8 + n // 32)  # a lane adds n / 16 terms
        assert listed(over, valor) == [(i, v) for i, v in kept if v > np.float32(0.25)], name


def test_no_good_value_has_no_mean_and_marks_nothing() -> None:
    n = 40
    valor, good, over = padded(columns(n)["far"]), padded(np.zeros(n, np.uint8)), np.ones(1, "u8")
    assert moments(valor, good, 0, np.float32(0.0), over) == (0.0, 0.0)
    assert over.tolist() == [0]


def test_the_mean_after_a_large_mean_is_right() -> None:
    n = 64
    block = Block(echo, entities=n)
    block.tick([(i, 2.0e7) for i in range(n)])
    assert block.view.number(L.D_MEDIA) == 2.0e7
    block.tick([(i, i / 64.0) for i in range(n)])
    assert block.view.number(L.D_MEDIA) == 0.4921875
    values = np.arange(n) / 64.0
    sigma = float(np.std(values, ddof=1))
    assert block.view.number(L.D_DESVIACION) == pytest.approx(sigma, rel=4 * EPS)
    assert block.view.number(L.D_UMBRAL) == float(np.float32(0.5 + 0.3 * sigma))


@pytest.mark.parametrize("processor", [echo, echo_celu], ids=["micro", "celu"])
def test_the_largest_values_leave_nothing_behind(processor: Any) -> None:
    block = Block(processor, entities=5)
    block.tick([(0, HUGE), (1, -HUGE), (2, HUGE), (3, HUGE), (4, 0.0)])
    near(np.array([HUGE, -HUGE, HUGE, HUGE, 0.0], np.float32), block.view.number(L.D_MEDIA),
         block.view.number(L.D_DESVIACION), 8)  # fmt: skip
    assert block.view.number(L.D_UMBRAL) == float(np.float32(0.9))
    block.tick([(i, 0.25) for i in range(5)])
    assert block.view.number(L.D_MEDIA) == 0.25
    assert block.view.number(L.D_DESVIACION) == 0.0
    assert block.view.number(L.D_UMBRAL) == 0.5


@pytest.mark.parametrize("n", [1, 2, 3, 100, K.STEP_INPUTS_MAX, K.STEP_INPUTS_MAX + 1, 10_001])
def test_mean_and_deviation_of_a_celu_block(n: int) -> None:
    block = Block(echo_celu, entities=7)
    for name, column in columns(n).items():
        block.tick([(k % 7, float(value)) for k, value in enumerate(column)])
        found = block.view.number(L.D_MEDIA), block.view.number(L.D_DESVIACION)
        assert found == celu_statistics([(k % 7, v) for k, v in enumerate(column)]), name
        near(column, *found, 32 + n // 8)  # one sum of n terms


@pytest.mark.parametrize("n", [1, 15, 16, 17, 1000])
def test_a_mean_leaves_out_what_is_not_finite(n: int) -> None:
    active = padded((np.random.default_rng(n).random(n) < 0.6).astype(np.uint8))
    for name, column in columns(n).items():
        x = padded(column)
        x[:: 3 if n > 3 else 9] = (np.nan, np.inf, -np.inf)[n % 3]
        held = [(i, float(v)) for i, v in enumerate(x) if active[i] and math.isfinite(v)]
        expected = lane_sum(held) / len(held) if held else 0.0
        assert mean_where(x, active) == expected, name


def test_one_entity_whose_field_overflows_does_not_spoil_the_mean_of_all() -> None:
    block = Block(spill, entities=4)
    block.tick([(0, 1.0e20), (1, 2.0), (2, 4.0), (3, 0.0)])
    assert np.isinf(block.view.column("x")[0])
    expected = (np.float32(2e30), np.float32(4e30), np.float32(0.0))
    assert block.view.number(L.D_MEAN0) == sum(map(float, expected)) / 3


@pytest.mark.parametrize("n", SIZES)
def test_the_histogram_at_every_width(n: int) -> None:
    marks = padded((np.random.default_rng(n).random(n) < 0.8).astype(np.uint8))
    for name, column in columns(n).items():
        valor = padded(column)
        place, counts = np.zeros(n, np.uint8), np.zeros(K.PLACE_COUNTS, np.uint32)
        bins = np.zeros(L.HISTOGRAM_BINS, np.uint32)
        low, high = histogram(valor, marks, place, counts, bins)
        kept = valor[marks != 0].astype(np.float64)
        if not kept.size:
            assert (low, high, bins.sum()) == (0, 0, 0)
            continue
        assert (low, high) == (kept.min(), kept.max()), name
        width = kept.max() - kept.min()
        expected = [0] * L.HISTOGRAM_BINS
        for value in kept:
            expected[min(15, int((value - kept.min()) * (16 / width))) if width else 0] += 1
        assert bins.tolist() == expected, name
