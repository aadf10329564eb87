"""A call that does not end fails its entity: recursion is refused, loops are counted."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import corec
from corec.entities import steps
from corec.entities.processor import ProcessorError
from corec.testing import Block
from tests.entities.failing import failed_ids, failures, line_of

pytestmark = pytest.mark.slow

STEPS = 5_000


def itself(n: Any) -> Any:
    """Recursion."""
    return n if n <= 0 else itself(n - 1)


def ping(n: Any) -> Any:
    """Mutual recursion."""
    return n if n <= 0 else pong(n - 1)


def pong(n: Any) -> Any:
    """The other half of it."""
    return ping(n - 1)


def given(function: Any, n: Any) -> Any:
    """Recursion by an argument."""
    return function(function, n)


def test_recursion_is_refused_when_it_is_compiled() -> None:
    cases: list[tuple[Callable[..., Any], str]] = [
        (lambda me: itself(me.id) + 0.0, "calls itself (itself calls itself)"),
        (lambda me: ping(me.id) + 0.0, "calls itself (ping calls pong calls ping)"),
        (lambda me: given(given, me.id) + 0.0, "calls itself"),
    ]
    for function, text in cases:
        with pytest.raises(ProcessorError) as caught:
            Block(corec.micro(function), entities=1)
        assert text in str(caught.value)
        assert "\n" not in str(caught.value)
        assert "test_steps.py, line " in str(caught.value)


def spin(x: Any) -> Any:
    """Never ends when given 0."""
    while x == 0:
        x = x * 2
    return x


@corec.micro(state={"x": "f4"}, steps_max=STEPS)
def endless(me: Any) -> Any:  # noqa: C901  # one branch for each way
    """The first eight never end, each in its own way; the others do."""
    if me.id == 0:
        while True:
            me.x = 1.0
    elif me.id == 1:
        for k in range(10**12):
            me.x = me.x + 1.0 / (k + 1)
    elif me.id == 2:
        items = [1.0]
        for item in items:
            items.append(item)  # noqa: PERF402  # it never ends
    elif me.id == 3:
        for i in range(1000):
            for j in range(1000):
                for k in range(1000):
                    me.x = me.x + i * j * k
    elif me.id == 4:
        me.x = spin(0)
    elif me.id == 5:
        try:
            while True:
                me.x = 1.0
        except Exception:  # noqa: BLE001  # that it catches all is the test
            me.x = 2.0
    elif me.id == 6:
        try:
            me.x = spin(0)
        except Exception:  # noqa: BLE001  # that it catches all is the test
            me.x = 2.0
    elif me.id == 7:
        me.x = sum([math.sqrt(k) for k in range(10**9)])
    else:
        for k in range(me.id):
            me.x = me.x + k
    return 0.5


def test_a_call_that_does_not_end_fails_its_entity_alone() -> None:
    failed, block = failed_ids(endless, 20)
    assert failed == list(range(8))
    kinds: set[tuple[str, int]] = set()
    for _ in range(8):
        block.tick()
        kinds.update((told.kind, told.entity) for told in failures(block))
    assert {kind for kind, _ in kinds} == {"TooManySteps"}
    assert len(kinds) > 1  # each time another of them


@corec.micro(state={"x": "i8"}, steps_max=STEPS)
def counting(me: Any) -> Any:
    """Goes round 5,000 times, and once more for each id."""
    k = 0
    while k < 5_000 + me.id:
        k += 1
    me.x = k
    return 0.5


def test_the_limit_of_steps_is_exact() -> None:
    failed, block = failed_ids(counting, 3)
    assert failed == [1, 2]
    assert block.view.column("x").tolist() == [5_000, 0, 0]
    (told,) = failures(block)
    assert told.what == (
        "TooManySteps: it ran longer than 5000 loop steps "
        f"(counting in test_steps.py, line {line_of(counting, 'while')})"
    )


def test_who_runs_out_of_steps_halves_them_for_the_rest_of_the_run() -> None:
    def greedy(me: Any) -> Any:
        k = 0
        while k < (10**9 if me.id < 12 else 3 * (me.id - 11)):
            k += 1
        return 0.5

    failed, _ = failed_ids(corec.micro(steps_max=4096)(greedy), 14)
    assert failed == [*range(12), 13]  # 4096 · 2^−12 = 1, but never less than 4096 / 1024


@corec.celu(state={"x": "f4"}, history={"last": ("f4", 4)}, steps_max=4096)
def patient(me: Any, value: Any) -> Any:
    """Goes round as often as the reading says."""
    k = 0
    while k < value:
        k += 1
    me.last.push(value)
    return 0.5


@pytest.mark.parametrize("between", [0, 6, 5000])
def test_readings_halve_them_for_the_rest_of_the_tick_however_it_is_cut(between: int) -> None:
    """Six pushes of one entity end a step inside the kernels, as 4096 readings do."""
    block = Block(patient, entities=4)
    block.tick([(0, 1e9), *[(1, 0.0)] * between, (2, 2048.0), (3, 2049.0)])
    assert block.view.fallos.tolist() == [1, 0, 0, 1]
    block.tick([(2, 4096.0), (3, 4097.0)])
    assert block.view.fallos.tolist() == [1, 0, 0, 2]


def test_short_constant_loops_cost_no_steps() -> None:
    def short(me: Any) -> Any:
        for i in range(8):
            for k in range(8):
                me.x = me.x + i * k
        return 0.5

    failed, _ = failed_ids(corec.micro(state={"x": "f4"}, steps_max=1)(short), 4)
    assert failed == []


def test_a_call_that_goes_on_for_long_shows_that_it_does() -> None:
    def slow(me: Any) -> Any:
        while me.x < 6 * 2**20:
            me.x = me.x + 1.0
        return 0.5

    block = Block(corec.micro(state={"x": "f8"})(slow), entities=1)
    word = np.zeros(1, np.uint64)
    assert block.view.tick == 0
    before = steps.beat_at(word.ctypes.data)
    try:
        block.tick()
        assert 7 <= int(word[0]) <= 10
    finally:
        steps.beat_at(before)


def test_steps_max_is_checked() -> None:
    for wrong in (0, -1, 1.5, True, 1 << 41):
        with pytest.raises(ProcessorError, match=r"steps_max=.*, allowed 1 to "):
            corec.micro(steps_max=wrong)(lambda me: 0.0)  # type: ignore[arg-type]  # that is the test
