"""Floor divisions, of single numbers and of arrays, are Python's and NumPy's to the last case."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import corec
from corec.testing import Block, compare

pytestmark = pytest.mark.slow

LEAST = -(2**63)
WHOLE = list(itertools.product((LEAST, LEAST + 1, -7, -1, 0, 7, -LEAST - 1), (LEAST, -2, -1, 1, 2)))
REAL = [
    (1.0, 0.1), (-1.0, 0.1), (3.0, 0.1), (5.5, 2.0), (-5.5, 2.0), (5.5, -2.0), (1e308, 3.0),
    (-1e-300, 1.0), (-0.0, 3.0), (2.0, 0.0), (0.0, 0.0), (np.inf, 2.0), (1.0, -np.inf),
]  # fmt: skip
FORMS = ("n", "m", "k", "j", "i")


@corec.micro(state={"a": "i8", "b": ("i8", 1), **dict.fromkeys(FORMS, "i8")})
def whole(me: Any) -> Any:
    """The same quotient by an operator, in place, by ``divmod``, by NumPy and of arrays."""
    me.n = me.a // me.b
    count = me.a
    count //= me.b
    me.m = count
    me.k = divmod(me.a, me.b)[0]
    me.j = np.floor_divide(me.a, me.b)
    array = np.full(2, me.a)
    me.i = (array // me.b)[1]
    return 0.5


@corec.micro(state={"x": "f8", "y": ("f8", 1.0), "q": "f8", "r": "f8", "s": "f8", "t": "f8"})
def real(me: Any) -> Any:
    """Likewise."""
    me.q = np.floor_divide(me.x, me.y)
    me.s = np.divmod(me.x, me.y)[0]
    array = np.full(2, me.x)
    me.r = (array // me.y)[1]
    me.t = np.floor_divide(array, me.y)[1]
    return 0.5


def test_the_least_whole_number_by_minus_one_wraps() -> None:
    block = Block(whole, entities=len(WHOLE))
    block.view.column("a")[:], block.view.column("b")[:] = zip(*WHOLE, strict=True)
    block.tick()
    wanted = [(a // b - LEAST) % 2**64 + LEAST for a, b in WHOLE]
    for form in FORMS:
        assert block.view.column(form).tolist() == wanted, form
    least = corec.micro(state={"a": ("i8", LEAST), "b": ("i8", -1), "n": "i8"})(plainly)
    assert compare(least, ticks=1, entities=1)


def plainly(me: Any) -> Any:
    """What plain Python has, too."""
    me.n = me.a // me.b + divmod(me.a, me.b)[1]
    return 0.5


def test_a_real_floor_division_goes_with_its_remainder() -> None:
    block = Block(real, entities=len(REAL))
    block.view.column("x")[:], block.view.column("y")[:] = zip(*REAL, strict=True)
    block.tick()
    with np.errstate(all="ignore"):
        wanted = np.floor_divide(*np.array(REAL).T)
    for form in "qrst":
        np.testing.assert_array_equal(block.view.column(form), wanted, form)
