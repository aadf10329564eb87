"""Compiled and plain form agree, for everything a user may write and however it is defined."""

from __future__ import annotations

import enum
import linecache
import math
from collections import namedtuple
from typing import Any

import numpy as np
import pytest

import corec
from corec.entities.plain_compare import close_to
from corec.entities.processor import Processor, ProcessorError
from corec.testing import Block, Difference, PlainEntity, compare
from tests.entities import subjects

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "processor",
    [
        subjects.dtypes,
        subjects.clashing,
        subjects.drawer,
        subjects.reaching,
        subjects.fading,
        subjects.gathering,
    ],
    ids=lambda processor: processor.name.partition(":")[2],
)
def test_compiled_and_plain_agree(processor: Processor) -> None:
    assert compare(processor, ticks=12, entities=20) >= 12 * 20


def test_failures_are_among_what_agrees() -> None:
    block = Block(subjects.fading, entities=20, max_errores=1.0)
    for _ in range(12):
        block.tick()
    assert 0 < block.view.fallos.astype(bool).sum() < 20


def test_values_and_params_are_passed_on() -> None:
    assert compare(subjects.gathering, values=[0.5, 0.25, 3.0, -1.0, 0.5], params={"gain": 0.5})
    assert compare(subjects.fading, ticks=3, values=[0.1], params={"limit": 5.0}, seed=2**64 - 1)


class Rates(enum.Enum):
    """Constants as some like to hold them."""

    SLOW = 0.95
    FAST = 0.1


Named = namedtuple("Named", "rate pair")
NAMED = Named(0.95, (0.1, Rates.SLOW))
DEEP = (0.95, (Rates.FAST, Named(0.1, 0.7)))


def by_default(x: Any, given: Any = DEEP) -> Any:
    """A default in a default."""
    return x * given[1][1].rate + given[0] * x * given[1][0].value


def test_a_constant_adopts_the_type_of_what_it_meets_in_whatever_it_lies() -> None:
    inner = (NAMED, Rates.FAST)

    def reads(me: Any) -> Any:
        me.x = NAMED.rate * me.x + NAMED.pair[0] * NAMED.pair[1].value
        me.x = Rates.SLOW.value * me.x + inner[0].rate * inner[1].value
        return by_default(me.x)

    assert compare(corec.micro(state={"x": ("f4", 0.3)})(reads), ticks=5, entities=4, rtol=0)

    def unlike(me: Any) -> Any:
        return Close.A.value * me.x

    Close = enum.Enum("Close", {"A": 0.1, "B": 0.1 + 1e-12})
    with pytest.raises(ProcessorError, match="Close: found members that are one number as float32"):
        compare(corec.micro(state={"x": "f4"})(unlike))
    assert compare(corec.micro(state={"x": "f8"})(unlike), ticks=1, entities=1)


def test_a_processor_without_source_or_name() -> None:
    def within(me: Any) -> Any:
        me.x = 0.5 * me.x + rate * me.random()
        return me.x

    rate = 0.25
    assert compare(corec.micro(state={"x": "f4"})(within), ticks=3, entities=5)
    scope: dict[str, Any] = {"__name__": "__main__", "rate": 0.25}
    text = "def typed(me):\n    return rate * me.random() + me.random()\n"
    exec(compile(text, "<stdin>", "exec"), scope)  # what a REPL does
    assert not linecache.getlines("<stdin>")
    processor = corec.micro(scope["typed"])
    assert processor.name == "__main__:typed"
    assert compare(processor, ticks=3, entities=5)


def test_numbers_that_are_not_finite_agree_with_themselves_alone() -> None:
    inf, nan = np.float32(np.inf), np.float64(np.nan)
    kinds = [nan, inf, -inf, np.float32(3e38), np.float32(1.0)]
    for rtol in (0.0, 1e-5):
        for a, x in enumerate(kinds):
            assert [close_to(x, y, rtol) for y in kinds] == [a == b for b in range(len(kinds))]
    assert close_to(np.float32(1.0), 1.000001, 1e-5)
    assert not close_to(np.float32(1.0), 1.000001, 0.0)


def test_a_difference_says_which_entity_tick_field_and_how_to_repeat_it() -> None:
    @corec.micro(state={"x": ("f4", 1.0)})
    def differs(me: Any) -> Any:
        me.x = me.x * 2.0
        return min(math.cosh(100.0 * me.x), 1.0)

    with pytest.raises(Difference) as caught:
        compare(differs, ticks=5, entities=4)
    text = str(caught.value)
    assert "differs: entity 0, tick 3: failures: compiled 0 of 1, plain 1 (OverflowError: " in text
    assert "PlainEntity(differs, id=0, tick=3, seed=42, valor=1.0, x=4.0)" in text


def test_plain_entities_behave_like_compiled_ones() -> None:
    me = PlainEntity(subjects.dtypes, u1=255, i1=-128, double=0.1, id=3)
    assert (me.u1, me.i1) == (255, -128)
    me.u2 = 65_535.9
    assert me.u2 == 65_535
    with pytest.raises(OverflowError, match=r"does not fit me\.u2, which is u2: 0 to 65535"):
        me.u2 = -1
    with pytest.raises(OverflowError, match=r"does not fit me\.i4"):
        me.i4 = math.inf
    with pytest.raises(ValueError, match="NaN"):
        me.i4 = math.nan
    me.single = 0.1
    assert isinstance(me.single, np.float32)
    with pytest.raises(AttributeError, match=r"me\.singel can't be set"):
        me.singel = 1.0
    with pytest.raises(AttributeError, match=r"me\.valor can't be set"):
        me.valor = 1.0
    with pytest.raises(AttributeError, match=r"me\.other is not declared"):
        _ = me.other
    with pytest.raises(AttributeError, match="has no field or parameter 'other'"):
        PlainEntity(subjects.dtypes, other=1)
    ring = PlainEntity(subjects.fading, past=[1, 2, 3]).past
    assert [ring[0], ring[-1], len(ring), ring.mean()] == [1.0, 3.0, 3, 2.0]
    for _ in range(4):
        ring.push(9.0)
    with pytest.raises(IndexError, match="too many pushes"):
        ring.push(9.0)


def test_a_processor_stays_an_ordinary_function() -> None:
    me = PlainEntity(subjects.drawer, id=5, tick=9, seed=1)
    again = PlainEntity(subjects.drawer, id=5, tick=9, seed=1)
    assert subjects.drawer(me) == subjects.drawer(again)
    assert me.drawn == again.drawn > 0


def test_failing_leaves_no_memory_behind() -> None:
    def raises(me: Any) -> Any:
        trail = [me.x, 2.0]
        if me.x >= 0.0:
            raise ValueError(me.x, trail[0])
        return me.x

    block = Block(corec.micro(state={"x": "f4"})(raises), entities=1000, max_errores=1.0)
    pages = []
    for _ in range(3):
        for _ in range(200):
            block.tick()
        with open("/proc/self/statm") as statm:
            pages.append(int(statm.read().split()[1]))
    assert block.view.fallos.sum() == 600_000
    assert pages[2] - pages[1] < 500  # a leak of 16 bytes a failure would be 780 pages
