"""Crash points in compiled code: ``shm.killpoint`` for what Numba compiles.

Compiled code reads two words of process memory through a linker symbol.  That, and not a constant
decided at compile time, keeps Numba's cache on disk valid whether or not a point is armed; the
price of a point nobody armed is one load from a line that never changes and one compare.
"""

from __future__ import annotations

import signal
from typing import Any

import llvmlite.binding
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import types

from shm.jit import codegen, inlined, intrinsic
from shm.killpoint import ADDRESS

_SYMBOL = "shm_kill_point_armed"
_SIGKILL = int(signal.SIGKILL)
llvmlite.binding.add_symbol(_SYMBOL, ADDRESS)

_libc_getpid: Any = types.ExternalFunction("getpid", types.int32())
_libc_kill: Any = types.ExternalFunction("kill", types.int32(types.int32, types.int32))


@intrinsic
def _process_armed(typing_context: Any, slot: Any) -> Any:
    """Pointer arithmetic on the linker symbol: the value of word ``slot``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(_slot_pointer(builder, args[0]), typ=ir.IntType(64))

    return types.int64(types.intp), generate


@intrinsic
def _set_process_armed(typing_context: Any, slot: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[1], _slot_pointer(builder, args[0]))
        return context.get_dummy_value()

    return types.void(types.intp, types.int64), generate


def _slot_pointer(builder: Any, slot: Any) -> Any:
    word = ir.IntType(64)
    words = builder.module.globals.get(_SYMBOL)
    if words is None:
        words = codegen.add_global_variable(builder.module, ir.ArrayType(word, 2), _SYMBOL)
    return builder.gep(words, [ir.Constant(ir.IntType(32), 0), slot], inbounds=True)


@inlined
def die() -> None:
    """``kill(getpid(), SIGKILL)`` by libc, from compiled code."""
    _libc_kill(_libc_getpid(), _SIGKILL)


@inlined
def process_kill_point(code: int) -> None:
    """A crash point in compiled code that looks at this process's ``ARMED`` words."""
    if _process_armed(0) == code:
        left = _process_armed(1) - 1
        _set_process_armed(1, left)
        if left == 0:
            die()


@inlined
def compiled_kill_point(code: int, armed: npt.NDArray[np.int64]) -> None:
    """A crash point in compiled code with its armed state passed in (int64[2], as ``ARMED``)."""
    if armed[0] == code:
        armed[1] -= 1
        if armed[1] == 0:
            die()
