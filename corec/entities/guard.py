"""Numba's compiler for users' functions, with what Python would do where plain machine code does
something else: raise, and say in which line; count the steps of loops; give back what it holds.

* An index out of range raises (Numba's own checks), an integer division by zero raises, a real
  number that does not fit an integer raises. Real arithmetic goes on as IEEE and NumPy have it.
* Each place that can raise has a number: the function's number and the line within it. It travels
  in the status code that every compiled function returns, in registers, so that nothing is stored
  and a loop over entities still becomes vectors. An exception out of Numba's own library functions
  gets the number of the user's line that called them.
* A loop whose length is no constant, or long, pays for its steps (``steps``). Short constant loops
  stay as they are; what a loop inside another one costs is counted with the outer one.
* What a function holds on the heap is given back when it leaves by an exception; plain Numba keeps
  it for ever. The marks by which Numba's reference pruner ignores such exits are left out.

The compiled text says nothing of paths and absolute lines: the cache serves a moved file, too.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any, Final

from llvmlite import ir as llvm_ir
from numba.core import callconv, cgutils, ir, lowering, types
from numba.core.analysis import compute_cfg_from_blocks
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.errors import TypingError
from numba.core.ir_utils import find_const, get_definition, guard
from numba.core.typed_passes import BaseNativeLowering, NativeLowering

from corec.entities import steps
from corec.entities.divisions import DivisionContext
from corec.entities.foreign import refuse_foreign
from corec.entities.processor import ProcessorError
from corec.entities.shifts import SHIFTS
from corec.kernels import elementary

FREE_STEPS_MAX: Final = 1024
"""Steps of constant loops, inside each other, that cost nothing."""
_LINE_BITS: Final = 15
_I32 = llvm_ir.IntType(32)
_DIVISIONS: Final = (operator.truediv, operator.itruediv)
_POWERS: Final = (operator.pow, operator.ipow, pow)
_UNCHECKED: Final = frozenset({"take_along_axis", "as_strided", "carray", "farray"})
"""Library functions that would read or write wherever an index points to."""
_GROWING: Final = frozenset({"append", "insert", "extend"})
_STEPS_OF_GROWTH: Final = 16
"""So many steps count when a list grows: an endless one ends before the memory does."""


@dataclass(frozen=True)
class Site:
    """What a compiled function is to its processor: its number, first line and limit of steps."""

    number: int
    first_line: int
    steps_max: int

    def code(self, line: int) -> int:
        """The status code of an exception raised in ``line``: above 1, which Numba itself uses."""
        offset = min(max(line - self.first_line, 0), (1 << _LINE_BITS) - 1)
        return 2 + (self.number << _LINE_BITS | offset)


def where(code: int) -> tuple[int, int]:
    """(number of the function, lines after its first) of a status code; (−1, 0): unknown."""
    return divmod(code - 2, 1 << _LINE_BITS) if code >= 2 else (-1, 0)


class CleanCallConv(callconv.CPUCallConv):
    """Calls a function with no exception of an earlier call in its place for one: a `try` of the
    function would take it for its own."""

    def call_function(
        self, builder: Any, callee: Any, resty: Any, argtys: Any, args: Any, attrs: Any = None
    ) -> Any:
        returned = self.get_return_type(resty).pointee
        result = cgutils.alloca_once(builder, returned, zfill=True)
        raised = cgutils.alloca_once(builder, callconv.excinfo_ptr_t, name="excinfo", zfill=True)
        passed = list(self._get_arg_packer(argtys).as_arguments(builder, args))
        code = builder.call(callee, [result, raised, *passed], attrs=attrs or ())
        status = self._get_return_status(builder, code, builder.load(raised))
        value = self.context.get_returned_value(builder, resty, builder.load(result))
        return status, value


class _CallConv(CleanCallConv):
    """How a guarded function leaves: with the number of the line, and nothing held."""

    def __init__(self, context: Any, lower: Any) -> None:
        super().__init__(context)
        self.lower = lower

    def set_static_user_exc(
        self, builder: Any, exc: Any, exc_args: Any = None, loc: Any = None, func_name: Any = None
    ) -> None:
        pyapi = self.context.get_python_api(builder)
        described = pyapi.serialize_object((exc, exc_args or (), None))
        builder.store(described, self._get_excinfo_argument(builder.function))

    def build_excinfo_struct(self, exc: Any, exc_args: Any, loc: Any, func_name: Any) -> Any:
        return (exc, exc_args, None)

    def _return_errcode_raw(self, builder: Any, code: Any) -> None:
        here = _I32(self.lower.site.code(self.lower.loc.line))
        if code is callconv.RETCODE_USEREXC:
            code = here
        elif not isinstance(code, llvm_ir.Constant):
            unnumbered = builder.icmp_signed("==", code, callconv.RETCODE_USEREXC)
            code = builder.select(unnumbered, here, code)
        if code is not callconv.RETCODE_OK and code is not callconv.RETCODE_NONE:
            self.lower.let_go(builder)
        builder.ret(code)


class _ErrorModel(callconv.NumpyErrorModel):
    """Integer division by zero raises; real division goes on, as NumPy's does."""

    def fp_zero_division(self, builder: Any, exc_args: Any = None, loc: Any = None) -> bool:
        if not exc_args or not exc_args[0].startswith("integer"):
            return False
        self.call_conv.return_user_exc(builder, ZeroDivisionError, exc_args)
        return True


