"""What ``me.normal()`` and ``me.randint(a, b)`` make of two words of Philox, in both forms.

A normal number by Box and Muller (*Ann. Math. Stat.* 29, 1958), the cosine of the pair; a whole
number by multiplying 64 bits with the size of the range and keeping the upper half, so that no
number is drawn again: of n numbers none is likelier than another by more than n / 2⁶⁴ of itself.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import float32, int64, uint32, uint64
from numba.extending import register_jitable

from corec.kernels import elementary as E

INV_2_31: Final = np.float32(2.0**-31)
TWO_PI: Final = np.float32(6.2831855)
_MASK: Final = (1 << 64) - 1


@register_jitable(**E.OPTIONS)
def normal_of(first: Any, second: Any) -> Any:
    """Standard normal float32 of two u32: at most 6.66 in size."""
    # halved: a signed number becomes float32 in one instruction, an unsigned one does not
    u = (float32(int64(first >> uint32(1))) + float32(0.5)) * INV_2_31
    v = float32(int64(second >> uint32(1))) * INV_2_31
    return E.sqrt(float32(-2.0) * E.log_finite(u)) * E.cos_near(TWO_PI * v)


@register_jitable(**E.OPTIONS)
def whole_of(first: Any, second: Any, low: Any, high: Any) -> Any:
    """int64 from ``low`` to ``high``, both int64 and both among them, of two u32."""
    mask, half = uint64(0xFFFFFFFF), uint64(32)
    size = uint64(high) - uint64(low) + uint64(1)  # 0: all 2 ** 64
    a, b = uint64(first), uint64(second)
    size_high, size_low = size >> half, size & mask
    carried = a * size_low + (b * size_low >> half)
    other = b * size_high + (carried & mask)
    upper = a * size_high + (carried >> half) + (other >> half)
    found = upper if size != uint64(0) else (a << half | b)
    return int64(uint64(low) + found)


def normal_reference(first: int, second: int) -> np.float32:
    """``normal_of`` in plain Python."""
    with np.errstate(all="ignore"):
        u = (np.float32(first >> 1) + np.float32(0.5)) * INV_2_31
        v = np.float32(second >> 1) * INV_2_31
        return np.float32(np.sqrt(np.float32(-2.0) * E.log(u)) * E.cos(TWO_PI * v))


def whole_reference(first: int, second: int, low: int, high: int) -> int:
    """``whole_of`` in plain Python."""
    return low + ((first << 32 | second) * (high - low + 1) >> 64)
