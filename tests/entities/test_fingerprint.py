"""The key of the machine code sees every change of what a function reads, however it is reached."""

from __future__ import annotations

import enum
from collections import namedtuple
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import corec
from corec.entities.adapt import Adapter
from corec.entities.compile import kernel_key

Pair = namedtuple("Pair", "gain table")


def long_array(value: float) -> Any:
    """Whose text has ``…`` in place of what differs."""
    array = np.zeros(3000, np.float32)
    array[1500] = value
    return array


def held(value: Any) -> Callable[[Any], Any]:
    """A function that reads ``value``."""

    def function(me: Any) -> Any:
        return value

    return function


def constants(value: float) -> dict[str, Any]:
    """``value`` in each way in which a function may hold it, beside what never differs."""
    colour = enum.Enum("colour", {"RED": (0.5, value)})

    deep = (1.0, [long_array(value)])

    def by_default(me: Any, table: Any = deep) -> Any:
        return table

    def by_keyword(me: Any, *, table: Any = deep) -> Any:
        return table

    def inside(me: Any) -> Any:
        def inner() -> Any:
            return held(value)

        return inner()

    return {
        "array": held(long_array(value)),
        "strided": held(np.repeat(long_array(value), 2)[::2]),
        "in tuples": held(((1.0, long_array(value)), 2.0)),
        "named": held(Pair(0.5, (long_array(value),))),
        "in a dict": held({"a": [long_array(value)]}),
        "record": held(np.array([(1, value)], "i4,f8")[0]),
        "last digit": held(np.array([1.0 + value * 1e-15])),
        "objects": held(np.array([long_array(value), None], object)),
        "class": held(colour),
        "member": held(colour.RED),
        "function in a tuple": held((held(1.0), held(value))),
        "default": held(by_default),
        "keyword": held(by_keyword),
        "inside": inside,
        "processor": held(corec.micro(held(value))),
    }


@pytest.mark.parametrize("way", constants(0.0))
def test_a_constant_counts_in_whatever_it_lies(way: str) -> None:
    key, again, other = (
        kernel_key(corec.micro(constants(value)[way]), 10) for value in (1.0, 1.0, 2.0)
    )
    assert key == again
    assert key != other


def modules(a: float, b: float) -> Any:
    """``outer.inner`` has both constants, one is read by the processor, one by its helper; the two
    modules know each other."""
    outer, inner = ModuleType("user_outer"), ModuleType("user_inner")
    vars(outer).update(inner=inner, own=a)
    vars(inner).update(A=a, B=b, outer=outer)

    def helper(x: Any) -> Any:
        return x * outer.inner.B + outer.inner.outer.own

    def function(me: Any) -> Any:
        return helper(outer.inner.A)

    return corec.micro(function)


def test_each_function_that_reads_a_module_counts() -> None:
    keys = [kernel_key(modules(*given), 10) for given in ((1.0, 6.0), (1.0, 7.0), (2.0, 6.0))]
    assert len(set(keys)) == 3
    assert kernel_key(modules(1.0, 6.0), 10) == keys[0]


def test_what_two_functions_read_of_a_module_in_a_module_is_compiled() -> None:
    with corec.World(
        {"bloques": [{"id": "s", "canal": 1, "entidades": 2, "procesador": modules(2.0, 7.0)}]}
    ) as world:
        world.run(1)
        assert world.entity(0)["valor"] == 2.0 * 7.0 + 2.0


def test_an_array_that_is_written_into_changes_nothing_that_was_compiled() -> None:
    table = long_array(1.0)
    compiled = Adapter(False, 1000).function(held((table,)))
    (kept,) = compiled.py_func.__closure__[0].cell_contents
    table[1500] = 2.0
    assert kept[1500] == 1.0
    assert not kept.flags.writeable
