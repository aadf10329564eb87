"""Shifts of whole numbers by any count: the machine's own are undefined from the width on.

A count from the width of the number on leaves nothing of it (``<<`` gives 0, ``>>`` 0 or −1), as of
Python's numbers cut to that width and as in NumPy. A count below 0 is as large as a count can be:
so has NumPy it, for its functions and its arrays; where Python's own operator is meant, ``guard``
raises before. A count that is a constant costs nothing.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import numpy as np
from numba.core import types
from numba.core.cpu import CPUContext

LEFT: Final = (operator.lshift, operator.ilshift)
SHIFTS: Final = (*LEFT, operator.rshift, operator.irshift)
_UFUNCS: Final = (np.left_shift, np.right_shift)
_WHOLE: Final = (types.Integer, types.Boolean)


class ShiftContext(CPUContext):
    """A target context in which shifts are defined, of arrays as well."""

    def get_function(self, fn: Any, sig: Any, *args: Any, **kws: Any) -> Any:
        called = getattr(fn, "typing_key", fn)
        whole = len(sig.args) == 2 and all(isinstance(kind, _WHOLE) for kind in sig.args)
        if not whole or not any(called is shift for shift in SHIFTS):
            return super().get_function(fn, sig, *args, **kws)
        return partial(_call, self, sig, called in LEFT)

    def get_ufunc_info(self, ufunc_key: Any) -> Any:
        found = super().get_ufunc_info(ufunc_key)
        if not any(ufunc_key is shift for shift in _UFUNCS):
            return found
        left = ufunc_key is np.left_shift
        return {loop: _loop(left) for loop in found}


def _call(context: Any, sig: Any, left: bool, builder: Any, args: Any, loc: Any = None) -> Any:
    return _emit(context, builder, sig, args, left)


def _loop(left: bool) -> Callable[..., Any]:
    def shift(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _emit(context, builder, sig, args, left)

    return shift


def _emit(context: Any, builder: Any, sig: Any, args: Any, left: bool) -> Any:
    """``args[0]`` shifted by ``args[1]``, both of the width of what comes out."""
    wanted = sig.return_type
    value, count = (
        context.cast(builder, given, types.unliteral(kind), wanted)
        for given, kind in zip(args, sig.args, strict=True)
    )
    width = wanted.bitwidth
    beyond = builder.icmp_unsigned(">=", count, count.type(width))
    if not left and wanted.signed:
        return builder.ashr(value, builder.select(beyond, count.type(width - 1), count))
    within = builder.and_(count, count.type(width - 1))
    shifted = builder.shl(value, within) if left else builder.lshr(value, within)
    return builder.select(beyond, shifted.type(0), shifted)
