"""What no compiled function may use, whatever the name or container by which it is reached.

The compiler's own types tell it: a function, module or class has one, also when it came through an
alias, a chain of modules, a tuple or an argument. Refused are random numbers other than the
entity's own, which would make every run another world, and machine code that was not made here:
nothing guards it, and nobody would know when it has changed.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
from numba.core import ir, types
from numba.core.dispatcher import LiftedCode
from numba.core.errors import TypingError
from numba.np.ufunc.dufunc import DUFunc
from numba.np.ufunc.gufunc import GUFunc

from corec.entities.users import is_users

_RANDOM_MODULES: Final = ("random", "secrets", "numpy.random")
_SOURCES: Final = (random.Random, np.random.RandomState, np.random.Generator)
_OF_THE_PROCESS: Final = (hash, id)
"""What they give is another number in every process."""
_FOREIGN: Final = (
    types.ClassType, types.ClassInstanceType, types.ExternalFunction, types.ExternalFunctionPointer,
)  # fmt: skip
_RANDOM: Final = (types.NumPyRandomGeneratorType, types.NumPyRandomBitGeneratorType)


def refuse_foreign(blocks: Iterable[Any], kinds: Mapping[str, Any]) -> None:
    """Raise TypingError, with the line, for the first value of ``blocks`` that may not be there.

    ``kinds``: the type of each variable, by its name.
    """
    for block in blocks:
        for each in block.body:
            if isinstance(each, ir.Assign):
                what = _what(kinds[each.target.name])
                if what is not None:
                    raise TypingError(what, loc=each.loc)


def _what(kind: Any) -> str | None:
    inside = getattr(kind, "types", None) if isinstance(kind, types.BaseTuple) else None
    if inside:
        return next(filter(None, map(_what, inside)), None)
    if isinstance(kind, types.Module):
        name = kind.pymod.__name__
        return _random(name) if _is_random(name) else None
    if isinstance(kind, _RANDOM):
        return _random("a generator of NumPy")
    if isinstance(kind, types.Function):
        return _what_function(kind.typing_key)
    if isinstance(kind, _FOREIGN):
        return _unseen(getattr(kind, "class_name", None) or getattr(kind, "symbol", None) or kind)
    if isinstance(kind, types.Dispatcher):
        if isinstance(kind.dispatcher, LiftedCode):
            return "`with` is not supported"
        function = kind.dispatcher.py_func
        if not hasattr(function, "__corec_site__") and is_users(function.__module__):
            return _unseen(function.__name__)
    return None


def _what_function(function: Any) -> str | None:
    name = getattr(function, "__name__", str(function))
    module = getattr(function, "__module__", None) or ""
    owner = getattr(function, "__self__", None)
    if isinstance(owner, _SOURCES) or _is_random(module):
        where = "random" if isinstance(owner, random.Random) else "numpy.random"
        return _random(f"{where}.{name}")
    if any(function is each for each in _OF_THE_PROCESS):
        return f"{name}() is not supported: it is another number at every start"
    ours = module.partition(".")[0] == "corec"
    if isinstance(function, DUFunc | GUFunc) or (module and is_users(module) and not ours):
        return _unseen(name)
    return None


def _is_random(module: str) -> bool:
    return any(module == each or module.startswith(f"{each}.") for each in _RANDOM_MODULES)


def _random(name: str) -> str:
    return f"it uses {name}: draw with me.random(), which a seed repeats"


def _unseen(name: Any) -> str:
    return (
        f"{name} is not supported: its machine code is not made by CoreC; write it as a function "
        "with def"
    )
