"""Raw 64-bit loads and stores and copies at byte offsets of a uint8 array, for compiled code.

Nothing is bounds-checked: the caller owns the arithmetic.  Offsets of the u64 functions must make
8-byte aligned addresses.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import types

from shm.jit import codegen, inlined, intrinsic

Bytes = npt.NDArray[np.uint8]


def _byte_pointer(context: Any, builder: Any, array_type: Any, array: Any, offset: Any) -> Any:
    view = context.make_array(array_type)(context, builder, array)
    return codegen.get_item_pointer(context, builder, array_type, view, [offset], wraparound=False)


@intrinsic
def _load_u64(typing_context: Any, data: Any, offset: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _byte_pointer(context, builder, signature.args[0], args[0], args[1])
        word = ir.IntType(64)
        return builder.load(builder.bitcast(pointer, word.as_pointer()), align=8, typ=word)

    return types.uint64(data, types.intp), generate


@intrinsic
def _store_u64(typing_context: Any, data: Any, offset: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _byte_pointer(context, builder, signature.args[0], args[0], args[1])
        builder.store(args[2], builder.bitcast(pointer, ir.IntType(64).as_pointer()), align=8)
        return context.get_dummy_value()

    return types.void(data, types.intp, types.uint64), generate


@intrinsic
def _copy_bytes(
    typing_context: Any, target: Any, target_at: Any, source: Any, source_at: Any, count: Any
) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        to = _byte_pointer(context, builder, signature.args[0], args[0], args[1])
        origin = _byte_pointer(context, builder, signature.args[2], args[2], args[3])
        codegen.raw_memcpy(builder, to, origin, args[4], 1)
        return context.get_dummy_value()

    return types.void(target, types.intp, source, types.intp, types.intp), generate


@inlined
def load_u64(data: Bytes, offset: int) -> int:
    """The u64 at byte ``offset`` (plain, not atomic)."""
    value: int = _load_u64(data, offset)
    return value


@inlined
def store_u64(data: Bytes, offset: int, value: int) -> None:
    """Store a u64 at byte ``offset`` (plain, not atomic)."""
    _store_u64(data, offset, value)


@inlined
def copy_bytes(target: Bytes, target_at: int, source: Bytes, source_at: int, count: int) -> None:
    """``memcpy`` between two contiguous arrays that do not overlap, without temporary arrays."""
    _copy_bytes(target, target_at, source, source_at, count)
