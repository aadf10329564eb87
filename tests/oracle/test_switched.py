"""Mutants of one text, each behind its switch: plain and compiled, one at a time or none."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numba
import numpy as np
import pytest

from tests.oracle.judging import OBJECTION, Unjudged, behind_switches, read
from tests.oracle.mutants import MUTANTS
from tests.oracle.switched import SWITCH, merged
from tests.support.altered import ROOT

TEXT = '''"""Sums."""

from __future__ import annotations

LEAST = 2


def told(values, k):
    """What is asked of them."""
    total = 0
    for j in range(len(values)):
        if values[j] > LEAST and j != k:
            total += values[j]
    values[k] = total
    return total * 10 - k
'''
CHANGES = {
    1: ("total * 10", "total * 100"),
    2: ("values[j] > LEAST and j != k", "values[j] > LEAST"),
    3: ("range(len(values))", "range(len(values) - 1, -1, -1)"),
    4: ("    values[k] = total\n", ""),
    5: ("values[j] > LEAST", "values[j] >= LEAST"),
    6: ("    total = 0\n", "    total = 0\n    k = 0\n"),
    7: ("total += values[j]", "total = values[j]"),
    8: ("total * 10", "total * 20"),
}


def _wrong(right: str, instead: str) -> str:
    assert TEXT.count(right) == 1
    return TEXT.replace(right, instead)


WRONG = {number: _wrong(*change) for number, change in CHANGES.items()}


@pytest.fixture(scope="module")
def switch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    path = tmp_path_factory.mktemp("switch") / "switch.py"
    path.write_text(SWITCH, "utf-8")
    spec = importlib.util.spec_from_file_location("shm.switch", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["shm.switch"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["shm.switch"]


def _told(text: str) -> Callable[[list[int], int], int]:
    names: dict[str, Any] = {}
    exec(compile(text, "<text>", "exec"), names)  # what is tested makes code
    found: Callable[[list[int], int], int] = names["told"]
    return found


def _answer(told: Callable[[Any, int], int]) -> list[int]:
    values = np.array([3, 2, 9, 5])
    return [told(values, 3), *values.tolist()]


@pytest.mark.slow
@pytest.mark.parametrize("is_compiled", [False, True])
def test_each_is_what_its_own_text_says_and_none_is_the_rule(
    switch: ModuleType, is_compiled: bool
) -> None:
    told: Any = _told(merged(TEXT, WRONG))
    if is_compiled:
        told = numba.njit(told)
    for number in (0, *WRONG, 0):
        switch.turn(number)
        wanted = _answer(_told(WRONG.get(number, TEXT)))
        assert _answer(told) == wanted, number
    assert len({tuple(_answer(_told(text))) for text in (TEXT, *WRONG.values())}) > 6


@pytest.mark.slow
def test_a_child_that_is_switched_leaves_its_parent_as_it_was(switch: ModuleType) -> None:
    told: Any = numba.njit(_told(merged(TEXT, WRONG)))
    switch.turn(0)
    right, wrong = _answer(told), _answer(_told(WRONG[1]))
    child = os.fork()
    if child == 0:
        switch.turn(1)
        os._exit(0 if _answer(told) == wrong != right else 1)
    assert os.waitpid(child, 0)[1] == 0, "the child runs the rule"
    assert _answer(told) == right


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"said": "", "world": 30}, ""),
        ({"said": "Disagreement: media: 1, 2", "world": 4}, "media: 1, 2 (world 4)"),
        ({"said": "AssertionError: Disagreement: late", "world": 4}, None),
        ({"said": "ValueError: no", "world": 1}, None),
        ({"ended": -14}, None),
        ("", None),
    ],
)
def test_nothing_but_a_disagreement_is_an_objection(line: Any, said: str | None) -> None:
    found = read(json.dumps({"number": 3, **line}) if line else "")
    assert isinstance(found, Unjudged) if said is None else found == said


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        ("live: Disagreement: row 3\n  again: FILE", "row 3"),
        ("E       corec.lab.oracle.compare.Disagreement: row 3", "row 3"),
        ("    Raises:\n        Disagreement: they differ.\nE   AssertionError: late", None),
        ("live: AssertionError: Disagreement: late", None),
    ],
)
def test_source_that_pytest_shows_is_no_objection(printed: str, said: str | None) -> None:
    found = OBJECTION.search(printed)
    assert (found and found[1]) == said


@pytest.mark.slow
def test_all_that_stand_behind_a_switch_can() -> None:
    """And each changes something; what says how it is switched is in each such file."""
    for file, texts in behind_switches(MUTANTS).items():
        text = merged((ROOT / file).read_text("utf-8"), texts)
        compile(text, file, "exec")
        assert all(f"broken({number})" in text for number in texts)


@pytest.mark.parametrize(
    "instead", [TEXT, TEXT.replace("def told(values, k)", "def told(values, k, more)")]
)
def test_what_can_stand_behind_no_switch_is_refused(instead: str) -> None:
    with pytest.raises(ValueError, match="behind a switch"):
        merged(TEXT, {1: instead})
