"""A user's function made ready for Numba, and the fingerprint of everything that decides it.

A Python number adopts the type of what it meets (NEP 50): ``0.95 * me.level`` is float32 in plain
NumPy. Numba would take 0.95 for a float64, promote the expression and halve the vector width, so
the float constants of the function, of its defaults and of the modules it reads become float32
first; in a processor with an ``f8`` field they stay float64 (``maths``). Plain Python helpers are
compiled along, wherever they are defined.

Both walks below see a function through ``references``: what one adapts, the other hashes.
"""

from __future__ import annotations

import dis
import enum
import random
import types
from collections.abc import Callable, Iterator
from itertools import count, pairwise
from typing import Any

import numba
import numpy as np

from corec.entities.guard import GuardedCompiler, Site, recursion_text
from corec.entities.maths import maths
from corec.entities.processor import Processor, ProcessorError
from corec.entities.users import is_users

_serial = count()


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _file_name(function: Callable[..., Any]) -> str:
    return function.__code__.co_filename.rpartition("/")[2]


def _names_used(function: Callable[..., Any]) -> list[str]:
    """Every global and attribute name in ``function`` and the functions written inside it."""
    return sorted({name for code in _codes(function.__code__) for name in code.co_names})


def _instructions(function: Callable[..., Any]) -> Iterator[dis.Instruction]:
    for code in _codes(function.__code__):
        yield from dis.get_instructions(code)


def references(function: Any) -> dict[str, Any]:
    """The globals and closure values that ``function`` reads, by name."""
    found = {
        str(instruction.argval): function.__globals__[instruction.argval]
        for instruction in _instructions(function)
        if instruction.opname == "LOAD_GLOBAL" and instruction.argval in function.__globals__
    }
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:
            continue  # not assigned yet: Numba says so, with the name
    return found


def count_calls(function: Any, name: str) -> int:
    """How often the text of ``function`` uses the attribute ``name``, as its bytecode shows."""
    return sum(
        instruction.argval == name and instruction.opname in ("LOAD_METHOD", "LOAD_ATTR")
        for instruction in _instructions(function)
    )


def _refuse_foreign_random(function: Any, found: dict[str, Any]) -> None:
    """Numbers from elsewhere than ``me.random()`` would make every run another world."""
    for name, value in found.items():
        owner = getattr(value, "__self__", None)
        if value is random or value is np.random or isinstance(owner, random.Random):
            raise ProcessorError(f"it uses {name}: draw with me.random(), which a seed repeats")
    for first, second in pairwise(_instructions(function)):
        if second.argval == "random" and found.get(str(first.argval)) is np:
            name = f"{first.argval}.random"
            raise ProcessorError(f"it uses {name}: draw with me.random(), which a seed repeats")


class Adapter:
    """Compiles (lazily) the functions of one processor; ``wide`` keeps constants float64.

    ``sites`` holds the code of each function; its place in the list is the function's number.
    """

    def __init__(self, wide: bool, steps_max: int) -> None:
        self._maths, self._steps_max = maths(wide, compiled=True), steps_max
        self._seen: dict[int, Any] = {}
        self._open: list[Any] = []
        self.sites: list[types.CodeType] = []

    def function(self, function: Any) -> Any:
        """``function`` as a Numba dispatcher, its helpers likewise.

        Raises:
            ProcessorError: it draws random numbers from elsewhere than ``me.random()``, or comes
                to call itself.
        """
        if function in self._open:
            round_trip = self._open[self._open.index(function) :]
            line = f"{_file_name(function)}, line {function.__code__.co_firstlineno}"
            names = [each.__name__ for each in round_trip]
            raise ProcessorError(f"{recursion_text(names)} ({line})")
        if id(function) in self._seen:
            return self._seen[id(function)]
        found = references(function)
        _refuse_foreign_random(function, found)
        code = function.__code__
        scope: dict[str, Any] = {"__builtins__": __builtins__, "__name__": function.__module__}
        cells = tuple(types.CellType() for _ in code.co_freevars)
        defaults = self._maths.of(function.__defaults__)
        clone = types.FunctionType(
            self._maths.code(code), scope, function.__name__, defaults, cells
        )
        clone.__dict__["__corec_site__"] = Site(
            len(self.sites), code.co_firstlineno, self._steps_max
        )
        self.sites.append(code)
        compiled = numba.njit(
            error_model="numpy", forceinline=True, boundscheck=True, pipeline_class=GuardedCompiler
        )(clone)
        self._seen[id(function)] = compiled
        names = _names_used(function)
        self._open.append(function)
        for name, value in found.items():
            adapted = self._value(value, names)
            if name in code.co_freevars:
                cells[code.co_freevars.index(name)].cell_contents = adapted
            else:
                scope[name] = adapted
        self._open.pop()
        return compiled

    def _value(self, value: Any, names: list[str]) -> Any:
        if isinstance(value, Processor):
            return self.function(value.function)
        plain = getattr(value, "py_func", value)  # a helper with Numba's own decorator
        if isinstance(plain, types.FunctionType) and is_users(plain.__module__):
            return self.function(plain)
        if isinstance(value, types.ModuleType) and is_users(value.__name__):
            return self._module(value, names)
        return self._maths.of(value)

    def _module(self, module: types.ModuleType, names: list[str]) -> types.ModuleType:
        shadow: types.ModuleType | None = self._seen.get(id(module))
        if shadow is None:
            # Numba tells modules apart by their text: the serial keeps two processors' apart
            shadow = types.ModuleType(f"{module.__name__}#{next(_serial)}")
            self._seen[id(module)] = shadow
        for name in names:
            if name in vars(module) and name not in vars(shadow):
                setattr(shadow, name, self._value(vars(module)[name], names))
        return shadow


def fingerprint(function: Any) -> list[str]:
    """Everything of ``function`` that decides what it computes, as text."""
    return _function_text(function, {}) if function is not None else ["none"]


def _function_text(function: Any, seen: dict[int, int]) -> list[str]:
    if id(function) in seen:
        return [f"again {seen[id(function)]}"]
    seen[id(function)] = len(seen)
    found = []
    first_line = function.__code__.co_firstlineno
    for code in _codes(function.__code__):
        plain = [c for c in code.co_consts if not isinstance(c, types.CodeType)]
        found += [code.co_code.hex(), code.co_exceptiontable.hex(), repr(plain)]
        # what raises is told with its line, counted from the function's first
        found += [code.co_linetable.hex(), str(code.co_firstlineno - first_line)]
        found += [repr(code.co_names), repr(code.co_varnames[: code.co_argcount])]
    found.append(repr(function.__defaults__))
    names = _names_used(function)
    for name, value in sorted(references(function).items()):
        found += [name, *_value_text(value, names, seen)]
    return found


def _value_text(value: Any, names: list[str], seen: dict[int, int]) -> list[str]:
    function = getattr(value, "py_func", value.function if isinstance(value, Processor) else value)
    if isinstance(function, types.FunctionType):
        return _function_text(function, seen)
    if isinstance(value, types.ModuleType):
        if not is_users(value.__name__) or id(value) in seen:
            return [value.__name__]
        seen[id(value)] = len(seen)
        return [
            text
            for name in names
            if name in vars(value)
            for text in (name, *_value_text(vars(value)[name], names, seen))
        ]
    if isinstance(value, np.ndarray):
        return [str(value.dtype), repr(value.shape), value.tobytes().hex()]
    if isinstance(value, type):
        members = list(value) if issubclass(value, enum.Enum) else []
        return [value.__qualname__, repr(members)]
    return [type(value).__qualname__, repr(value)]
