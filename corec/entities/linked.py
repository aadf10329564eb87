"""``me.neighbours`` of a graph or a plane in compiled code: a list of them, gone through.

On a graph the list is a stretch of the links, whose ends ``me`` carries. On a plane it is looked
for when it is first asked for in a call (``kernels.plane.finder``), into memory of the process: one
list for each swarm that is seen, so that loops over two of them don't disturb each other. How many
were found stands in ``me``, −1 before.

Going through a list costs loop steps, one for each neighbour, as a loop of the user's own does.

What is made here for a type is made once (``cache``): a function that asks for a sum and a mean,
and goes through the list, has the search compiled for all three.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from llvmlite import ir
from numba import float32, float64, int64, njit, types

from corec.entities import steps
from corec.entities.cursor import hidden_reader, hidden_writer, member
from corec.entities.me_types import EntityType, NeighboursType, wide
from corec.kernels import plane as P
from corec.kernels.address import COLUMN_TYPES
from shm.jit import INSIDE, intrinsic

_I64 = ir.IntType(64)
_I32 = ir.IntType(32)


def column_of(near: NeighboursType, field: int) -> Any:
    """Numba type of a public field of theirs."""
    return COLUMN_TYPES[near.fields[field][1]]


def _charger() -> Any:
    @intrinsic
    def charge(typing_context: Any, count: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            def fail() -> None:
                text = "it ran out of loop steps among its neighbours"
                context.call_conv.return_user_exc(builder, steps.TooManySteps, (text,))

            steps.emit_charge(builder, args[0], fail)
            return context.get_dummy_value()

        return types.void(types.int64), generate

    return charge


charge = _charger()
"""Take loop steps, a number known when it runs."""


@cache
def ends_of(near: NeighboursType) -> tuple[Any, Any]:
    """Compiled (near) → number of the first neighbour, and of the one behind the last."""
    entity, target = near.entity, near.target
    meeting = entity.meeting
    assert meeting is not None
    if meeting.graph is not None:
        return hidden_reader(entity, "_lo"), hidden_reader(entity, "_hi")
    assert meeting.plane is not None
    count, note = (make(entity, f"_count{target}") for make in (hidden_reader, hidden_writer))
    pub, row, place = (hidden_reader(entity, name) for name in ("_pub", "_near", "_place"))
    own, shown = meeting.plane.shown[0], meeting.plane.shown[target]
    offsets = tuple(meeting.offsets[field] for field in own.position)
    find = P.finder(
        offsets, meeting.plane.size, meeting.plane.wrap, shown.places[len(shown.fields)],
        target == 0,
    )  # fmt: skip
    skip = 8 * P.V_COLUMNS * target

    @njit(error_model="numpy", **INSIDE)
    def first(near):
        return int64(0)

    @njit(error_model="numpy", **INSIDE)
    def last(near):
        if count(near) < 0:
            note(near, find(pub(near), row(near) + skip, place(near)))
        return count(near)

    return first, last


def _word(builder: Any, base: Any, index: int) -> Any:
    """The address (as a pointer to bytes) that word ``index`` of the row at ``base`` holds."""
    place = builder.inttoptr(builder.add(base, _I64(8 * index)), _I64.as_pointer())
    return builder.inttoptr(builder.load(place), ir.IntType(8).as_pointer())


def _loaded(builder: Any, base: Any, at: Any, kind: Any) -> Any:
    place = builder.gep(base, [at], inbounds=True)
    return builder.load(builder.bitcast(place, kind.as_pointer()), typ=kind)


class Listed:
    """One neighbour of a list, as the code that reads it sees it: number ``number`` of it."""

    def __init__(
        self, context: Any, builder: Any, entity: EntityType, target: int, me: Any, number: Any
    ) -> None:  # fmt: skip
        self.context, self.builder, self.entity, self.target = context, builder, entity, target
        self.me, self.number = me, number
        assert entity.meeting is not None
        self.meeting = entity.meeting

    def _member(self, name: str) -> Any:
        return self.builder.load(member(self.context, self.builder, self.entity, self.me, name))

    def _row(self) -> Any:
        skip = _I64(8 * P.V_COLUMNS * self.target)
        return self.builder.add(self._member("_near"), skip)

    def _four(self, base: Any, kind: Any) -> Any:
        """Number ``number`` of an array of four bytes each."""
        at = self.builder.mul(self.number, _I64(4))
        return _loaded(self.builder, base, at, kind)

    def _record(self) -> Any:
        row = self._row()
        index = self._four(_word(self.builder, row, P.V_WHO), _I32)
        stride = self.meeting.plane.shown[self.target].places[-1] if self.meeting.plane else 0
        at = self.builder.mul(self.builder.zext(index, _I64), _I64(stride))
        return self.builder.gep(_word(self.builder, row, P.V_RECORDS), [at], inbounds=True)

    def place(self) -> Any:
        """Its place in its swarm, an i64."""
        if self.meeting.graph is not None:
            found = self._four(self._member("_links"), _I32)
        else:
            assert self.meeting.plane is not None
            shown = self.meeting.plane.shown[self.target]
            at = _I64(shown.places[len(shown.fields)])
            found = _loaded(self.builder, self._record(), at, _I32)
        return self.builder.zext(found, _I64)

    def origin(self) -> Any:
        """Id of the first entity of its swarm, an i64."""
        if self.target == 0:
            return self._member("_origin")
        place = self.builder.add(self._row(), _I64(8 * P.V_ORIGIN))
        return self.builder.load(self.builder.inttoptr(place, _I64.as_pointer()))

    def value(self, field: int, column: Any) -> Any:
        """Of a public field, as the last tick left it."""
        data = self.context.get_value_type(column)
        if self.meeting.plane is not None:
            at = _I64(self.meeting.plane.shown[self.target].places[field])
            return _loaded(self.builder, self._record(), at, data)
        at = self.builder.mul(self.place(), _I64(self.meeting.sizes[field]))
        at = self.builder.add(at, _I64(self.meeting.offsets[field]))
        return _loaded(self.builder, self._member("_pub"), at, data)

    def extra(self, name: str) -> Any:
        """A float32 that is between the two: ``weight``, ``dx`` and so on."""
        if name == "weight":
            return self._four(self._member("_weights"), ir.FloatType())
        words = {"dx": P.V_DELTA, "dy": P.V_DELTA + 1, "dz": P.V_DELTA + 2}
        word = words.get(name, P.V_DISTANCE2)
        return self._four(_word(self.builder, self._row(), word), ir.FloatType())


def extras_of(near_entity: EntityType) -> tuple[str, ...]:
    """What there is between two neighbours, beside the fields of the other."""
    meeting = near_entity.meeting
    if meeting is None:
        return ()
    if meeting.graph is not None:
        return ("weight",) if meeting.graph.weights else ()
    axes = len(meeting.plane.size) if meeting.plane is not None else 0
    return (*("dx", "dy", "dz")[:axes], "distance2") if axes else ()


@cache
def value_of(near: NeighboursType, field: int) -> Any:
    """Intrinsic: (near, number) → the field of that neighbour."""
    column, kind = column_of(near, field), wide(column_of(near, field))

    @intrinsic
    def value(typing_context: Any, neighbours: Any, number: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            one = Listed(context, builder, near.entity, near.target, *args)
            return context.cast(builder, one.value(field, column), column, kind)

        return kind(neighbours, types.int64), generate

    return value


@cache
def counted(near: NeighboursType) -> Any:
    """(near) → how many."""
    first, last = ends_of(near)

    @njit(error_model="numpy", **INSIDE)
    def count(near):
        return last(near) - first(near)

    return count


@cache
def summed(near: NeighboursType, field: int) -> Any:
    """(near) → the sum, one after the other, from 0."""
    first, last = ends_of(near)
    value, kind = value_of(near, field), wide(column_of(near, field))

    @njit(error_model="numpy", **INSIDE)
    def total(near):
        hi, found = last(near), kind(0)
        charge(hi - first(near))
        for k in range(first(near), hi):
            found += value(near, k)
        return found

    return total


@cache
def extreme(near: NeighboursType, field: int, sign: str) -> Any:
    """(near) → the first of the least (``<``) or largest (``>``), 0 when there is none."""
    first, last = ends_of(near)
    value, kind, less = value_of(near, field), wide(column_of(near, field)), sign == "<"

    @njit(error_model="numpy", **INSIDE)
    def found(near):
        lo, hi = first(near), last(near)
        charge(hi - lo)
        best = value(near, lo) if hi > lo else kind(0)
        for k in range(lo + 1, hi):
            other = value(near, k)
            if (less and other < best) or (not less and other > best):
                best = other
        return best

    return found


@cache
def equal(near: NeighboursType, field: int, wanted: Any) -> Any:
    """(near, number) → how many have it, by NumPy's rules of comparison."""
    first, last = ends_of(near)
    value, column = value_of(near, field), wide(column_of(near, field))
    whole = all(isinstance(kind, types.Integer | types.Boolean) for kind in (column, wanted))
    single = all(kind == types.float32 for kind in (column, wanted))
    kind = int64 if whole else float32 if single else float64

    @njit(error_model="numpy", **INSIDE)
    def count(near, number):
        hi, found, given = last(near), int64(0), kind(number)
        charge(hi - first(near))
        for k in range(first(near), hi):
            found += int64(kind(value(near, k)) == given)
        return found

    return count
