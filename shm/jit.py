"""The compiler's machinery, in one place and typed.

Numba ships no types, so a bare ``@njit`` would turn every compiled function into ``Any``.  These
decorators keep the Python signature that callers read and mypy checks.

* ``inlined``: typed at its first use inside another compiled function, so LLVM can inline it.  Not
  cached alone: it is part of whatever cached function uses it.
* ``shared``: the same, and plain Python when called from Python: no dispatch, no conversion.
* ``compiled(*signatures)``: callable from Python; built at import for exactly these signatures, or
  loaded from the cache on disk (``NUMBA_CACHE_DIR`` if the environment sets it before the import).
* ``intrinsic``: an LLVM code generator.

Which folder: ``NUMBA_CACHE_DIR``, set by whoever imports this first (see ``corec.cache``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numba.extending
from numba.core import cgutils, types

F = TypeVar("F", bound=Callable[..., Any])

codegen: Any = cgutils
"""Numba's helpers for code generators; its module is half annotated, which strict refuses."""

WORDS: Any = types.Array(types.uint64, 1, "C")
WORDS_READ_ONLY: Any = types.Array(types.uint64, 1, "C", readonly=True)
BYTES: Any = types.Array(types.uint8, 1, "C")
BYTES_READ_ONLY: Any = types.Array(types.uint8, 1, "C", readonly=True)
INDICES: Any = types.Array(types.int64, 1, "C")


def inlined(function: F) -> F:
    """Compile ``function`` lazily, for use inside other compiled functions."""
    return cast(F, numba.njit(nogil=True)(function))


def shared(function: F) -> F:
    """Leave ``function`` as it is, for Python; compiled code may call it, too."""
    numba.extending.register_jitable(nogil=True)(function)
    return function


def compiled(*signatures: Any) -> Callable[[F], F]:
    """Compile for exactly ``signatures``, cached on disk, with the GIL released during the call."""

    def decorate(function: F) -> F:
        try:
            built = numba.njit(list(signatures), cache=True, nogil=True)(function)
        except RuntimeError:
            # No folder for the cache is writable: slower at start, and no reason not to run.
            built = numba.njit(list(signatures), nogil=True)(function)
        return cast(F, built)

    return decorate


def intrinsic(generator: Callable[..., Any]) -> Any:
    """Register an LLVM code generator ``(typing_context, *types) -> (signature, codegen)``."""
    return numba.extending.intrinsic(generator)
