"""Births and deaths: what a mortal processor has more, and ``me.die``, ``me.spawn``,
``me.move_to_empty``.

``vivo`` and ``generacion`` are state fields, the last ones: what becomes of them is in the same
copies as all state, so a redo, an adoption and a checkpoint find them as they find the rest. A
call of ``spawn`` leaves a record in memory of this process (below); when all entities of the block
have run, the kernel gives each, in order, the lowest place whose ``vivo`` was 0 at the end of the
last tick (who dies in this one has a value and perhaps a message of it), in the copy that the step
writes. What an entity that fails has left is taken back. Nothing else is shared.

The memory, one for each swarm and process; nobody reads it after the step::

    u64[5]   births, those that found no place, the last one's mother's id, nothing, room for births
    at HEAD  records: the state fields in order, 8 bytes each, then the mother's id
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import int64, types
from numba.core.errors import TypingError
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, AttributeTemplate, signature
from numba.extending import infer_getattr, models, register_model

from corec.entities.cursor import hidden_reader, hidden_writer, member
from corec.entities.fields import LIVES_STATE, VIVO
from corec.entities.guard import emit_fits
from corec.entities.me_types import EntityType
from corec.entities.post import record_bytes
from corec.entities.processor import Processor, unfit_text
from corec.kernels.address import COLUMN_TYPES
from corec.kernels.desc import BIRTHS_HEAD as HEAD
from corec.kernels.desc import M_BIRTHS, M_LEFT, M_MOVES, M_SETTLES
from corec.kernels.post import ask_to_move
from shm.jit import method

BIRTHS_ROOM: Final = 4
"""The word that says how many births there is room for."""
_I64 = ir.IntType(64)
_KEY: Final = "corec.spawn"
IMPORTS: Final = (
    "from corec.entities.told import tell_no_room\n"
    "from corec.kernels.lives import births_of, clear, lost, no_room, take_back"
)
"""Of a kernel's text."""


def births_bytes(processor: Processor, cap: int) -> int:
    """Bytes of what the births of one block and tick take: more than it has places are none."""
    return HEAD + cap * record_bytes(processor)


def given_to(processor: Processor) -> dict[str, str]:
    """Name → dtype of what a mother may give to a child."""
    return {f.name: f.dtype for f in processor.state if f.name not in LIVES_STATE}


def position_of(entity: EntityType) -> tuple[str, ...]:
    """The fields that say where on a plane it is: a child begins where its mother is, in those of
    them that she does not give it."""
    plane = entity.meeting.plane if entity.meeting is not None else None
    return plane.position if plane is not None else ()


@method(EntityType, "die")
def _die(me: Any) -> Callable[..., Any]:
    if not me.processor.mortal or me.init:
        raise TypingError("me.die cannot be used in init, nor with mortal=False")
    write = hidden_writer(me, VIVO)

    def die(me: Any) -> None:
        write(me, 0)

    return die


@method(EntityType, "move_to_empty")
def _move_to_empty(me: Any) -> Callable[..., Any]:
    cells = me.meeting is not None and (me.meeting.grid or me.meeting.graph) is not None
    if not me.processor.mortal or me.init or not cells or me.processor.history:
        why = "without a grid or graph, nor with a history, in init or with mortal=False"
        raise TypingError(f"me.move_to_empty cannot be used {why}")
    own, who = hidden_reader(me, "_own"), hidden_reader(me, "id")

    def move_to_empty(me: Any) -> None:
        ask_to_move(own(me), int64(who(me)))

    return move_to_empty


