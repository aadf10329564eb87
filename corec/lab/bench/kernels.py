"""Compiled code that only benchmarks need: the triad, a rival tick by hand, both ends of a lane."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import float32, njit, types, uint32, uint64
from numpy.typing import NDArray

from shm.atomics import cpu_relax
from shm.jit import BYTES, WORDS, compiled
from shm.lane import frame_a, frame_payload_offset, lane_next, lane_push, lane_release
from shm.layout import LANE_TAIL

_F8: Any = types.Array(types.float64, 1, "C")
_F4: Any = types.Array(types.float32, 2, "C")
_F4_1: Any = types.Array(types.float32, 1, "C")
_U4: Any = types.Array(types.uint32, 1, "C")
_SUMS: Any = {"reassoc", "nsz", "contract", "arcp"}


@compiled(types.void(_F8, _F8, _F8, types.float64))
def triad(a: Any, b: Any, c: Any, q: float) -> None:
    """a = b + q·c (McCalpin's STREAM): 24 bytes an element, 32 with the line that a store reads."""
    for i in range(a.size):
        a[i] = b[i] + q * c[i]


@njit(inline="always")
def _philox_word(counter: Any, tick: Any) -> Any:
    """First word of Philox4x32-10 with counter (counter, tick, 0, 0) and key (7, 9)."""
    x0, x1, x2, x3 = counter, tick, uint32(0), uint32(0)
    key0, key1 = uint32(7), uint32(9)
    for _ in range(10):
        left = uint64(x0) * uint64(0xD2511F53)
        right = uint64(x2) * uint64(0xCD9E8D57)
        x0 = uint32(right >> uint64(32)) ^ x1 ^ key0
        x2 = uint32(left >> uint64(32)) ^ x3 ^ key1
        x1, x3 = uint32(right), uint32(left)
        key0 = uint32(key0 + uint32(0x9E3779B9))
        key1 = uint32(key1 + uint32(0xBB67AE85))
    return x0


@njit(
    types.int64(_F4, _F4, _F4_1, types.int64, types.float32, types.float32, types.float32, _U4),
    cache=True, nogil=True, error_model="numpy", fastmath=_SUMS,
)  # fmt: skip
def loop_tick(
    old: NDArray[np.float32], new: NDArray[np.float32], umbral: NDArray[np.float32], tick: int,
    mu: float, phi: float, noise: float, picked: NDArray[np.uint32],
) -> int:  # fmt: skip
    """The sensor by hand: ``old`` → ``new`` (f32[blocks, n]), each block's σ, umbral and messages.

    ``picked`` (u32[2·entities]) takes id and value bits of each message; returns how many.
    """
    count = 0
    t = uint32(tick)
    for b in range(old.shape[0]):
        source = old[b]
        target = new[b]
        n = source.shape[0]
        first = uint32(b * n)
        total = float32(0.0)
        squares = float32(0.0)
        bad = 0
        over = 0
        for i in range(n):
            word = _philox_word(uint32(first + uint32(i)), t)
            u = float32(word >> uint32(8)) * float32(2.0**-24)
            x = mu + phi * (source[i] - mu) + noise * (u - float32(0.5))
            d = x - mu
            total += d
            squares += d * d
            bad += 0 if (x - x) == float32(0.0) else 1
            over += 1 if x > umbral[b] else 0
            target[i] = x
        if over > 0:
            bits = target.view(np.uint32)
            for i in range(n):
                if target[i] > umbral[b]:
                    picked[2 * count] = first + uint32(i)
                    picked[2 * count + 1] = bits[i]
                    count += 1
        variance = (squares - total * total / float32(n)) / float32(n - 1)
        raw = float32(0.5) + float32(0.3) * float32(math.sqrt(max(variance, float32(0.0))))
        raw += float32(0.2) * float32(bad) / float32(n)
        umbral[b] = min(max(raw, float32(0.1)), float32(0.9))
    return count


@compiled(types.void(WORDS, BYTES, BYTES, types.int64))
def produce(ctl: Any, data: Any, payload: Any, frames: int) -> None:
    """Publish ``frames`` frames of ``payload``, waiting for room (the producing end)."""
    for k in range(frames):
        while not lane_push(ctl, data, payload, 0, payload.size, 1, 0, k & 0xFFFF, 0, 0, 0):
            cpu_relax()


@compiled(types.int64(WORDS, BYTES, types.int64, BYTES))
def consume(ctl: Any, data: Any, frames: int, copy: Any) -> int:
    """Take ``frames`` frames, each copied to ``copy``; the sum of their numbers and first bytes."""
    position: Any = np.int64(ctl[LANE_TAIL])
    total = 0
    taken = 0
    while taken < frames:
        at, following = lane_next(ctl, data, position)
        if at < 0:
            position = following
            cpu_relax()
            continue
        start = frame_payload_offset(data, at)
        copy[:] = data[start : start + copy.size]
        total += frame_a(data, at) + copy[0]
        taken += 1
        position = following
        lane_release(ctl, position)
    return total
