"""What can't be compiled: one line with the processor's name, the reason and the line of code."""

from __future__ import annotations

import ctypes
import math
import random
from types import ModuleType
from typing import Any

import numba
import numpy as np
import pytest
from numpy.random import exponential, normal, rand

import corec
from corec.entities.compile import compile_processor
from corec.entities.processor import ProcessorError

pytestmark = pytest.mark.slow


def undeclared(me: Any) -> Any:
    return me.levl


def sets_undeclared(me: Any) -> Any:
    me.levl = 2.0
    return 1.0


def sets_read_only(me: Any) -> Any:
    me.valor = 3.0
    return 1.0


def sets_param(me: Any) -> Any:
    me.rate = 3.0
    return 1.0


def forgets(me: Any) -> Any:
    me.x = 1.0


def forgets_sometimes(me: Any) -> Any:  # noqa: RET503  # that is the test
    if me.x > 0.0:
        return 1.0


def returns_text(me: Any) -> Any:
    return "a"


def returns_complex(me: Any) -> Any:
    return 1j


def returns_me(me: Any) -> Any:
    return me


def named_except(me: Any) -> Any:
    try:
        return math.sqrt(me.x)
    except ValueError:
        return 0.0


def opens(me: Any) -> Any:
    with open("x"):
        return 1.0


def unknown_name(me: Any) -> Any:
    return missing(me)  # type: ignore[name-defined]  # noqa: F821  # that it is missing is the test


def imports(me: Any) -> Any:
    import os

    return float(len(os.sep))


def bad_helper(x: Any) -> Any:
    return x.nothing


def calls_bad_helper(me: Any) -> Any:
    return bad_helper(me.x)


def no_such_function(me: Any) -> Any:
    return math.nosuch(me.x)  # type: ignore[attr-defined]  # that it is missing is the test


def adds_text(me: Any) -> Any:
    return me.x + "a"


def foreign_random(me: Any) -> Any:
    return random.random()


def numpy_random(me: Any) -> Any:
    return np.random.rand()


def aliased_random(me: Any) -> Any:
    return rand()


def random_by_argument(me: Any) -> Any:
    return drawn_with(normal)


def drawn_with(draw: Any) -> Any:
    return draw(0.0, 1.0)


def random_of_a_module(me: Any) -> Any:
    return tools.inner.np.random.rand()


def random_mapped(me: Any) -> Any:
    total = 0.0
    for x in map(exponential, [1.0]):
        total += x
    return total


def jitted_random(me: Any) -> Any:
    return HELPERS[0](1.0)


@numba.njit
def jitted(x: Any) -> Any:
    return x * rand()


@numba.vectorize
def vectorized(x: Any) -> Any:
    return x * 2.0


def calls_vectorized(me: Any) -> Any:
    return vectorized(me.x)


def calls_c(me: Any) -> Any:
    return float(LIBC_RAND())


def hashes(me: Any) -> Any:
    return float(hash("a"))


def in_python(me: Any) -> Any:
    with numba.objmode(x="float64"):
        x = random.random()
    return x * 2.0


LIBC_RAND = ctypes.CDLL(None).rand
LIBC_RAND.restype, LIBC_RAND.argtypes = ctypes.c_int, ()
HELPERS = (jitted,)
tools = ModuleType("user_tools")
vars(tools).update(inner=ModuleType("user_inner"))
vars(tools.inner).update(np=np, random=random)


def formats(me: Any) -> Any:
    if me.x > 1.0:
        raise ValueError(f"too much in {me.id}")
    return me.x


def iterates(me: Any) -> Any:
    total = 0.0
    for value in me.past:
        total += value
    return total


def pushes(me: Any) -> Any:
    me.past.push(1.0)
    return 0.0


def fine(me: Any) -> Any:
    return me.x