class SpawnedType(types.Type):
    """Numba type of what ``me.spawn`` returns: nothing, and which fields were given."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        super().__init__(f"Spawned({', '.join(names)})")


register_model(SpawnedType)(models.OpaqueModel)


class Spawn(AbstractTemplate):
    """Typing of ``me.spawn(field=…)``: the given fields, by their names."""

    key = _KEY

    def generic(self, args: Any, kws: Any) -> Any:
        entity = self.this  # type: ignore[attr-defined]  # Numba sets it
        if not entity.processor.mortal or entity.init:
            raise TypingError("me.spawn cannot be used in init, nor with mortal=False")
        known = given_to(entity.processor)
        wrong = [name for name in kws if name not in known]
        if args or wrong:
            found = repr(wrong[0]) if wrong else "a value without a name"
            raise TypingError(f"me.spawn takes state fields ({', '.join(known)}), found {found}")
        kinds = [types.unliteral(kind) for kind in kws.values()]
        for name, kind in zip(kws, kinds, strict=True):
            if not isinstance(kind, types.Integer | types.Boolean | types.Float):
                raise TypingError(f"me.spawn({name}=…) takes a number, found {kind}")
        found = signature(SpawnedType(tuple(kws)), *kinds, recvr=entity)
        parameters = [inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD) for n in kws]
        return found.replace(pysig=inspect.Signature(parameters))


@infer_getattr
class _SpawnAttribute(AttributeTemplate):
    key = EntityType

    def resolve_spawn(self, entity: Any) -> Any:
        return types.BoundFunction(Spawn, entity)


@lower_builtin(_KEY, EntityType, types.VarArg(types.Any))
def _spawn(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    entity, pointer = sig.args[0], args[0]
    processor = entity.processor
    given = dict(zip(sig.return_type.names, zip(args[1:], sig.args[1:], strict=True), strict=True))
    base = builder.load(member(context, builder, entity, pointer, "_births"))

    def word(index: int) -> Any:
        return builder.inttoptr(builder.add(base, _I64(8 * index)), _I64.as_pointer())

    for name, (value, kind) in given.items():
        column = COLUMN_TYPES[given_to(processor)[name]]
        if isinstance(column, types.Integer):
            text = unfit_text(name, given_to(processor)[name])
            emit_fits(context, builder, value, kind, column, text)
    beside = position_of(entity)
    mother = builder.load(member(context, builder, entity, pointer, "id"))
    count = builder.load(word(0))
    room = builder.load(word(BIRTHS_ROOM))
    fits = builder.icmp_unsigned("<", count, room)
    with builder.if_else(fits) as (there, none):
        with there:
            at = builder.add(builder.mul(count, _I64(record_bytes(processor))), _I64(HEAD))
            record = builder.add(base, at)
            for k, field in enumerate(processor.state):
                column = COLUMN_TYPES[field.dtype]
                if field.name in given:
                    value, kind = given[field.name]
                    value = context.cast(builder, value, kind, column)
                elif field.name in beside:
                    place = member(context, builder, entity, pointer, field.name)
                    value = builder.load(place)
                else:
                    value = context.get_constant(column, np.dtype(field.dtype).type(field.default))
                data = context.get_value_type(column).as_pointer()
                place = builder.inttoptr(builder.add(record, _I64(8 * k)), data)
                builder.store(value, place)
            last = builder.add(record, _I64(8 * len(processor.state)))
            builder.store(mother, builder.inttoptr(last, _I64.as_pointer()))
            builder.store(builder.add(count, _I64(1)), word(0))
        with none:
            builder.store(builder.add(builder.load(word(1)), _I64(1)), word(1))
            builder.store(mother, word(2))
    return context.get_dummy_value()


def lines_before(processor: Processor) -> list[str]:
    """Of a kernel's text: before the first entity runs."""
    if not processor.mortal:
        return []
    return [f"    births = own_word(own, {M_BIRTHS})", "    clear(births)"]


def begun(processor: Processor, indent: str) -> list[str]:
    """… before the call of one …"""
    if not processor.mortal:
        return []
    asked = f"births_of(births), lost(births), own_word(own, {M_MOVES})"
    return [f"{indent}asked, homeless, moved = {asked}"]


def undone(processor: Processor, indent: str) -> list[str]:
    """… and after one that failed: it had no children, and stays."""
    if not processor.mortal:
        return []
    taken = f"{indent}take_back(births, asked, homeless)"
    return [taken, f"{indent}set_own(own, {M_MOVES}, moved)"]


def settlement(processor: Processor, put: Callable[[str, str], str], get: Callable[[str], str],
               held: dict[str, str]) -> list[str]:  # fmt: skip
    """Of a kernel's text: when all have run. ``put``: store a column of entity ``i`` into the copy
    that is written; ``get``: load it from the other; ``held``: what goes into a position."""
    if not processor.mortal:
        return []
    mother = f"births + {HEAD + 8 * len(processor.state)} + j * {record_bytes(processor)}"
    lines = [
        "    i, born = 0, births_of(births)",
        "    for j in range(born):",
        f"        while i < n and {get(VIVO)} != 0:",
        "            i += 1",
        "        if i >= n:",
        f"            if own_word(own, {M_SETTLES}) != 0:",
        f"                set_own(own, {M_LEFT}, born - j)",
        "            else:",
        f"                no_room(births, born - j, {mother})",
        "            break",
        f"        record = pointer(births + {HEAD} + j * {record_bytes(processor)})",
    ]
    for k, field in enumerate(processor.state):
        if field.name in LIVES_STATE:
            continue
        value = f"get_{field.dtype}(record, {8 * k})"
        value = held.get(field.name, f"me.{field.name}").replace(f"me.{field.name}", value)
        lines.append("        " + put(field.name, value))
    lines += [
        "        " + put("valor", "float32(0.0)"),
        "        " + put(VIVO, "1"),
        "        " + put("generacion", get("generacion") + " + 1"),
        *("        " + put(ring.count_field, "0") for ring in processor.history),
        "        i += 1",
        *_on_the_plane(processor, held),
        "    if lost(births) > 0:",
        "        tell_no_room(told, tick, births)",
    ]
    return lines


def _on_the_plane(processor: Processor, held: dict[str, str]) -> list[str]:
    """Of children who go to another block: the positions that they will have."""
    if not held:
        return []
    lines = [
        f"    for j in range(born - own_word(own, {M_LEFT}), born):",
        f"        record = pointer(births + {HEAD} + j * {record_bytes(processor)})",
    ]
    for k, field in enumerate(processor.state):
        if field.name in held:
            value = held[field.name].replace(f"me.{field.name}", f"get_f4(record, {8 * k})")
            lines.append(f"        put_f4(record, {8 * k}, {value})")
    return lines
