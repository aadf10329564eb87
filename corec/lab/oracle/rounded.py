"""Functions of a float32 as docs/rules.md has them: the true value, rounded to float32.

The C library's float64 function is within 2⁻⁵² of it, and is rounded.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np

Single = Callable[[np.float32], np.float32]


def _rounded(function: Callable[[float], float], beyond: float) -> Single:
    """``beyond``: what it is where Python raises instead."""

    def single(x: np.float32) -> np.float32:
        try:
            return np.float32(function(float(x)))
        except (OverflowError, ValueError):
            return np.float32(beyond)

    return single


sin: Final = _rounded(math.sin, math.nan)
cos: Final = _rounded(math.cos, math.nan)
exp: Final = _rounded(math.exp, math.inf)


def log(x: np.float32) -> np.float32:
    """Natural logarithm."""
    if x == 0.0:
        return np.float32(-math.inf)
    return np.float32(math.log(float(x))) if x > 0.0 else np.float32(math.nan)
