"""The windows of a history, laid out in order of time: what the digest and ``entity`` read."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba.core import types

from shm.jit import INDICES, compiled

_RINGS = types.Array(types.float32, 2, "A")
_VALUES = types.Array(types.float32, 2, "C")
_COUNTS = types.Array(types.int64, 1, "C")


@compiled(types.int64(_RINGS, _COUNTS, _VALUES, INDICES))
def gather_windows(
    rings: npt.NDArray[np.float32],
    counts: npt.NDArray[np.int64],
    values: npt.NDArray[np.float32],
    held: npt.NDArray[np.int64],
) -> int:
    """Fill ``values`` f4[n, length] with the last values of each ring, oldest first, padded with 0
    in front, and ``held`` int64[n] with how many there are; returns the sum of ``held``.

    ``rings``: f4[n, slots], value s of entity i in slot s mod slots. ``counts``: i8[n], how many
    values were pushed so far.
    """
    n, length = values.shape
    slots = rings.shape[1]
    total = 0
    for i in range(n):
        count = counts[i]
        have = min(count, length)
        held[i] = have
        total += have
        for k in range(length - have):
            values[i, k] = np.float32(0.0)
        place = (count - have) % slots
        first = min(have, slots - place)
        start = length - have
        for k in range(first):
            values[i, start + k] = rings[i, place + k]
        for k in range(have - first):
            values[i, start + first + k] = rings[i, k]
    return total
