"""The compiler's machinery, in one place and typed.

Numba ships no types, so a bare ``@njit`` would turn every compiled function into ``Any``.  These
decorators keep the Python signature that callers read and mypy checks.

* ``inlined``: typed at its first use inside another compiled function, so LLVM can inline it.  Not
  cached alone: it is part of whatever cached function uses it.
* ``compiled(*signatures)``: callable from Python; built at import for exactly these signatures, or
  loaded from the cache on disk (``NUMBA_CACHE_DIR`` if the environment sets it before the import).
* ``intrinsic``: an LLVM code generator.

Numba's cache on disk looks at the file of the cached function only.  What that function inlined
from *other* files may have changed since: stale offsets in compiled code would corrupt memory.
``use_cache`` therefore names the cache folder after every source that may be inlined.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
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


def use_cache(folder: Path, *packages: Path) -> Path:
    """Keep compiled code in a subfolder of ``folder`` named after the sources of ``packages``.

    ``packages`` are folders of Python files whose functions compiled code may inline.  Call it
    before the first import of a module that compiles (this module does not), or set
    ``NUMBA_CACHE_DIR`` to the result in the environment.  Raises OSError when a source cannot be
    read.
    """
    digest = hashlib.blake2b(numba.__version__.encode(), digest_size=8)
    for package in packages:
        for source in sorted(package.rglob("*.py")):
            digest.update(str(source.relative_to(package)).encode() + b"\0")
            digest.update(source.read_bytes() + b"\0")
    target = folder / digest.hexdigest()
    settings: Any = numba.config
    settings.CACHE_DIR = str(target)
    return target
