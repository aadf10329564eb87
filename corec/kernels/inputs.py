"""Readings of one tick: out of the inbox lane, sorted by block, in arrival order.

Every worker reads the same frames and takes the ids of its own blocks. The frames between two
cuts are published and stay until every worker has committed the tick, so a redo sees them again.
"""

from __future__ import annotations

import numpy as np
from numba import int64, njit, types, uint8, uint64

from corec.kernels import desc as K
from corec.layout import (
    C_IN_POS,
    CANALES,
    IN_POS_WORDS,
    KIND_READINGS_FRAME,
    READINGS_HEAD,
)
from corec.layout.frames import reading_bytes
from shm.ring import frame_a, frame_kind, frame_len, frame_payload_offset, frame_size

HEAD_BYTES = READINGS_HEAD.itemsize
AT_ARGS = int(READINGS_HEAD.fields["args"][1]) if READINGS_HEAD.fields else 0
VALUE_WORD = 2
"""Of a reading in words of 4 bytes: id, activo, the values."""

_BYTES = types.uint8[::1]
_I64 = types.int64


@njit
def step_frame(data, pos):
    """(position of the readings frame at or after ``pos`` or −1, where to go on)."""
    kind = frame_kind(data, pos)
    if kind == 0:
        return int64(-1), (pos | (data.size - 1)) + 1
    end = pos + frame_size(frame_len(data, pos))
    return (pos if kind == KIND_READINGS_FRAME else int64(-1)), end


@njit
def frame_values(data, frame):
    """Numbers in each reading of a frame; all of one frame have as many."""
    at = frame_payload_offset(data, frame) + AT_ARGS
    return int64(data[at : at + 4].view(np.uint32)[0])


@njit
def block_of(entity, swarm_ranges):
    """Index of the block of ``entity``: rows (first id, end id, cap, first block)."""
    for s in range(swarm_ranges.shape[0]):
        if entity < swarm_ranges[s, 1]:
            return swarm_ranges[s, 3] + (entity - swarm_ranges[s, 0]) // swarm_ranges[s, 2]
    return int64(-1)


@njit(types.int64(_BYTES, _I64, _I64, _I64), cache=True, nogil=True)
def bounded_cut(data, start, end, readings_max):
    """Up to where, from ``start`` to ``end``, a tick takes in at most ``readings_max`` readings.

    Frames are taken whole, one at least: a frame that is larger than the bound must not stay.
    """
    pos = start
    total = int64(0)
    while pos < end:
        frame, following = step_frame(data, pos)
        if frame >= 0:
            stride = reading_bytes(frame_values(data, frame))
            count = (frame_len(data, frame) - HEAD_BYTES) // stride
            if total > 0 and total + count > readings_max:
                return pos
            total += count
        pos = following
    return pos


@njit(
    types.int64(_BYTES, _I64, _I64, types.int64[:, ::1], _I64, _I64, _I64, _I64, types.int64[::1]),
    cache=True, nogil=True,
)  # fmt: skip
def count_inputs(data, start, end, swarm_ranges, first_id, end_id, lo, hi, in_start):
    """Count the readings of entities ``first_id … end_id−1`` by block into ``in_start``.

    ``in_start`` (int64[blocks + 1]) becomes, from ``lo`` to ``hi``, where each block's readings
    begin. Returns how many there are.
    """
    for b in range(lo, hi + 1):
        in_start[b] = 0
    pos = start
    total = int64(0)
    while pos < end:
        frame, pos = step_frame(data, pos)
        if frame < 0:
            continue
        at = frame_payload_offset(data, frame) + HEAD_BYTES
        stride = reading_bytes(frame_values(data, frame))
        count = (frame_len(data, frame) - HEAD_BYTES) // stride
        ids = data[at : at + count * stride].view(np.uint32)
        for k in range(count):
            entity = int64(ids[stride // 4 * k])
            if first_id <= entity < end_id:
                in_start[block_of(entity, swarm_ranges) + 1] += 1
                total += 1
    for b in range(lo, hi):
        in_start[b + 1] += in_start[b]
    return total


@njit(
    types.void(
        _BYTES, _I64, _I64, types.int64[:, ::1], _I64, _I64, types.int64[:, ::1],
        types.int64[::1], types.int64[::1], types.uint32[::1], types.float32[::1],
        types.uint8[::1],
    ),
    cache=True, nogil=True,
)  # fmt: skip
def sort_inputs(
    data, start, end, swarm_ranges, first_id, end_id, blocks, in_start, cursor, local, value, active
):
    """Place the counted readings: index in the block, values, activo. ``cursor``: scratch.

    ``value`` f4[width · readings]: number a of reading j at a · readings + j, so that of readings
    of one number it is a column; one that a frame does not have is 0.
    """
    readings = local.shape[0]
    width = value.shape[0] // readings
    cursor[:] = in_start[: cursor.shape[0]]
    pos = start
    while pos < end:
        frame, pos = step_frame(data, pos)
        if frame < 0:
            continue
        at = frame_payload_offset(data, frame) + HEAD_BYTES
        args = frame_values(data, frame)
        stride = reading_bytes(args) // 4
        count = (frame_len(data, frame) - HEAD_BYTES) // (4 * stride)
        words = data[at : at + 4 * count * stride].view(np.uint32)
        values = data[at : at + 4 * count * stride].view(np.float32)
        for k in range(count):
            first = stride * k
            entity = int64(words[first])
            if first_id <= entity < end_id:
                b = block_of(entity, swarm_ranges)
                place = cursor[b]
                local[place] = words[first] - np.uint32(blocks[b, K.B_FIRST])
                value[place] = values[first + VALUE_WORD]
                for a in range(1, width):
                    number = values[first + VALUE_WORD + a] if a < args else np.float32(0.0)
                    value[a * readings + place] = number
                active[place] = uint8(1) if words[first + 1] != 0 else uint8(0)
                cursor[b] = place + 1


@njit(types.void(_BYTES, _I64, _I64, types.uint64[::1], _I64), cache=True, nogil=True)
def note_positions(data, start, end, control, copy):
    """Carry the in-position table over to ``copy`` and bring it up to the cut ``end``.

    Per canal: entry id (ms, seq), message to go on with, whether the entry ended there.
    """
    size = CANALES * IN_POS_WORDS
    new = C_IN_POS + copy * size
    old = C_IN_POS + (1 - copy) * size
    for k in range(size):
        control[new + k] = control[old + k]
    pos = start
    while pos < end:
        frame, pos = step_frame(data, pos)
        if frame < 0:
            continue
        at = frame_payload_offset(data, frame)
        words = data[at : at + HEAD_BYTES].view(np.uint64)
        place = new + (int64(frame_a(data, frame)) & 0xFF) * IN_POS_WORDS
        control[place] = words[0]
        control[place + 1] = words[1]
        control[place + 2] = words[2] & uint64(0xFFFFFFFF)
        control[place + 3] = words[2] >> uint64(32)
