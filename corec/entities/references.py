"""What a function names: the one view of it that ``adapt`` and ``fingerprint`` share."""

from __future__ import annotations

import dis
import types
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any


def codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """``code`` and that of the functions written inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from codes(constant)


def names_used(function: Callable[..., Any]) -> list[str]:
    """Every global and attribute name in ``function`` and the functions written inside it."""
    return sorted({name for code in codes(function.__code__) for name in code.co_names})


def instructions(function: Callable[..., Any]) -> Iterator[dis.Instruction]:
    """Of ``function`` and the functions written inside it."""
    for code in codes(function.__code__):
        yield from _of(code)


@lru_cache(maxsize=64)
def _of(code: types.CodeType) -> tuple[dis.Instruction, ...]:
    """Asked some ten times of each function of a processor."""
    return tuple(dis.get_instructions(code))


def references(function: Any) -> dict[str, Any]:
    """The globals and closure values that ``function`` reads, by name."""
    found = {
        str(instruction.argval): function.__globals__[instruction.argval]
        for instruction in instructions(function)
        if instruction.opname == "LOAD_GLOBAL" and instruction.argval in function.__globals__
    }
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:
            continue  # not assigned yet: Numba says so, with the name
    return found


def plain_function(value: Any) -> Any:
    """The function of a helper with one of Numba's own decorators; else ``value``."""
    if isinstance(value, types.ModuleType):
        return value
    return getattr(value, "py_func", getattr(value, "_pyfunc", value))


def count_calls(function: Any, name: str) -> int:
    """How often the text of ``function`` uses the attribute ``name``, as its bytecode shows."""
    return sum(
        instruction.argval == name and instruction.opname in ("LOAD_METHOD", "LOAD_ATTR")
        for instruction in instructions(function)
    )
