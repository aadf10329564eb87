"""The compiled half of a lane: a byte ring with one producer and one consumer, no lock.

Theory.  Positions are byte counts since the lane began; they only grow and never wrap, the place
of position p is ``p & (capacity - 1)``, and
``tail <= consumer's position <= head <= tail + capacity``.

    producer                              consumer
    --------                              --------
    [acquire tail if the one seen last    acquire head if the one seen last
     does not leave room]                   does not show a frame
    padding record, if the frame would    read header and payload in place
     be split by the wrap                 make the effect durable
    frame header, payload                 release-store tail
    release-store head

``head`` and the producer's copy of ``tail`` are written by the producer only, ``tail`` and the
consumer's copy of ``head`` by the consumer only.  The release of ``head`` makes the frame visible
before the position that shows it; the release of ``tail`` says that no read of the old bytes is
still to come, so the producer may overwrite them.

What a SIGKILL leaves (K = a named kill point, see ``shm.killpoint``; each is tested):

    lane.reserve.tail_seen  the copied tail is old: lower than the truth, so safe
    lane.reserve.padding    a padding record beyond head: unseen, overwritten by the successor
    lane.header.0 .. .3     part of a header beyond head: likewise
    lane.payload.half/.done part of a frame beyond head: likewise
    lane.publish.before     a whole frame beyond head: unseen; the successor writes it again
    lane.publish.after      the frame is published: the successor must know from its own durable
                            state, or the consumer drops what it has seen (CoreC: block and tick)
    lane.next.head_seen     the copied head is old: safe
    lane.release.before     tail is old: the consumer's successor starts at its durable position,
                            which is >= tail, and releases again
    lane.release.after      nothing half done

A half-written word does not exist (``shm.atomics``).  Everything between head and tail + capacity
is garbage at all times, so there is nothing to repair after a kill: a successor just goes on.

Rejected: a length word as the commit flag, as Aeron has it (the consumer would have to zero every
byte it frees, and a killed producer would leave a hole); frames split by the wrap (the consumer
would have to copy).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from shm.atomics import Words, load_acquire, store_release
from shm.compiled_killpoint import process_kill_point
from shm.jit import inlined, shared
from shm.killpoint import register
from shm.layout import (
    FRAME_ALIGN,
    FRAME_HEADER_BYTES,
    LANE_HEAD,
    LANE_HEAD_SEEN,
    LANE_TAIL,
    LANE_TAIL_SEEN,
)
from shm.memory import Bytes, copy_bytes, load_u64, store_u64

K_TAIL_SEEN = register("lane.reserve.tail_seen")
K_PADDING = register("lane.reserve.padding")
K_HEADER_0 = register("lane.header.0")
K_HEADER_1 = register("lane.header.1")
K_HEADER_2 = register("lane.header.2")
K_HEADER_3 = register("lane.header.3")
K_PAYLOAD_HALF = register("lane.payload.half")
K_PAYLOAD_DONE = register("lane.payload.done")
K_PUBLISH_BEFORE = register("lane.publish.before")
K_PUBLISH_AFTER = register("lane.publish.after")
K_HEAD_SEEN = register("lane.next.head_seen")
K_RELEASE_BEFORE = register("lane.release.before")
K_RELEASE_AFTER = register("lane.release.after")

# Numba mixes int64 and uint64 by rules of its own: every word is made one or the other at once.
_INT64: Any = np.int64
_UINT64: Any = np.uint64
_U64: Any = np.uint64(0xFFFFFFFFFFFFFFFF)
_U32: Any = np.uint64(0xFFFFFFFF)
_U16: Any = np.uint64(0xFFFF)
_0: Any = np.uint64(0)
_32: Any = np.uint64(32)
_48: Any = np.uint64(48)


@inlined
def _offset(data: Bytes, pos: int) -> int:
    """Index in ``data`` of position ``pos``."""
    offset: int = _INT64(pos) & (data.size - 1)
    return offset


@inlined
def _field(data: Bytes, pos: int, word: int, shift: int, mask: int) -> int:
    value: int = _INT64(_UINT64(load_u64(data, _offset(data, pos) + 8 * word)) >> shift & mask)
    return value


@shared
def max_payload(capacity: int) -> int:
    """Largest payload in bytes that ``lane_reserve`` accepts: a frame of a quarter of the ring.

    Such a frame fits into any lane that is at most half full, padding included.
    """
    return capacity // 4 - FRAME_HEADER_BYTES


@inlined
def frame_size(payload_len: int) -> int:
    """Bytes of header, payload and alignment (int64)."""
    return FRAME_HEADER_BYTES + ((payload_len + FRAME_ALIGN - 1) & -FRAME_ALIGN)


@inlined
def _room_after(ctl: Words, data: Bytes, position: int, wanted: int) -> int:
    """Free bytes from ``position`` on; asks the consumer's word only if ``wanted`` is not there."""
    free: int = data.size - (position - _INT64(ctl[LANE_TAIL_SEEN]))
    if free < wanted:
        tail = load_acquire(ctl, LANE_TAIL)
        ctl[LANE_TAIL_SEEN] = tail
        process_kill_point(K_TAIL_SEEN)
        free = data.size - (position - _INT64(tail))
    return free


