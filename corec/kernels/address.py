"""Memory by address, for compiled code: the block kernels work on integers, not on array objects.

A block is found by one address and compile-time offsets, so that LLVM sees the distances between
the columns. Nothing here is bounds-checked; the callers own the arithmetic.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types

from shm.jit import dissolved, intrinsic


@intrinsic
def pointer(typing_context: Any, address: Any) -> Any:
    """An integer address as a void pointer."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.int64), generate


def _loader(kind: Any) -> Any:
    @intrinsic
    def load(typing_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            data = context.get_value_type(kind)
            return builder.load(builder.inttoptr(args[0], data.as_pointer()), typ=data)

        return kind(types.int64), generate

    return load


def _storer(kind: Any) -> Any:
    @intrinsic
    def store(typing_context: Any, address: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            data = context.get_value_type(kind)
            builder.store(args[1], builder.inttoptr(args[0], data.as_pointer()))
            return context.get_dummy_value()

        return types.void(types.int64, kind), generate

    return store


def _getter(kind: Any) -> Any:
    @intrinsic
    def get(typing_context: Any, base: Any, offset: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            data = context.get_value_type(kind)
            place = builder.gep(args[0], [args[1]], inbounds=True)
            return builder.load(builder.bitcast(place, data.as_pointer()), typ=data)

        return kind(types.voidptr, types.int64), generate

    return get


def _putter(kind: Any) -> Any:
    @intrinsic
    def put(typing_context: Any, base: Any, offset: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            data = context.get_value_type(kind)
            place = builder.gep(args[0], [args[1]], inbounds=True)
            builder.store(args[2], builder.bitcast(place, data.as_pointer()))
            return context.get_dummy_value()

        return types.void(types.voidptr, types.int64, kind), generate

    return put


COLUMN_TYPES = {
    "f4": types.float32, "f8": types.float64, "i1": types.int8, "u1": types.uint8,
    "i2": types.int16, "u2": types.uint16, "i4": types.int32, "u4": types.uint32,
    "i8": types.int64,
}  # fmt: skip
"""Numba type of each column dtype."""

GET = {code: _getter(kind) for code, kind in COLUMN_TYPES.items()}
"""dtype → (void pointer, byte offset) → value. One base pointer for all columns of a copy: LLVM
then sees constant distances, and checks two copies for overlap instead of every two columns."""

PUT = {code: _putter(kind) for code, kind in COLUMN_TYPES.items()}
"""dtype → (void pointer, byte offset, value) → store it there."""


@intrinsic
def pick(typing_context: Any, condition: Any, yes: Any, no: Any) -> Any:
    """``yes if condition else no`` of ``no``'s type, both evaluated: a branch around a load would
    become masked loads and stores, which cost three times as much for bytes."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        chosen = context.cast(builder, args[1], yes, no)
        return builder.select(args[0], chosen, args[2])

    return no(types.boolean, yes, no), generate


load_f4 = _loader(types.float32)
store_f4 = _storer(types.float32)
store_f8 = _storer(types.float64)
load_u8 = _loader(types.uint64)
store_u8 = _storer(types.uint64)
load_u4 = _loader(types.uint32)
store_u4 = _storer(types.uint32)
load_u1 = _loader(types.uint8)
store_u1 = _storer(types.uint8)
load_u2 = _loader(types.uint16)
store_u2 = _storer(types.uint16)
load_f8 = _loader(types.float64)


def _unaligned_storer(kind: Any, big: bool) -> Any:
    @intrinsic
    def store(typing_context: Any, address: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            data = context.get_value_type(kind)
            target = builder.inttoptr(args[0], data.as_pointer())
            builder.store(builder.bswap(args[1]) if big else args[1], target, align=1)
            return context.get_dummy_value()

        return types.void(types.int64, kind), generate

    return store


store_big_u8 = _unaligned_storer(types.uint64, True)
store_big_u2 = _unaligned_storer(types.uint16, True)
store_anywhere_u8 = _unaligned_storer(types.uint64, False)


@intrinsic
def load_anywhere_u8(typing_context: Any, address: Any) -> Any:
    """The u64 at an address that needs not be aligned."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = ir.IntType(64)
        return builder.load(builder.inttoptr(args[0], word.as_pointer()), align=1, typ=word)

    return types.uint64(types.int64), generate


@intrinsic
def one_by_one(typing_context: Any) -> Any:
    """In a loop: nothing, but LLVM leaves the loop scalar. Loads at computed addresses would become
    gathers, which cost more than as many loads on the cores at hand."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [])
        builder.call(ir.InlineAsm(kind, "", "", side_effect=True), [])
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def trailing_zeros(typing_context: Any, word: Any) -> Any:
    """Number of zero bits below the lowest set bit of a u64 that is not 0."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), generate


@intrinsic
def ones(typing_context: Any, word: Any) -> Any:
    """Number of bits of a u64 that are set."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    return types.int64(types.uint64), generate


@intrinsic
def copy_memory(typing_context: Any, target: Any, source: Any, count: Any) -> Any:
    """``memcpy`` of ``count`` bytes between two addresses that do not overlap."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        byte_pointer = ir.IntType(8).as_pointer()
        to = builder.inttoptr(args[0], byte_pointer)
        origin = builder.inttoptr(args[1], byte_pointer)
        cgutils.raw_memcpy(builder, to, origin, args[2], 1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


def _prefetcher(write: int) -> Any:
    @intrinsic
    def prefetch(typing_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            byte_pointer = ir.IntType(8).as_pointer()
            number = ir.IntType(32)
            kind = ir.FunctionType(ir.VoidType(), [byte_pointer, number, number, number])
            function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
            hint = [ir.Constant(number, write), ir.Constant(number, 3), ir.Constant(number, 1)]
            builder.call(function, [builder.inttoptr(args[0], byte_pointer), *hint])
            return context.get_dummy_value()

        return types.void(types.int64), generate

    return prefetch


prefetch = _prefetcher(0)
"""Ask the core for the cache line at an address, to be read soon."""

prefetch_to_write = _prefetcher(1)
"""Likewise, to be written: no other core has it then."""


@dissolved
def fetch(start, size):
    """Ask for the cache lines of ``start … start + size``."""
    for at in range(start, start + size, 64):
        prefetch(at)


@dissolved
def fetch_to_write(start, size):
    """Ask for the cache lines of ``start … start + size``, to be written."""
    for at in range(start, start + size, 64):
        prefetch_to_write(at)


def _array_at(kind: Any) -> Any:
    """As Numba's ``carray``, of which each process would compile one for each type first."""

    @intrinsic
    def array_at(typing_context: Any, address: Any, count: Any) -> Any:
        array = types.Array(kind, 1, "C")

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            from numba.np.arrayobj import populate_array  # much, and for who compiles

            data = context.get_data_type(kind)
            size = context.get_constant(types.intp, context.get_abi_sizeof(data))
            made = context.make_array(array)(context, builder)
            populate_array(
                made, data=builder.inttoptr(args[0], data.as_pointer()), shape=[args[1]],
                strides=[size], itemsize=size, meminfo=None,
            )  # fmt: skip
            return made._getvalue()

        return array(types.int64, types.int64), generate

    return array_at


f4_at = _array_at(types.float32)
f8_at = _array_at(types.float64)
u1_at = _array_at(types.uint8)
u4_at = _array_at(types.uint32)
u8_at = _array_at(types.uint64)
i8_at = _array_at(types.int64)
"""(address, count) → the numbers there, an array that owns nothing."""


@intrinsic
def call_kernel(typing_context: Any, function: Any, arguments: Any) -> Any:
    """Call the C function at address ``function`` with a tuple of int64; it returns int64."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = ir.IntType(64)
        count = len(signature.args[1])
        kind = ir.FunctionType(word, [word] * count)
        target = builder.inttoptr(args[0], kind.as_pointer())
        return builder.call(target, [builder.extract_value(args[1], k) for k in range(count)])

    return types.int64(types.int64, arguments), generate
