"""Numbers of a column at the limits of what its type holds, beside exact arithmetic."""

from __future__ import annotations

import math
import operator
from decimal import Decimal

import numpy as np
import pytest

from corec.config.measures import parse_expression

WHOLE = [-(2**63), -(2**53) - 1, -1, 0, 2**53, 2**53 + 1, 2**63 - 1]
COMPARE = {"==": operator.eq, "!=": operator.ne, "<=": operator.le, ">=": operator.ge,
           "<": operator.lt, ">": operator.gt}  # fmt: skip


@pytest.mark.parametrize("written", [
    "9007199254740993", "9007199254740992", "9.007199254740993e15", "-9223372036854775808",
    "9223372036854775807", "9223372036854775808", "1e300", "0.5", "-0.0", "0e999999",
])  # fmt: skip
@pytest.mark.parametrize("sign", COMPARE)
def test_integers_are_compared_with_the_number_that_is_written(written: str, sign: str) -> None:
    found = parse_expression(f"count(c {sign} {written})").of(np.array(WHOLE, np.int64))
    assert found == sum(COMPARE[sign](Decimal(one), Decimal(written)) for one in WHOLE)


@pytest.mark.parametrize("kind", ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "f4", "f8"])
def test_any_column_is_compared_with_any_number(kind: str) -> None:
    some = np.array([0, 1, 1], kind)
    for written in ("9223372036854775808", "-70000", "9999999999999999999", "-1e300"):
        below = parse_expression(f"count(x < {written})").of(some)
        assert below == (0 if written.startswith("-") else 3)


@pytest.mark.parametrize(("values", "which", "wanted"), [
    ([1.0, math.inf], 0.0, 1.0),
    ([1.0, 2.0, math.inf], 0.5, 2.0),
    ([-math.inf, 3.0, 4.0], 1.0, 4.0),
    ([-math.inf, 3.0, 4.0], 0.75, 3.5),
    ([math.inf, math.inf], 0.3, math.inf),
    ([-1.5e308, 1.5e308], 0.5, 0.0),
    ([4.0, 1.0, 3.0, 2.0], 0.25, 1.75),
    ([7.0], 0.9, 7.0),
    ([1.0, math.nan], 0.0, math.nan),
    ([], 0.5, math.nan),
])  # fmt: skip
def test_a_quantile_lies_between_its_two_neighbours(
    values: list[float], which: float, wanted: float
) -> None:
    """Who is infinite further up takes nothing from who is asked for."""
    found = parse_expression(f"quantile(x, {which})").of(np.array(values))
    assert found == pytest.approx(wanted, nan_ok=True)
