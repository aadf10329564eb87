"""``me.neighbours`` of a grid in compiled code: loads at known distances (``linked`` has the rest).

A neighbour's field lies in scratch memory at a constant distance from the entity's own place in the
stretch that runs (``meeting``), so an aggregate is a line of loads without a loop or a branch, and
the loop over the entities becomes vectors. Where a grid has edges, what lies beyond is loaded, too
(it is memory of the scratch), and selected away.

Order: the steps of ``Meeting.steps``, row by row; sums are taken in it, from 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from llvmlite import ir
from numba import int64, njit, types
from numba.core import cgutils

from corec.entities.cursor import member
from corec.entities.me_types import EntityType, NeighboursType, wide
from corec.entities.meeting import Meeting
from corec.kernels.address import COLUMN_TYPES, copy_memory
from shm.jit import INSIDE, intrinsic

_I64 = ir.IntType(64)
_BIT = ir.IntType(1)


def rows_filler(meeting: Meeting) -> Any:
    """Compiled (near, pub, cell, x0, take) → bits: copy the cells about the ``take`` cells from
    ``cell`` on, which is at ``x0`` of its row; a bit says for each row whether the grid has it."""
    grid = meeting.grid
    assert grid is not None
    width, height, depth = (*grid.sides, 1, 1)[:3]
    radius, wrap, fields = meeting.radius, grid.wrap, len(meeting.fields)
    steps = np.array(meeting.rows, np.int64)
    sizes, offsets = np.array(meeting.sizes, np.int64), np.array(meeting.offsets, np.int64)
    bases, strides = np.array(meeting.bases, np.int64), np.array(meeting.strides, np.int64)

    @njit(error_model="numpy", **INSIDE)
    def fill(near, pub, cell, x0, take):
        z, y = cell // (width * height), cell // width % height
        left, right = x0 - radius, x0 + take + radius
        low, high = max(left, 0), min(right, width)
        there = int64(0)
        for q in range(steps.shape[0]):
            zz, yy = z + steps[q, 0], y + steps[q, 1]
            if wrap:
                zz, yy = zz % depth, yy % height
            elif zz < 0 or zz >= depth or yy < 0 or yy >= height:
                continue
            there |= int64(1) << q
            start = (zz * height + yy) * width
            for f in range(fields):
                size = sizes[f]
                target = near + bases[f] + q * strides[f]
                source = pub + offsets[f] + start * size
                copy_memory(target + (low - left) * size, source + low * size, (high - low) * size)
                if wrap and left < 0:
                    copy_memory(target, source + (width + left) * size, -left * size)
                if wrap and right > width:
                    copy_memory(target + (width - left) * size, source, (right - width) * size)
        return there

    return fill


class Cells:
    """The neighbours of one entity, as the code of one aggregate sees them."""

    def __init__(self, context: Any, builder: Any, entity: EntityType, me: Any) -> None:
        self.context, self.builder, self.entity = context, builder, entity
        assert entity.meeting is not None
        assert entity.meeting.grid is not None
        self.meeting, self.grid = entity.meeting, entity.meeting.grid

        def load(name: str) -> Any:
            return builder.load(member(context, builder, entity, me, name))

        self.near, self.cell = load("_near"), load("_cell")
        self.x, self.there = load("_x"), load("_rows")

    def value(self, field: int, offset: Any) -> Any:
        """What lies ``offset`` bytes (an i64) from the stretch's first cell, for this one."""
        builder = self.builder
        kind = self.context.get_value_type(COLUMN_TYPES[self.meeting.fields[field][1]])
        at = builder.mul(self.cell, _I64(self.meeting.sizes[field]))
        place = builder.gep(self.near, [builder.add(at, offset)], inbounds=True)
        return builder.load(builder.bitcast(place, kind.as_pointer()))

    def exists(self, row: Any, dx: Any) -> Any:
        """An i1: whether the grid has the cell ``dx`` (an i64) beside this one in row ``row``."""
        builder = self.builder
        bit = builder.trunc(builder.lshr(self.there, row), _BIT)
        x = builder.add(self.x, dx)
        return builder.and_(bit, builder.icmp_unsigned("<", x, _I64(self.grid.sides[0])))

    def each(self) -> Iterator[tuple[int, Any]]:
        """(number of the neighbour, i1 whether it exists or None: always)."""
        for k, (dz, dy, dx) in enumerate(self.meeting.steps):
            if self.grid.wrap:
                yield k, None
            else:
                yield k, self.exists(_I64(self.meeting.rows.index((dz, dy))), _I64(dx))

    def values(self, field: int) -> Iterator[tuple[Any, Any]]:
        """(i1 or None, value) of each neighbour, in order."""
        for k, exists in self.each():
            offset = _I64(self.meeting.near(field, self.meeting.steps[k]))
            yield exists, self.value(field, offset)


