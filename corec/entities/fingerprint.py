"""Everything that decides what a function computes, as text: the key of its machine code.

It follows the same names as ``adapt``, which says what may be compiled: functions by their code,
of a module what the functions name, whatever chain of modules leads there, of a container each
item. ``repr`` is asked of plain constants alone, it leaves out the middle of a long array.
"""

from __future__ import annotations

import enum
import hashlib
import types
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from corec.entities.processor import Processor
from corec.entities.references import codes, names_used, plain_function, references
from corec.entities.users import is_users

_CONTAINERS: Final = (tuple, list, set, frozenset, dict)


def fingerprint(function: Any) -> list[str]:
    """The texts, in the same order at every start."""
    return list(_Walk().function(function)) if function is not None else ["none"]


class _Walk:
    """One walk, which tells each function, class and name of a module once."""

    def __init__(self) -> None:
        self._seen: dict[Any, int] = {}

    def _again(self, *what: Any) -> str | None:
        if what in self._seen:
            return f"again {self._seen[what]}"
        self._seen[what] = len(self._seen)
        return None

    def function(self, function: Any) -> Iterator[str]:
        """Its code, what is written inside it, its defaults, and what it reads."""
        if again := self._again(id(function)):
            yield again
            return
        first_line = function.__code__.co_firstlineno
        names = names_used(function)
        for code in codes(function.__code__):
            yield from (code.co_code.hex(), code.co_exceptiontable.hex())
            for constant in code.co_consts:
                if not isinstance(constant, types.CodeType):
                    yield from self.value(constant, names)
            # what raises is told with its line, counted from the function's first
            yield from (code.co_linetable.hex(), str(code.co_firstlineno - first_line))
            arguments = code.co_argcount + code.co_kwonlyargcount
            yield from (repr(code.co_names), repr(code.co_varnames[:arguments]))
        yield from self.value(function.__defaults__, names)
        yield from self.value(function.__kwdefaults__, names)
        for name, value in sorted(references(function).items()):
            yield name
            yield from self.value(value, names)

    def value(self, value: Any, names: list[str]) -> Iterator[str]:
        """``names``: those that the function which reads it has."""
        function = plain_function(value.function if isinstance(value, Processor) else value)
        if isinstance(function, types.FunctionType) and is_users(function.__module__):
            yield from self.function(function)
        elif isinstance(value, types.ModuleType):
            yield from self._module(value, names)
        elif isinstance(value, np.ndarray | np.generic):
            yield from self._array(np.asarray(value), names)
        elif isinstance(value, _CONTAINERS):
            yield from self._container(value, names)
        elif isinstance(value, enum.Enum):
            yield from (value.name, *self._class(type(value), names))
        elif isinstance(value, type):
            yield from self._class(value, names)
        elif callable(value):  # of a library, whose version is in the key
            name = getattr(value, "__qualname__", None) or getattr(value, "__name__", "")
            yield from (type(value).__qualname__, f"{getattr(value, '__module__', '')}.{name}")
        else:
            yield from (type(value).__qualname__, repr(value))

    def _module(self, module: types.ModuleType, names: list[str]) -> Iterator[str]:
        yield module.__name__
        mine = is_users(module.__name__)
        for name in names:
            if name not in vars(module):
                continue
            value = vars(module)[name]
            if not mine and (callable(value) or isinstance(value, types.ModuleType)):
                continue
            yield name
            # the same module may be asked for other names of a module in it
            if again := self._again(id(module), name, *names):
                yield again
            else:
                yield from self.value(value, names)

    def _array(self, array: np.ndarray[Any, Any], names: list[str]) -> Iterator[str]:
        yield from (repr(array.dtype), repr(array.shape), repr(array.strides))
        if array.dtype.hasobject:
            yield from self._container(array.ravel().tolist(), names)
        else:
            yield hashlib.blake2b(array.tobytes()).hexdigest()

    def _container(self, value: Any, names: list[str]) -> Iterator[str]:
        yield from (type(value).__qualname__, repr(getattr(value, "_fields", None)))
        yield str(len(value))
        if not isinstance(value, tuple) and (again := self._again("items", id(value))):
            yield again
        elif isinstance(value, set | frozenset):
            yield from sorted(text for item in value for text in self.value(item, names))
        else:
            for item in value.items() if isinstance(value, dict) else value:
                yield from self.value(item, names)

    def _class(self, value: type, names: list[str]) -> Iterator[str]:
        yield f"{value.__module__}.{value.__qualname__}"
        if again := self._again(id(value)):
            yield again
        elif issubclass(value, enum.Enum):
            for name, member in value.__members__.items():
                yield name
                yield from self.value(member.value, names)
        elif issubclass(value, tuple):
            yield repr(getattr(value, "_fields", None))
            yield from self.value(getattr(value, "_field_defaults", None), names)
