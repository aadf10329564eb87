"""Shifts by any count, by themselves and in vectors, at the limit (63, 0) and one beyond."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import pytest

import corec
from corec.testing import Block, compare
from tests.entities.failing import failures

COUNTS = np.array([0, 1, 31, 62, 63, 64, 65, 127, 128, -1, -64, -(2**63)], np.int64)
FIELDS = ("left", "right", "kept", "called", "there", "back", "column")


@corec.micro(state={"k": "i8", **dict.fromkeys(FIELDS, "i8")})
def shifting(me: Any) -> Any:
    me.k = COUNTS[me.id % COUNTS.size]
    column = np.empty(3, np.int64)
    for i in range(3):
        column[i] = i - 2
    me.there = np.left_shift(3, me.k)
    me.back = np.right_shift(-3, me.k)
    me.column = (column << me.k)[1] + (column >> me.k)[0]
    me.left = 3 << me.k
    me.right = -5 >> me.k
    me.kept = -7
    me.kept <<= me.k
    me.kept >>= me.k
    me.called = operator.lshift(me.id, me.k)
    return 0.5


def cut(whole: int) -> int:
    """As many of its bits as compiled integers have."""
    return (whole + 2**63) % 2**64 - 2**63


def wanted(entity: int, k: int) -> dict[str, int]:
    """What Python has, cut to 64 bits."""
    return {
        "left": cut(3 << k), "right": -5 >> k, "kept": cut(-7 << k) >> k,
        "called": cut(entity << k), "there": cut(3 << k), "back": -3 >> k,
        "column": cut(cut(-1 << k) + (-2 >> k)),
    }  # fmt: skip


@pytest.mark.parametrize("n", [len(COUNTS), 61])
def test_a_shift_is_pythons_wherever_the_entity_lies(n: int) -> None:
    block = Block(shifting, entities=n, max_errores=1.0)
    block.tick()
    for entity in range(n):
        k = int(COUNTS[entity % COUNTS.size])
        found = {name: int(block.view.column(name)[entity]) for name in FIELDS}
        assert int(block.view.fallos[entity]) == (k < 0)
        assert found == (wanted(entity, k) if k >= 0 else dict.fromkeys(FIELDS, 0)), k
    (told,) = failures(block)
    assert (told.kind, told.text) == ("ValueError", "negative shift count")


def test_the_plain_form_shifts_alike() -> None:
    with np.errstate(all="ignore"):
        assert compare(shifting, ticks=1, entities=61) == 61
