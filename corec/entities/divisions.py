"""Floor divisions as NumPy and plain Python have them, where Numba's differ.

The least whole number by −1 is itself, as all arithmetic on whole numbers wraps; Numba gives 0,
since the machine's own division would stop the process. A real ``np.floor_divide`` is the quotient
that goes with the remainder, as ``//`` is, not the rounded down quotient: 1.0 by 0.1 is 9.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import numpy as np
from numba.core import types
from numba.cpython.numbers import real_floordiv_impl
from numba.np import npyfuncs

from corec.entities.shifts import ShiftContext

_FLOOR: Final = (operator.floordiv, operator.ifloordiv, divmod)
_WHOLE: Final = (types.Integer, types.Boolean)
_SIGNED: Final = "bhilq"
_REAL: Final = "fd"


class DivisionContext(ShiftContext):
    """A target context in which they are so, of arrays as well; so are shifts."""

    def get_function(self, fn: Any, sig: Any, *args: Any, **kws: Any) -> Any:
        found = super().get_function(fn, sig, *args, **kws)
        called = getattr(fn, "typing_key", fn)
        whole = len(sig.args) == 2 and all(isinstance(kind, _WHOLE) for kind in sig.args)
        if not whole or not any(called is division for division in _FLOOR):
            return found
        kind: Any = sig.return_type
        kind = kind.dtype if called is divmod else kind
        if not (isinstance(kind, types.Integer) and getattr(kind, "signed", False)):
            return found
        return partial(_call, self, sig, kind, found)

    def get_ufunc_info(self, ufunc_key: Any) -> Any:
        found = super().get_ufunc_info(ufunc_key)
        if ufunc_key is np.floor_divide:
            return {loop: _LOOPS.get(loop[0], made) for loop, made in found.items()}
        if ufunc_key is np.divmod:
            return {loop: _both(_LOOPS.get(loop[0]), made) for loop, made in found.items()}
        return found


def _call(
    context: Any, sig: Any, kind: Any, found: Any, builder: Any, args: Any, loc: Any = None
) -> Any:
    result = found(builder, args, loc)
    x, y = (
        context.cast(builder, given, types.unliteral(of), kind)
        for given, of in zip(args, sig.args, strict=True)
    )
    if kind is sig.return_type:
        return _wrapped(builder, x, y, result)
    quotient = _wrapped(builder, x, y, builder.extract_value(result, 0))
    return builder.insert_value(result, quotient, 0)


def _wrapped(builder: Any, x: Any, y: Any, quotient: Any) -> Any:
    """``quotient``, where ``y`` is −1 ``−x``, which wraps."""
    return builder.select(builder.icmp_signed("==", y, y.type(-1)), builder.neg(x), quotient)


def _whole_loop(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    x, y = args
    return _wrapped(builder, x, y, npyfuncs.np_int_sdiv_impl(context, builder, sig, args))


_LOOPS: Final[dict[str, Callable[..., Any]]] = {
    **dict.fromkeys(_SIGNED, _whole_loop),
    **dict.fromkeys(_REAL, real_floordiv_impl),
}
"""NumPy's letter of the arguments' type → the code of one floor division."""


def _both(loop: Callable[..., Any] | None, made: Any) -> Any:
    """The code ``made`` of a ``np.divmod`` with the quotient by ``loop``."""
    if loop is None:
        return made

    def divided(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        result = made(context, builder, sig, args)
        quotient = loop(context, builder, sig.return_type[0](*sig.args), args)
        return builder.insert_value(result, quotient, 0)

    return divided
