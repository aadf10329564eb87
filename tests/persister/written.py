"""What ``corec.persister.digits`` writes, as Python strings."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from corec.persister.digits import FLOAT_TEXT_MAX, NUMBER_TEXT_MAX, SLACK, put_float, put_number

ROOM = max(FLOAT_TEXT_MAX, NUMBER_TEXT_MAX) + SLACK
MARK = 0xEE
_put_float: Any = put_float
_put_number: Any = put_number


@njit
def _write(values, numbers, out, ends):  # type: ignore[no-untyped-def]  # compiled
    for k in range(ends.size):
        begin = out.ctypes.data + k * ROOM
        if values.size:
            ends[k] = _put_float(begin, values[k]) - begin
        else:
            ends[k] = _put_number(begin, numbers[k]) - begin


def _texts(values: Any, numbers: Any) -> list[str]:
    count = max(values.size, numbers.size)
    out = np.full(count * ROOM, MARK, np.uint8)
    ends = np.zeros(count, np.int64)
    _write(values, numbers, out, ends)
    return [
        out[k * ROOM : k * ROOM + end].tobytes().decode("ascii")
        for k, end in enumerate(ends.tolist())
    ]


def float_texts(values: Any) -> list[str]:
    """The JSON of each of f32[n]."""
    return _texts(np.ascontiguousarray(values, np.float32), np.zeros(0, np.uint64))


def number_texts(numbers: Any) -> list[str]:
    """The decimal of each of u64[n]."""
    return _texts(np.zeros(0, np.float32), np.ascontiguousarray(numbers, np.uint64))
