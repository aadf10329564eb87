"""Compiled producer and consumer that fill and check every byte of every frame.

Frame number n of a run is a function of (seed, n) alone: its length, its fields, its payload words
and a checksum over them in c.  So a successor produces the same frames, and a consumer knows what
it must see.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.core import types

from shm.atomics import Words, store_release
from shm.compiled_killpoint import process_kill_point
from shm.jit import BYTES, WORDS, compiled, inlined
from shm.memory import Bytes, load_u64, store_u64
from shm.ring import (
    K_PAYLOAD_DONE,
    K_PAYLOAD_HALF,
    frame_a,
    frame_b,
    frame_c,
    frame_flags,
    frame_kind,
    frame_len,
    frame_payload_offset,
    frame_tick,
    frame_write_header,
    lane_next,
    lane_publish,
    lane_release,
    lane_reserve,
)

BAD = -1
"""A frame that is not the one expected."""

_U: Any = np.uint64
_I: Any = np.int64
_M1: Any = np.uint64(0xBF58476D1CE4E5B9)
_M2: Any = np.uint64(0x94D049BB133111EB)
_GOLDEN: Any = np.uint64(0x9E3779B97F4A7C15)
_30: Any = np.uint64(30)
_27: Any = np.uint64(27)
_31: Any = np.uint64(31)


@inlined
def mix(x: Any) -> Any:
    """SplitMix64's finaliser (Steele, Lea, Flood 2014) of x + golden ratio."""
    z = _U(x) + _GOLDEN
    z = (z ^ (z >> _30)) * _M1
    z = (z ^ (z >> _27)) * _M2
    return z ^ (z >> _31)


@inlined
def length_of(seed: int, n: int, words_min: int, words_max: int) -> Any:
    """Payload bytes of frame n: whole words, from words_min to words_max."""
    span = _U(words_max - words_min + 1)
    return 8 * (words_min + _I(mix(_U(seed) ^ mix(_U(n))) % span))


@compiled(
    types.int64(
        WORDS, BYTES, types.int64, types.int64, types.int64, types.int64, types.int64, types.int64
    )
)
def produce(
    ctl: Words,
    data: Bytes,
    seed: int,
    first: int,
    end: int,
    words_min: int,
    words_max: int,
    attempts: int,
) -> int:
    """Publish frames first..end-1 until that or ``attempts`` failures; returns the next number."""
    n = first
    while n < end:
        length = length_of(seed, n, words_min, words_max)
        pos = lane_reserve(ctl, data, length)
        if pos < 0:
            attempts -= 1
            if attempts < 0:
                return n
            continue
        total = _U(0)
        base = mix(_U(seed) + _U(n))
        for k in range(length // 8):
            total = mix(total ^ (base + _U(k)))
        frame_write_header(data, pos, length, 1 + n % 65535, n % 65536, n, ~n, n, total)
        offset = frame_payload_offset(data, pos)
        for k in range(length // 8):
            if k == length // 16:
                process_kill_point(K_PAYLOAD_HALF)
            store_u64(data, offset + 8 * k, base + _U(k))
        process_kill_point(K_PAYLOAD_DONE)
        lane_publish(ctl, data, pos, length)
        n += 1
    return n


@inlined
def intact(data: Bytes, pos: int, seed: int, n: int, words_min: int, words_max: int) -> bool:
    """Whether the frame at ``pos`` is frame n in every field and byte."""
    length = length_of(seed, n, words_min, words_max)
    same = (
        frame_len(data, pos) == length
        and frame_kind(data, pos) == 1 + n % 65535
        and frame_flags(data, pos) == n % 65536
        and frame_a(data, pos) == n & 0xFFFFFFFF
        and frame_b(data, pos) == ~n & 0xFFFFFFFF
        and frame_tick(data, pos) == n
    )
    if not same:
        return False
    total = _U(0)
    base = mix(_U(seed) + _U(n))
    offset = frame_payload_offset(data, pos)
    for k in range(length // 8):
        word = load_u64(data, offset + 8 * k)
        if word != base + _U(k):
            return False
        total = mix(total ^ word)
    return bool(total == frame_c(data, pos))


@compiled(
    types.int64(
        WORDS,
        BYTES,
        WORDS,
        types.int64,
        types.int64,
        types.int64,
        types.int64,
        types.int64,
        types.int64,
    )
)
def consume(
    ctl: Words,
    data: Bytes,
    durable: Words,
    seed: int,
    end: int,
    words_min: int,
    words_max: int,
    attempts: int,
    batch: int,
) -> int:
    """Check frames until number ``end`` or ``attempts`` empty looks; returns the next number.

    ``durable`` is what the consumer's sink keeps: [0] the next number wanted, [1] the position to
    go on from.  [0] is the effect and goes first: a frame seen twice (tick below [0]) is dropped.
    Releases every ``batch`` frames.  Returns BAD at the first frame that is not the right one.
    """
    pos: int = _I(durable[1])
    wanted: int = _I(durable[0])
    pending = 0
    while wanted < end:
        at, following = lane_next(ctl, data, pos)
        if at < 0:
            lane_release(ctl, pos)
            attempts -= 1
            if attempts < 0:
                return wanted
            continue
        n = frame_tick(data, at)
        if n > wanted or not intact(data, at, seed, n, words_min, words_max):
            return BAD
        pos = following
        if n == wanted:
            wanted += 1
            store_release(durable, 0, wanted)
        store_release(durable, 1, pos)
        pending += 1
        if pending >= batch:
            lane_release(ctl, pos)
            pending = 0
    lane_release(ctl, pos)
    return wanted