class _Context(DivisionContext):
    """The target context of one guarded function (a copy of Numba's own, made for it)."""

    lower: Any

    @property
    def call_conv(self) -> Any:
        return _CallConv(self, self.lower)

    def subtarget(self, **kws: Any) -> Any:
        other = super().subtarget(**kws)
        other.__class__ = DivisionContext  # of a function of Numba's own, compiled on the way
        return other

    def cast(self, builder: Any, val: Any, fromty: Any, toty: Any) -> Any:
        if _real(fromty) and _whole(toty):
            text = f"a number that does not fit into {toty.bitwidth} bits"
            emit_fits(self, builder, val, fromty, toty, text)
        return super().cast(builder, val, fromty, toty)


def _real(kind: Any) -> bool:
    return isinstance(kind, types.Float)


def _whole(kind: Any) -> bool:
    return isinstance(kind, types.Integer)


def _raise_unless(context: Any, builder: Any, good: Any, kind: Any, text: str) -> None:
    with builder.if_then(builder.not_(good), likely=False):
        context.call_conv.return_user_exc(builder, kind, (text,))


def emit_fits(context: Any, builder: Any, value: Any, given: Any, wanted: Any, text: str) -> None:
    """Raise OverflowError(text) unless ``value`` fits the integer type ``wanted``; ValueError, as
    Python's ``int`` does, when it is not a number."""
    low = -(1 << wanted.bitwidth - 1) if wanted.signed else 0
    high = (1 << (wanted.bitwidth - 1 if wanted.signed else wanted.bitwidth)) - 1
    if _real(given):
        real = llvm_ir.DoubleType()
        wide = builder.fpext(value, real) if given.bitwidth < 64 else value
        above = builder.fcmp_ordered("<", wide, real(float(high + 1)))
        if low == -(1 << 63):
            below = builder.fcmp_ordered(">=", wide, real(float(low)))
        else:
            below = builder.fcmp_ordered(">", wide, real(float(low - 1)))
        with builder.if_then(builder.not_(builder.and_(above, below)), likely=False):
            number = builder.fcmp_ordered("==", wide, wide)
            nan = "cannot convert float NaN to integer"
            _raise_unless(context, builder, number, ValueError, nan)
            context.call_conv.return_user_exc(builder, OverflowError, (text,))
    elif _whole(given):
        word = value.type
        if given.signed:
            given_low, given_high = -(1 << given.bitwidth - 1), (1 << given.bitwidth - 1) - 1
        else:
            given_low, given_high = 0, (1 << given.bitwidth) - 1
        compare = builder.icmp_signed if given.signed else builder.icmp_unsigned
        if given_low < low:
            good = compare(">=", value, word(low))
            _raise_unless(context, builder, good, OverflowError, text)
        if given_high > high:
            good = compare("<=", value, word(high))
            _raise_unless(context, builder, good, OverflowError, text)


def _power(x: Any, y: Any) -> Any:
    return elementary.pow(x, y)


