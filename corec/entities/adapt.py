"""A user's function made ready for Numba.

A Python number adopts the type of what it meets (NEP 50): ``0.95 * me.level`` is float32 in plain
NumPy. Numba would take 0.95 for a float64, promote the expression and halve the vector width, so
the float constants of the function, of its defaults and of the modules it reads become float32
first; in a processor with an ``f8`` field they stay float64 (``maths``). Plain Python helpers are
compiled along, wherever they are defined.

What is reached by the same names decides the machine code's key (``fingerprint``).
"""

from __future__ import annotations

import types
from collections.abc import Callable
from itertools import count
from typing import Any

import numba
import numpy as np

from corec.entities.guard import GuardedCompiler, Site, recursion_text
from corec.entities.maths import maths, with_items
from corec.entities.processor import Processor, ProcessorError
from corec.entities.references import names_used, plain_function, references
from corec.entities.users import is_users
from shm.jit import INSIDE

_serial = count()


def _file_name(function: Callable[..., Any]) -> str:
    return function.__code__.co_filename.rpartition("/")[2]


class Adapter:
    """Compiles (lazily) the functions of one processor; ``wide`` keeps constants float64.

    ``sites`` holds the code of each function; its place in the list is the function's number.
    """

    def __init__(self, wide: bool, steps_max: int) -> None:
        self._maths, self._steps_max = maths(wide, compiled=True), steps_max
        self._seen: dict[int, Any] = {}
        self._named: set[tuple[Any, ...]] = set()
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
        found, names = references(function), names_used(function)
        self._open.append(function)
        code = function.__code__
        scope: dict[str, Any] = {"__builtins__": __builtins__, "__name__": function.__module__}
        cells = tuple(types.CellType() for _ in code.co_freevars)
        defaults = self._value(function.__defaults__, names)
        clone = types.FunctionType(
            self._maths.code(code), scope, function.__name__, defaults, cells
        )
        clone.__dict__["__corec_site__"] = Site(
            len(self.sites), code.co_firstlineno, self._steps_max
        )
        self.sites.append(code)
        compiled = numba.njit(
            error_model="numpy", forceinline=True, boundscheck=True,
            pipeline_class=GuardedCompiler, **INSIDE,
        )(clone)  # fmt: skip
        self._seen[id(function)] = compiled
        for name, value in found.items():
            adapted = self._value(value, names)
            if name in code.co_freevars:
                cells[code.co_freevars.index(name)].cell_contents = adapted
            else:
                scope[name] = adapted
        self._open.pop()
        return compiled

    def _value(self, value: Any, names: list[str]) -> Any:
        """What stands for ``value``; ``names``: those of the function that reads it."""
        if isinstance(value, Processor):
            return self.function(value.function)
        plain = plain_function(value)
        if isinstance(plain, types.FunctionType) and is_users(plain.__module__):
            return self.function(plain)
        if isinstance(value, types.ModuleType) and is_users(value.__name__):
            return self._module(value, names)
        if isinstance(value, tuple):
            return with_items(value, lambda item: self._value(item, names))
        if isinstance(value, np.ndarray):
            return self._array(value)
        return self._maths.of(value)

    def _module(self, module: types.ModuleType, names: list[str]) -> types.ModuleType:
        shadow: types.ModuleType | None = self._seen.get(id(module))
        if shadow is None:
            # Numba tells modules apart by their text: the serial keeps two processors' apart
            shadow = types.ModuleType(f"{module.__name__}#{next(_serial)}")
            self._seen[id(module)] = shadow
        if (id(module), *names) in self._named:
            return shadow
        self._named.add((id(module), *names))
        for name in names:
            if name in vars(module):
                setattr(shadow, name, self._value(vars(module)[name], names))
        return shadow

    def _array(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """A copy of its own, since Numba takes the address of a large one: what is written into
        ``array`` later may not reach what was compiled before."""
        copy = self._seen.get(id(array))
        if copy is None:
            copy = array.copy(order="K")
            copy.flags.writeable = False
            self._seen[id(array)] = copy
        return copy
