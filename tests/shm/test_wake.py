"""The doorbell: no lost wake-up, no needless ring, and every kill survived."""

from __future__ import annotations

import os
import random
import select
import signal
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numba.core import types

from shm.atomics import Words, read_word, write_word
from shm.jit import WORDS, compiled
from shm.wake import Doorbell, sleeper_waits
from tests.shm.helpers import KILLED, fork, reap, shared_words


@pytest.fixture
def words() -> Words:
    return shared_words(64)


@pytest.fixture
def bell(words: Words) -> Iterator[Doorbell]:
    doorbell = Doorbell(words, 8)
    yield doorbell
    doorbell.close()
    doorbell.close()


def test_it_rings_for_a_sleeper_only(words: Words, bell: Doorbell) -> None:
    assert bell.ring() is False
    assert bell.wait(0) is False
    bell.prepare_sleep()
    assert words[8] == 1
    assert bell.ring() is True
    assert bell.ring() is True
    assert bell.wait(0) is True
    assert words[8] == 0, "awake again"
    assert bell.wait(0) is False, "drained"
    bell.prepare_sleep()
    bell.cancel_sleep()
    assert bell.ring() is False


def test_it_is_readable_for_an_event_loop_until_drained(bell: Doorbell) -> None:
    bell.wake()
    assert select.select([bell.fileno()], [], [], 0)[0] == [bell.fileno()]
    bell.drain()
    bell.drain()
    assert select.select([bell.fileno()], [], [], 0)[0] == []


def test_a_full_counter_is_a_ring_like_any_other(bell: Doorbell) -> None:
    os.eventfd_write(bell.fileno(), 2**64 - 2)
    bell.wake()
    assert bell.wait(0) is True


def test_a_wait_ends_at_its_timeout(bell: Doorbell) -> None:
    began = time.monotonic()
    bell.prepare_sleep()
    assert bell.wait(0.02) is False
    assert 0.015 < time.monotonic() - began < 10
    assert bell.ring() is False


def test_what_it_refuses(words: Words) -> None:
    with pytest.raises(IndexError, match="doorbell"):
        Doorbell(words, 64)
    signed: Any = np.zeros(8, np.int64)
    with pytest.raises(TypeError, match="uint64"):
        Doorbell(signed, 0)


@compiled(types.boolean(WORDS, types.int64))
def _asks(words: Words, index: int) -> bool:
    return sleeper_waits(words, index)


def test_compiled_code_asks_the_same(words: Words, bell: Doorbell) -> None:
    assert not _asks(words, 8)
    bell.prepare_sleep()
    assert _asks(words, 8)


def test_a_killed_sleeper_costs_its_successor_one_needless_wake(
    words: Words, bell: Doorbell
) -> None:
    def sleeper() -> None:
        bell.prepare_sleep()
        bell.wait(60)

    pid = fork(sleeper)
    while read_word(words, 8) == 0:
        os.sched_yield()
    os.kill(pid, signal.SIGKILL)
    assert reap(pid) == KILLED
    assert bell.ring() is True, "the flag of the dead is still set"
    assert bell.wait(0) is True
    assert bell.ring() is False


@pytest.mark.slow
def test_no_wake_up_is_lost_in_100_000_ping_pongs(words: Words, seed: int) -> None:
    # words[0] and words[1]: how many balls each side has played.  A side that sleeps on a ball
    # that was played is a lost wake-up; it would show as a wait that only its timeout ends.
    count = 100_000
    bells = (Doorbell(words, 16), Doorbell(words, 32))

    def play(me: int) -> None:
        chance = random.Random(seed + me)
        other = 1 - me
        for ball in range(1, count + 1):
            wanted = ball if me else ball - 1
            for _ in range(chance.choice((0, 0, 0, 1, 3, 10))):
                read_word(words, other)  # sleep a little earlier or later
            while read_word(words, other) < wanted:
                bells[me].prepare_sleep()
                if read_word(words, other) >= wanted:
                    bells[me].cancel_sleep()
                elif not bells[me].wait(20.0):
                    lost = read_word(words, other) >= wanted
                    raise AssertionError(f"ball {ball}: {'lost wake-up' if lost else 'no answer'}")
            write_word(words, me, ball)
            bells[other].ring()

    pid = fork(lambda: play(1))
    play(0)
    assert reap(pid) == 0
    assert words[:2].tolist() == [count, count]
    for bell in bells:
        bell.close()
