"""What of ``me`` a processor's functions use, by their bytecode: ``globals``, ``inbox``, ``die``,
whom of others.

Found are the texts ``me.globals.NAME``, ``….inbox``, ``….entity`` and ``….neighbours.of("NAME")``,
also in the user's own functions that they call. It is asked for when a world is planned, not at the
declaration: a helper may be written further down.
"""

from __future__ import annotations

import dis
from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final

from corec.entities.users import is_users

ATTRIBUTE: Final = "globals"
LIVES_CALLS: Final = ("die", "spawn", "move_to_empty")
"""Who calls these of ``me`` is born and dies."""
_ATTRIBUTES: Final = ("LOAD_ATTR", "LOAD_METHOD")
_NO_ENTITY: Final = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_ATTR")
"""What loads a module, or something of one."""


def globals_used(*functions: Any) -> tuple[str, ...]:
    """The names of the configuration's ``globals``, in alphabetical order."""
    return tuple(sorted({name for code in _all_codes(functions) for name in _read_in(code)}))


def uses(attribute: str, *functions: Any) -> bool:
    """Whether ``attribute`` is read of anything."""
    return any(
        one.argval == attribute and one.opname in _ATTRIBUTES
        for code in _all_codes(functions)
        for one in dis.get_instructions(code)
    )


def lives_calls(function: Any) -> tuple[str, ...]:
    """Which of ``LIVES_CALLS`` it calls of an entity, as ``me.die()``, not of a module."""
    pairs = [pairwise(dis.get_instructions(code)) for code in _all_codes([function])]
    found = {
        str(second.argval)
        for first, second in chain.from_iterable(pairs)
        if second.opname in _ATTRIBUTES and first.opname not in _NO_ENTITY
    }
    return tuple(name for name in LIVES_CALLS if name in found)


def swarms_asked(*functions: Any) -> tuple[str, ...]:
    """The bloques whose names they give to ``me.neighbours.of`` or ``.count``, as they come."""
    found: dict[str, None] = {}
    for code in _all_codes(functions):
        all_of_it = list(dis.get_instructions(code))
        for near, call, name in zip(all_of_it, all_of_it[1:], all_of_it[2:], strict=False):
            of_near = near.argval == "neighbours" or near.opname.startswith("LOAD_FAST")
            asks = call.opname in _ATTRIBUTES and call.argval in ("of", "count")
            if of_near and asks and isinstance(name.argval, str) and name.opname == "LOAD_CONST":
                found[name.argval] = None
    return tuple(found)


def own_asked(*functions: Any) -> bool:
    """Whether they look at neighbours of their own bloque, or perhaps do: whenever ``neighbours``
    is not followed at once by the name of another."""
    for code in _all_codes(functions):
        all_of_it = [*dis.get_instructions(code), None, None]
        for near, call, name in zip(all_of_it, all_of_it[1:], all_of_it[2:], strict=False):
            if near is None or near.argval != "neighbours" or near.opname not in _ATTRIBUTES:
                continue
            asks = call is not None and call.argval in ("of", "count")
            if not asks or name is None or not isinstance(name.argval, str):
                return True
            if name.opname != "LOAD_CONST":
                return True
    return False


def names_of_anybody(*functions: Any) -> frozenset[str] | None:
    """Every attribute that they name, those of ``me.entity(id)`` among them; None: they ask for no
    entity by its id."""
    names = {name for code in _all_codes(functions) for name in code.co_names}
    return frozenset(names) if "entity" in names else None


def _all_codes(functions: Sequence[Any]) -> Iterator[CodeType]:
    seen: set[int] = set()
    waiting = list(functions)
    while waiting:
        function = _function(waiting.pop())
        if not isinstance(function, FunctionType) or id(function) in seen:
            continue
        seen.add(id(function))
        yield from _codes(function.__code__)
        waiting += _helpers(function)


def _function(value: Any) -> Any:
    """The function of a helper with Numba's own decorator, or of another processor."""
    return getattr(value, "py_func", getattr(value, "function", value))


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _read_in(code: CodeType) -> Iterator[str]:
    for first, second in pairwise(dis.get_instructions(code)):
        if first.opname == second.opname == "LOAD_ATTR" and first.argval == ATTRIBUTE:
            yield str(second.argval)


def _helpers(function: FunctionType) -> Iterator[Any]:
    for code in _codes(function.__code__):
        for name in code.co_names:
            value = function.__globals__.get(name)
            if isinstance(value, ModuleType) and is_users(value.__name__):
                yield from (_function(vars(value).get(other)) for other in code.co_names)
            elif is_users(getattr(value, "__module__", None) or "builtins"):
                yield value
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:
            continue  # not assigned yet
