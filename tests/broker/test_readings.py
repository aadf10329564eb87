"""The compiled passes over packed input, against ``struct``, and against a lane read back."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corec import layout as L
from corec.broker import readings as R
from corec.broker.positions import InPosition
from corec.kernels.inputs import bounded_cut
from shm.lane import Lane, lane_region_bytes

MESSAGE = struct.Struct("!Ibf?")
MOST = R.FRAME_READINGS_MAX
# canal 1: 0..29, canal -2: 30..49, a gap, canal 1 again: 100..109
SWARMS = np.array([(0, 30, 1, 0, 0), (30, 50, -2, 1, 0), (100, 110, 1, 0, 0)], np.int64)

ids = st.one_of(st.integers(0, 120), st.integers(0, 2**32 - 1))
canales = st.one_of(st.sampled_from([1, -2]), st.integers(-128, 127))
floats = st.one_of(
    st.floats(width=32), st.sampled_from([math.nan, math.inf, -math.inf, 3.4e38, 1e-45, -0.0])
)
messages = st.lists(st.tuples(ids, canales, floats, st.booleans()), max_size=60)


def judged(entity: int, canal: int, valor: float, stream: int) -> int:
    """The verdict, in plain Python."""
    row = next((s for s in SWARMS.tolist() if s[0] <= entity < s[1]), None)
    if row is None:
        return R.BAD_UNKNOWN_ID
    if canal != stream:
        return R.BAD_CANAL
    if row[2] != stream:
        return R.BAD_ENTITY_CANAL
    return R.GOOD if math.isfinite(valor) else R.BAD_VALOR


@given(messages, st.sampled_from([1, -2]))
def test_check_against_struct(given_messages: list[tuple[int, int, float, bool]], to: int) -> None:
    packed = np.frombuffer(b"".join(MESSAGE.pack(*m) for m in given_messages), np.uint8)
    verdict = np.zeros(len(given_messages), np.uint8)
    bad = R.check(packed, 1, to, SWARMS, verdict)
    expected = [judged(i, c, v, to) for i, c, v, _ in given_messages]
    assert verdict.tolist() == expected
    assert bad == sum(code != R.GOOD for code in expected)


@given(st.binary(min_size=10, max_size=400))
def test_check_takes_any_bytes(raw: bytes) -> None:
    raw = raw[: len(raw) // 10 * 10]
    verdict = np.zeros(len(raw) // 10, np.uint8)
    R.check(np.frombuffer(raw, np.uint8), 1, 1, SWARMS, verdict)
    for k, (entity, canal, valor, _) in enumerate(MESSAGE.iter_unpack(raw)):
        assert verdict[k] == judged(entity, canal, valor, 1)


Entries = list[list[tuple[int, float, bool]]]


@settings(max_examples=60)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 40), st.floats(width=32), st.booleans()), max_size=40),
        min_size=1,
        max_size=8,
    ),
    st.integers(0, 30),
)
def test_publish_and_resume(entries: Entries, start_slack: int) -> None:
    """Through a small lane, resumed at its last frame each time as after a kill: every good
    reading once, in order."""
    parts = [b"".join(MESSAGE.pack(i, 1, v, a) for i, v, a in entry) for entry in entries]
    starts = np.cumsum([0] + [len(part) // 10 for part in parts])
    packed = np.frombuffer(b"".join(parts), np.uint8)
    verdict = np.zeros(int(starts[-1]), np.uint8)
    R.check(packed, 1, 1, SWARMS, verdict)
    heads = np.array([(5, k) for k in range(len(entries))], np.int64)
    lane = Lane.create(np.zeros(lane_region_bytes(512), np.uint8), start=8 * start_slack)
    found: list[tuple[int, float, bool]] = []
    at = 0
    while True:
        came_to = R.publish(lane.ctl, lane.data, packed, 1, verdict, at, 1, starts, heads, MOST)
        position = R.last_positions(lane).get(1)
        if position is not None:
            at = index_of(position, starts)
            assert at >= came_to
        for frame in lane.frames():
            assert (frame.kind, frame.a) == (L.KIND_READINGS_FRAME, 1)
            records = np.frombuffer(frame.payload, L.READING, offset=L.READINGS_HEAD.itemsize)
            assert len(records) == frame.b
            found += [(int(r["id"]), float(r["valor"]), bool(r["activo"])) for r in records]
            lane.release(frame.next_position)
        if came_to == verdict.size:
            break
    good = [m for entry in entries for m in entry if m[0] < 30 and math.isfinite(m[1])]
    assert found == good
    assert position == InPosition(5, len(entries) - 1, len(entries[-1]), 1)


def index_of(position: InPosition, starts: np.ndarray[tuple[int], np.dtype[np.int64]]) -> int:
    """The message index a position means."""
    if position.last:
        return int(starts[position.seq + 1])
    return int(starts[position.seq]) + position.next_msg


def test_last_positions_by_canal() -> None:
    lane = Lane.create(np.zeros(lane_region_bytes(1 << 12), np.uint8))
    assert R.last_positions(lane) == {}
    for canal, entity in ((1, 3), (-2, 33), (1, 4)):
        packed = np.frombuffer(MESSAGE.pack(entity, canal, 1.0, True), np.uint8)
        verdict = np.zeros(1, np.uint8)
        heads = np.array([(2**40, entity)], np.int64)
        R.publish(lane.ctl, lane.data, packed, 1, verdict, 0, canal, np.array([0, 1]), heads, MOST)
    assert R.last_positions(lane) == {
        1: InPosition(2**40, 4, 1, 1),
        -2: InPosition(2**40, 33, 1, 1),
    }
    lane.release(lane.head)
    assert R.last_positions(lane) == {}


def test_entry_ids_of_64_bits() -> None:
    lane = Lane.create(np.zeros(lane_region_bytes(1 << 12), np.uint8))
    packed = np.frombuffer(MESSAGE.pack(3, 1, 1.0, True), np.uint8)
    heads = np.array([(2**64 - 1, 2**63)], np.uint64).view(np.int64)
    one = np.zeros(1, np.uint8)
    R.publish(lane.ctl, lane.data, packed, 1, one, 0, 1, np.array([0, 1]), heads, MOST)
    assert R.last_positions(lane) == {1: InPosition(2**64 - 1, 2**63, 1, 1)}


@pytest.mark.parametrize("capacity", [1 << 10, 1 << 24])
def test_frames_fit_the_lane(capacity: int) -> None:
    lane = Lane.create(np.zeros(lane_region_bytes(capacity), np.uint8))
    count = MOST + 1
    packed = np.frombuffer(MESSAGE.pack(0, 1, 1.0, True) * count, np.uint8)
    good, starts, heads = np.zeros(count, np.uint8), np.array([0, count]), np.array([(1, 0)])
    R.publish(lane.ctl, lane.data, packed, 1, good, 0, 1, starts, heads, 2 * MOST)
    first = next(iter(lane.frames()))
    assert 0 < len(first.payload) <= lane.max_payload
    assert first.b == min(MOST, (capacity // 4 - 64 - R.HEAD_BYTES) // L.READING.itemsize)


@pytest.mark.parametrize("most", [1, 7, 8, 1_000_000])
def test_a_tick_takes_in_a_bounded_number(most: int) -> None:
    """Frames of at most so many readings; the cut holds as many of them as fit, one at least."""
    lane = Lane.create(np.zeros(lane_region_bytes(1 << 12), np.uint8))
    packed = np.frombuffer(b"".join(MESSAGE.pack(0, 1, 1.0, True) for _ in range(20)), np.uint8)
    heads = np.array([(1, 0)], np.int64)
    verdict = np.zeros(20, np.uint8)
    lane.push(L.KIND_READINGS_FRAME, bytes(R.HEAD_BYTES), a=1)  # one that only moves the position
    R.publish(lane.ctl, lane.data, packed, 1, verdict, 0, 1, np.array([0, 20]), heads, most)
    sizes = [frame.b for frame in lane.frames()]
    assert max(sizes) <= most
    start, taken = lane.tail, []
    while start < lane.head:
        end = bounded_cut(lane.data, start, lane.head, most)
        inside = [frame.b for frame in lane.frames() if start < frame.next_position <= end]
        taken.append(sum(inside))
        start = end
    assert sum(taken) == sum(sizes)
    assert all(0 < count <= most for count in taken)


def test_a_frame_larger_than_the_bound_does_not_stay() -> None:
    """The bound was lowered while it waited."""
    lane = Lane.create(np.zeros(lane_region_bytes(1 << 12), np.uint8))
    for count in (20, 3):
        size = R.HEAD_BYTES + count * L.READING.itemsize
        assert lane.push(L.KIND_READINGS_FRAME, bytes(size), a=1, b=count)
    first, second = lane.frames()
    assert bounded_cut(lane.data, lane.tail, lane.head, 5) == first.next_position
    assert bounded_cut(lane.data, first.next_position, lane.head, 5) == second.next_position