REFUSED = [
    (undeclared, r"me\.levl is not declared; declared are: id, tick, valor, rate, x, past \(test_"),
    (sets_undeclared, r"me\.levl is not declared"),
    (sets_read_only, r"me\.valor can't be set: it is not a declared state field"),
    (sets_param, r"me\.rate can't be set"),
    (forgets, "it returns nothing: end it with `return <number>`"),
    (forgets_sometimes, "it returns nothing on some paths"),
    (returns_text, "it returns 'a', expected a number"),
    (returns_complex, "it returns complex128, expected a number"),
    (returns_me, "it returns me itself, expected a number"),
    (named_except, "`except` with a name is not supported: use a plain `except` "),
    (opens, "`with` is not supported"),
    (unknown_name, "name 'missing' is not defined"),
    (imports, "`import` belongs at the top of the module"),
    (calls_bad_helper, r"Unknown attribute 'nothing' of type float32 \(test_refused.py, line "),
    (no_such_function, "module 'math' has no attribute 'nosuch'"),
    (adds_text, r"add\(number, 'a'\) is not supported in compiled code \(test_refused.py, line"),
    (foreign_random, r"it uses random: draw with me\.random\(\), which a seed repeats"),
    (numpy_random, r"it uses numpy\.random: draw with me\.random\(\)"),
    (aliased_random, r"it uses numpy\.random\.rand: draw with me\.random\(\)"),
    (random_by_argument, r"it uses numpy\.random\.normal: draw"),
    (random_of_a_module, r"it uses numpy\.random: draw"),
    (random_mapped, r"it uses numpy\.random\.exponential: draw"),
    (jitted_random, r"it uses numpy\.random\.rand: draw"),
    (calls_vectorized, r"vectorized is not supported: its machine code is not made by CoreC"),
    (calls_c, r"is not supported: its machine code is not made by CoreC"),
    (hashes, r"hash\(\) is not supported"),
    (in_python, "`with` is not supported"),
    (formats, "text made at run time is not supported: an exception takes constants or numbers"),
    (iterates, r"loop over a history with `for k in range\(len\(me\.past\)\)`"),
]


@pytest.mark.parametrize(("function", "message"), REFUSED, ids=lambda v: getattr(v, "__name__", ""))
def test_the_reason_is_one_clear_line(function: Any, message: str) -> None:
    declare = corec.micro(state={"x": "f4"}, params={"rate": 1.0}, history={"past": ("f4", 4)})
    processor = declare(function)
    with pytest.raises(ProcessorError, match=message) as caught:
        compile_processor(processor, 16)
    text = str(caught.value)
    assert text.startswith(f"{processor.name} can't be compiled: ")
    assert "\n" not in text
    assert len(text) < 300
    assert "Entity<" not in text


def draws_of_its_own(me: Any) -> Any:
    return me.random() * 0.0 + tools.inner.GAIN


def test_a_module_that_has_random_numbers_may_be_read() -> None:
    vars(tools.inner).update(GAIN=2.0)
    declare = corec.micro(state={"x": "f4"})
    compile_processor(declare(draws_of_its_own), 16)


def test_init_is_refused_likewise() -> None:
    declare = corec.micro(state={"x": "f4"}, history={"past": ("f4", 4)}, init=pushes)
    with pytest.raises(
        ProcessorError, match=r"me\.past\.push cannot be used in init: a history st"
    ):
        compile_processor(declare(fine), 16)
    with pytest.raises(ProcessorError, match="it returns nothing"):
        compile_processor(corec.micro(state={"x": "f4"}, init=forgets)(fine), 16)


def test_an_init_that_fails_stops_the_start() -> None:
    from corec.testing import Block

    def impossible(me: Any) -> Any:
        return math.log(me.id - 1.0 * me.id)

    with pytest.raises(
        ProcessorError, match=r"its init fails for 4 entities, 3: NonFinite: it returns -?inf"
    ):
        Block(corec.micro(state={"x": "f4"}, init=impossible)(fine), entities=4)
