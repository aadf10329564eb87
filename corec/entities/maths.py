"""What ``math`` and ``numpy`` are in a processor: their functions of one number that have a vector
form with the same bits on every CPU (``kernels.elementary``) are exchanged for it.

By the type of the argument: float32 takes the vector form, float64 and whole numbers the C
library's function. The compiled form (``adapt``) and the plain one (``ordinary``) see the same
exchange, so they give the same bits.
"""

from __future__ import annotations

import enum
import math
import types as python_types
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, cast
from weakref import WeakKeyDictionary

import numpy as np
from numba import types
from numba.extending import overload

from corec.entities.errors import ProcessorError
from corec.kernels import elementary as E

Function = Callable[..., Any]
_OURS: Final[tuple[tuple[Function, tuple[Function, ...]], ...]] = (
    (E.sin, (math.sin, np.sin)),
    (E.cos, (math.cos, np.cos)),
    (E.tan, (math.tan, np.tan)),
    (E.atan, (math.atan, np.arctan)),
    (E.atan2, (math.atan2, np.arctan2)),
    (E.exp, (math.exp, np.exp)),
    (E.log, (math.log, np.log)),
    (E.pow, (math.pow, np.power)),
    (E.tanh, (math.tanh, np.tanh)),
    (E.sqrt, (math.sqrt, np.sqrt)),
)
_OF_TWO: Final = (E.atan2, E.pow)
_LIBRARIES: Final = (math, np)


def _compiled_one(ours: Function, theirs: Function) -> Function:
    def function(x: Any) -> Any:
        return theirs(x)

    function.__name__ = theirs.__name__  # a compiler's message shows it

    @overload(function, jit_options=E.OPTIONS, strict=False)
    def typed(x: Any) -> Function:
        if x == types.float32:
            return lambda x: ours(x)
        return lambda x: theirs(x)

    return function


def _compiled_two(ours: Function, theirs: Function) -> Function:
    def function(x: Any, y: Any) -> Any:
        return theirs(x, y)

    function.__name__ = theirs.__name__  # a compiler's message shows it

    @overload(function, jit_options=E.OPTIONS, strict=False)
    def typed(x: Any, y: Any) -> Function:
        if x == types.float32 and y == types.float32:
            return lambda x, y: ours(x, y)
        return lambda x, y: theirs(x, y)

    return function


def _plain(ours: Function, theirs: Function) -> Function:
    def function(*numbers: Any) -> Any:
        if all(isinstance(number, np.float32) for number in numbers):
            return E.plain(ours, *numbers)
        found = theirs(*numbers)
        return np.float64(found) if isinstance(found, float) else found

    return function


def with_items(value: tuple[Any, ...], of: Function) -> tuple[Any, ...]:
    """``value`` with ``of(item)`` for each item; a named tuple stays one."""
    if type(value) is not tuple and not hasattr(value, "_make"):
        return value  # such as sys.version_info
    items = [of(item) for item in value]
    if all(new is old for new, old in zip(items, value, strict=True)):
        return value
    made: Any = getattr(type(value), "_make", tuple)
    found: tuple[Any, ...] = made(items)
    return found


class Maths:
    """The exchanged modules, functions and constants; see ``maths``."""

    def __init__(self, wide: bool, compiled: bool) -> None:
        self._wide = wide
        self._functions: dict[Any, Function] = {}
        self._modules: dict[python_types.ModuleType, python_types.ModuleType] = {}
        self._enums: WeakKeyDictionary[enum.EnumMeta, Any] = WeakKeyDictionary()
        for ours, library in _OURS:
            for theirs in library:
                if compiled:
                    make = _compiled_two if ours in _OF_TWO else _compiled_one
                    self._functions[theirs] = make(ours, theirs)
                else:
                    self._functions[theirs] = _plain(ours, theirs)
        self._modules = {module: self._copy(module) for module in _LIBRARIES}

    def _copy(self, module: python_types.ModuleType) -> python_types.ModuleType:
        copy = python_types.ModuleType(module.__name__)
        for name, value in vars(module).items():
            if not name.startswith("__"):
                setattr(copy, name, self.of(value))
        # Numba tells modules apart by their text
        copy.__file__ = f"corec's, {'f8' if self._wide else 'f4'}"
        return copy

    def of(self, value: Any) -> Any:
        """What stands for ``value`` in a processor: of a real constant, float32 or float64."""
        if type(value) is float:
            with np.errstate(over="ignore"):
                return np.float64(value) if self._wide else np.float32(value)
        if isinstance(value, tuple):
            return with_items(value, self.of)
        if isinstance(value, enum.EnumMeta):
            return self._enum(value)
        if isinstance(value, enum.Enum):
            kind = self._enum(type(value))
            return value if kind is type(value) else kind[value.name]
        if isinstance(value, python_types.ModuleType):
            return self._modules.get(value, value)
        if isinstance(value, python_types.BuiltinFunctionType | np.ufunc):
            return self._functions.get(value, value)
        return value

    def _enum(self, kind: enum.EnumMeta) -> Any:
        """``kind`` with its constants exchanged, always the same one; itself if it has none."""
        if kind not in self._enums:
            members: dict[str, Any] = dict(kind.__members__)
            given = {name: member.value for name, member in members.items()}
            values = {name: self.of(value) for name, value in given.items()}
            self._enums[kind] = None
            if kind.__mro__[1] is enum.Enum and any(values[n] is not given[n] for n in given):
                made = cast("Any", enum.Enum)(kind.__qualname__, values, module=kind.__module__)
                if len(made) < len(kind):
                    raise ProcessorError(
                        f"{kind.__qualname__}: found members that are one number as float32, "
                        "expected different ones; make them constants"
                    )
                self._enums[kind] = made
        return self._enums[kind] or kind

    def code(self, code: python_types.CodeType) -> python_types.CodeType:
        """``code`` and the code inside it with its constants exchanged."""
        constants = tuple(
            self.code(item) if isinstance(item, python_types.CodeType) else self.of(item)
            for item in code.co_consts
        )
        return code.replace(co_consts=constants)


@lru_cache
def maths(wide: bool, compiled: bool) -> Maths:
    """The exchange for the ``compiled`` or the plain form of processors with an ``f8`` field
    (``wide``: their real constants stay float64) or without one."""
    return Maths(wide, compiled)
