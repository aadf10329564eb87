"""Processors that lean on every corner of what users may write."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from enum import IntEnum
from typing import Any

import numpy as np

from corec import celu, micro
from tests.entities import helpers
from tests.entities.helpers import half

RATE = 0.1
LEVELS = np.array([0.1, 0.2, 0.4], np.float32)


class Phase(IntEnum):
    """Named numbers."""

    REST = 0
    WORK = 2


@micro(
    state={
        "single": "f4", "double": ("f8", 1.0), "i1": ("i1", -3), "u1": ("u1", 250), "i2": "i2",
        "u2": ("u2", 65_530), "i4": ("i4", -5), "u4": ("u4", 4_294_967_290), "i8": ("i8", 2**40),
    }
)  # fmt: skip
def dtypes(me: Any) -> Any:
    """Every field type, each wrapped at its range; a bool is the result."""
    me.double = me.double + 0.1
    me.single += me.double
    me.i1 = (me.i1 - 50 + 128) % 256 - 128
    me.u1 = me.u1 + 3 & 0xFF
    me.i2 = (me.i2 * 3 - me.tick + 32_768) % 65_536 - 32_768
    me.u2 = me.u2 + me.u1 & 0xFFFF
    me.i4 = (me.i4 * 100_003 + 2**31) % 2**32 - 2**31
    me.u4 = me.u4 + 7 * me.id & 0xFFFFFFFF
    me.i8 = me.i8 - 2**33 + (me.u4 - 5) % 11
    return me.u1 - 251 < 0


CLASHING = (
    "i", "n", "me", "cur", "new", "hist", "good", "fine", "s", "p", "m", "p0", "m0", "a", "b",
    "r", "rnd", "running", "total", "shift", "group", "words", "checked", "make", "params",
    "means", "np", "float32", "init", "self", "processor", "update",
)  # fmt: skip


@micro(state={name: ("f4", k) for k, name in enumerate(CLASHING)}, params={"lo": 0.5, "hi": 2.0})
def clashing(me: Any) -> Any:
    """As many fields as there may be, called like everything the generated code uses."""
    me.i = me.hi * me.i + me.lo
    me.me = me.n + me.s
    me.self, me.processor = me.processor, me.self
    me.np = me.float32 - me.np + me.random()
    me.good = 1.0 - me.good
    me.update = me.update * 0.5 + me.total
    return me.p0 + me.m0 + me.fine


@micro(state={"x": "f4", "drawn": "i4"})
def drawer(me: Any) -> Any:
    """Numbers drawn in branches, loops and helpers, and more of them than are drawn ahead."""
    if me.random() < 0.5:
        me.x = me.random()
        me.drawn += 1
    for _ in range(me.id % 4):
        me.x = half(me.x) + half(me.random(), share=0.25)
        me.drawn += 1
    if me.x > 0.4:
        me.x -= helpers.shaken(me)
    return me.x + me.random() + me.random() * me.random()


def gained(gain: float) -> Callable[[Any], Any]:
    """A closure."""

    def times(x: Any) -> Any:
        return gain * x + RATE

    return times


def doubled(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A decorator."""

    @functools.wraps(function)
    def twice(x: Any) -> Any:
        return function(function(x))

    return twice


@doubled
def eased(x: Any) -> Any:
    """A decorated helper."""
    return x - 0.25 * x


def factorial(k: Any) -> Any:
    """A helper with a loop of unknown length."""
    found = 1
    while k > 1:
        found, k = found * k, k - 1
    return found


slower = gained(0.75)


@micro(state={"x": ("f4", 1.0), "phase": "u1"})
def reaching(me: Any) -> Any:
    """Constants, closures, decorated helpers, helpers of other modules, tables, enums."""
    me.x = slower(me.x) + helpers.scaled(eased(me.x)) - half(me.x) + helpers.STEPS[0]
    me.x = me.x + LEVELS[me.tick % 3]
    me.phase = Phase.WORK if me.tick % 2 == 0 else Phase.REST
    root = sum([math.sqrt(abs(me.x)), float(factorial(me.tick % 5))])
    return min(max(me.x - root * RATE, -1.0), 1.0) if me.phase == Phase.WORK else dict_free(me)


def dict_free(me: Any) -> Any:
    """A helper that sets a field."""
    me.x *= 0.5
    return me.x


def fading_start(me: Any) -> Any:
    """Draws, conditionally."""
    me.level = 0.5 + me.random() if me.id % 2 else me.random()
    return me.level


@micro(
    state={"level": "f4", "turns": "u2"},
    history={"past": ("f4", 6), "short": ("f4", 1)},
    params={"decay": 0.9, "limit": 0.2},
    means=("level",),
    init=fading_start,
)
def fading(me: Any) -> Any:
    """Histories and means in a Micro entity; fails in all ways there are."""
    me.turns += 1
    me.past.push(me.level)
    me.short.push(me.past[0])
    me.level = me.decay * me.level + 0.1 * me.mean_level + 0.05 * me.random()
    if me.turns % 5 == 0 and me.level < me.limit:
        raise RuntimeError("faded")
    if me.id % 9 == 0 and me.turns == 2:
        return math.sqrt(-me.level)
    if me.id % 9 == 1 and me.turns == 3:
        return me.past[len(me.past)]
    if me.id % 9 == 2:
        for _ in range(me.turns):
            me.past.push(1.0)
    return me.past.mean() + me.short[-1] - me.past[-len(me.past)]


@celu(
    state={"kept": "f4", "odd": "i4"},
    history={"values": ("f4", 7), "marks": ("f4", 3)},
    params={"gain": 0.25},
    means=("kept",),
)
def gathering(me: Any, reading: Any) -> Any:
    """Several readings a tick, two histories, NaN kept out of the state."""
    ratio = reading / (reading - me.kept) if reading > 0.4 else float("nan")
    me.values.push(reading)
    if reading == reading and ratio == ratio:
        me.marks.push(ratio)
        me.kept = me.kept + me.gain * (reading - me.kept)
    else:
        me.odd = me.odd + 1
    if me.odd % 7 == 6 and len(me.marks) == 3:
        raise ValueError("odd")
    return me.values.mean() + 0.1 * me.mean_kept + 0.01 * me.random()