class _Lower(lowering.Lower):
    """Numba's lowering of one function, guarded."""

    def init(self) -> None:
        super().init()
        function = self.func_ir.func_id.func
        self.site: Site = function.__corec_site__
        self.context.__class__ = _Context
        self.context.lower = self
        self.context.error_model = _ErrorModel(self.context.call_conv)
        self.held: set[str] = set()
        self._label_of = {id(block): label for label, block in self.blocks.items()}
        refuse_foreign(self.blocks.values(), self.fndesc.typemap)
        self._find_loops()
        function.__corec_steps__ = self.free_steps

    def _find_loops(self) -> None:
        """Which loops pay, and how much each of their steps is."""
        found = sorted(
            compute_cfg_from_blocks(self.blocks).loops().values(), key=lambda loop: len(loop.body)
        )
        self.price: dict[int, int] = {}
        self.bodies = {loop.header: loop.body for loop in found}
        cost = {label: self._calls_cost(block) for label, block in self.blocks.items()}
        for loop in found:
            inside = sum(cost[label] for label in loop.body)
            trips = self._constant_trips(loop)
            whole = 0 if trips is None else trips * (1 + inside)
            if trips is None or whole > FREE_STEPS_MAX:
                self.price[loop.header] = 1 + inside
                whole = 0
            for label in loop.body:
                cost[label] = 0
            cost[loop.header] = whole
        self.free_steps = sum(cost.values())

    def _calls_cost(self, block: Any) -> int:
        """Free steps of the users' functions that ``block`` calls, and one for each."""
        cost = 0
        for call in block.find_exprs(op="call"):
            kind = self.typeof(call.func.name)
            if isinstance(kind, types.Dispatcher):
                cost += 1 + getattr(kind.dispatcher.py_func, "__corec_steps__", 0)
            elif isinstance(kind, types.BoundFunction) and isinstance(kind.this, types.List):
                grows = str(kind.typing_key).rpartition(".")[2] in _GROWING
                cost += _STEPS_OF_GROWTH if grows else 1
        return cost

    def _constant_trips(self, loop: Any) -> int | None:
        """How often a ``for k in range(constants)`` goes round; None when it is anything else."""
        for expression in self.blocks[loop.header].find_exprs(op="iternext"):
            made = guard(get_definition, self.func_ir, expression.value)
            if not isinstance(made, ir.Expr) or made.op != "getiter":
                return None
            trips: int | None = getattr(self.typeof(made.value.name), "trips", None)
            if trips is not None:  # neighbours
                return trips
            call = guard(get_definition, self.func_ir, made.value)
            if not isinstance(call, ir.Expr) or call.op != "call" or call.kws:
                return None
            name = guard(get_definition, self.func_ir, call.func)
            if getattr(name, "value", None) is not range:
                return None
            numbers = [guard(find_const, self.func_ir, argument) for argument in call.args]
            if not all(type(number) is int for number in numbers):
                return None
            return len(range(*numbers))
        return None

    def pre_block(self, block: Any) -> None:
        super().pre_block(block)
        self.held = set()

    def storevar(self, value: Any, name: str, argidx: Any = None) -> None:
        super().storevar(value, name, argidx=argidx)
        if name in self._blk_local_varmap:
            self.held.add(name)

    def delvar(self, name: str) -> None:
        super().delvar(name)
        self.held.discard(name)

    def let_go(self, builder: Any) -> None:
        """Give back what the function's variables hold, on the way out by an exception."""
        for name, pointer in self.varmap.items():
            self._give_back(builder, self.typeof(name), lambda p=pointer: builder.load(p))
        for name in sorted(self.held):
            value = self._blk_local_varmap[name]
            self._give_back(builder, self.typeof(name), lambda v=value: v)

    def _give_back(self, builder: Any, kind: Any, value: Any) -> None:
        if self.context.enable_nrt and self.context.data_model_manager[kind].contains_nrt_meminfo():
            self.context.nrt.decref(builder, kind, value())

    def lower_inst(self, inst: Any) -> None:
        if isinstance(inst, ir.Jump | ir.Branch):
            source = self._label_of[id(self._cur_ir_block)]
            for target in inst.get_targets():
                if target in self.price and source in self.bodies[target]:
                    self._charge(target)
        super().lower_inst(inst)

    def _charge(self, header: int) -> None:
        inside = [inst.loc for label in self.bodies[header] for inst in self.blocks[label].body]
        self.loc = min(inside, key=lambda loc: loc.line)  # the test of a `while` comes last
        conv, builder = self.call_conv, self.builder
        text = f"it ran longer than {self.site.steps_max} loop steps"

        def fail() -> None:
            # past any `try` of the function: an endless loop may not catch its own end
            conv.set_static_user_exc(builder, steps.TooManySteps, (text,))
            conv._return_errcode_raw(builder, callconv.RETCODE_USEREXC)  # Numba's own way out

        steps.emit_charge(builder, self.price[header], fail)

    def lower_binop(self, resty: Any, expr: Any, op: Any) -> Any:
        kinds = [self.typeof(expr.lhs.name), self.typeof(expr.rhs.name)]
        if all(isinstance(kind, types.Integer | types.Boolean) for kind in kinds):
            if op in _DIVISIONS:
                self._refuse(expr.rhs.name, kinds[1], "!=", ZeroDivisionError, "division by zero")
            elif op in _POWERS:
                text = "integers to negative integer powers are not allowed"
                self._refuse(expr.rhs.name, kinds[1], ">=", ValueError, text)
            elif op in SHIFTS:
                self._refuse(expr.rhs.name, kinds[1], ">=", ValueError, "negative shift count")
        if op in _POWERS and kinds == [types.float32, types.float32] and resty == types.float32:
            values = [self.loadvar(side.name) for side in (expr.lhs, expr.rhs)]
            signature = types.float32(*kinds)
            return self.context.compile_internal(self.builder, _power, signature, values)
        return super().lower_binop(resty, expr, op)

    def _refuse(self, name: str, given: Any, good: str, kind: Any, text: str) -> None:
        """Raise unless the whole number ``name``, of type ``given``, is ``good`` beside 0."""
        if good == ">=" and not getattr(given, "signed", False):
            return
        value = self.loadvar(name)
        whole = self.context.cast(self.builder, value, types.unliteral(given), types.int64)
        fine = self.builder.icmp_signed(good, whole, whole.type(0))
        _raise_unless(self.context, self.builder, fine, kind, text)

    def lower_call(self, resty: Any, expr: Any) -> Any:
        called = getattr(self.typeof(expr.func.name), "typing_key", None)
        name = getattr(called, "__name__", "")
        if name in _UNCHECKED:
            raise TypingError(f"{name} is not supported: nothing checks its indices")
        if called in (int, round) and len(expr.args) == 1:
            given = self.typeof(expr.args[0].name)
            wanted = self.fndesc.calltypes[expr].return_type
            if _real(given) and _whole(wanted):
                value = self.loadvar(expr.args[0].name)
                text = f"a number that does not fit into {wanted.bitwidth} bits"
                emit_fits(self.context, self.builder, value, given, wanted, text)
        if called in SHIFTS and len(expr.args) == 2:
            kinds = [self.typeof(argument.name) for argument in expr.args]
            if all(isinstance(kind, types.Integer | types.Boolean) for kind in kinds):
                text = "negative shift count"
                self._refuse(expr.args[1].name, kinds[1], ">=", ValueError, text)
        return super().lower_call(resty, expr)

    def lower_getitem(self, resty: Any, expr: Any, value: Any, index: Any, signature: Any) -> Any:
        self._refuse_flat(value)
        return super().lower_getitem(resty, expr, value, index, signature)

    def lower_setitem(self, target_var: Any, index_var: Any, value_var: Any, signature: Any) -> Any:
        self._refuse_flat(target_var)
        return super().lower_setitem(target_var, index_var, value_var, signature)

    def _refuse_flat(self, variable: Any) -> None:
        if isinstance(self.typeof(variable.name), types.NumpyFlatType):
            raise TypingError("`.flat[…]` is not supported: nothing checks its index")

    def _lower_call_RecursiveCall(self, fnty: Any, expr: Any, signature: Any) -> Any:  # Numba's
        raise ProcessorError(recursion_text([self.func_ir.func_id.func_name]))


def recursion_text(names: list[str]) -> str:
    """What is wrong when each of ``names`` calls the next, and the last the first."""
    return f"it calls itself ({' calls '.join([*names, names[0]])}): write a loop with a limit"


@register_pass(mutates_CFG=True, analysis_only=False)
class _GuardedLowering(BaseNativeLowering):
    _name: Any = "corec_guarded_lowering"

    @property
    def lowering_class(self) -> Any:
        return _Lower


class GuardedCompiler(CompilerBase):
    """The pipeline of ``numba.njit`` with the lowering above."""

    def define_pipelines(self) -> list[Any]:
        """Numba's passes for compiled code, one of them exchanged."""
        manager = DefaultPassBuilder.define_nopython_pipeline(self.state)
        manager.passes = [
            (_GuardedLowering, text) if each is NativeLowering else (each, text)
            for each, text in manager.passes
        ]
        manager.finalize()
        return [manager]