def table(builder: Any, numbers: list[int], place: Any) -> Any:
    """Number ``place`` (an i64) of a constant table."""
    content = ir.Constant(ir.ArrayType(_I64, len(numbers)), [_I64(n) for n in numbers])
    table = cgutils.global_constant(builder, "corec.near", content)
    return builder.load(builder.gep(table, [_I64(0), place], inbounds=True))


def _frozen(builder: Any, value: Any) -> Any:
    """``value`` behind a `freeze`, through which LLVM widens no sum: it would add in 64 bits."""
    instruction = ir.instructions.Instruction(builder.block, value.type, "freeze", [value])
    builder._insert(instruction)
    return instruction


def column_of(entity: EntityType, field: int) -> Any:
    assert entity.meeting is not None
    return COLUMN_TYPES[entity.meeting.fields[field][1]]


def summed(near: NeighboursType, field: int) -> Any:
    """Intrinsic: the sum. Of short whole numbers in as few bits as hold it: more lanes."""
    column: Any = column_of(near.entity, field)
    kind = wide(column)
    assert near.entity.meeting is not None
    bits = 64 if isinstance(column, types.Float) else column.bitwidth
    if bits <= 16:
        small = bits == 8 and len(near.entity.meeting.steps) <= 128
        kind = types.int16 if small else types.int32

    @intrinsic
    def total(typing_context: Any, neighbours: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            cells = Cells(context, builder, near.entity, args[0])
            zero = context.get_constant(kind, 0)
            found = zero
            for exists, value in cells.values(field):
                cast = context.cast(builder, value, column, kind)
                taken = cast if exists is None else builder.select(exists, cast, zero)
                real = isinstance(kind, types.Float)
                found = builder.fadd(found, taken) if real else builder.add(found, taken)
            if kind != wide(column):
                found = _frozen(builder, found)
            return context.cast(builder, found, kind, wide(column))

        return wide(column)(neighbours), generate

    return total


def counted(near: NeighboursType) -> Any:
    @intrinsic
    def count(typing_context: Any, neighbours: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            cells = Cells(context, builder, near.entity, args[0])
            found: Any = _I64(0)
            for _, exists in cells.each():
                one = _I64(1) if exists is None else builder.zext(exists, _I64)
                found = builder.add(found, one)
            return found

        return types.int64(neighbours), generate

    return count


def extreme(near: NeighboursType, field: int, sign: str) -> Any:
    """Intrinsic: the first of the least (``<``) or largest (``>``), 0 when there is none."""
    column = column_of(near.entity, field)

    @intrinsic
    def extreme(typing_context: Any, neighbours: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            cells = Cells(context, builder, near.entity, args[0])
            found, some = context.get_constant(column, 0), _BIT(0)
            for exists, value in cells.values(field):
                if isinstance(column, types.Float):
                    better = builder.fcmp_ordered(sign, value, found)
                elif column.signed:
                    better = builder.icmp_signed(sign, value, found)
                else:
                    better = builder.icmp_unsigned(sign, value, found)
                here = _BIT(1) if exists is None else exists
                taken = builder.and_(here, builder.or_(builder.not_(some), better))
                found, some = builder.select(taken, value, found), builder.or_(some, here)
            return context.cast(builder, found, column, wide(column))

        return wide(column)(neighbours), generate

    return extreme


def equal(near: NeighboursType, field: int, wanted: Any) -> Any:
    """Intrinsic: how many neighbours have that number there, by NumPy's rules of comparison."""
    column = wide(column_of(near.entity, field))
    whole = all(isinstance(kind, types.Integer | types.Boolean) for kind in (column, wanted))
    single = all(kind == types.float32 for kind in (column, wanted))
    kind = types.int64 if whole else types.float32 if single else types.float64

    @intrinsic
    def equal(typing_context: Any, neighbours: Any, number: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            cells = Cells(context, builder, near.entity, args[0])
            given = context.cast(builder, args[1], signature.args[1], kind)
            small = ir.IntType(32)
            found: Any = small(0)
            for exists, value in cells.values(field):
                mine = context.cast(builder, value, column_of(near.entity, field), kind)
                compare = builder.icmp_signed if whole else builder.fcmp_ordered
                same = compare("==", mine, given)
                same = same if exists is None else builder.and_(exists, same)
                found = builder.add(found, builder.zext(same, small))
            return builder.zext(found, _I64)

        return types.int64(neighbours, number), generate

    return equal
