"""What Python refuses, compiled code refuses: one entity fails, at the limit not, one beyond it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import corec
from corec.entities.processor import ProcessorError
from corec.testing import Block, compare
from tests.entities.failing import failed_ids, failures, line_of

pytestmark = pytest.mark.slow

TABLE = np.arange(4, dtype=np.float32)
GRID = np.arange(6, dtype=np.float64).reshape(2, 3)


@corec.micro(state={"x": "f8"}, history={"h": ("f4", 3)})
def indexing(me: Any) -> Any:
    """Entities 0 … 9 reach the last place of something, those from 10 on one beyond, or far off."""
    k = me.id % 10
    beyond = me.id // 10
    me.h.push(1.0)
    local = np.zeros(5)
    items = [1.0, 2.0]
    triple = (1.0, 2.0, 3.0)
    if k == 0:
        me.x = TABLE[3 + beyond]
    elif k == 1:
        me.x = TABLE[-4 - beyond]
    elif k == 2:
        me.x = TABLE[beyond * 1_000_000_000]
    elif k == 3:
        me.x = GRID[1, 2 + beyond]
    elif k == 4:
        me.x = GRID[1 + beyond][0]
    elif k == 5:
        local[4 + beyond] = 2.0
    elif k == 6:
        items[1 + beyond] = 3.0
    elif k == 7:
        me.x = triple[2 + beyond]
    elif k == 8:
        me.x = me.h[-1 - beyond]
    else:
        local[-5 - beyond * 10**12] += 1.0
    return 0.5


def test_an_index_out_of_range_fails_the_entity_that_used_it() -> None:
    failed, block = failed_ids(indexing, 20)
    assert failed == list(range(10, 20))
    (told,) = failures(block)
    assert (told.kind, told.file, told.function) == ("IndexError", "test_guard.py", "indexing")
    assert line_of(indexing, "k == 0") < told.line <= line_of(indexing, "-5 - beyond")
    compare(indexing, ticks=1, entities=20)


@corec.micro(state={"x": "f8", "n": "i8"})
def dividing(me: Any) -> Any:
    """Odd entities divide by zero."""
    zero = 1 - me.id % 2
    k = me.id // 2
    if k == 0:
        me.n = 7 // zero
    elif k == 1:
        me.n = 7 % zero
    elif k == 2:
        me.x = 7 / zero
    elif k == 3:
        me.x = divmod(7, zero)[1]
    elif k == 4:
        me.n //= zero
    else:
        me.x = 1.0 / (zero + 1.0 - 1.0)  # real: goes on as infinite, as in NumPy
    return 0.5


def test_an_integer_division_by_zero_fails_and_a_real_one_goes_on() -> None:
    failed, block = failed_ids(dividing, 12)
    assert failed == [1, 3, 5, 7, 9]
    assert math.isinf(block.view.column("x")[11])
    (told,) = failures(block)
    assert told.kind == "ZeroDivisionError"


LIMITS = {
    dtype: (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    for dtype in ("i1", "u1", "i2", "u2", "i4", "u4")
}


@corec.micro(state={dtype: dtype for dtype in LIMITS} | {"i8": "i8"}, params={"by": 0.0})
def storing(me: Any) -> Any:
    """Each integer field, by one entity each, gets its least and largest number ± ``by``."""
    by = np.int64(me.by)
    if me.id == 0:
        me.i1, me.i1 = -128 - by, 127 + by
    elif me.id == 1:
        me.u1 = 255 + by
    elif me.id == 2:
        me.u1 = -by
    elif me.id == 3:
        me.i2 = -32_768 - by
    elif me.id == 4:
        me.u2 = 65_535 + by
    elif me.id == 5:
        me.i4 = 2**31 - 1 + by
    elif me.id == 6:
        me.u4 = 2**32 - 1 + by
    elif me.id == 7:
        me.u4 = -by
    elif me.id == 8:
        me.i8 = 2**62 + (2**62 - 1)
    return 0.5


def test_an_integer_that_does_not_fit_its_field_fails() -> None:
    for by in (0, 1):
        block = Block(storing, entities=9, max_errores=1.0, params={"by": float(by)})
        block.tick()
        assert block.view.fallos.tolist() == [by] * 8 + [0]
        compare(storing, ticks=2, entities=9, params={"by": float(by)})
    assert "does not fit me." in failures(block)[0].text


@corec.micro(
    state={"u1": "u1", "i4": "i4", "u4": "u4", "i8": "i8", "wide": "f8"}, params={"over": 0.0}
)
def rounding(me: Any) -> Any:
    """Real numbers into integer fields: the last that fits, and with ``over`` the next."""
    over = np.float64(me.over)
    if me.id == 0:
        me.u1 = 255.5 + over
    elif me.id == 1:
        me.u1 = -0.5 - over
    elif me.id == 2:
        me.i4 = np.float64(2147483647.5) + over
    elif me.id == 3:
        me.u4 = np.float64(4294967295.0) + over
    elif me.id == 4:
        me.i8 = np.float64(2.0) ** 62 * (1.0 + over)
    elif me.id == 5:
        me.i8 = math.sqrt(0.5 - over)
    elif me.id == 6:
        me.u1 = 1.0 / (1.0 - over)
    elif me.id == 7:
        me.i8 = int(np.float64(2.0) ** 62 * (1.0 + over))
    elif me.id == 8:
        me.i8 = round(np.float64(2.0) ** 62 * (1.0 + over))
    elif me.id == 9:
        me.i8 = math.floor(np.float64(2.0) ** 62 * (1.0 + over))
    return 0.5


def test_a_real_number_that_does_not_fit_an_integer_fails() -> None:
    for over in (0.0, 1.0):
        block = Block(rounding, entities=10, max_errores=1.0, params={"over": over})
        block.tick()
        assert block.view.fallos.tolist() == [int(over)] * 10
    assert failures(block)[0].kind in ("OverflowError", "ValueError")


def test_the_exception_of_a_helper_and_of_init_is_told_with_its_line() -> None:
    def third(x: Any) -> Any:
        if x == 3:
            raise ValueError("no three")
        return x

    def calls(me: Any) -> Any:
        return third(me.id) * 0.1

    failed, block = failed_ids(corec.micro(calls), 5)
    assert failed == [3]
    (told,) = failures(block)
    assert (told.entity, told.tick, told.kind, told.text) == (3, 1, "ValueError", "no three")
    assert told.line == line_of(third, "no three")
    with pytest.raises(ProcessorError, match=r"its init fails for 1 entities, 3: ValueError: no t"):
        Block(corec.micro(init=calls)(lambda me: 0.5), entities=5)


def test_an_exception_of_the_entity_before_is_not_taken_for_ones_own() -> None:
    def tries(me: Any) -> Any:
        try:
            x = TABLE[me.id]
        except Exception:  # noqa: BLE001  # as above
            x = 7.0
        if me.id == 0:
            raise ValueError("first")
        return x * 0.1

    failed, block = failed_ids(corec.micro(tries), 5)
    assert failed == [0]
    assert block.view.column("valor").tolist() == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.7])


def part(values: Any, k: Any) -> Any:
    """Raises beside something it holds."""
    other = np.zeros(500)
    return values[k] + other[0]


@corec.micro(state={"x": "f4"})
def holding(me: Any) -> Any:
    """Raises, in four ways, while it holds lists and arrays."""
    values = np.zeros(100)
    items = [1.0, 2.0, me.x]
    for k in range(1 + me.id % 3):
        more = np.ones(50) * k
        items.append(more[k] + part(values, k))
        if me.id % 4 == 0:
            raise ValueError("as a constant")
        if me.id % 4 == 1:
            raise ValueError(me.id, items[0])
    if me.id % 4 == 2:
        return np.take(values, 100 + me.id)
    return part(values, 100 + me.id) + items[0]


def test_a_million_failures_leave_nothing_behind() -> None:
    block = Block(holding, entities=1000, max_errores=1.0)
    pages = []
    for ticks in (100, 1000):
        for _ in range(ticks):
            block.tick()
        with open("/proc/self/statm") as statm:
            pages.append(int(statm.read().split()[1]))
    assert int(block.view.fallos.sum()) == 1_100_000
    assert pages[1] - pages[0] < 2000  # 16 bytes a failure would be 3,900 pages


def test_what_nothing_checks_is_refused() -> None:
    def flat(me: Any) -> Any:
        return TABLE.flat[me.id]

    def along(me: Any) -> Any:
        return np.take_along_axis(TABLE, np.array([me.id]), 0)[0]

    for function, text in ((flat, "flat"), (along, "take_along_axis")):
        with pytest.raises(ProcessorError, match=f"{text}.* is not supported: nothing checks"):
            Block(corec.micro(function), entities=1)
