"""Acquire, release and fence on words of shared memory, for Numba and for Python.

Theory.  A word is one aligned u64 with exactly one writer; everybody may read it.  The writer
stores it with *release*: whatever it wrote before (a frame, a column) is visible to any reader that
loads the new value with *acquire*.  A plain NumPy store promises neither: the compiler may move it,
and an arm64 core may make it visible before the data it announces; a plain load in a spin loop is
hoisted out of the loop by LLVM.  On x86-64 both are one ``mov``; on arm64 ``ldar``/``stlr``.

Acquire/release does not order a store with a *later load of another word*.  Where that is needed
(the doorbell's "I sleep" against "there is work") ``fence_seq_cst`` stands between the two, on
both sides.

An aligned 8-byte store is not torn: a kill leaves the old value or the new one.
"""

from __future__ import annotations

import platform
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import types

from shm.jit import INDICES, WORDS, WORDS_READ_ONLY, codegen, compiled, inlined, intrinsic
from shm.layout import WORD_BYTES

# LLVM's own intrinsics rather than inline assembly: llvmlite starts without an assembly parser,
# and an inline instruction aborts the process there.
_MACHINE = platform.machine()
_X86_PAUSE = "llvm.x86.sse2.pause"
_ARM_HINT = "llvm.aarch64.hint"
_ARM_HINT_YIELD = 1

Words = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.int64]


def check_words(words: Words) -> Words:
    """Return ``words`` if the functions here may be used on it.

    Raises TypeError unless it is a one-dimensional contiguous uint64 array, ValueError unless it
    starts on an 8-byte boundary.
    """
    if words.dtype != np.uint64 or words.ndim != 1:
        raise TypeError(
            f"shared words: found {words.ndim}-dimensional {words.dtype}, "
            "expected a one-dimensional uint64 array"
        )
    if not words.flags.c_contiguous:
        raise TypeError("shared words: found a strided array, expected a contiguous one")
    if words.ctypes.data % WORD_BYTES:
        raise ValueError(
            f"shared words: found address {words.ctypes.data:#x}, expected a multiple of 8"
        )
    return words


def _word_pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    view = context.make_array(array_type)(context, builder, array)
    return codegen.get_item_pointer(context, builder, array_type, view, [index], wraparound=False)


@intrinsic
def _load_acquire(typing_context: Any, words: Any, i: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _word_pointer(context, builder, signature.args[0], args[0], args[1])
        return builder.load_atomic(pointer, "acquire", WORD_BYTES, typ=ir.IntType(64))

    return types.uint64(words, types.intp), generate


@intrinsic
def _store_release(typing_context: Any, words: Any, i: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _word_pointer(context, builder, signature.args[0], args[0], args[1])
        builder.store_atomic(args[2], pointer, "release", WORD_BYTES)
        return context.get_dummy_value()

    return types.void(words, types.intp, types.uint64), generate


@intrinsic
def _fence_seq_cst(typing_context: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def _cpu_relax(typing_context: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        nothing = ir.VoidType()
        if _MACHINE == "x86_64":
            pause = ir.FunctionType(nothing, [])
            builder.call(codegen.get_or_insert_function(builder.module, pause, _X86_PAUSE), [])
        elif _MACHINE in ("aarch64", "arm64"):
            hint = ir.FunctionType(nothing, [ir.IntType(32)])
            function = codegen.get_or_insert_function(builder.module, hint, _ARM_HINT)
            builder.call(function, [ir.Constant(ir.IntType(32), _ARM_HINT_YIELD)])
        return context.get_dummy_value()

    return types.void(), generate


@inlined
def load_acquire(words: Words, i: int) -> int:
    """The u64 ``words[i]``; what its writer wrote before storing it is visible afterwards."""
    value: int = _load_acquire(words, i)
    return value


@inlined
def store_release(words: Words, i: int, value: int) -> None:
    """Store u64 ``words[i] = value`` after everything this thread wrote before."""
    _store_release(words, i, value)


@inlined
def fence_seq_cst() -> None:
    """Order every earlier load and store of this thread before every later one."""
    _fence_seq_cst()


@inlined
def cpu_relax() -> None:
    """Tell the core that this is a spin loop (x86-64 ``pause``, arm64 ``yield``)."""
    _cpu_relax()


@compiled(types.uint64(WORDS, types.int64), types.uint64(WORDS_READ_ONLY, types.int64))
def read_word(words: Words, i: int) -> int:
    """``load_acquire`` for Python callers."""
    return load_acquire(words, i)


@compiled(types.uint64(WORDS, types.int64), types.uint64(WORDS_READ_ONLY, types.int64))
def read_again(words: Words, i: int) -> int:
    """``read_word`` after everything this thread has read before: a word that says whether that was
    whole. An acquiring load alone lets earlier loads pass it (arm64 does)."""
    fence_seq_cst()
    return load_acquire(words, i)


@compiled(types.void(WORDS, types.int64, types.uint64))
def write_word(words: Words, i: int, value: int) -> None:
    """``store_release`` for Python callers."""
    store_release(words, i, value)


@compiled(
    types.boolean(WORDS, types.int64, types.uint64, types.int64),
    types.boolean(WORDS_READ_ONLY, types.int64, types.uint64, types.int64),
)
def spin_until_at_least(words: Words, i: int, target: int, spins: int) -> bool:
    """Look at ``words[i]`` up to ``spins + 1`` times; true as soon as it is >= ``target`` (u64)."""
    if load_acquire(words, i) >= target:
        return True
    for _ in range(spins):
        cpu_relax()
        if load_acquire(words, i) >= target:
            return True
    return False


@compiled(
    types.boolean(WORDS, INDICES, types.uint64, types.int64),
    types.boolean(WORDS_READ_ONLY, INDICES, types.uint64, types.int64),
)
def spin_until_all_at_least(words: Words, indices: Indices, target: int, spins: int) -> bool:
    """Like ``spin_until_at_least`` for every ``words[indices[k]]``, with one budget for them all.

    The words only grow, so each is left behind once it has reached the target.
    """
    left = spins
    for k in range(indices.size):
        while load_acquire(words, indices[k]) < target:
            if left <= 0:
                return False
            left -= 1
            cpu_relax()
    return True
