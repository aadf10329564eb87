"""One compiled call per batch: take frames from all out lanes, merge them by tick and canal.

Theory.  The broker is the only consumer of every out lane, so between its own releases the bytes
between tail and head do not change: reading and copying need no lock, and a batch that could not
be sent is simply read again from the tail.  The call moves the caller's positions, never the
lane's tail; the tail moves after the server confirmed (``shm.ring`` has the memory ordering).

A lane holds its frames in the order (tick, block, step).  The call goes tick by tick over all
lanes, so entries come out in tick order whatever lane a block was in.  A tick is taken whole while
it fits into the output; one that is larger than the output alone is taken in parts.

A frame is dropped when it was sent before: its tick is complete in the streams (``out_tick``), or
its block has sent that (tick, step) or a later one.  That holds for a frame a killed worker
publishes again, and for ticks that run again from an older checkpoint, with any number of lanes.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba.core import types
from numba.np.numpy_support import carray
from numpy.typing import NDArray

from corec.kernels.address import copy_memory, pointer
from corec.layout import CANALES, KIND_MESSAGES_FRAME, MESSAGE
from corec.layout.frames import alert_fields_at, alert_fields_in, message_canal, message_step
from shm.jit import BYTES, INDICES, WORDS, compiled, inlined
from shm.lane import (
    frame_a,
    frame_b,
    frame_c,
    frame_kind,
    frame_len,
    frame_payload_offset,
    frame_tick,
    lane_next,
)
from shm.layout import Counted

Table = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Words = NDArray[np.uint64]

MESSAGE_BYTES: Final = MESSAGE.itemsize
NO_TICK: Final = (1 << 63) - 1
ALERT_KEEP: Final = 10_000
"""Entities an alert names; the rest is counted."""

# columns of the lane table, one row per lane
_lane = Counted()
LANE_CTL: Final = _lane()  # address of the control words
LANE_DATA: Final = _lane()  # address of the ring
LANE_CAPACITY: Final = _lane()
LANE_POS: Final = _lane()  # in and out: position of the next frame to take
LANE_LAST_TICK: Final = _lane()  # out: last frame taken, -1 = none
LANE_LAST_BLOCK: Final = _lane()
LANE_LAST_STEP: Final = _lane()
LANE_LAST_COUNT: Final = _lane()
LANE_COLUMNS: Final = _lane.end

# columns of a row of the frame table (one row per frame taken of the current tick)
_row = Counted()
ROW_ADDRESS: Final = _row()
ROW_BYTES: Final = _row()
ROW_CANAL: Final = _row()
ROW_BLOCK: Final = _row()
ROW_FIELDS: Final = _row()  # fields of each message that its alert names
ROW_COLUMNS: Final = _row.end

# columns of a region: the messages of one tick and canal, contiguous in the output
_region = Counted()
REGION_TICK: Final = _region()
REGION_CANAL: Final = _region()
REGION_START: Final = _region()
REGION_BYTES: Final = _region()
REGION_COLUMNS: Final = _region.end

# columns of an alert: one tick and alert group
_alerts = Counted()
ALERT_TICK: Final = _alerts()
ALERT_GROUP: Final = _alerts()
ALERT_COUNT: Final = _alerts()
ALERT_COLUMNS: Final = _alerts.end

# results
_r = Counted()
R_REGIONS: Final = _r()
R_ALERTS: Final = _r()
R_BYTES: Final = _r()
R_DUPLICATES: Final = _r()  # messages of frames dropped because they were sent before
R_CUT: Final = _r()  # CUT_*
R_LAST_TICK: Final = _r()  # last tick taken (all or part), -1 = none
R_FRAMES: Final = _r()
R_NEXT_TICK: Final = _r()  # smallest tick still waiting, NO_TICK = none seen
RESULTS: Final = _r.end

_cut = Counted()
CUT_NONE: Final = _cut()  # every frame up to tick_max was taken
CUT_BETWEEN: Final = _cut()  # full before R_NEXT_TICK
CUT_INSIDE: Final = _cut()  # full inside R_LAST_TICK

_carray: Any = carray  # its annotations are for Python callers and know no void pointer
_TABLE: Any = types.Array(types.int64, 2, "C")
_IDS: Any = types.Array(types.uint32, 2, "C")
_FIELDS: Any = types.Array(types.uint64, 3, "C")
_GROUPS: Any = types.Array(types.int32, 1, "C")


@inlined
def _words(address: int, count: int) -> Words:
    words: Words = _carray(pointer(address), (count,), types.uint64)
    return words


@inlined
def _bytes(address: int, count: int) -> Bytes:
    view: Bytes = _carray(pointer(address), (count,), types.uint8)
    return view


@inlined
def _big_endian(data: Bytes, at: int) -> int:
    return (
        int(data[at]) << 24 | int(data[at + 1]) << 16 | int(data[at + 2]) << 8 | int(data[at + 3])
    )


@inlined
def _sent(
    tick: int, block: int, step: int, out_tick: int, sent_tick: Table, sent_step: Table
) -> bool:
    if tick <= out_tick or tick < sent_tick[block]:
        return True
    return bool(tick == sent_tick[block] and step <= sent_step[block])


@inlined
def _smallest_tick(lanes: Table) -> int:
    smallest = NO_TICK
    for k in range(lanes.shape[0]):
        ctl = _words(lanes[k, LANE_CTL], 128)
        data = _bytes(lanes[k, LANE_DATA], lanes[k, LANE_CAPACITY])
        at, following = lane_next(ctl, data, lanes[k, LANE_POS])
        if at >= 0:
            smallest = min(smallest, frame_tick(data, at))
        else:
            lanes[k, LANE_POS] = following
    return smallest


@inlined
def _measure(lanes: Table, tick: int) -> tuple[int, int]:
    """Bytes of messages and number of the frames up to ``tick``, duplicates included."""
    total = 0
    frames = 0
    for k in range(lanes.shape[0]):
        ctl = _words(lanes[k, LANE_CTL], 128)
        data = _bytes(lanes[k, LANE_DATA], lanes[k, LANE_CAPACITY])
        at, following = lane_next(ctl, data, lanes[k, LANE_POS])
        while at >= 0 and frame_tick(data, at) <= tick:
            total += MESSAGE_BYTES * frame_b(data, at)
            frames += 1
            at, following = lane_next(ctl, data, following)
    return total, frames


@inlined
def _alert(
    row: Table,
    tick: int,
    group: int,
    slots: Table,
    alerts: Table,
    ids: NDArray[np.uint32],
    values: NDArray[np.uint32],
    named: NDArray[np.uint64],
    count: int,
) -> int:
    """Add one frame's messages to its alert; returns the number of alerts."""
    slot = slots[group]
    if slot < 0:
        slot = count
        slots[group] = slot
        alerts[slot, ALERT_TICK] = tick
        alerts[slot, ALERT_GROUP] = group
        alerts[slot, ALERT_COUNT] = 0
        count += 1
    payload = _bytes(row[ROW_ADDRESS], row[ROW_BYTES])
    kept = min(alerts[slot, ALERT_COUNT], ALERT_KEEP)
    messages = payload.size // MESSAGE_BYTES
    shown = min(messages, ALERT_KEEP - kept)
    for i in range(shown):
        ids[slot, kept + i] = _big_endian(payload, i * MESSAGE_BYTES)
        values[slot, kept + i] = _big_endian(payload, i * MESSAGE_BYTES + 5)
    fields = min(row[ROW_FIELDS], named.shape[2])
    words = _words(row[ROW_ADDRESS] + alert_fields_at(messages), shown * row[ROW_FIELDS])
    for i in range(shown):
        for k in range(fields):
            named[slot, kept + i, k] = words[i * row[ROW_FIELDS] + k]
    alerts[slot, ALERT_COUNT] += messages
    return count


