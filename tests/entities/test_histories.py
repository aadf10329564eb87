"""``nearest`` of a history, to the bit, wherever its ring begins; what it can't be used for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import corec
from corec.entities.fields import HistoryField
from corec.entities.plain import PlainHistory
from corec.entities.processor import ProcessorError
from corec.testing import Block

TICKS = 150


@corec.celu(state={"pair": "f4", "triple": "f4"}, history={"book": ("f4", 50)})
def remembering(me: Any, value: Any) -> Any:
    """50 numbers in a ring of 58: a triple comes to lie over its end."""
    me.pair = me.book.nearest((value, me.tick), (1.0, 0.25))
    me.triple = me.book.nearest((value, me.tick, 0.1), (0.5, 0.1, 2.0))
    me.book.push(value)
    if me.tick % 3 != 0:
        me.book.push(me.tick)
    return me.pair


def test_nearest_is_what_the_document_says() -> None:
    block = Block(remembering, entities=3)
    book = PlainHistory(HistoryField("book", 50))
    rng = np.random.default_rng(4)
    for tick in range(1, TICKS + 1):
        value = np.float32(rng.normal(0.0, 20.0))
        block.tick([(1, float(value))])
        for name, values, weights in (
            ("pair", (value, tick), (1.0, 0.25)),
            ("triple", (value, tick, 0.1), (0.5, 0.1, 2.0)),
        ):
            assert block.view.column(name)[1] == book.nearest(values, weights), (tick, name)
        book.pushes = 0
        book.push(float(value))
        if tick % 3 != 0:
            book.push(tick)


def by_time(me: Any, value: Any) -> Any:
    """Of another layout."""
    return me.book.nearest((value, value), (1.0, 1.0))


def of_one(me: Any, value: Any) -> Any:
    """No tuple."""
    return me.book.nearest(value, (1.0, 1.0))


@pytest.mark.parametrize(
    ("function", "laid", "said"),
    [(by_time, ("f4", 4, "by_time"), "cannot be used of a history by time"),
     (of_one, ("f4", 4), "takes two tuples of as many numbers")],
)  # fmt: skip
def test_what_nearest_can_not_be_used_for(function: Any, laid: Any, said: str) -> None:
    with pytest.raises(ProcessorError, match=said):
        Block(corec.celu(history={"book": laid})(function))


def test_a_history_by_time_reads_as_any_other() -> None:
    """Index, length and folds, in rounds and one by one."""
    found = []
    for laid in (("f4", 5), ("f4", 5, "by_time")):
        block = Block(corec.celu(state={"x": "f4"}, history={"h": laid})(reading), entities=40)
        rng = np.random.default_rng(1)
        for tick in range(30):
            ids = range(40) if tick % 3 else rng.integers(0, 40, 9).tolist()
            block.tick([(i, float(np.float32(rng.normal()))) for i in ids])
        values, held = block.view.history("h")
        found.append((block.view.column("x").tobytes(), values.tobytes(), held.tobytes()))
    assert found[0] == found[1]


def reading(me: Any, value: Any) -> Any:
    """All there is."""
    me.h.push(value)
    me.x = me.h[0] + me.h[-1] + len(me.h) + me.h.mean() + me.h.sum() + me.h.min() + me.h.max()
    return me.x


def test_a_layout_that_is_none() -> None:
    with pytest.raises(ProcessorError, match="'by_time'"):
        corec.celu(history={"h": ("f4", 5, "by_space")})(reading)
