"""Sums of a column in sixteen lanes, in one order on every machine.

Addition of floats is not associative: a compiler that may reassociate picks an order by the width
of the machine's registers, and two machines then disagree in the last bits. So the order is
written down (``docs/rules.md``) and made explicit here: value ``i`` belongs to lane ``i mod 16``,
each lane adds in order of ``i``, and the lanes are folded in halves at the end. Numba's scalars
would leave it to LLVM's vectoriser, which reassociates or does nothing, hence vectors by hand; LLVM
cuts them into whatever registers there are.

Lanes live in a variable on the stack that LLVM dissolves into registers. Columns are readable up
to a whole group of sixteen values (``layout.column_bytes``), whatever lies behind the last one.
"""

from __future__ import annotations

from typing import Any, Final

from llvmlite import ir
from numba.core import cgutils, types

from shm.jit import intrinsic

LANES: Final = 16

_F8: Final = ir.VectorType(ir.DoubleType(), LANES)
_F4: Final = ir.VectorType(ir.FloatType(), LANES)
_U1: Final = ir.VectorType(ir.IntType(8), LANES)
_I8: Final = ir.VectorType(ir.IntType(64), LANES)
_ZERO: Final = ir.Constant(_F8, [0.0] * LANES)
_PLACES: Final = ir.Constant(_I8, list(range(LANES)))


def _load(builder: Any, address: Any, kind: Any, align: int) -> Any:
    return builder.load(builder.inttoptr(address, kind.as_pointer()), align=align, typ=kind)


def _splat(builder: Any, value: Any, kind: Any) -> Any:
    place = ir.Constant(ir.IntType(32), 0)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), value, place)
    mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), mask)


def _counted(builder: Any, x: Any, marks: Any, room: Any) -> Any:
    """Which of sixteen float32 count: marked, finite, and among the first ``room``."""
    marked = builder.icmp_unsigned("!=", _load(builder, marks, _U1, 1), ir.Constant(_U1, None))
    inside = builder.icmp_signed("<", _PLACES, _splat(builder, room, _I8))
    finite = builder.fcmp_ordered("==", builder.fsub(x, x), ir.Constant(_F4, [0.0] * LANES))
    return builder.and_(builder.and_(marked, inside), finite)


def _add_to(builder: Any, lanes: Any, term: Any) -> None:
    place = builder.bitcast(lanes, _F8.as_pointer())
    builder.store(builder.fadd(builder.load(place, typ=_F8), term), place)


def _spread(builder: Any, s: Any, q: Any, x: Any, shift: Any, on: Any = None) -> None:
    """Add d = x − ``shift`` to the lanes ``s`` and d·d to the lanes ``q``, where ``on``."""
    d = builder.fsub(builder.fpext(x, _F8), _splat(builder, shift, _F8))
    if on is not None:
        d = builder.select(on, d, _ZERO)
    _add_to(builder, s, d)
    _add_to(builder, q, builder.fmul(d, d))


def _mark(builder: Any, x: Any, umbral: Any, over: Any, on: Any = None) -> None:
    """Store a u16: bit k says whether the k-th x > ``umbral``, where ``on``."""
    above = builder.fcmp_ordered(">", x, _splat(builder, umbral, _F4))
    above = above if on is None else builder.and_(above, on)
    word = ir.IntType(LANES)
    builder.store(builder.bitcast(above, word), builder.inttoptr(over, word.as_pointer()), align=2)


@intrinsic
def new_lanes(typing_context: Any) -> Any:
    """Sixteen float64 of value +0, on the stack."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = cgutils.alloca_once(builder, _F8)
        builder.store(_ZERO, place)
        return builder.bitcast(place, context.get_value_type(types.voidptr))

    return types.voidptr(), generate


@intrinsic
def add_where(typing_context: Any, lanes: Any, address: Any, marks: Any, room: Any) -> Any:
    """Of the sixteen float32 at ``address``, add to the lanes those that are finite, have a mark
    (u8) and are among the first ``room``; how many they are."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        x = _load(builder, args[1], _F4, 4)
        on = _counted(builder, x, args[2], args[3])
        _add_to(builder, args[0], builder.select(on, builder.fpext(x, _F8), _ZERO))
        bits = builder.ctpop(builder.bitcast(on, ir.IntType(LANES)))
        return builder.zext(bits, ir.IntType(64))

    return types.int64(types.voidptr, types.int64, types.int64, types.int64), generate