@inlined
def _place(tick: int, used: int, counts: Table, regions: Table, n_regions: int) -> tuple[int, int]:
    """Give each canal with messages its region; ``counts`` becomes where each begins."""
    for canal in range(CANALES):
        length = counts[canal]
        if length:
            regions[n_regions, REGION_TICK] = tick
            regions[n_regions, REGION_CANAL] = canal
            regions[n_regions, REGION_START] = used
            regions[n_regions, REGION_BYTES] = length
            n_regions += 1
            counts[canal] = used
            used += length
    return n_regions, used


@inlined
def _copy(
    rows: Table,
    tick: int,
    out: Bytes,
    starts: Table,
    groups: NDArray[np.int32],
    slots: Table,
    alerts: Table,
    ids: NDArray[np.uint32],
    values: NDArray[np.uint32],
    named: NDArray[np.uint64],
    n_alerts: int,
) -> int:
    """Copy the frames of one tick to their regions; returns the number of alerts."""
    out_address = out.ctypes.data
    for r in range(rows.shape[0]):
        canal = rows[r, ROW_CANAL]
        copy_memory(out_address + starts[canal], rows[r, ROW_ADDRESS], rows[r, ROW_BYTES])
        starts[canal] += rows[r, ROW_BYTES]
        group = groups[rows[r, ROW_BLOCK]]
        if group >= 0:
            n_alerts = _alert(rows[r], tick, group, slots, alerts, ids, values, named, n_alerts)
    return n_alerts


@inlined
def _enter(row: Table, lane: Table, data: Bytes, at: int) -> int:
    """Note the frame at ``at`` in ``row`` and as the last one of its ``lane``; its canal."""
    count = frame_b(data, at)
    canal = message_canal(frame_c(data, at))
    row[ROW_ADDRESS] = lane[LANE_DATA] + frame_payload_offset(data, at)
    row[ROW_BYTES] = MESSAGE_BYTES * count
    row[ROW_CANAL] = canal
    row[ROW_BLOCK] = frame_a(data, at)
    row[ROW_FIELDS] = alert_fields_in(frame_len(data, at), count)
    lane[LANE_LAST_TICK] = frame_tick(data, at)
    lane[LANE_LAST_BLOCK] = frame_a(data, at)
    lane[LANE_LAST_STEP] = message_step(frame_c(data, at))
    lane[LANE_LAST_COUNT] = count
    return canal


