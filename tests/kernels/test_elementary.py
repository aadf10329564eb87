"""sin, cos, … of float32: rounded right over the whole range, the same bits in both forms."""

from __future__ import annotations

import math
import operator
import platform
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import numpy as np
import pytest
from numba import njit
from numpy.typing import NDArray

import corec
from corec.kernels import elementary
from corec.lab.measure.arguments import look
from corec.testing import compare

pytestmark = pytest.mark.slow
ULP_MOST: Final = 0.50001
TINY: Final = 2.0**-149
STEP: Final = 100_003
"""A prime: every so manieth of the 2³² float32 numbers, all exponents and last bits among them."""
ONE: Final[dict[str, Callable[[Any], Any]]] = {
    "sin": np.sin, "cos": np.cos, "tan": np.tan, "exp": np.exp, "log": np.log, "tanh": np.tanh,
    "atan": np.arctan, "sqrt": np.sqrt,
}  # fmt: skip
TWO: Final[dict[str, Callable[[Any, Any], Any]]] = {"atan2": np.arctan2, "pow": np.power}
SPECIAL: Final = np.array(
    [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, 3.0, -3.0, -8.0, math.inf, -math.inf, math.nan, 1e-45,
     -1e-45, 3.4028235e38, -3.4028235e38, 1.1754944e-38, 16777216.0, 16777215.0, 2.0**51, 2.0**77,
     2.0**103, np.nextafter(np.float32(2.0**51), np.float32(0)), 16367173.0 * 2.0**72, 88.72284,
     88.722839, -103.97208, -87.33655, 0.015625, 200.0, -200.0], np.float32,
)  # fmt: skip
"""Zeros, infinities, ends of ranges, and a float32 as near to a multiple of π/2 as they come."""


@lru_cache
def over(name: str) -> Any:
    """The function in a compiled loop over arrays, as in a loop over entities."""
    function = getattr(elementary, name)
    if name in ONE:

        @njit(error_model="numpy")
        def one(x: Any, found: Any) -> None:
            for i in range(x.size):
                found[i] = function(x[i])

        return one

    @njit(error_model="numpy")
    def two(x: Any, y: Any, found: Any) -> None:
        for i in range(x.size):
            found[i] = function(x[i], y[i])

    return two


