"""``me`` in compiled code: a struct on the stack that LLVM dissolves.

A processor's fields are loaded from the columns into a stack struct, the user's function gets a
pointer to it, and the struct is stored back. After inlining, LLVM's scalar replacement turns the
struct into registers and the entity loop vectorises; pointers into the columns instead would
alias, and stop the vectoriser.

A ring of a history field lies in shared memory and is written in place, but only at its cursor:
what the committed count still shows is not overwritten (``layout.HISTORY_SPARE``).
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import cache
from typing import Any

from llvmlite import ir
from numba import float32, int64, types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.core.imputils import lower_getattr_generic, lower_setattr_generic
from numba.core.typing.templates import AttributeTemplate
from numba.extending import (
    infer_getattr,
    overload,
)

from corec import layout as L
from corec.entities.declaring import DRAWS_OF
from corec.entities.guard import emit_fits
from corec.entities.me_types import (
    BYTE_POINTER,
    EntityType,
    GlobalsType,
    HistoryType,
    InboxType,
    NeighboursType,
)
from corec.entities.processor import unfit_text
from corec.kernels.address import GET, PUT, load_f4, store_f4
from shm.jit import INSIDE, dissolved, intrinsic, method

get_f4, put_f4 = GET["f4"], PUT["f4"]
_I32 = ir.IntType(32)


def _struct(context: Any, entity: EntityType) -> Any:
    return ir.LiteralStructType([context.get_value_type(kind) for _, kind in entity.members])


def member(context: Any, builder: Any, entity: EntityType, pointer: Any, name: str) -> Any:
    """Where the member ``name`` of ``me`` lies."""
    typed = builder.bitcast(pointer, _struct(context, entity).as_pointer())
    place = [ir.Constant(_I32, 0), ir.Constant(_I32, entity.index[name])]
    return builder.gep(typed, place, inbounds=True)


@infer_getattr
class _EntityAttributes(AttributeTemplate):
    key = EntityType

    def generic_resolve(self, entity, name):
        if name in entity.rings:
            return HistoryType(entity, name)
        if name in entity.seen:
            return entity.seen[name]
        if name == "globals":
            return GlobalsType(entity)
        if name == "activo":
            return types.boolean
        if name in DRAWS_OF or name in ("entity", "die", "spawn", "send", "move_to_empty"):
            return None
        if name == "inbox" and (entity.init or not entity.processor.reads_inbox):
            why = "in init" if entity.init else "in a celu: it is called with what is sent"
            raise TypingError(f"me.inbox cannot be used {why}")
        if name == "inbox":
            return InboxType(entity)
        if name == "neighbours":
            if entity.init:
                why = "in init: there was no tick before"
            elif entity.meeting is None or not entity.meeting.spatial:
                why = "without a space in its bloque and public fields"
            else:
                return NeighboursType(entity)
            raise TypingError(f"me.neighbours cannot be used {why}")
        known = ", ".join([*entity.seen, *entity.rings])
        raise TypingError(f"me.{name} is not declared; declared are: {known}")


@lower_getattr_generic(EntityType)
def _get(context: Any, builder: Any, entity: EntityType, pointer: Any, name: str) -> Any:
    if name in entity.rings or name in ("neighbours", "globals", "inbox"):
        return pointer
    if name == "activo":
        return context.get_constant(types.boolean, True)  # who is not active does not run
    value = builder.load(member(context, builder, entity, pointer, name))
    return context.cast(builder, value, dict(entity.members)[name], entity.seen[name])


@infer_getattr
class _GlobalsAttributes(AttributeTemplate):
    key = GlobalsType

    def generic_resolve(self, found, name):
        if f"globals.{name}" not in found.entity.seen:
            raise TypingError(f"me.globals.{name} must be written so, in one expression")
        return types.float32


@lower_getattr_generic(GlobalsType)
def _get_global(context: Any, builder: Any, found: GlobalsType, pointer: Any, name: str) -> Any:
    return builder.load(member(context, builder, found.entity, pointer, f"globals.{name}"))


@lower_setattr_generic(EntityType)
def _set(context: Any, builder: Any, signature: Any, args: Any, name: str) -> None:
    entity, given = signature.args
    kinds = dict(entity.writable)
    if name not in kinds:
        why = "not a declared state field"
        if any(gene.name == name for gene in entity.processor.genes):
            why = "a gene, which evolution alone writes"
        raise TypingError(f"me.{name} can't be set: it is {why}")
    given = types.unliteral(given)
    if isinstance(kinds[name], types.Integer):
        text = unfit_text(name, entity.dtypes[name])
        emit_fits(context, builder, args[1], given, kinds[name], text)
    value = context.cast(builder, args[1], given, kinds[name])
    builder.store(value, member(context, builder, entity, args[0], name))


def entity_maker(entity: EntityType) -> Any:
    """Intrinsic: a tuple with a value for each member → ``me``."""

    @intrinsic
    def make(typing_context: Any, values: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            memory = cgutils.alloca_once(builder, _struct(context, entity))
            pointer = builder.bitcast(memory, BYTE_POINTER)
            for k, (name, kind) in enumerate(entity.members):
                value = builder.extract_value(args[0], k)
                value = context.cast(builder, value, signature.args[0].types[k], kind)
                builder.store(value, member(context, builder, entity, pointer, name))
            return pointer

        return entity(values), generate

    return make


def hidden_reader(entity: EntityType, name: str) -> Any:
    """Intrinsic: ``me`` → the value of a member the user can't name."""

    @intrinsic
    def read(typing_context: Any, me: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.load(member(context, builder, entity, args[0], name))

        kinds: dict[str, Any] = dict(entity.members)
        return kinds[name](me), generate

    return read


def hidden_writer(entity: EntityType, name: str) -> Any:
    """Intrinsic: (``me``, value) → store a member the user can't name."""

    @intrinsic
    def write(typing_context: Any, me: Any, value: Any) -> Any:
        kind = dict(entity.members)[name]

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            casted = context.cast(builder, args[1], signature.args[1], kind)
            builder.store(casted, member(context, builder, entity, args[0], name))
            return context.get_dummy_value()

        return types.void(me, value), generate

    return write


def ring_access(history: HistoryType) -> tuple[Any, Any, Any, Any]:
    """What reads where a ring lies, reads and writes its count, reads that from before the call."""
    entity, name = history.entity, history.ring
    return (
        hidden_reader(entity, f"{name}__base"),
        hidden_reader(entity, f"{name}__n"),
        hidden_writer(entity, f"{name}__n"),
        hidden_reader(entity, f"{name}__n0"),
    )


@cache
def slot_access(history: HistoryType) -> tuple[Any, Any]:
    """Compiled: (history, slot) → its value, and (history, slot, value) → store it there. By time
    it is a place behind one pointer for all: LLVM sees that entities follow one another."""
    read_base = ring_access(history)[0]
    if not history.entity.rings[history.ring].by_time:

        @dissolved
        def get(history, slot):
            return load_f4(read_base(history) + int64(4) * slot)

        @dissolved
        def put(history, slot, value):
            store_f4(read_base(history) + int64(4) * slot, value)

        return get, put
    read_from, row = hidden_reader(history.entity, f"{history.ring}__from"), 4 * history.entity.cap

    @dissolved
    def get_by_time(history, slot):
        return get_f4(read_from(history), read_base(history) + int64(row) * slot)

    @dissolved
    def put_by_time(history, slot, value):
        put_f4(read_from(history), read_base(history) + int64(row) * slot, value)

    return get_by_time, put_by_time


@method(HistoryType, "push")
def _push(history: Any, value: Any) -> Callable[..., Any]:
    _, read_n, write_n, read_n0 = ring_access(history)
    slots = history.entity.rings[history.ring].slots
    put = slot_access(history)[1]
    most = L.PUSHES_PER_CALL_MAX
    if history.entity.init:  # a reset runs it while the tick that a redo reads shows the ring
        raise TypingError(f"me.{history.ring}.push cannot be used in init: a history starts empty")

    def push(history: Any, value: Any) -> None:
        n = read_n(history)
        if n - read_n0(history) >= most:
            raise IndexError("too many pushes in one call")
        put(history, n % int64(slots), float32(value))
        write_n(history, n + int64(1))

    return push


@overload(len, jit_options=INSIDE)
def _len(history: Any) -> Callable[..., Any] | None:
    if not isinstance(history, HistoryType):
        return None
    _, read_n, _, _ = ring_access(history)
    length = history.entity.rings[history.ring].length

    def count(history: Any) -> Any:
        return min(int64(read_n(history)), int64(length))

    return count


@overload(operator.getitem, jit_options=INSIDE)
def _getitem(history: Any, index: Any) -> Callable[..., Any] | None:
    if not isinstance(history, HistoryType):
        return None
    _, read_n, _, _ = ring_access(history)
    get = slot_access(history)[0]
    ring = history.entity.rings[history.ring]
    length, slots = ring.length, ring.slots

    def item(history: Any, index: Any) -> Any:
        n = int64(read_n(history))
        held = min(n, int64(length))
        place = int64(index)
        if place < 0:
            place += held
        if place < 0 or place >= held:
            raise IndexError("history index out of range")
        at = (n - held) % int64(slots) + place  # the division is the same for all of a loop
        if at >= int64(slots):
            at -= int64(slots)
        return get(history, at)

    return item
