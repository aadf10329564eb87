"""Another entity in compiled code: ``for other in me.neighbours``, ``me.entity(id)``.

``other`` is the entity that looks and a number: of a neighbour (its fields lie in scratch memory at
distances that a table has, ``near``), or the place of any one in its swarm (its fields lie in the
public columns that the last tick left). Counted from the first of the swarm, a place may be that of
an entity of another bloque: where its fields lie, the directory says (``kernels.everyone``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import int64, types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.core.imputils import RefType, iternext_impl, lower_builtin, lower_getattr_generic
from numba.core.typing.templates import AttributeTemplate
from numba.extending import infer_getattr, models, register_model

from corec.entities.cursor import hidden_reader, member
from corec.entities.linked import Listed, ends_of, extras_of
from corec.entities.me_types import (
    EntityType,
    NeighboursIterator,
    NeighboursType,
    OtherType,
    wide,
)
from corec.entities.meeting import Meeting
from corec.entities.near import Cells, table
from corec.kernels.address import COLUMN_TYPES
from corec.kernels.everyone import is_anybody, reader
from shm.jit import intrinsic, method

_I64 = ir.IntType(64)


@register_model(OtherType)
class _OtherModel(models.StructModel):
    def __init__(self, dmm: Any, fe_type: Any) -> None:
        super().__init__(dmm, fe_type, [("me", types.voidptr), ("place", types.int64)])


@register_model(NeighboursIterator)
class _IteratorModel(models.StructModel):
    def __init__(self, dmm: Any, fe_type: Any) -> None:
        members = [("me", types.voidptr), ("place", types.EphemeralPointer(types.int64))]
        members += [("end", types.int64)]  # of a list
        super().__init__(dmm, fe_type, members)


@lower_builtin("getiter", NeighboursType)
def _getiter(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    made = context.make_helper(builder, signature.return_type)
    made.me = args[0]
    made.place = cgutils.alloca_once_value(builder, _I64(0))
    near = signature.args[0]
    if near.trips is None:
        first, last = ends_of(near)

        def ends(near: Any) -> Any:
            return first(near), last(near)

        both = context.compile_internal(builder, ends, types.UniTuple(types.int64, 2)(near), args)
        builder.store(builder.extract_value(both, 0), made.place)
        made.end = builder.extract_value(both, 1)
    return made._getvalue()


@lower_builtin("iternext", NeighboursIterator)
@iternext_impl(RefType.UNTRACKED)
def _iternext(context: Any, builder: Any, signature: Any, args: Any, result: Any) -> None:
    kind = signature.args[0]
    iterator = context.make_helper(builder, kind, value=args[0])
    meeting = kind.entity.meeting
    steps = meeting.steps
    if meeting.grid is not None and not meeting.grid.wrap:
        cells = Cells(context, builder, kind.entity, iterator.me)
        row_of = [meeting.rows.index((dz, dy)) for dz, dy, _ in steps]
        start = builder.append_basic_block("near.look")
        check = builder.append_basic_block("near.check")
        following = builder.append_basic_block("near.next")
        found = builder.append_basic_block("near.found")
        builder.branch(start)
        builder.position_at_end(start)
        place = builder.load(iterator.place)
        inside = builder.icmp_signed("<", place, _I64(len(steps)))
        builder.cbranch(inside, check, found)
        builder.position_at_end(check)
        row, dx = table(builder, row_of, place), table(builder, [s[2] for s in steps], place)
        builder.cbranch(cells.exists(row, dx), found, following)
        builder.position_at_end(following)
        builder.store(builder.add(place, _I64(1)), iterator.place)
        builder.branch(start)
        builder.position_at_end(found)
    place = builder.load(iterator.place)
    end = _I64(len(steps)) if meeting.grid is not None else iterator.end
    valid = builder.icmp_signed("<", place, end)
    result.set_valid(valid)
    with builder.if_then(valid):
        other = context.make_helper(builder, kind.yield_type)
        other.me, other.place = iterator.me, place
        result.yield_(other._getvalue())
        builder.store(builder.add(place, _I64(1)), iterator.place)


@infer_getattr
class _OtherAttributes(AttributeTemplate):
    key = OtherType

    def generic_resolve(self, other, name):
        meeting = other.entity.meeting
        if name == "id":
            return types.int64
        extras = extras_of(other.entity) if other.listed else ()
        if name in extras:
            return types.float32
        dtypes = dict(other.fields) if other.near else asked_of(meeting)
        if name not in dtypes:
            names = ", ".join((*dtypes, *extras)) or "no fields"
            raise TypingError(f"me.{name} can't be seen of another entity: public are id, {names}")
        return wide(COLUMN_TYPES[dtypes[name]])


@lower_getattr_generic(OtherType)
def _other(context: Any, builder: Any, kind: OtherType, value: Any, name: str) -> Any:
    other = context.make_helper(builder, kind, value=value)
    entity, meeting = kind.entity, kind.entity.meeting
    assert meeting is not None
    if kind.listed:
        return _listed(context, builder, kind, other, name)
    if name == "id":
        return _other_id(context, builder, kind, other)
    if not kind.near and name in dict(meeting.everyone or ()):
        return _anybodys(context, builder, entity, other, name)
    field = meeting.index(name)
    assert field is not None
    column = COLUMN_TYPES[meeting.fields[field][1]]
    if kind.near:
        distances = [meeting.near(field, step) for step in meeting.steps]
        cells = Cells(context, builder, entity, other.me)
        loaded = cells.value(field, table(builder, distances, other.place))
    else:
        loaded = _own(context, builder, entity, other, field)
    return context.cast(builder, loaded, column, wide(column))


def _own(context: Any, builder: Any, entity: EntityType, other: Any, field: int) -> Any:
    """What public field ``field`` of one of the own swarm is, in the column's type."""
    meeting = entity.meeting
    assert meeting is not None
    pub = builder.load(member(context, builder, entity, other.me, "_pub"))
    at = builder.mul(other.place, _I64(meeting.sizes[field]))
    at = builder.add(at, _I64(meeting.offsets[field]))
    data = context.get_value_type(COLUMN_TYPES[meeting.fields[field][1]]).as_pointer()
    return builder.load(builder.bitcast(builder.gep(pub, [at], inbounds=True), data))