@compiled(
    types.void(
        _TABLE, types.int64, types.int64, INDICES, INDICES, _GROUPS, _TABLE, BYTES, types.int64,
        _TABLE, INDICES, _TABLE, _IDS, _IDS, _FIELDS, INDICES, INDICES,
    )
)  # fmt: skip
def collect(
    lanes: Table,
    tick_max: int,
    out_tick: int,
    sent_tick: Table,
    sent_step: Table,
    groups: NDArray[np.int32],
    rows: Table,
    out: Bytes,
    limit: int,
    regions: Table,
    slots: Table,
    alerts: Table,
    ids: NDArray[np.uint32],
    values: NDArray[np.uint32],
    named: NDArray[np.uint64],
    counts: Table,
    results: Table,
) -> None:
    """Take frames of ticks up to ``tick_max`` from every lane into ``out``, merged.

    ``lanes`` int64[lanes, LANE_COLUMNS]; ``sent_tick``, ``sent_step`` int64[blocks], the last
    frame taken of each block (updated); ``groups`` int32[blocks], alert group or -1; ``rows``
    int64[:, ROW_COLUMNS] room for the frames of one tick; ``out`` uint8[:], of which
    ``limit`` bytes are used or what one frame needs if that is more; ``regions`` int64[:,
    REGION_COLUMNS] (at least CANALES rows); ``slots`` int64[groups]; ``alerts``
    int64[:, ALERT_COLUMNS] (at least as many rows as groups); ``ids``, ``values`` uint32[alerts,
    ALERT_KEEP], ids and float32 bits in native order; ``named`` uint64[alerts, ALERT_KEEP, fields],
    what alerts name as in the frames; ``counts`` int64[CANALES]; ``results``
    int64[RESULTS]. Raises ValueError for a frame of an unknown kind or block.
    """
    used = 0
    n_regions = 0
    n_alerts = 0
    taken_any = False
    results[:] = 0
    results[R_LAST_TICK] = -1
    results[R_NEXT_TICK] = NO_TICK
    lanes[:, LANE_LAST_TICK] = -1
    while True:
        tick = _smallest_tick(lanes)
        results[R_NEXT_TICK] = tick
        if tick > tick_max:
            break
        need, frames = _measure(lanes, tick)
        fits = (
            used + need <= limit
            and frames <= rows.shape[0]
            and n_regions + CANALES <= regions.shape[0]
            and n_alerts + slots.size <= alerts.shape[0]
        )
        if not fits and taken_any:
            results[R_CUT] = CUT_BETWEEN
            break
        counts[:] = 0
        slots[:] = -1
        n_rows = 0
        size = 0
        for k in range(lanes.shape[0]):
            ctl = _words(lanes[k, LANE_CTL], 128)
            data = _bytes(lanes[k, LANE_DATA], lanes[k, LANE_CAPACITY])
            at, following = lane_next(ctl, data, lanes[k, LANE_POS])
            while at >= 0 and frame_tick(data, at) <= tick:
                length = MESSAGE_BYTES * frame_b(data, at)
                block = frame_a(data, at)
                step = message_step(frame_c(data, at))
                if frame_kind(data, at) != KIND_MESSAGES_FRAME or block >= sent_tick.size:
                    raise ValueError("out lane: found a frame of an unknown kind or block")
                if _sent(frame_tick(data, at), block, step, out_tick, sent_tick, sent_step):
                    results[R_DUPLICATES] += frame_b(data, at)
                elif n_rows == rows.shape[0] or (n_rows and size + length > limit - used):
                    results[R_CUT] = CUT_INSIDE
                    break
                else:
                    canal = _enter(rows[n_rows], lanes[k], data, at)
                    n_rows += 1
                    size += length
                    counts[canal] += length
                    sent_tick[block] = tick
                    sent_step[block] = step
                lanes[k, LANE_POS] = following
                at, following = lane_next(ctl, data, following)
            if results[R_CUT] == CUT_INSIDE:
                break
        n_regions, used = _place(tick, used, counts, regions, n_regions)
        n_alerts = _copy(
            rows[:n_rows], tick, out, counts, groups, slots, alerts, ids, values, named, n_alerts
        )
        results[R_FRAMES] += n_rows
        if n_rows:
            taken_any = True
            results[R_LAST_TICK] = tick
        if results[R_CUT] == CUT_INSIDE:
            break
    results[R_REGIONS] = n_regions
    results[R_ALERTS] = n_alerts
    results[R_BYTES] = used


@compiled(types.int64(WORDS, BYTES, types.int64, types.int64, INDICES))
def skip_oldest(ctl: Words, data: Bytes, position: int, until: int, results: Table) -> int:
    """Pass over whole frames from ``position`` on until at least ``until``; returns where.

    ``results`` int64[3]: messages passed over, first and last tick (-1 = none).
    """
    results[0] = 0
    results[1] = -1
    results[2] = -1
    while position < until:
        at, following = lane_next(ctl, data, position)
        if at < 0:
            return following
        results[0] += frame_b(data, at)
        if results[1] < 0:
            results[1] = frame_tick(data, at)
        results[2] = frame_tick(data, at)
        position = following
    return position
