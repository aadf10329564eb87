"""The call of a user's function out of the loop over a block: what it raises stays in it.

``me`` goes in as a pointer (``cursor``), a tuple of numbers comes back. In a processor whose calls
can't run long nothing of this is left but the function's own text: the tuple's unused parts, and
the branch for what can't be raised, are dropped by LLVM, and the loop becomes vectors.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError

from corec.entities import steps
from corec.entities.guard import CleanCallConv
from corec.entities.me_types import EntityType
from corec.entities.reasons import returns_what
from shm.jit import intrinsic

_I32 = ir.IntType(32)
_BYTE_POINTER = ir.IntType(8).as_pointer()


def _free_exception(context: Any, builder: Any, status: Any) -> None:
    """Give back what Numba allocates to raise with arguments that are computed: nobody catches it.

    The struct is {pickle, size, arguments, unwrap function, number of arguments}; the last is 0
    for an exception with constant arguments, which is static data.
    """
    with builder.if_then(status.is_user_exc, likely=False):
        raised = builder.load(status.excinfoptr)
        computed = builder.icmp_signed(">", builder.extract_value(raised, 4), ir.Constant(_I32, 0))
        with builder.if_then(computed):
            context.nrt.free(builder, builder.extract_value(raised, 2))
            context.nrt.free(builder, builder.bitcast(status.excinfoptr, _BYTE_POINTER))


def _builds_text(compiled: Any) -> str | None:
    """Text made at run time lives on a heap that nobody would clear after an exception."""
    if types.unicode_type in compiled.type_annotation.typemap.values():
        return "text made at run time is not supported: an exception takes constants or numbers"
    return None


OUTCOME: Any = types.Tuple(
    (types.boolean, types.float32, types.int64, types.int64, types.int64, types.int64)
)
"""What came of a call: whether it went well (nothing raised), the number returned, the steps that
the next call of this run may take, and of an exception the code (``guard.where``) and the address
and size of its pickle."""


class _Call:
    """The code around one call of a user's function."""

    def __init__(self, context: Any, builder: Any, apart: bool) -> None:
        self.context, self.builder = context, builder
        self.attributes = ("noinline",) if apart else ()
        kinds = [context.get_value_type(kind) for kind in OUTCOME.types]
        self.slots = [cgutils.alloca_once(builder, kind, zfill=True) for kind in kinds]

    def set(self, index: int, value: Any) -> None:
        self.builder.store(value, self.slots[index])

    def outcome(self) -> Any:
        values = [self.builder.load(slot) for slot in self.slots]
        return self.context.make_tuple(self.builder, OUTCOME, values)

    def call(self, compiled: Any, signature: Any, values: list[Any], allocates: bool) -> None:
        context, builder = self.context, self.builder
        declared = context.declare_function(builder.module, compiled.fndesc)
        status, result = CleanCallConv(context).call_function(
            builder, declared, signature.return_type, signature.args, values, self.attributes
        )
        with builder.if_then(status.is_user_exc, likely=False):
            raised = builder.load(status.excinfoptr)
            address = builder.ptrtoint(builder.extract_value(raised, 0), ir.IntType(64))
            self.set(3, builder.sext(status.code, ir.IntType(64)))
            self.set(4, address)
            self.set(5, builder.sext(builder.extract_value(raised, 1), ir.IntType(64)))
        if allocates:
            _free_exception(context, builder, status)
        self.set(0, status.is_ok)
        self.set(1, context.cast(builder, result, signature.return_type, types.float32))

    def call_counted(self, run: Any, on: Any, budget: Any, least: int) -> None:
        """A call that may run long: only when ``on``, and within ``budget`` steps."""
        builder, word = self.builder, ir.IntType(64)
        self.set(2, budget)
        with builder.if_then(on):
            steps.emit_refill(builder, budget)
            run()
            used_up = steps.emit_used_up(builder)
            fine = builder.load(self.slots[0])
            self.set(0, builder.and_(fine, builder.not_(used_up)))
            caught = builder.and_(fine, used_up)
            self.set(3, builder.select(caught, word(1), builder.load(self.slots[3])))
            half = builder.ashr(budget, word(1))
            less = builder.icmp_signed(">", half, word(least))
            cut = builder.select(less, half, word(least))
            self.set(2, builder.select(used_up, cut, budget))


def checked_call(
    dispatcher: Any, entity: EntityType, value_type: Any = None, apart: bool = False
) -> Any:
    """Intrinsic: call the user's function and contain what it raises.

    ``checked(me[, value], on, budget) -> OUTCOME``, with a value of ``value_type`` if there is one:
    ``on`` false leaves a call out that counts its steps; each that runs out of its ``budget``
    halves it for the next, down to one in SHARE_LEAST. ``apart``: it is called, and not a part of
    the caller, for what is rarely done: there is half as much to compile.
    """
    least = max(1, entity.processor.steps_max // steps.SHARE_LEAST)

    def build(typing_context: Any, args: tuple[Any, ...]) -> Any:
        function = types.Dispatcher(dispatcher)
        signature: Any = function.get_call_type(typing_context, args, {})
        fault = returns_what(signature.return_type) or _builds_text(
            dispatcher.overloads[signature.args]
        )
        if fault is not None:
            raise TypingError(fault)

        def generate(context: Any, builder: Any, outer: Any, values: Any) -> Any:
            compiled = dispatcher.overloads[signature.args]
            context.active_code_library.add_linking_library(compiled.library)
            text = compiled.library.get_llvm_str()
            *given, on, budget = values
            casted = [
                context.cast(builder, value, kind, wanted)
                for value, kind, wanted in zip(given, outer.args, signature.args, strict=False)
            ]
            one = _Call(context, builder, apart)

            def run() -> None:
                one.call(compiled, signature, casted, "NRT_Allocate" in text)

            if steps.SYMBOL in text:
                one.call_counted(run, on, budget, least)
            else:
                one.set(2, budget)
                run()
            return one.outcome()

        return OUTCOME(*args, types.boolean, types.int64), generate

    if value_type is not None:

        @intrinsic
        def checked_value(typing_context: Any, me: Any, value: Any, on: Any, budget: Any) -> Any:
            return build(typing_context, (me, value_type))

        return checked_value

    @intrinsic
    def checked(typing_context: Any, me: Any, on: Any, budget: Any) -> Any:
        return build(typing_context, (me,))

    return checked
