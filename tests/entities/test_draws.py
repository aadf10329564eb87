"""``me.normal()``, ``me.randint(a, b)``, ``me.activo``: what docs/rules.md says of them."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, Final

import numpy as np
import pytest

import corec
from corec.entities.compile import compile_processor
from corec.entities.processor import ProcessorError
from corec.kernels.draws import normal_reference, whole_reference
from corec.kernels.philox import word_reference
from corec.testing import Block, PlainEntity, compare

pytestmark = pytest.mark.slow
LEAST: Final = -(2**63)
MOST: Final = 2**63 - 1
TOP: Final = 2**32 - 1
MIDDLE: Final = 2**62


@corec.micro(state={"x": "f4", "face": "i8", "same": "i8", "any": "i8", "upper": "i8", "on": "u1"})
def draws(me: Any) -> Any:
    me.x = me.normal()
    me.face = me.randint(1, 6)
    me.same = me.randint(-7, -7)
    me.any = me.randint(-MIDDLE * 2, MIDDLE + (MIDDLE - 1))
    me.upper = me.randint(MIDDLE, MIDDLE + 1)
    me.on = me.activo
    return me.random()


@corec.celu(state={"x": "f4", "face": "i8"})
def listens(me: Any, value: Any) -> Any:
    me.x = me.normal() + value
    me.face = me.randint(0, me.id)
    return 0.5


def start(me: Any) -> Any:
    me.x = me.normal()
    return 1.0 if me.activo else 0.0


@corec.micro(state={"x": "f4"}, init=start)
def begins(me: Any) -> Any:
    return me.x * 0.0


@corec.micro
def backwards(me: Any) -> Any:
    return me.randint(me.id, 3)


def test_both_forms_draw_the_same_bits() -> None:
    compare(draws, rtol=0.0)
    compare(listens, rtol=0.0)
    compare(begins, rtol=0.0)


def test_a_range_with_nothing_in_it_fails_the_entity() -> None:
    compare(backwards, entities=6, rtol=0.0)
    block = Block(backwards, entities=6, max_errores=1.0)
    block.tick()
    assert block.view.fallos.tolist() == [0, 0, 0, 0, 1, 1]


def test_the_numbers_are_made_of_two_words_as_documented() -> None:
    block = Block(draws, entities=50, seed=9, first_id=3)
    block.tick()
    for i in range(50):
        word = [word_reference(3 + i, 1, k, 9) for k in range(11)]
        assert block.view.column("x")[i] == normal_reference(word[0], word[1])
        pair = word[2] * 2**32 + word[3]
        assert block.view.column("face")[i] == 1 + math.floor(Fraction(pair * 6, 2**64))
        assert block.view.column("same")[i] == -7
        assert block.view.column("any")[i] == LEAST + word[6] * 2**32 + word[7]
        assert block.view.column("on")[i] == 1
        me = PlainEntity(draws, id=3 + i, tick=1, seed=9)
        assert draws(me) == block.view.column("valor")[i]
        assert me.upper == block.view.column("upper")[i]


@pytest.mark.parametrize(
    ("low", "high"),
    [(0, 0), (0, 1), (-3, 3), (LEAST, MOST), (LEAST, LEAST), (MOST, MOST), (LEAST, -1), (0, MOST)],
)
def test_the_ends_of_a_range_are_reached_and_not_passed(low: int, high: int) -> None:
    assert whole_reference(0, 0, low, high) == low
    assert whole_reference(TOP, TOP, low, high) == high


def test_a_normal_number_is_bounded_and_finite() -> None:
    assert abs(normal_reference(0, 0)) == pytest.approx(6.66, abs=0.01)
    assert normal_reference(TOP, 0) == 0.0
    assert all(math.isfinite(normal_reference(a, b)) for a in (0, 1, TOP) for b in (0, TOP))


def test_moments() -> None:
    block = Block(draws, entities=1000, seed=5)
    found: dict[str, list[Any]] = {"x": [], "face": []}
    for _ in range(40):
        block.tick()
        for name, columns in found.items():
            columns.append(block.view.column(name).copy())
    x = np.concatenate(found["x"]).astype(float)
    n = x.size
    moments = [(x**k).mean() for k in (1, 2, 3, 4)]
    spread = [1.0, 2.0, 15.0, 96.0]  # variances of x, x², x³, x⁴
    for moment, wanted, variance in zip(moments, (0.0, 1.0, 0.0, 3.0), spread, strict=True):
        assert abs(moment - wanted) < 5.0 * math.sqrt(variance / n)
    counts = np.bincount(np.concatenate(found["face"]), minlength=7)[1:]
    assert ((counts - n / 6) ** 2 / (n / 6)).sum() < 25.0  # of χ² with 5 degrees: 1 in 7000


@corec.micro
def real(me: Any) -> Any:
    return me.randint(0.0, 6)


def test_real_limits_are_refused_in_both_forms() -> None:
    with pytest.raises(ProcessorError, match=r"me.randint takes two whole numbers, found float32"):
        compile_processor(real, 1000)
    with pytest.raises(TypeError):
        real(PlainEntity(real))


@pytest.mark.parametrize("name", ["normal", "randint", "activo"])
def test_what_is_on_me_is_no_name_for_a_field(name: str) -> None:
    with pytest.raises(ProcessorError, match="can't be the name"):
        corec.micro(state={name: "f4"})(lambda me: 0.0)