def asked_of(meeting: Meeting) -> dict[str, str]:
    """Name → dtype of what may be asked of any entity."""
    return {**dict(meeting.fields), **dict(meeting.everyone or ())}


def _anybodys(context: Any, builder: Any, entity: EntityType, other: Any, name: str) -> Any:
    """What ``name`` is of any entity of the instance: of the own swarm at once, of another by the
    directory."""
    meeting = entity.meeting
    assert meeting is not None
    assert meeting.everyone is not None
    names = [each for each, _ in meeting.everyone]
    kind: Any = COLUMN_TYPES[asked_of(meeting)[name]]
    found = cgutils.alloca_once(builder, context.get_value_type(kind))
    own = meeting.index(name)

    def far() -> None:
        load = (builder.load(member(context, builder, entity, other.me, each))
                for each in ("_origin", "_everyone", "tick"))  # fmt: skip
        origin, directory, tick = load
        read = reader(name, names.index(name), len(names), kind)
        arguments = [directory, builder.add(origin, other.place), tick]
        value = context.compile_internal(builder, read, kind(*[types.int64] * 3), arguments)
        builder.store(value, found)

    if own is None:
        far()
        return builder.load(found)
    here = builder.icmp_unsigned("<", other.place, _I64(meeting.entidades))
    with builder.if_else(here) as (then, otherwise):
        with then:
            loaded = _own(context, builder, entity, other, own)
            column = COLUMN_TYPES[meeting.fields[own][1]]
            builder.store(context.cast(builder, loaded, column, kind), found)
        with otherwise:
            far()
    return builder.load(found)


def _listed(context: Any, builder: Any, kind: OtherType, other: Any, name: str) -> Any:
    one = Listed(context, builder, kind.entity, kind.target, other.me, other.place)
    if name == "id":
        return builder.add(one.origin(), one.place())
    if name in extras_of(kind.entity):
        return one.extra(name)
    field = [field for field, _ in kind.fields].index(name)
    column = COLUMN_TYPES[kind.fields[field][1]]
    return context.cast(builder, one.value(field, column), column, wide(column))


def _other_id(context: Any, builder: Any, kind: OtherType, other: Any) -> Any:
    entity, meeting = kind.entity, kind.entity.meeting
    assert meeting is not None
    origin = builder.load(member(context, builder, entity, other.me, "_origin"))
    if not kind.near:
        return builder.add(origin, other.place)
    assert meeting.grid is not None
    width, height, depth = (*meeting.grid.sides, 1, 1)[:3]

    def beside(cell: Any, dz: Any, dy: Any, dx: Any) -> Any:
        z, y, x = cell // (width * height), cell // width % height, cell % width
        return (((z + dz) % depth) * height + (y + dy) % height) * width + (x + dx) % width

    me = builder.load(member(context, builder, entity, other.me, "id"))
    steps = [table(builder, [s[k] for s in meeting.steps], other.place) for k in range(3)]
    arguments = [builder.sub(me, origin), *steps]
    signature = types.int64(*[types.int64] * 4)
    return builder.add(origin, context.compile_internal(builder, beside, signature, arguments))


def _maker(entity: EntityType) -> Any:
    @intrinsic
    def made(typing_context: Any, me: Any, place: Any) -> Any:
        kind = OtherType(entity, False)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            other = context.make_helper(builder, kind)
            other.me, other.place = args
            return other._getvalue()

        return kind(me, types.int64), generate

    return made


@method(EntityType, "entity")
def _entity(me: Any, id: Any) -> Callable[..., Any]:
    if me.init or me.meeting is None:
        why = "in init: there was no tick before" if me.init else "here"
        raise TypingError(f"me.entity cannot be used {why}")
    if not isinstance(id, types.Integer):
        raise TypingError(f"me.entity takes a whole number, found {types.unliteral(id)}")
    origin, make, count = hidden_reader(me, "_origin"), _maker(me), me.meeting.entidades
    if me.meeting.everyone is None:

        def entity(me: Any, id: Any) -> Any:
            place = int64(id) - origin(me)
            if place < 0 or place >= count:
                raise IndexError("me.entity(id): its bloque has no such entity")
            return make(me, place)

        return entity

    directory, fields = hidden_reader(me, "_everyone"), len(me.meeting.everyone)

    def anybody(me: Any, id: Any) -> Any:
        place = int64(id) - origin(me)
        known = place >= 0 and place < count
        if not known and not is_anybody(directory(me), int64(id), fields):
            raise IndexError("me.entity(id): there is no such entity")
        return make(me, place)

    return anybody
