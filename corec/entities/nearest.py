"""``me.<history>.nearest(values, weights)``: the distance to the nearest of what is remembered.

A history that is pushed to k numbers at a time holds records of k. The distance of one is
``Σ weights[j] · |values[j] − record[j]|``, added up in float32 from the first on; the least of all
records is the result, 0 where there is none. Eight records at a time go through the vector unit:
the least of several numbers is the same in any order, so the bits are those of one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from llvmlite import ir
from numba import float32, int64, types
from numba.core import cgutils
from numba.core.errors import TypingError

from corec.entities.cursor import hidden_reader, slot_access
from corec.entities.me_types import HistoryType
from corec.kernels.address import pointer
from shm.jit import intrinsic, method

LANES: Final = 8
_F4: Final = ir.FloatType()
_I32: Final = ir.IntType(32)
_FAR: Final = ir.Constant(_F4, float("inf"))


def _splat(builder: Any, value: Any) -> Any:
    kind = ir.VectorType(_F4, LANES)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), value, _I32(0))
    mask = ir.Constant(ir.VectorType(_I32, LANES), [_I32(0)] * LANES)
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), mask)


def _distance(builder: Any, record: list[Any], values: list[Any], weights: list[Any]) -> Any:
    """Of one record, or of LANES of them."""
    kind = record[0].type
    name = "llvm.fabs.f32" if isinstance(kind, ir.FloatType) else f"llvm.fabs.v{LANES}f32"
    size = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind]), name)
    total = None
    for number, value, weight in zip(record, values, weights, strict=True):
        apart = builder.fmul(weight, builder.call(size, [builder.fsub(value, number)]))
        total = apart if total is None else builder.fadd(total, apart)
    return total


def _column(builder: Any, block: Any, width: int, j: int) -> Any:
    """Number ``j`` of each of the LANES records in ``block``."""
    mask = ir.Constant(
        ir.VectorType(_I32, LANES), [_I32(width * lane + j) for lane in range(LANES)]
    )
    return builder.shuffle_vector(block, ir.Constant(block.type, ir.Undefined), mask)


def _less(builder: Any, place: Any, found: Any) -> None:
    least = builder.load(place)
    builder.store(builder.select(builder.fcmp_ordered("<", found, least), found, least), place)


@intrinsic
def least(typing_context: Any, start: Any, count: Any, values: Any, weights: Any) -> Any:
    """(pointer to the first of ``count`` records, count, values, weights) → the least distance;
    infinite of none."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        width = len(signature.args[2])
        given = [[builder.extract_value(some, j) for j in range(width)] for some in args[2:]]
        wide = [[_splat(builder, one) for one in some] for some in given]
        rows = ir.VectorType(_F4, LANES * width)
        nearest = cgutils.alloca_once(builder, ir.VectorType(_F4, LANES))
        builder.store(_splat(builder, _FAR), nearest)
        best = cgutils.alloca_once_value(builder, _FAR)
        word = args[1].type

        def at(record: Any, kind: Any) -> Any:
            place = builder.gep(args[0], [builder.mul(record, word(4 * width))])
            return builder.bitcast(place, kind.as_pointer())

        groups = builder.sdiv(args[1], word(LANES))
        with cgutils.for_range(builder, groups) as loop:
            block = builder.load(at(builder.mul(loop.index, word(LANES)), rows), align=4)
            columns = [_column(builder, block, width, j) for j in range(width)]
            _less(builder, nearest, _distance(builder, columns, *wide))
        for lane in range(LANES):
            _less(builder, best, builder.extract_element(builder.load(nearest), _I32(lane)))
        done = builder.mul(groups, word(LANES))
        with cgutils.for_range(builder, builder.sub(args[1], done)) as loop:
            first = at(builder.add(done, loop.index), _F4)
            record = [builder.load(builder.gep(first, [word(j)]), align=4) for j in range(width)]
            _less(builder, best, _distance(builder, record, *given))
        return builder.load(best)

    return float32(types.voidptr, types.int64, values, weights), generate


@intrinsic
def floats(typing_context: Any, numbers: Any) -> Any:
    """A tuple of numbers as one of float32."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        found = [
            context.cast(builder, builder.extract_value(args[0], j), kind, float32)
            for j, kind in enumerate(signature.args[0].types)
        ]
        return context.make_tuple(builder, signature.return_type, found)

    return types.UniTuple(float32, len(numbers))(numbers), generate


@method(HistoryType, "nearest")
def _nearest(history: Any, values: Any, weights: Any) -> Callable[..., Any]:
    for given in (values, weights):
        kinds = given.types if isinstance(given, types.UniTuple | types.Tuple) else ()
        numbers = bool(kinds) and all(isinstance(one, types.Number) for one in kinds)
        if not numbers or len(given) != len(values):
            raise TypingError(
                f"me.{history.ring}.nearest takes two tuples of as many numbers: values, weights"
            )
    ring = history.entity.rings[history.ring]
    if ring.by_time:
        raise TypingError(f"me.{history.ring}.nearest cannot be used of a history by time")
    read_base = hidden_reader(history.entity, f"{history.ring}__base")
    read_n = hidden_reader(history.entity, f"{history.ring}__n")
    get = slot_access(history)[0]
    length, slots, width = ring.length, ring.slots, len(values)

    def nearest(history: Any, values: Any, weights: Any) -> Any:
        n = int64(read_n(history))
        held = min(n, int64(length))
        count = held // width
        if count == 0:
            return float32(0.0)
        at_values, by_weights = floats(values), floats(weights)
        base = read_base(history)
        place = (n - held) % int64(slots)
        first = min(count, (int64(slots) - place) // width)
        best = least(pointer(base + 4 * place), first, at_values, by_weights)
        if first == count:
            return best
        place += first * width  # one record perhaps lies over the ring's end
        split = place < int64(slots)
        if split:
            apart = float32(0.0)
            for j in range(width):
                at = place + j if place + j < int64(slots) else place + j - int64(slots)
                apart += by_weights[j] * abs(at_values[j] - get(history, at))
            best = min(best, apart)
            first += 1
            place += width
        again = pointer(base + 4 * (place - int64(slots)))
        rest = least(again, count - first, at_values, by_weights)
        return min(best, rest)

    return nearest