@inlined
def lane_free(ctl: Words, data: Bytes) -> int:
    """Free bytes (producer).  A lower bound; exact whenever less than half the lane is free."""
    return _room_after(ctl, data, _INT64(ctl[LANE_HEAD]), data.size // 2)


@inlined
def lane_reserve_at(ctl: Words, data: Bytes, position: int, payload_len: int) -> int:
    """Like ``lane_reserve``, for a frame that follows unpublished frames ending at ``position``."""
    if payload_len < 0 or payload_len > max_payload(data.size):
        raise ValueError("lane: the payload is larger than max_payload(capacity)")
    position = _INT64(position)
    payload_len = _INT64(payload_len)
    offset = _offset(data, position)
    to_wrap = data.size - offset
    size = frame_size(payload_len)
    padding = to_wrap if size > to_wrap else 0
    if _room_after(ctl, data, position, size + padding) < size + padding:
        return -1
    if padding:
        store_u64(data, offset, padding)
        process_kill_point(K_PADDING)
    return position + padding


@inlined
def lane_reserve(ctl: Words, data: Bytes, payload_len: int) -> int:
    """Find room for one frame after head (producer).

    Returns its position (int64), or -1 when the lane is too full.  Nothing is visible to the
    consumer before ``lane_publish``; a padding record in front of the frame is published with it.
    Raises ValueError when the payload is larger than ``max_payload``: it would never fit.
    """
    return lane_reserve_at(ctl, data, _INT64(ctl[LANE_HEAD]), payload_len)


@inlined
def frame_write_header(
    data: Bytes,
    pos: int,
    payload_len: int,
    kind: int,
    flags: int,
    a: int,
    b: int,
    tick: int,
    c: int,
) -> None:
    """Write the 32 header bytes at position ``pos``; kind must not be 0 (padding)."""
    offset = _offset(data, pos)
    length = _UINT64(payload_len) & _U32
    store_u64(data, offset, length | (_UINT64(kind) & _U16) << _32 | _UINT64(flags) << _48)
    process_kill_point(K_HEADER_0)
    store_u64(data, offset + 8, (_UINT64(a) & _U32) | _UINT64(b) << _32)
    process_kill_point(K_HEADER_1)
    store_u64(data, offset + 16, tick)
    process_kill_point(K_HEADER_2)
    store_u64(data, offset + 24, c)
    process_kill_point(K_HEADER_3)


@inlined
def frame_payload_offset(data: Bytes, pos: int) -> int:
    """Index in ``data`` of the first payload byte of the frame at ``pos``; never split."""
    return _offset(data, pos) + FRAME_HEADER_BYTES


@inlined
def frame_write_payload(data: Bytes, pos: int, source: Bytes, source_at: int, count: int) -> None:
    """Copy ``source[source_at : source_at + count]`` into the payload of the frame at ``pos``."""
    offset = frame_payload_offset(data, pos)
    half = count // 2
    copy_bytes(data, offset, source, source_at, half)
    process_kill_point(K_PAYLOAD_HALF)
    copy_bytes(data, offset + half, source, source_at + half, count - half)
    process_kill_point(K_PAYLOAD_DONE)


@inlined
def lane_publish(ctl: Words, data: Bytes, pos: int, payload_len: int) -> None:
    """Show the complete frame at ``pos``, and all before it, to the consumer."""
    process_kill_point(K_PUBLISH_BEFORE)
    store_release(ctl, LANE_HEAD, _INT64(pos) + frame_size(_INT64(payload_len)))
    process_kill_point(K_PUBLISH_AFTER)


@inlined
def lane_push(
    ctl: Words,
    data: Bytes,
    source: Bytes,
    source_at: int,
    count: int,
    kind: int,
    flags: int,
    a: int,
    b: int,
    tick: int,
    c: int,
) -> bool:
    """Reserve, write and publish one frame with a slice of ``source``; false if full."""
    pos = lane_reserve(ctl, data, count)
    if pos < 0:
        return False
    frame_write_header(data, pos, count, kind, flags, a, b, tick, c)
    frame_write_payload(data, pos, source, source_at, count)
    lane_publish(ctl, data, pos, count)
    return True


@inlined
def lane_next(ctl: Words, data: Bytes, pos: int) -> tuple[int, int]:
    """The first frame at or after ``pos`` (consumer): ``(frame_pos, next_pos)``, both int64.

    Padding is skipped.  ``frame_pos`` is -1 when nothing is published there; go on later from
    ``next_pos``.  Raises ValueError when a record runs past head: the region is corrupt.
    """
    pos = _INT64(pos)
    head: int = _INT64(ctl[LANE_HEAD_SEEN])
    while True:
        if pos >= head:
            shown = load_acquire(ctl, LANE_HEAD)
            ctl[LANE_HEAD_SEEN] = shown
            process_kill_point(K_HEAD_SEEN)
            head = _INT64(shown)
            if pos >= head:
                return -1, pos
        if not frame_kind(data, pos):
            pos = (pos | (data.size - 1)) + 1
            continue
        end = pos + frame_size(frame_len(data, pos))
        if end > head:
            raise ValueError("lane: a frame runs past head, the lane is corrupt")
        return pos, end


@inlined
def lane_release(ctl: Words, pos: int) -> None:
    """Give everything before ``pos`` back to the producer (consumer, after its effect is durable).

    A position at or before tail changes nothing.
    """
    if _INT64(pos) > _INT64(ctl[LANE_TAIL]):
        process_kill_point(K_RELEASE_BEFORE)
        store_release(ctl, LANE_TAIL, pos)
        process_kill_point(K_RELEASE_AFTER)


@inlined
def frame_len(data: Bytes, pos: int) -> int:
    """Payload length in bytes (int64)."""
    return _field(data, pos, 0, _0, _U32)


@inlined
def frame_kind(data: Bytes, pos: int) -> int:
    """The kind (int64, 0..65535)."""
    return _field(data, pos, 0, _32, _U16)


@inlined
def frame_flags(data: Bytes, pos: int) -> int:
    """The flags (int64, 0..65535)."""
    return _field(data, pos, 0, _48, _U16)


@inlined
def frame_a(data: Bytes, pos: int) -> int:
    """The free field a (int64, 0..2**32-1)."""
    return _field(data, pos, 1, _0, _U32)


@inlined
def frame_b(data: Bytes, pos: int) -> int:
    """The free field b (int64, 0..2**32-1)."""
    return _field(data, pos, 1, _32, _U32)


@inlined
def frame_tick(data: Bytes, pos: int) -> int:
    """The tick (int64: ticks stay below 2**63, and int64 mixes with other numbers in Numba)."""
    return _field(data, pos, 2, _0, _U64)


@inlined
def frame_c(data: Bytes, pos: int) -> int:
    """The free field c (uint64)."""
    return load_u64(data, _offset(data, pos) + 24)
