"""``me.send(id, value)`` and ``me.inbox`` in compiled code, and the kernel's lines around a call.

What is sent goes straight into the post of the block (``corec.kernels.post``), behind what the
entities before have sent; a call that fails takes the place of its own values back. The inbox is a
stretch of the values that arrived for the block, sorted by entity.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from numba import float32, int64, types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.core.imputils import RefType, iternext_impl, lower_builtin
from numba.extending import models, overload, register_model

from corec.entities.cursor import hidden_reader, member
from corec.entities.me_types import EntityType, InboxIterator, InboxType
from corec.entities.post import has_post
from corec.entities.processor import Processor
from corec.kernels.address import load_f4
from corec.kernels.desc import M_LETTERS, M_STARTS
from corec.kernels.post import FULL, NOBODY, TAKES_NONE, refusal, sent_by
from shm.jit import INSIDE, method

IMPORTS: Final = "from corec.kernels.post import begin_call, own_word, set_own, starts_at, unsend"
"""Of a kernel's text."""


def lines_before(processor: Processor) -> list[str]:
    """Of a kernel's text: before the first entity runs …"""
    if not processor.reads_inbox:
        return []
    return [f"    starts, letters = own_word(own, {M_STARTS}), own_word(own, {M_LETTERS})"]


def begun(processor: Processor, indent: str) -> list[str]:
    """… before the call of one …"""
    return [f"{indent}sent = begin_call(own)"] if processor.sends else []


def undone(processor: Processor, indent: str) -> list[str]:
    """… and after one that failed: it has sent nothing."""
    return [f"{indent}unsend(own, sent)"] if processor.sends else []


def of_one(processor: Processor) -> dict[str, str]:
    """The hidden members of ``me`` (``members``), by name."""
    values = {"_own": "own"} if has_post(processor) else {}
    if processor.reads_inbox:
        values |= {"_letters": "letters", "_first": "starts_at(starts, i)"}
        values["_behind"] = "starts_at(starts, i + 1)"
    return values


@method(EntityType, "send")
def _send(me: Any, id: Any, value: Any) -> Callable[..., Any]:
    if not me.processor.sends or me.init:
        raise TypingError("me.send cannot be used without sends=…, nor in init")
    if not isinstance(id, types.Integer):
        raise TypingError(f"me.send takes a whole number as id, found {types.unliteral(id)}")
    if not isinstance(types.unliteral(value), types.Integer | types.Boolean | types.Float):
        raise TypingError(f"me.send takes a number as value, found {types.unliteral(value)}")
    own, sender = hidden_reader(me, "_own"), hidden_reader(me, "id")

    def send(me: Any, id: Any, value: Any) -> None:
        why = refusal(own(me), int64(id))
        if why == FULL:
            raise IndexError("me.send: more values in one call than sends=… says")
        if why == NOBODY:
            raise IndexError("me.send(id, value): there is no such entity")
        if why == TAKES_NONE:
            raise TypeError("me.send(id, value): that one neither reads me.inbox nor is called")
        number = float32(value)
        if not (number - number == float32(0.0)):
            raise ValueError("me.send(id, value): the value is not finite")
        sent_by(own(me), int64(sender(me)), int64(id), number)

    return send


@register_model(InboxIterator)
class _IteratorModel(models.StructModel):
    def __init__(self, dmm: Any, fe_type: Any) -> None:
        members = [("place", types.EphemeralPointer(types.int64)), ("end", types.int64)]
        super().__init__(dmm, fe_type, members)


def _ends(inbox: InboxType) -> tuple[Any, Any, Any]:
    """(me → address of the block's values, number of the first that is its own, of the one behind
    the last)."""
    letters, first, behind = (
        hidden_reader(inbox.entity, name) for name in ("_letters", "_first", "_behind")
    )
    return letters, first, behind


def _address(context: Any, builder: Any, entity: EntityType, me: Any, which: str) -> Any:
    """Where the value with the number in ``which`` lies."""
    base, number = (
        builder.load(member(context, builder, entity, me, name)) for name in ("_letters", which)
    )
    return builder.add(base, builder.mul(number, number.type(4)))


@lower_builtin("getiter", InboxType)
def _getiter(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    entity = signature.args[0].entity
    made = context.make_helper(builder, signature.return_type)
    first = _address(context, builder, entity, args[0], "_first")
    made.place = cgutils.alloca_once_value(builder, first)
    made.end = _address(context, builder, entity, args[0], "_behind")
    return made._getvalue()


@lower_builtin("iternext", InboxIterator)
@iternext_impl(RefType.UNTRACKED)
def _iternext(context: Any, builder: Any, signature: Any, args: Any, result: Any) -> None:
    iterator = context.make_helper(builder, signature.args[0], value=args[0])
    place = builder.load(iterator.place)
    valid = builder.icmp_signed("<", place, iterator.end)
    result.set_valid(valid)
    with builder.if_then(valid):
        data = context.get_value_type(types.float32).as_pointer()
        result.yield_(builder.load(builder.inttoptr(place, data)))
        builder.store(builder.add(place, place.type(4)), iterator.place)


@overload(len, jit_options=INSIDE)
def _len(inbox: Any) -> Callable[..., Any] | None:
    if not isinstance(inbox, InboxType):
        return None
    _, first, behind = _ends(inbox)

    def count(inbox: Any) -> Any:
        return behind(inbox) - first(inbox)

    return count


@method(InboxType, "sum")
def _sum(inbox: Any) -> Callable[..., Any]:
    letters, first, behind = _ends(inbox)

    def total(inbox: Any) -> Any:
        found = float32(0.0)
        for k in range(first(inbox), behind(inbox)):
            found += load_f4(letters(inbox) + int64(4) * k)
        return found

    return total
