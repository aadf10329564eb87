"""The lane against a plain list: Hypothesis invents the frames, the wraps and the restarts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from numba.core import types

from shm import layout
from shm.atomics import Indices, Words
from shm.jit import BYTES, INDICES, WORDS, compiled
from shm.lane import Frame, Lane, LaneCorrupt, lane_region_bytes
from shm.memory import Bytes
from shm.ring import (
    frame_size,
    frame_write_header,
    lane_free,
    lane_next,
    lane_publish,
    lane_reserve,
    lane_reserve_at,
    max_payload,
)

U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)
FIELDS = st.fixed_dictionaries(
    {"flags": st.integers(0, 2**16 - 1), "a": U32, "b": U32, "tick": U64, "c": U64}
)


@compiled(types.int64(WORDS, BYTES, types.int64, INDICES))
def walk(ctl: Words, data: Bytes, pos: int, found: Indices) -> int:
    """Positions of all frames from ``pos`` on, as the compiled consumer sees them."""
    count = 0
    while True:
        at, following = lane_next(ctl, data, pos)
        if at < 0:
            return count
        found[count] = at
        count += 1
        pos = following


@compiled(types.int64(WORDS, BYTES))
def free_bytes(ctl: Words, data: Bytes) -> int:
    return lane_free(ctl, data)


def contents(frame: Frame) -> tuple[Any, ...]:
    return (*frame[:6], bytes(frame.payload))


class LaneModel(RuleBasedStateMachine):
    """``published``: every frame not yet released, as (position, next position, contents)."""

    @initialize(
        exponent=st.integers(8, 12),
        start=st.one_of(st.integers(0, 600), st.integers(2**40, 2**41)).map(lambda n: n * 8),
        noise=st.integers(0, 255),
    )
    def begin(self, exponent: int, start: int, noise: int) -> None:
        self.region = np.full(lane_region_bytes(1 << exponent), noise, np.uint8)
        self.producer = Lane.create(self.region, start=start)
        self.consumer = Lane.attach(self.region)
        self.capacity = 1 << exponent
        self.published: list[tuple[int, int, tuple[Any, ...]]] = []
        self.head = self.tail = self.position = start

    @rule(kind=st.integers(1, 65535), fields=FIELDS, share=st.floats(0, 1), data=st.data())
    def push(self, kind: int, fields: dict[str, int], share: float, data: st.DataObject) -> None:
        size = int(share * self.producer.max_payload)
        payload = data.draw(st.binary(min_size=size, max_size=size))
        record = layout.frame_bytes(size)
        to_wrap = self.capacity - self.head % self.capacity
        padding = to_wrap if record > to_wrap else 0
        fits = self.head + padding + record - self.tail <= self.capacity
        assert self.producer.push(kind, payload, **fields) is fits
        if fits:
            at = self.head + padding
            self.head = at + record
            wanted = (kind, *(fields[k] for k in ("flags", "a", "b", "tick", "c")), payload)
            self.published.append((at, self.head, wanted))

    @rule(sizes=st.lists(st.integers(0, 40), max_size=30), kind=st.integers(1, 9), c=U32)
    def push_many(self, sizes: list[int], kind: int, c: int) -> None:
        sizes = [min(size, self.producer.max_payload) for size in sizes]
        ends = np.cumsum(sizes, dtype=np.int64)
        blob = np.arange(sum(sizes), dtype=np.int64).astype(np.uint8)
        done = self.producer.push_many(kind, blob, ends, c=c, tick=7)
        for k, size in enumerate(sizes):
            record = layout.frame_bytes(size)
            to_wrap = self.capacity - self.head % self.capacity
            padding = to_wrap if record > to_wrap else 0
            if self.head + padding + record - self.tail > self.capacity:
                assert done == k
                return
            payload = blob[int(ends[k]) - size : int(ends[k])].tobytes()
            at = self.head + padding
            self.head = at + record
            self.published.append((at, self.head, (kind, 0, 0, 0, 7, c + k, payload)))
        assert done == len(sizes)

    @rule(count=st.integers(0, 20))
    def consume_in_python(self, count: int) -> None:
        wanted = [entry for entry in self.published if entry[0] >= self.position]
        for frame, (at, following, what) in zip(
            self.consumer.frames(self.position), wanted[:count], strict=False
        ):
            assert (frame.position, frame.next_position) == (at, following)
            assert contents(frame) == what
            assert frame.payload.readonly
            self.position = following

    @rule()
    def consume_compiled(self) -> None:
        found = np.zeros(len(self.published) + 1, np.int64)
        count = walk(self.consumer.ctl, self.consumer.data, self.position, found)
        wanted = [entry for entry in self.published if entry[0] >= self.position]
        assert found[:count].tolist() == [entry[0] for entry in wanted]

    @rule(limit=st.integers(0, 3000))
    def a_limit_stops_early_and_yields_one_at_least(self, limit: int) -> None:
        got = list(self.consumer.frames(self.position, limit))
        wanted = [entry for entry in self.published if entry[0] >= self.position]
        fitting = [entry for entry in wanted if entry[1] - self.position <= limit]
        assert len(got) == max(len(fitting), min(1, len(wanted)))

    @rule()
    def release(self) -> None:
        self.consumer.release(self.position)
        self.tail = self.position
        self.published = [entry for entry in self.published if entry[0] >= self.tail]

    @precondition(lambda self: self.published)
    @rule(data=st.data())
    def consumer_restarts_at_its_durable_position(self, data: st.DataObject) -> None:
        durable = data.draw(st.sampled_from([self.tail, *(e[1] for e in self.published)]))
        self.consumer = Lane.attach(self.region)
        self.position = durable

    @rule()
    def producer_restarts(self) -> None:
        self.producer = Lane.attach(self.region)

    @rule(noise=st.integers(0, 255))
    def what_is_not_published_is_anything(self, noise: int) -> None:
        for position in range(self.head, self.tail + self.capacity, 8):
            at = position % self.capacity
            self.producer.data[at : at + 8] = noise

    @invariant()
    def counts_agree(self) -> None:
        assert self.consumer.head == self.head
        assert self.consumer.tail == self.tail
        assert self.consumer.used == self.head - self.tail
        free = self.capacity - (self.head - self.tail)
        told = free_bytes(self.producer.ctl, self.producer.data)
        assert told <= free
        assert told == free or told >= self.capacity // 2


LaneModel.TestCase.settings = settings(
    max_examples=120,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],  # a busy machine is no fault of the lane
)
test_lane_against_a_list = LaneModel.TestCase


@given(st.integers(8, 20))
def test_the_largest_payload_fits_a_lane_that_is_half_full(exponent: int) -> None:
    capacity = 1 << exponent
    lane = Lane.create(np.zeros(lane_region_bytes(capacity), np.uint8))
    largest = bytes(lane.max_payload)
    assert lane.max_payload == max_payload(capacity)
    assert layout.frame_bytes(len(largest)) == frame_size(len(largest))
    for _ in range(9):
        assert lane.push(1, largest)
        assert lane.push(1, largest)
        with pytest.raises(ValueError, match="max_payload"):
            lane.push(1, largest + b"x")
        (*_, last) = lane.frames()
        lane.release(last.next_position)


def test_what_a_lane_refuses() -> None:
    for capacity in (0, 128, 300, 3 << 10, 1 << 41):
        with pytest.raises(ValueError, match="power of two"):
            lane_region_bytes(capacity)
    region = np.zeros(lane_region_bytes(1024), np.uint8)
    with pytest.raises(LaneCorrupt, match="magic"):
        Lane.attach(region)
    with pytest.raises(ValueError, match="power of two"):
        Lane.create(region[:-8])
    wide: Any = region.view(np.uint64)
    with pytest.raises(TypeError, match="uint8"):
        Lane.create(wide)
    with pytest.raises(ValueError, match="multiple of 8"):
        Lane.create(region, start=12)
    lane = Lane.create(region)
    for kind in (0, -1, 65536):
        with pytest.raises(ValueError, match="kind"):
            lane.push(kind, b"")
    with pytest.raises(ValueError, match="release"):
        lane.release(8)
    with pytest.raises(ValueError, match="start"):
        next(lane.frames(8))
    with pytest.raises(ValueError, match="ascend"):
        lane.push_many(1, np.zeros(8, np.uint8), np.array([4, 2]))
    with pytest.raises(ValueError, match="ascend"):
        lane.push_many(1, np.zeros(8, np.uint8), np.array([4, 9]))


def test_garbage_in_a_lane_is_an_error_and_never_a_frame() -> None:
    lane = Lane.create(np.zeros(lane_region_bytes(1024), np.uint8))
    assert lane.push(1, b"12345678")
    lane.data[0] = 200  # its length now reaches past head
    with pytest.raises(LaneCorrupt, match="past"):
        next(lane.frames())
    with pytest.raises(ValueError, match="corrupt"):
        walk(lane.ctl, lane.data, 0, np.zeros(4, np.int64))
    lane.ctl[layout.LANE_TAIL] = 4096
    with pytest.raises(LaneCorrupt, match="tail"):
        Lane.attach(np.concatenate([lane.ctl.view(np.uint8), lane.data]))


def test_a_release_never_goes_back() -> None:
    lane = Lane.create(np.zeros(lane_region_bytes(1024), np.uint8))
    for _ in range(3):
        assert lane.push(1, b"x")
    first, second, _ = lane.frames()
    lane.release(second.next_position)
    lane.release(first.next_position)
    assert lane.tail == second.next_position


@compiled(types.int64(WORDS, BYTES, types.int64, types.int64))
def write_batch(ctl: Words, data: Bytes, count: int, length: int) -> int:
    """Write ``count`` frames without showing any; returns the position of the last, or -1."""
    pos = lane_reserve(ctl, data, length)
    for k in range(count):
        if k:
            pos = lane_reserve_at(ctl, data, pos + frame_size(length), length)
        if pos < 0:
            return -1
        frame_write_header(data, pos, length, 1, 0, k, 0, 0, 0)
    return pos


@compiled(types.void(WORDS, BYTES, types.int64, types.int64))
def publish(ctl: Words, data: Bytes, pos: int, length: int) -> None:
    lane_publish(ctl, data, pos, length)


@given(
    start=st.integers(0, 200).map(lambda n: n * 8),
    count=st.integers(1, 30),
    length=st.integers(0, 96),
)
def test_a_batch_shows_all_at_once_or_not_at_all(start: int, count: int, length: int) -> None:
    lane = Lane.create(np.zeros(lane_region_bytes(1024), np.uint8), start=start)
    last = write_batch(lane.ctl, lane.data, count, length)
    assert list(lane.frames()) == []
    if last < 0:
        assert count * layout.frame_bytes(length) + layout.frame_bytes(length) > 1024
        return
    publish(lane.ctl, lane.data, last, length)
    assert [frame.a for frame in lane.frames()] == list(range(count))
    assert lane.head == last + layout.frame_bytes(length)
