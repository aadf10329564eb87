"""When two numbers of the compiled and of the plain form agree, and how they are shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def close_to(a: Any, b: Any, rtol: float) -> bool:
    """Numbers of which one is real within ``rtol``, others when they are equal."""
    if np.asarray(a).dtype.kind != "f":
        return bool(a == b)
    x, y = float(a), float(b)
    return x == y or abs(x - y) <= rtol * max(1.0, abs(x), abs(y))


def shown(value: Any) -> str:
    """As one would write it."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping) or value is None:
        return repr(value)
    return repr(np.asarray(value).tolist())