@intrinsic
def spread_where(
    typing_context: Any, s: Any, q: Any, address: Any, shift: Any, marks: Any, room: Any
) -> Any:
    """Of the same ones, add d = x − ``shift`` to the lanes ``s`` and d·d to the lanes ``q``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        x = _load(builder, args[2], _F4, 4)
        on = _counted(builder, x, args[4], args[5])
        _spread(builder, args[0], args[1], x, args[3], on)
        return context.get_dummy_value()

    lanes, word = types.voidptr, types.int64
    return types.void(lanes, lanes, word, types.float64, word, word), generate


@intrinsic
def spread_all(typing_context: Any, s: Any, q: Any, address: Any, shift: Any) -> Any:
    """``spread_where`` of all sixteen, whatever they are."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _spread(builder, args[0], args[1], _load(builder, args[2], _F4, 4), args[3])
        return context.get_dummy_value()

    lanes, word = types.voidptr, types.int64
    return types.void(lanes, lanes, word, types.float64), generate


@intrinsic
def look_all(
    typing_context: Any, s: Any, q: Any, address: Any, shift: Any, umbral: Any, over: Any
) -> Any:
    """``spread_where`` of all sixteen; ``over`` (u16, an address) gets a bit for each x that is
    > ``umbral``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        x = _load(builder, args[2], _F4, 4)
        _spread(builder, args[0], args[1], x, args[3])
        _mark(builder, x, args[4], args[5])
        return context.get_dummy_value()

    lanes, word = types.voidptr, types.int64
    return types.void(lanes, lanes, word, types.float64, types.float32, word), generate


@intrinsic
def look_where(
    typing_context: Any, s: Any, q: Any, address: Any, shift: Any, umbral: Any, over: Any,
    marks: Any, room: Any,
) -> Any:  # fmt: skip
    """``look_all`` of those that ``add_where`` adds."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        x = _load(builder, args[2], _F4, 4)
        on = _counted(builder, x, args[6], args[7])
        _spread(builder, args[0], args[1], x, args[3], on)
        _mark(builder, x, args[4], args[5], on)
        return context.get_dummy_value()

    lanes, word = types.voidptr, types.int64
    taken = (lanes, lanes, word, types.float64, types.float32, word, word, word)
    return types.void(*taken), generate


_COUNTED: Final = ir.Constant(_F8, [float(k + 1) for k in range(LANES)])
_ONES: Final = ir.Constant(_F8, [1.0] * LANES)


@intrinsic
def moment_terms(
    typing_context: Any, values: Any, sums: Any, terms: Any, before: Any, umbral: Any
) -> Any:
    """Of the sixteen float32 x at ``values``, which are the numbers k = ``before`` + 1 … of a
    tick's good ones, with their sums up to each in the sixteen float64 S at ``sums``: store
    (k · x − S)² / (k · (k − 1)), 0 of the first one, at ``terms``. Whether an x > ``umbral``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        single = _load(builder, args[0], _F4, 4)
        k = builder.fadd(_splat(builder, args[3], _F8), _COUNTED)
        upto = _load(builder, args[1], _F8, 8)
        d = builder.fsub(builder.fmul(k, builder.fpext(single, _F8)), upto)
        term = builder.fdiv(builder.fmul(d, d), builder.fmul(k, builder.fsub(k, _ONES)))
        later = builder.fcmp_ordered(">", k, _ONES)
        to = builder.inttoptr(args[2], _F8.as_pointer())
        builder.store(builder.select(later, term, _ZERO), to, align=8)
        above = builder.fcmp_ordered(">", single, _splat(builder, args[4], _F4))
        bits = ir.IntType(LANES)
        return builder.icmp_unsigned("!=", builder.bitcast(above, bits), ir.Constant(bits, 0))

    word = types.int64
    return types.boolean(word, word, word, types.float64, types.float32), generate


@intrinsic
def folded(typing_context: Any, lanes: Any) -> Any:
    """The sum of the lanes: the upper half added to the lower one, until one is left."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        rest = builder.load(builder.bitcast(args[0], _F8.as_pointer()), typ=_F8)
        width = LANES
        while width > 1:
            width //= 2
            kind = ir.VectorType(ir.IntType(32), width)
            low, high = (
                builder.shuffle_vector(rest, rest, ir.Constant(kind, list(range(at, at + width))))
                for at in (0, width)
            )
            rest = builder.fadd(low, high)
        return builder.extract_element(rest, ir.Constant(ir.IntType(32), 0))

    return types.float64(types.voidptr), generate
