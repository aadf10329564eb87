"""Compiled passes over what came in: check packed messages, put the good ones into the inbox.

A packed message is 10 bytes, ``struct`` format ``!Ibf?``, and in a world in which a reading has
several values 4 more for each further one, all big endian. ``check`` judges each once; ``publish``
writes the good ones as READING records straight into the inbox lane, a frame at a time.

Frames and positions.  A batch is the messages of one canal's entries end to end; an entry is one
*segment* of it. A frame may hold readings of several segments: its head says up to which message
of which entry everything is in the lane, and a frame is published as a whole or not at all
(``shm.ring``), so the last frame of a canal is its position whatever was killed when.

This process is the inbox's only producer. ``last_positions`` reads the frames between tail and
head; the consumer may move the tail meanwhile, but nobody can overwrite them.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba.core import types
from numpy.typing import NDArray

from corec.broker.positions import InPosition
from corec.layout import (
    CANALES,
    KIND_READINGS_FRAME,
    MESSAGE,
    READINGS_HEAD,
    VALUES_MAX,
)
from corec.layout.frames import reading_bytes
from shm.jit import BYTES, BYTES_READ_ONLY, INDICES, WORDS, compiled, inlined
from shm.lane import (
    Lane,
    frame_a,
    frame_kind,
    frame_len,
    frame_payload_offset,
    frame_size,
    frame_write_header,
    lane_publish,
    lane_reserve,
)
from shm.layout import Counted
from shm.memory import load_u64, store_u64

Bytes = NDArray[np.uint8]
Words = NDArray[np.uint64]
Table = NDArray[np.int64]

MESSAGE_BYTES: Final = MESSAGE.itemsize
HEAD_BYTES: Final = READINGS_HEAD.itemsize
VALUE_BYTES: Final = 4
FRAME_READINGS_MAX: Final = 16_384

_code = Counted()
GOOD: Final = _code()
BAD_UNKNOWN_ID: Final = _code()
BAD_CANAL: Final = _code()  # the message names another canal than the stream
BAD_ENTITY_CANAL: Final = _code()  # the entity belongs to another canal than the stream
BAD_VALOR: Final = _code()  # NaN or infinite
BAD_WIDTH: Final = _code()  # the entity is read with other values than these
BAD_FIELD: Final = _code(VALUES_MAX)  # + a: value a of several is NaN or infinite
BAD_TEXT: Final = (
    "good",
    "unknown id",
    "canal differs from the stream's",
    "the entity is on another canal",
    "valor is not a finite number",
    "the entity does not take a reading of so many values",
    *(f"value {a + 1} of a reading is not a finite number" for a in range(VALUES_MAX)),
)

# columns of the swarm table, ascending by first id
_swarm = Counted()
SWARM_FIRST: Final = _swarm()
SWARM_END: Final = _swarm()
SWARM_CANAL: Final = _swarm()
SWARM_CELU: Final = _swarm()
SWARM_VALUES: Final = _swarm()  # numbers in a reading; 0: one, without a name
SWARM_COLUMNS: Final = _swarm.end

_TABLE: Any = types.Array(types.int64, 2, "C")
_LOW: Final = 0xFFFFFFFF
_NONE: Any = np.uint64(0)


@inlined
def find_swarm(swarms: Table, entity: int) -> int:
    """Row of the swarm that holds ``entity``, -1 when there is none."""
    low = 0
    high = swarms.shape[0]
    while low < high:
        middle = (low + high) // 2
        if entity >= swarms[middle, SWARM_END]:
            low = middle + 1
        else:
            high = middle
    if low < swarms.shape[0] and entity >= swarms[low, SWARM_FIRST]:
        return low
    return -1


@inlined
def _word_at(data: Bytes, at: int) -> int:
    return (
        int(data[at]) << 24 | int(data[at + 1]) << 16 | int(data[at + 2]) << 8 | int(data[at + 3])
    )


def message_bytes(width: int) -> int:
    """Bytes of a packed message with ``width`` values."""
    return MESSAGE_BYTES + VALUE_BYTES * (width - 1)


@inlined
def _endless(data: Bytes, at: int) -> bool:
    """Whether the float32 there is NaN or infinite: its exponent is all ones."""
    endless: bool = data[at] & 0x7F == 0x7F and data[at + 1] & 0x80 != 0
    return endless


@inlined
def _several(packed: Bytes, at: int, has: int, takes: int) -> int:
    """Judge a message of ``has`` values (0: an ``m``, which can only switch its entity off) for an
    entity that takes so many."""
    if has == 0:
        return GOOD if packed[at + 9] == 0 else BAD_WIDTH
    if has != max(takes, 1):
        return BAD_WIDTH
    if _endless(packed, at + 5):
        return BAD_FIELD
    for a in range(1, takes):
        if _endless(packed, at + MESSAGE_BYTES + VALUE_BYTES * (a - 1)):
            return BAD_FIELD + a
    return GOOD


@compiled(types.int64(BYTES_READ_ONLY, types.int64, types.int64, _TABLE, BYTES))
def check(packed: Bytes, width: int, canal: int, swarms: Table, verdict: Bytes) -> int:
    """Judge each message of ``packed`` (uint8[n, message_bytes(width)], flat) for the stream of
    ``canal`` (-128..127).

    ``swarms`` int64[swarms, SWARM_COLUMNS]. ``verdict`` (uint8[n]) says how many values came in
    each message, 0 for one of an ``m``; it becomes GOOD or BAD_*. Returns how many are bad.
    """
    size = MESSAGE_BYTES + VALUE_BYTES * (width - 1)
    bad = 0
    swarm = 0
    first = 0
    end = 0
    takes = 0
    for i in range(verdict.size):
        at = i * size
        entity = _word_at(packed, at)
        if entity < first or entity >= end:
            swarm = find_swarm(swarms, entity)
            if swarm >= 0:
                first = swarms[swarm, SWARM_FIRST]
                end = swarms[swarm, SWARM_END]
                takes = swarms[swarm, SWARM_VALUES]
            else:
                first = end = 0
        code = GOOD
        has = int(verdict[i])
        if swarm < 0:
            code = BAD_UNKNOWN_ID
        elif packed[at + 4] != canal & (CANALES - 1):
            code = BAD_CANAL
        elif swarms[swarm, SWARM_CANAL] != canal:
            code = BAD_ENTITY_CANAL
        elif takes > 1 or has > 1:
            code = _several(packed, at, has, takes)
        elif _endless(packed, at + 5):
            code = BAD_VALOR
        verdict[i] = code
        if code:
            bad += 1
    return bad


@compiled(
    types.int64(
        WORDS, BYTES, BYTES_READ_ONLY, types.int64, BYTES, types.int64, types.int64, INDICES,
        _TABLE, types.int64,
    )
)  # fmt: skip
def publish(
    ctl: Words,
    data: Bytes,
    packed: Bytes,
    width: int,
    verdict: Bytes,
    begin: int,
    canal: int,
    starts: Table,
    entries: Table,
    frame_readings: int,
) -> int:
    """Publish the good messages from index ``begin`` on; returns the index it came to.

    ``starts`` int64[segments + 1]: first message of each entry, then the number of messages;
    ``entries`` int64[segments, 2]: ms and seq (as signed words). A frame holds ``frame_readings``
    at most, and at most FRAME_READINGS_MAX. The last frame's head stands at
    the end of the last segment even if that ends in bad messages; a batch with nothing good makes
    one frame without readings, so that the position moves. Less than ``verdict.size`` (or, for an
    empty rest, -1) comes back when the lane is too full: call again from there later.
    """
    count = verdict.size
    size = MESSAGE_BYTES + VALUE_BYTES * (width - 1)
    record = reading_bytes(width)
    room = (data.size // 4 - 64 - HEAD_BYTES) // record
    readings_max = min(min(FRAME_READINGS_MAX, frame_readings), room)
    segments = entries.shape[0]
    i = begin
    segment = 0
    while True:
        stop = i
        good = 0
        while stop < count and good < readings_max:
            if verdict[stop] == GOOD:
                good += 1
            stop += 1
        while stop < count and verdict[stop] != GOOD:
            stop += 1
        length = HEAD_BYTES + good * record
        at = lane_reserve(ctl, data, length)
        if at < 0:
            return i if i < count else -1
        while segment + 1 < segments and starts[segment + 1] < stop:
            segment += 1
        if stop == count:
            segment = segments - 1
        ends = stop >= starts[segment + 1]
        offset = frame_payload_offset(data, at)
        store_u64(data, offset, entries[segment, 0])
        store_u64(data, offset + 8, entries[segment, 1])
        next_msg = stop - starts[segment]
        store_u64(data, offset + 16, next_msg | (1 << 32 if ends else 0))
        store_u64(data, offset + 24, width)
        offset += HEAD_BYTES
        for j in range(i, stop):
            if verdict[j] == GOOD:
                source = j * size
                activo = 1 if packed[source + 9] else 0
                entity = _word_at(packed, source)
                store_u64(data, offset, entity | activo << 32)
                low = _word_at(packed, source + 5)
                more = source + MESSAGE_BYTES
                for a in range(1, width, 2):
                    store_u64(data, offset + 4 + 4 * a, low | _word_at(packed, more) << 32)
                    low = _word_at(packed, more + VALUE_BYTES) if a + 1 < width else _NONE
                    more += 2 * VALUE_BYTES
                if width & 1:
                    store_u64(data, offset + record - 8, low)
                offset += record
        frame_write_header(
            data, at, length, KIND_READINGS_FRAME, 0, canal & (CANALES - 1), good, 0, 0
        )
        lane_publish(ctl, data, at, length)
        i = stop
        if i >= count:
            return count


@compiled(types.int64(BYTES, types.int64, types.int64, _TABLE, INDICES))
def _last_heads(data: Bytes, tail: int, head: int, found: Table, seen: Table) -> int:
    frames = 0
    at = tail
    while at < head:
        if frame_kind(data, at) == 0:
            at = (at | (data.size - 1)) + 1
            continue
        if frame_kind(data, at) == KIND_READINGS_FRAME:
            canal = frame_a(data, at) & (CANALES - 1)
            offset = frame_payload_offset(data, at)
            found[canal, 0] = np.int64(load_u64(data, offset))
            found[canal, 1] = np.int64(load_u64(data, offset + 8))
            found[canal, 2] = np.int64(load_u64(data, offset + 16))
            seen[canal] = 1
            frames += 1
        at += frame_size(frame_len(data, at))
    return frames


def last_positions(inbox: Lane) -> dict[int, InPosition]:
    """By canal (-128..127): where its last frame between tail and head of the inbox stands.

    For the inbox's producer, before it publishes.
    """
    found = np.zeros((CANALES, 3), np.int64)
    seen = np.zeros(CANALES, np.int64)
    _last_heads(inbox.data, inbox.tail, inbox.head, found, seen)
    positions = {}
    for index in np.flatnonzero(seen):
        ms, seq, mixed = (int(word) & (2**64 - 1) for word in found[index])
        canal = int(index) - CANALES if index >= CANALES // 2 else int(index)
        positions[canal] = InPosition(ms, seq, mixed & _LOW, mixed >> 32)
    return positions
