"""A processor's function as ordinary Python, with the arithmetic of the compiled form.

Its real constants are float32, its ``math`` and ``numpy`` those of ``maths``, in the helper
functions of the user's modules, too. File and lines are the function's own: a debugger stops there.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from corec.entities.maths import maths, with_items
from corec.entities.users import is_users

Function = Callable[..., Any]
_MADE: tuple[WeakKeyDictionary[Any, Function], ...] = (WeakKeyDictionary(), WeakKeyDictionary())


class _Scope(dict[str, Any]):
    """The globals of a function, as they are when they are read, exchanged one by one."""

    def __init__(self, real: dict[str, Any], wide: bool) -> None:
        super().__init__(__builtins__=real.get("__builtins__", __builtins__))
        self._real, self._wide = real, wide

    def __missing__(self, name: str) -> Any:
        return _exchanged(self._real[name], self._wide)


class _Module(types.ModuleType):
    """A user's module seen from a processor."""

    def __init__(self, real: types.ModuleType, wide: bool) -> None:
        super().__init__(real.__name__)
        self.__dict__.update(_real=real, _wide=wide)

    def __getattr__(self, name: str) -> Any:
        return _exchanged(getattr(self._real, name), self._wide)


def _exchanged(value: Any, wide: bool) -> Any:
    if isinstance(value, types.FunctionType) and is_users(value.__module__):
        return plain_form(value, wide)
    if isinstance(value, types.ModuleType) and is_users(value.__name__):
        return _Module(value, wide)
    if isinstance(value, tuple):
        return with_items(value, lambda item: _exchanged(item, wide))
    return maths(wide, compiled=False).of(value)


def plain_form(function: Function, wide: bool) -> Function:
    """``function`` for a ``PlainEntity``; ``wide``: the processor has an ``f8`` field."""
    if not isinstance(function, types.FunctionType):
        return function
    made = _MADE[wide].get(function)
    if made is not None:
        return made
    exchange = maths(wide, compiled=False)
    cells = function.__closure__
    clone = types.FunctionType(
        exchange.code(function.__code__), _Scope(function.__globals__, wide), function.__name__,
        _exchanged(function.__defaults__, wide), cells and tuple(types.CellType() for _ in cells),
    )  # fmt: skip
    clone.__dict__.update(function.__dict__)
    clone.__kwdefaults__ = function.__kwdefaults__ and {
        name: _exchanged(value, wide) for name, value in function.__kwdefaults__.items()
    }
    _MADE[wide][function] = clone
    for mine, its in zip(clone.__closure__ or (), cells or (), strict=True):
        try:
            mine.cell_contents = _exchanged(its.cell_contents, wide)
        except ValueError:
            continue  # not assigned yet
    return clone
