"""Sixty-four comparisons at once, as the bits of one word; sixteen choices; and steps over bytes,
eight at a time.

LLVM's vectoriser makes shifts and additions of a loop that sets bits, a dozen instructions for what
is one comparison of a whole register and one move. So the comparisons are vectors by hand; LLVM
cuts them into whatever registers there are.

All of them must be readable; whoever calls leaves out what is none of its.
"""

from __future__ import annotations

from typing import Any, Final

from llvmlite import ir
from numba import types, uint64

from corec.kernels.address import load_u1, load_u8
from shm.jit import inner, intrinsic

ALL: Final = 0xFFFF_FFFF_FFFF_FFFF
_LOW_BITS: Final = 0x0101_0101_0101_0101
_HIGH_BITS: Final = 0x8080_8080_8080_8080


def _comparison(width: int, kind: Any, relation: str) -> Any:
    @intrinsic
    def bits(typing_context: Any, address: Any, limit: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            vector = ir.VectorType(ir.IntType(width), 64)
            place = builder.inttoptr(args[0], vector.as_pointer())
            values = builder.load(place, align=width // 8, typ=vector)
            nothing = ir.Constant(vector, ir.Undefined)
            one = builder.insert_element(nothing, args[1], ir.Constant(ir.IntType(32), 0))
            first = ir.Constant(ir.VectorType(ir.IntType(32), 64), [0] * 64)
            limits = builder.shuffle_vector(one, nothing, first)
            found = builder.icmp_unsigned(relation, values, limits)
            return builder.bitcast(found, ir.IntType(64))

        return types.uint64(types.int64, kind), generate

    return bits


bits_upto: Any = _comparison(32, types.uint32, "<=")
"""Bit k: the k-th of the u4[64] at an address is at most the limit."""

bits_below: Any = _comparison(64, types.uint64, "<")
"""Bit k: the k-th of the u8[64] at an address is below the limit."""


CHOICES: Final = 16


@intrinsic
def by_bit(
    typing_context: Any, bits: Any, bit: Any, yes: Any, no: Any, out: Any
) -> Any:  # fmt: skip
    """Of each of sixteen u4 at three addresses: the one of ``yes`` where the one of ``bits`` has
    ``bit``, else the one of ``no``, to ``out``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = ir.VectorType(ir.IntType(32), CHOICES)

        def at(address: Any) -> Any:
            return builder.load(builder.inttoptr(address, vector.as_pointer()), align=4, typ=vector)

        nothing = ir.Constant(vector, ir.Undefined)
        one = builder.insert_element(nothing, args[1], ir.Constant(ir.IntType(32), 0))
        mask = builder.shuffle_vector(one, nothing, ir.Constant(vector, [0] * CHOICES))
        on = builder.icmp_unsigned("!=", builder.and_(at(args[0]), mask), ir.Constant(vector, None))
        found = builder.select(on, at(args[2]), at(args[3]))
        builder.store(found, builder.inttoptr(args[4], vector.as_pointer()), align=4)
        return context.get_dummy_value()

    word = types.int64
    return types.void(word, types.uint32, word, word, word), generate


@inner
def next_zero(bytes_, i, n):
    """The first place from ``i`` on, of the u1[n] at address ``bytes_``, that holds 0, else ``n``;
    readable up to whole eights."""
    while i < n:
        word = load_u8(bytes_ + i) if i & 7 == 0 else uint64(0)
        if i & 7 == 0 and (word - uint64(_LOW_BITS)) & ~word & uint64(_HIGH_BITS) == uint64(0):
            i += 8
        elif load_u1(bytes_ + i) == 0:
            return i
        else:
            i += 1
    return n


@inner
def next_not_zero(bytes_, i, n):
    """The first place from ``i`` on that holds no 0, likewise."""
    while i < n:
        if i & 7 == 0 and load_u8(bytes_ + i) == uint64(0):
            i += 8
        elif load_u1(bytes_ + i) != 0:
            return i
        else:
            i += 1
    return n
