"""The compiler's machinery, in one place and typed.

Numba ships no types, so a bare ``@njit`` would turn every compiled function into ``Any``.  These
decorators keep the Python signature that callers read and mypy checks.

* ``inlined``: typed at its first use inside another compiled function, so LLVM can inline it.  Not
  cached alone: it is part of whatever cached function uses it.
* ``inner``: the same; nothing but compiled code can call it.
* ``dissolved``: as ``inner``, and always inlined.
* ``kept``: as ``inner``, for what the kernels of processors call: compiled once and kept on disk,
  where a process that compiles a new processor finds it.
* ``method``: what a method of one of our types does in compiled code.
* ``shared``: as ``inlined``, and plain Python when called from Python: no dispatch, no conversion.
* ``compiled(*signatures)``: callable from Python; built at import for exactly these signatures, or
  loaded from the cache on disk (``NUMBA_CACHE_DIR`` if the environment sets it before the import).
* ``intrinsic``: an LLVM code generator.

Which folder: ``NUMBA_CACHE_DIR``, set by whoever imports this first (see ``corec.cache``).

What is kept on disk keeps the symbols of all that it was compiled with. Numba makes a symbol of a
function's qualified name, its types and a number, which counts up from 1 in each process. So two
functions that are made within one function (helpers with constants of their own, closures of users)
may have one symbol when two processes compiled them, and a third process that loads both would run
the first for both. Here each process counts from a place of its own, which a fork leaves again.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numba.extending
from llvmlite import binding as llvm
from numba.core import bytecode, cgutils, types
from numba.core.caching import Cache
from numba.core.codegen import CPUCodeLibrary
from numba.core.runtime import _nrt_python  # type: ignore[attr-defined]  # in C

F = TypeVar("F", bound=Callable[..., Any])

codegen: Any = cgutils
"""Numba's helpers for code generators; its module is half annotated, which strict refuses."""

WORDS: Any = types.Array(types.uint64, 1, "C")
WORDS_READ_ONLY: Any = types.Array(types.uint64, 1, "C", readonly=True)
BYTES: Any = types.Array(types.uint8, 1, "C")
BYTES_READ_ONLY: Any = types.Array(types.uint8, 1, "C", readonly=True)
INDICES: Any = types.Array(types.int64, 1, "C")


INSIDE: Any = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
"""Of Numba's compiler, for what compiled code alone calls: nothing around it for Python and C to
call, into each of which all of it would be inlined, and compiled once more."""


_overload_method: Any = numba.extending.overload_method  # its types know no jit_options


def _number_apart() -> None:
    """Before anything is compiled in this process.

    Raises RuntimeError: this Numba numbers in another way, so results could be wrong.
    """
    if not hasattr(bytecode.FunctionIdentity, "_unique_ids"):
        raise RuntimeError(
            f"Numba {numba.__version__} names compiled functions in a way that is not known here; "
            "expected a version that this CoreC was released with"
        )
    bytecode.FunctionIdentity._unique_ids = itertools.count(int.from_bytes(os.urandom(8)) << 32)


_number_apart()
os.register_at_fork(after_in_child=_number_apart)


def _keep_bitcode() -> None:
    """What Numba loads from disk it keeps as a module of LLVM's, too, for whoever compiles a
    function that calls it. Of CoreC's kernels that is 7 MiB of each instance, which hardly ever
    compiles: the module is made of its bitcode when it is asked for."""
    kept: Any = CPUCodeLibrary  # half annotated, as above
    load, for_linking = kept._unserialize.__func__, kept._get_module_for_linking

    def unserialize(kind: Any, compiler: Any, state: Any) -> Any:
        library = load(kind, compiler, state)
        if state[1] == "object":
            library._shared_module, library._kept_bitcode = None, state[2][1]
        return library

    def module_for_linking(library: Any) -> Any:
        bitcode = library.__dict__.pop("_kept_bitcode", None)
        if bitcode is not None:
            library._shared_module = llvm.parse_bitcode(bitcode)
        return for_linking(library)

    kept._unserialize = classmethod(unserialize)
    kept._get_module_for_linking = module_for_linking


_keep_bitcode()


def _load_alone() -> None:
    """Before it loads a function from disk, Numba learns all that it could compile a call of, which
    machine code has no more use for: 11 MiB of each instance, and a third of a second of its start.
    Here it only says where the helpers of its runtime are. Who compiles learns the rest then."""
    cache: Any = Cache  # half annotated, as above
    for name, address in _nrt_python.c_helpers.items():
        llvm.add_symbol(name if name.startswith("_") else f"NRT_{name}", address)

    def load_overload(self: Any, signature: Any, context: Any) -> Any:
        with self._guard_against_spurious_io_errors():
            return self._load_overload(signature, context)

    cache.load_overload = load_overload


_load_alone()


def inlined(function: F) -> F:
    """Compile ``function`` lazily, for use inside other compiled functions."""
    return cast(F, numba.njit(nogil=True)(function))


def inner(function: F) -> F:
    """Compile ``function`` lazily, for other compiled functions. Python can't call it: there is no
    way in (``INSIDE``), and the process would die."""
    return cast(F, numba.njit(**INSIDE)(function))


def dissolved(function: F) -> F:
    """The same, to be a part of each function that calls it."""
    return cast(F, numba.njit(forceinline=True, **INSIDE)(function))


def kept(*signatures: Any) -> Callable[[F], F]:
    """Compile for exactly ``signatures`` and keep it on disk; for other compiled functions only.

    What a kernel calls, each process that compiles a kernel would otherwise compile first, and that
    takes longer than a small processor.
    """

    def decorate(function: F) -> F:
        return cast(F, _on_disk(function, signatures, error_model="numpy", **INSIDE))

    return decorate


def method(kind: Any, name: str, **options: Any) -> Any:
    """What the method ``name`` of a Numba type does: an ``overload_method`` without a way in."""
    return _overload_method(kind, name, jit_options=INSIDE, **options)


def shared(function: F) -> F:
    """Leave ``function`` as it is, for Python; compiled code may call it, too."""
    numba.extending.register_jitable(nogil=True)(function)
    return function


def compiled(*signatures: Any) -> Callable[[F], F]:
    """Compile for exactly ``signatures``, cached on disk, with the GIL released during the call."""

    def decorate(function: F) -> F:
        return cast(F, _on_disk(function, signatures, nogil=True))

    return decorate


def _on_disk(function: Any, signatures: tuple[Any, ...], **options: Any) -> Any:
    try:
        return numba.njit(list(signatures), cache=True, **options)(function)
    except RuntimeError:
        # No folder for the cache is writable: slower at start, and no reason not to run.
        return numba.njit(list(signatures), **options)(function)


def intrinsic(generator: Callable[..., Any]) -> Any:
    """Register an LLVM code generator ``(typing_context, *types) -> (signature, codegen)``."""
    return numba.extending.intrinsic(generator)