def ulps(found: NDArray[np.float32], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far each number lies from what it should be, in units of its last place."""
    with np.errstate(all="ignore"):
        rounded = wanted.astype(np.float32)
        unit = np.maximum(np.spacing(np.abs(rounded)).astype(np.float64), TINY)
        apart = np.abs(found.astype(np.float64) - wanted) / unit
    same = (found == rounded) | (np.isnan(found) & np.isnan(wanted))
    return np.where(same, np.minimum(np.nan_to_num(apart, nan=0.0), 0.5), apart)


def everywhere() -> NDArray[np.float32]:
    bits = np.arange(0, 2**32, STEP, dtype=np.int64).astype(np.uint32)
    return np.concatenate([bits.view(np.float32), SPECIAL])


@pytest.mark.parametrize("name", ONE)
def test_one_number_is_rounded_right_over_the_whole_range(name: str) -> None:
    x = everywhere()
    found = np.empty_like(x)
    over(name)(x, found)
    with np.errstate(all="ignore"):
        wanted = ONE[name](x.astype(np.float64))
    off = ulps(found, wanted)
    assert not (off > ULP_MOST).any(), (x[off > ULP_MOST][:5], off.max())
    with np.errstate(all="ignore"):
        wrong = (found != wanted.astype(np.float32)) & ~np.isnan(wanted)
    assert wrong.sum() == 0, x[wrong][:5]
    zeros = x == 0.0
    assert np.array_equal(np.signbit(found[zeros]), np.signbit(wanted[zeros]))


@pytest.mark.parametrize("name", TWO)
def test_two_numbers_are_rounded_right(name: str) -> None:
    draw = np.random.default_rng(7)
    x = np.exp(draw.uniform(-60, 60, 100_000)).astype(np.float32)
    if name == "atan2":
        x *= draw.choice([-1, 1], x.size).astype(np.float32)
        y = (x * np.exp(draw.uniform(-20, 20, x.size))).astype(np.float32)
    else:
        y = (draw.uniform(-100, 88, x.size) / np.log(x.astype(np.float64))).astype(np.float32)
    pairs = np.array(np.meshgrid(SPECIAL, SPECIAL)).reshape(2, -1)
    x, y = np.concatenate([x, pairs[0]]), np.concatenate([y, pairs[1]])
    found = np.empty_like(x)
    over(name)(x, y, found)
    with np.errstate(all="ignore"):
        wanted = TWO[name](x.astype(np.float64), y.astype(np.float64))
    off = ulps(found, wanted)
    bad = ~(off <= ULP_MOST)
    assert not bad.any(), [(x[i], y[i], found[i], wanted[i]) for i in np.flatnonzero(bad)[:5]]
    sign = np.isnan(wanted) | (np.signbit(found) == np.signbit(wanted))
    assert sign.all(), [(x[i], y[i]) for i in np.flatnonzero(~sign)[:5]]


@pytest.mark.parametrize("name", [*ONE, *TWO])
def test_both_forms_give_the_same_bits(name: str) -> None:
    function = getattr(elementary, name)
    draw = np.random.default_rng(3)
    x = np.concatenate([SPECIAL, draw.integers(0, 2**32, 300).astype(np.uint32).view(np.float32)])
    given = (x,) if name in ONE else (x, draw.permutation(x))
    found = np.empty_like(x)
    over(name)(*given, found)
    plain = [elementary.plain(function, *numbers) for numbers in zip(*given, strict=True)]
    assert {type(number) for number in plain} == {np.float32}
    both_nan = np.isnan(found) & np.isnan(plain)
    assert (both_nan | (found.view(np.uint32) == np.array(plain).view(np.uint32))).all()


@pytest.mark.parametrize("name", [*ONE, *TWO])
def test_no_call_and_no_fused_operation_is_in_the_machine_code(name: str) -> None:
    """But for ``exp``, of which each argument gives the same either way."""
    loop = over(name)
    x = np.ones(64, np.float32)
    loop(*[x] * (1 if name in ONE else 2), x.copy())
    (text,) = loop.inspect_asm().values()
    body = text.partition("_ZN7cpython")[0]  # behind it is what Python calls
    assert ("fma" in body or "fmla" in body) == (name == "exp" and elementary.FUSES)
    assert "call" not in body or name != "exp", "a fused operation that the processor lacks"
    if platform.machine() == "x86_64":
        assert "sqrtps" in body if name == "sqrt" else "mulpd" in body, "it is vector code"


@corec.micro(state={"x": "f4", "y": "f4", "z": "f4"})
def all_of_them(me: Any) -> Any:
    """By ``math``, by NumPy, as constants, mixed with whole numbers."""
    x = 20.0 * me.normal()
    me.x = math.sin(x) + math.cos(x) * math.tan(0.1 * x) + math.atan2(x, 2.0) + math.exp(0.3)
    me.y = np.exp(-abs(x)) + np.log(1.5 + abs(x)) + math.pow(abs(x), 0.7) + math.sin(math.pi * x)
    me.z = math.tanh(x) * math.sqrt(abs(x)) + np.arctan(x) + math.exp(me.randint(-3, 3))
    return 0.25 + 0.25 * math.sin(x)


@corec.micro(state={"x": "f8", "y": "f4"})
def wide(me: Any) -> Any:
    me.x = 3.0 * me.normal()
    me.y = math.cos(me.y + 0.1)
    return 0.25 + 0.25 * math.sin(me.x)


def test_a_processor_gives_the_same_bits_in_both_forms() -> None:
    assert compare(all_of_them, rtol=0.0) == 640
    assert compare(wide, rtol=1e-15) == 640


@corec.micro(state={"x": "f4"})
def powers(me: Any) -> Any:
    x = 0.5 + me.random()
    me.x = x**2.5
    x **= me.random()
    return min(x, 1.0)


def test_a_real_power_is_ours_in_compiled_code_and_numpys_in_plain() -> None:
    assert compare(powers, rtol=2.0**-23) == 640
    assert operator.pow(np.float32(2.0), np.float32(0.5)) == np.float32(2.0**0.5)


def test_the_long_look_finds_nothing_in_a_sample() -> None:
    """``python -m corec.lab.measure.arguments``, which looks at each argument."""
    every = 1_000_003
    assert look("exp", every) == (-(-(2**32) // every), 0, 0)
