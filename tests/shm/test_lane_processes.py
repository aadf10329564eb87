"""Two real processes on one lane: full speed, killed at every store, killed at any moment."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from shm import killpoint
from shm.atomics import Words, read_word, spin_until_at_least, write_word
from shm.lane import Lane, lane_region_bytes
from shm.layout import LANE_HEAD, LANE_TAIL
from tests.shm.helpers import DEADLINE_SECONDS, KILLED, fork, reap, shared_bytes, shared_words
from tests.shm.lane_kernels import BAD, consume, produce

ATTEMPTS = 2000
"""Looks at a full or empty lane before the core is yielded to somebody else."""


@dataclass
class Run:
    """One lane, what its consumer keeps (durable) and what its producer keeps (committed)."""

    lane: Lane
    durable: Words
    committed: Words
    seed: int
    words_min: int
    words_max: int

    def produce_until(self, end: int, step: int = 1 << 30) -> None:
        """Publish frames up to ``end``; after every ``step`` frames, commit the next number."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        n = read_word(self.committed, 0)
        while n < end:
            target = min(end, n + step)
            done = produce(
                self.lane.ctl, self.lane.data, self.seed, n, target, self.words_min,
                self.words_max, ATTEMPTS,
            )  # fmt: skip
            if done == n:
                assert time.monotonic() < deadline, f"stuck at frame {n}"
                os.sched_yield()
            n = done
            write_word(self.committed, 0, n)

    def consume_until(self, end: int, batch: int = 64) -> None:
        """Check frames up to ``end``, from where the durable words say."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            before = read_word(self.durable, 0)
            done = self.consume(end, ATTEMPTS, batch)
            assert done != BAD, f"frame {read_word(self.durable, 0)} is wrong, seed {self.seed}"
            if done >= end:
                return
            if done == before:
                assert time.monotonic() < deadline, f"stuck at frame {done}"
                os.sched_yield()

    def consume(self, end: int, attempts: int, batch: int) -> int:
        return consume(
            self.lane.ctl, self.lane.data, self.durable, self.seed, end, self.words_min,
            self.words_max, attempts, batch,
        )  # fmt: skip


def a_run(seed: int, capacity: int, words: tuple[int, int], start: int = 0) -> Run:
    lane = Lane.create(shared_bytes(lane_region_bytes(capacity)), start=start)
    durable = shared_words(2)
    durable[1] = start
    return Run(lane, durable, shared_words(1), seed, *words)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "capacity", "words"),
    [
        pytest.param(1_000_000, 1 << 20, (8, 8), id="1M frames of 64 B"),
        pytest.param(300_000, 1 << 16, (0, 60), id="300k frames up to 480 B, often wrapping"),
        pytest.param(50_000, 1 << 16, (0, 1900), id="50k frames up to 15 KB, mostly full"),
        pytest.param(200_000, 256, (0, 3), id="200k frames through 256 bytes"),
    ],
)
def test_full_speed_every_frame_is_checked(
    seed: int, count: int, capacity: int, words: tuple[int, int]
) -> None:
    run = a_run(seed, capacity, words, start=seed // 8 * 8)
    began = time.perf_counter()
    pid = fork(lambda: run.produce_until(count))
    run.consume_until(count)
    seconds = time.perf_counter() - began
    assert reap(pid) == 0
    assert run.lane.used == 0
    print(f"{count / seconds / 1e6:.2f} M frames/s, every byte written and checked")


PRODUCER_POINTS = [
    "lane.reserve.tail_seen",
    "lane.reserve.padding",
    "lane.header.0",
    "lane.header.1",
    "lane.header.2",
    "lane.header.3",
    "lane.payload.half",
    "lane.payload.done",
    "lane.publish.before",
    "lane.publish.after",
]
CONSUMER_POINTS = ["lane.next.head_seen", "lane.release.before", "lane.release.after"]


def test_every_kill_point_of_the_lane_is_tried() -> None:
    known = {name for name in killpoint.KILL_POINTS if name.startswith("lane.")}
    assert known == {*PRODUCER_POINTS, *CONSUMER_POINTS}


def die_at(point: str, pass_number: int, body: Callable[[], None]) -> None:
    """Run ``body`` in a child that must be killed at ``point``."""

    def child() -> None:
        killpoint.arm(point, pass_number)
        body()

    assert reap(fork(child)) == KILLED, f"{point}:{pass_number} was not passed"


@pytest.mark.parametrize("point", PRODUCER_POINTS)
@pytest.mark.parametrize("commit_every", [1, 5])
def test_a_producer_killed_at_any_store_leaves_a_lane_to_go_on_with(
    seed: int, point: str, commit_every: int
) -> None:
    chance = random.Random(seed)
    run = a_run(seed, 1024, (1, 12))

    def life() -> None:
        while True:
            run.produce_until(read_word(run.committed, 0) + commit_every, commit_every)
            run.consume_until(read_word(run.committed, 0), 1)

    for _ in range(6):
        consumed = read_word(run.durable, 0)
        die_at(point, chance.randrange(1, 8), life)
        # Whole frames only, up to head and not a byte further; some may not be committed.
        seen = run.consume(1 << 60, 0, 1)
        assert seen != BAD
        assert seen >= max(consumed, read_word(run.committed, 0))
        assert seen - read_word(run.committed, 0) <= commit_every
        assert run.lane.used == 0
    # The successor goes on from its own durable number; the consumer drops what it knows.
    end = read_word(run.committed, 0) + 500
    pid = fork(lambda: run.produce_until(end))
    run.consume_until(end)
    assert reap(pid) == 0
    assert run.lane.used == 0


@pytest.mark.parametrize("point", PRODUCER_POINTS)
def test_an_unpublished_frame_is_never_seen(point: str) -> None:
    run = a_run(1, 256, (3, 3), start=208)  # 56-byte frames: the first one must pad to the wrap
    frames = 0
    if point == "lane.reserve.tail_seen":
        frames = 3  # one more finds the lane full and has to ask the consumer's word
        run.produce_until(frames)
    before = run.lane.head
    die_at(point, 1, lambda: run.produce_until(10, 1))
    published = run.lane.head != before
    assert published is (point == "lane.publish.after")
    assert len(list(run.lane.frames())) == frames + published


@pytest.mark.parametrize("point", CONSUMER_POINTS)
@pytest.mark.parametrize("pass_number", [1, 4])
def test_a_consumer_killed_around_its_release_loses_and_repeats_nothing(
    seed: int, point: str, pass_number: int
) -> None:
    run = a_run(seed, 4096, (1, 8))

    def life() -> None:
        while True:
            run.produce_until(read_word(run.committed, 0) + 7)
            run.consume_until(read_word(run.committed, 0), 3)

    for _ in range(5):
        die_at(point, pass_number, life)
        assert run.lane.tail <= read_word(run.durable, 1) <= run.lane.head
        run.consume_until(read_word(run.committed, 0))
        assert run.lane.used == 0


@pytest.mark.slow
def test_both_ends_killed_at_random_moments(seed: int) -> None:
    chance = random.Random(seed)
    run = a_run(seed, 1 << 14, (0, 120))
    end = 400_000
    roles: dict[int, Callable[[], None]] = {}

    def start(body: Callable[[], None]) -> None:
        roles[fork(body)] = body

    start(lambda: run.produce_until(end, 100))
    start(lambda: run.consume_until(end))
    for _ in range(60):
        # Wait for progress rather than time, so that a slow machine sees the same kills.
        goal = read_word(run.durable, 0) + chance.randrange(1, 3000)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not spin_until_at_least(run.durable, 0, min(goal, end), 100):
            assert time.monotonic() < deadline
            os.sched_yield()
        victim = chance.choice(list(roles))
        body = roles.pop(victim)
        os.kill(victim, signal.SIGKILL)
        assert reap(victim) in (KILLED, 0)
        assert read_word(run.lane.ctl, LANE_TAIL) <= read_word(run.lane.ctl, LANE_HEAD)
        start(body)
    for pid in roles:
        assert reap(pid) == 0
    assert read_word(run.durable, 0) == end
    assert run.lane.tail == read_word(run.durable, 1)
