"""Lanes for Python callers: a byte ring of frames in a region of shared memory.

One process holds the producing end, one the consuming end; ``shm.ring`` has the theory, what a
kill leaves at each store, and the functions for compiled code (all re-exported here).  A producer
that makes many frames does so in one compiled call (``Lane.push_many``, or its own kernel over
``lane_reserve_at``): a Python call per frame costs more than the frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numba.core import types

from shm.atomics import Indices, Words, check_words, read_word, write_word
from shm.jit import BYTES, BYTES_READ_ONLY, INDICES, WORDS, compiled
from shm.layout import (
    FRAME_HEADER,
    FRAME_HEADER_BYTES,
    KIND_PADDING,
    LANE_CAPACITY,
    LANE_CAPACITY_MAX,
    LANE_CAPACITY_MIN,
    LANE_CONTROL_BYTES,
    LANE_HEAD,
    LANE_MAGIC,
    LANE_MAGIC_VALUE,
    LANE_START,
    LANE_TAIL,
    LANE_TAIL_SEEN,
    frame_bytes,
)
from shm.memory import Bytes
from shm.ring import (
    frame_a,
    frame_b,
    frame_c,
    frame_flags,
    frame_kind,
    frame_len,
    frame_payload_offset,
    frame_size,
    frame_tick,
    frame_write_header,
    frame_write_payload,
    lane_free,
    lane_next,
    lane_publish,
    lane_push,
    lane_release,
    lane_reserve,
    lane_reserve_at,
    max_payload,
)

__all__ = [
    "Frame",
    "frame_at",
    "Lane",
    "LaneCorrupt",
    "frame_a",
    "frame_b",
    "frame_c",
    "frame_flags",
    "frame_kind",
    "frame_len",
    "frame_payload_offset",
    "frame_size",
    "frame_tick",
    "frame_write_header",
    "frame_write_payload",
    "lane_free",
    "lane_next",
    "lane_publish",
    "lane_push",
    "lane_region_bytes",
    "lane_release",
    "lane_reserve",
    "lane_reserve_at",
    "max_payload",
]


class LaneCorrupt(ValueError):
    """The region does not hold a lane, or a frame in it makes no sense."""


class Frame(NamedTuple):
    """One frame as its consumer sees it; ``payload`` is a read-only view into the lane.

    The view is valid until the consumer releases a position after ``position``.
    """

    kind: int
    flags: int
    a: int
    b: int
    tick: int
    c: int
    payload: memoryview
    position: int
    next_position: int


def frame_at(data: memoryview, offset: int, position: int) -> Frame | None:
    """The frame at ``offset`` of ``data``, which is at ``position`` of its lane; None: padding.

    Whether it ends within ``data`` is not looked at.
    """
    length, kind, flags, a, b, tick, c = FRAME_HEADER.unpack_from(data, offset)
    if kind == KIND_PADDING:
        return None
    first = offset + FRAME_HEADER_BYTES
    payload = data[first : first + length]
    return Frame(kind, flags, a, b, tick, c, payload, position, position + frame_bytes(length))


def capacity_for(payload_bytes: int) -> int:
    """The smallest capacity (a power of two) of a lane that takes a payload of this size."""
    capacity = LANE_CAPACITY_MIN
    while max_payload(capacity) < payload_bytes:
        capacity *= 2
    return capacity


def lane_region_bytes(capacity: int) -> int:
    """Bytes of a region whose ring holds ``capacity`` bytes.

    Raises ValueError unless capacity is a power of two from 256 to 2**40.
    """
    if capacity & (capacity - 1) or not LANE_CAPACITY_MIN <= capacity <= LANE_CAPACITY_MAX:
        raise ValueError(
            f"lane capacity: found {capacity} bytes, expected a power of two "
            f"from {LANE_CAPACITY_MIN} to {LANE_CAPACITY_MAX}"
        )
    return LANE_CONTROL_BYTES + capacity


@compiled(
    types.boolean(
        WORDS, BYTES, BYTES_READ_ONLY, types.int64, types.int64, types.int64, types.int64,
        types.uint64, types.uint64,
    )
)  # fmt: skip
def _push_one(
    ctl: Words,
    data: Bytes,
    payload: Bytes,
    kind: int,
    flags: int,
    a: int,
    b: int,
    tick: int,
    c: int,
) -> bool:
    return lane_push(ctl, data, payload, 0, payload.size, kind, flags, a, b, tick, c)


@compiled(
    types.int64(
        WORDS, BYTES, BYTES_READ_ONLY, INDICES, types.int64, types.int64, types.int64, types.int64,
        types.uint64, types.uint64,
    )
)  # fmt: skip
def _push_many(
    ctl: Words,
    data: Bytes,
    payloads: Bytes,
    ends: Indices,
    kind: int,
    flags: int,
    a: int,
    b: int,
    tick: int,
    c: int,
) -> int:
    start = 0
    for k in range(ends.size):
        end = ends[k]
        number: Any = np.uint64(c) + np.uint64(k)
        if not lane_push(ctl, data, payloads, start, end - start, kind, flags, a, b, tick, number):
            return k
        start = end
    return ends.size


class Lane:
    """One end of a lane.  Make it with ``create`` (once, before anybody attaches) or ``attach``."""

    __slots__ = ("_payloads", "capacity", "ctl", "data")

    ctl: Words
    """uint64[128], the control words; ``shm.layout`` names them."""
    data: Bytes
    """uint8[capacity], the ring."""
    capacity: int
    """Bytes of the ring, a power of two."""

    def __init__(self, region: Bytes) -> None:
        if region.dtype != np.uint8 or region.ndim != 1 or not region.flags.c_contiguous:
            raise TypeError("lane region: expected a contiguous one-dimensional uint8 array")
        self.capacity = region.size - LANE_CONTROL_BYTES
        lane_region_bytes(self.capacity)
        self.ctl = check_words(region[:LANE_CONTROL_BYTES].view(np.uint64))
        self.data = region[LANE_CONTROL_BYTES:]
        self._payloads = self.data.data.toreadonly()

    @classmethod
    def create(cls, region: Bytes, *, start: int = 0) -> Lane:
        """Make an empty lane of the whole ``region``; the first frame gets position ``start``.

        ``start`` (a multiple of 8) lets positions go on growing where an older lane ended.
        A kill in here leaves a region that ``attach`` refuses: the magic is stored last.
        """
        if start < 0 or start % 8:
            raise ValueError(f"lane start: found {start}, expected a multiple of 8, 0 or more")
        lane = cls(region)
        write_word(lane.ctl, LANE_MAGIC, 0)
        lane.ctl[1:] = 0
        lane.ctl[LANE_CAPACITY] = lane.capacity
        for word in (LANE_START, LANE_HEAD, LANE_TAIL, LANE_TAIL_SEEN):
            lane.ctl[word] = start
        write_word(lane.ctl, LANE_MAGIC, LANE_MAGIC_VALUE)
        return lane

    @classmethod
    def attach(cls, region: Bytes) -> Lane:
        """Take up a lane that exists, at either end.

        Raises LaneCorrupt when the region was never created as a lane of this size, or its
        positions contradict each other.
        """
        lane = cls(region)
        magic = read_word(lane.ctl, LANE_MAGIC)
        if magic != LANE_MAGIC_VALUE or int(lane.ctl[LANE_CAPACITY]) != lane.capacity:
            raise LaneCorrupt(
                f"lane: found magic {magic:#x} and capacity {int(lane.ctl[LANE_CAPACITY])}, "
                f"expected {LANE_MAGIC_VALUE:#x} and {lane.capacity}"
            )
        tail, head = lane.tail, lane.head
        if not tail <= head or lane.tail + lane.capacity < head or head % 8:
            raise LaneCorrupt(f"lane: found head {head}, tail {tail}, capacity {lane.capacity}")
        return lane

    @property
    def head(self) -> int:
        """Position after the last published frame."""
        return int(read_word(self.ctl, LANE_HEAD))

    @property
    def tail(self) -> int:
        """Position up to which the consumer has released."""
        return int(read_word(self.ctl, LANE_TAIL))

    @property
    def used(self) -> int:
        """Bytes published and not released, padding included."""
        tail = self.tail
        return self.head - tail

    @property
    def max_payload(self) -> int:
        """Largest payload in bytes that ``push`` takes."""
        return self.capacity // 4 - FRAME_HEADER_BYTES

    def push(
        self,
        kind: int,
        payload: bytes | bytearray | memoryview,
        *,
        flags: int = 0,
        a: int = 0,
        b: int = 0,
        tick: int = 0,
        c: int = 0,
    ) -> bool:
        """Publish one frame (producer); false when the lane is too full for it now.

        Raises ValueError for kind 0 (padding) and for a payload above ``max_payload``.
        """
        _check_kind(kind)
        source = np.frombuffer(payload, np.uint8)
        return bool(_push_one(self.ctl, self.data, source, kind, flags, a, b, tick, c))

    def push_many(
        self,
        kind: int,
        payloads: Bytes,
        ends: Indices,
        *,
        flags: int = 0,
        a: int = 0,
        b: int = 0,
        tick: int = 0,
        c: int = 0,
    ) -> int:
        """Publish frames one after the other in one compiled call (producer).

        Frame k holds ``payloads[ends[k-1]:ends[k]]`` (uint8[:], int64[:] ascending) and gets
        ``c + k``.  Returns how many fitted; publish the rest later.
        """
        _check_kind(kind)
        if ends.size and (
            int(ends[0]) < 0 or int(ends[-1]) > payloads.size or bool((np.diff(ends) < 0).any())
        ):
            raise ValueError("push_many: expected ends that ascend within the payloads")
        return int(_push_many(self.ctl, self.data, payloads, ends, kind, flags, a, b, tick, c))

    def frames(self, start: int | None = None, limit_bytes: int | None = None) -> Iterator[Frame]:
        """The frames published by now from position ``start`` (default: tail) on, not released.

        Stops at the first frame that would make it more than ``limit_bytes`` of ring, but yields
        at least one.  Raises ValueError when ``start`` is not between tail and head, LaneCorrupt
        at a frame that runs past head.
        """
        head = self.head
        position = begin = self.tail if start is None else start
        if not self.tail <= begin <= head or begin % 8:
            raise ValueError(f"lane: found start {begin}, expected {self.tail}..{head}, by 8")
        mask = self.capacity - 1
        yielded = False
        while position < head:
            offset = position & mask
            if offset + FRAME_HEADER_BYTES > self.capacity:
                position = (position | mask) + 1
                continue
            frame = frame_at(self._payloads, offset, position)
            if frame is None:
                position = (position | mask) + 1
                continue
            following = frame.next_position
            if following > head or offset + following - position > self.capacity:
                raise LaneCorrupt(f"lane: the frame at {position} ends at {following} past {head}")
            if limit_bytes is not None and yielded and following - begin > limit_bytes:
                return
            yield frame
            yielded = True
            position = following

    def release(self, pos: int) -> None:
        """Give everything before ``pos`` back to the producer (consumer, when it is durable).

        Raises ValueError when ``pos`` is past head; one at or before tail changes nothing.
        """
        if pos > self.head:
            raise ValueError(f"lane: found release of {pos}, expected at most head {self.head}")
        _release(self.ctl, pos)


@compiled(types.void(WORDS, types.int64))
def _release(ctl: Words, pos: int) -> None:
    lane_release(ctl, pos)


def _check_kind(kind: int) -> None:
    if not 1 <= kind <= 0xFFFF:
        raise ValueError(f"frame kind: found {kind}, expected 1..65535 (0 is padding)")
