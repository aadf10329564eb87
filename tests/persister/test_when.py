"""When frames are written or spooled, what counts as a database that is away, when a stop gives
up: each a decision of a few numbers and a clock."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from corec import layout as L
from corec.persister.linger import ENOUGH_BYTES, LINGER_S, Linger
from corec.persister.reach import SILENT_S, Reach
from corec.persister.spooler import AWAY_S, is_due
from corec.persister.stopping import STOP_PATIENCE_S, Stop
from corec.persister.writer import Listening
from tests.persister.small_world import small_world


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_little_waits_for_more_but_not_for_long() -> None:
    clock = Clock()
    linger = Linger(clock)
    assert not linger.over()
    clock.now += LINGER_S - 0.01
    assert not linger.over()
    clock.now += 0.02
    assert linger.over()
    linger.reset()
    assert not linger.over(), "what comes next has not waited yet"


def connection(heard: float) -> Listening:
    """What a connection says of itself; the real one has a test with a server (test_servers)."""
    return cast(Listening, SimpleNamespace(heard=heard))


def test_a_database_is_away_from_the_first_moment_that_it_is_known_to_be() -> None:
    clock = Clock()
    reach = Reach(clock)
    assert reach.away_seconds() > 0.0, "nobody has reached it yet"
    clock.now += 5.0
    assert reach.away_seconds() == 5.0
    reach.asked()
    reach.connected(connection(0.0))
    reach.answered()
    reach.takes()
    clock.now += 5.0
    assert reach.away_seconds() == 0.0
    reach.gone()
    clock.now += 2.0
    reach.gone()  # the next attempt found it no better
    assert reach.away_seconds() == 2.0


def test_a_silent_database_is_away_since_it_was_last_heard() -> None:
    clock = Clock()
    reach = Reach(clock)
    reach.connected(connection(clock.now + 1.0))
    reach.takes()
    clock.now += 50.0
    assert (reach.silent_seconds(), reach.away_seconds()) == (0.0, 0.0), "it is asked nothing"
    reach.asked()
    clock.now += SILENT_S
    assert (reach.silent_seconds(), reach.away_seconds()) == (SILENT_S, 0.0)
    clock.now += 0.5
    assert reach.silent_seconds() == reach.away_seconds() == SILENT_S + 0.5
    reach.connected(connection(clock.now - 0.25))
    assert (reach.silent_seconds(), reach.away_seconds()) == (0.25, 0.0), "it took a piece"


@pytest.mark.parametrize(
    ("used", "away_s", "lingered", "stopping", "paced", "due"),
    [
        (0.9, 0.0, True, False, False, False),  # flat out: the lanes slow the workers
        (0.9, 0.0, False, False, True, True),
        (0.7, 0.0, True, True, True, False),  # the database works
        (0.1, AWAY_S / 2, True, False, True, False),  # it may be back at once
        (0.5, AWAY_S / 2, False, False, False, True),
        (0.1, AWAY_S / 2, False, True, False, True),
        (0.1, AWAY_S, False, False, False, False),  # little: it waits for more
        (0.1, AWAY_S, True, False, False, True),
        (0.5, AWAY_S, False, False, False, True),
        (0.1, AWAY_S, False, True, False, True),
    ],
)
def test_what_waits_goes_to_the_disk(
    used: float, away_s: float, *, lingered: bool, stopping: bool, paced: bool, due: bool
) -> None:
    few = ENOUGH_BYTES - 1
    asked = is_due(few, used, away_s, lingered=lingered, stopping=stopping, paced=paced)
    assert asked is due
    much = is_due(ENOUGH_BYTES, used, away_s, lingered=lingered, stopping=stopping, paced=paced)
    assert much is (due or away_s >= AWAY_S)


def test_a_stop_is_patient_from_when_it_was_noticed(shm_dir: Path) -> None:
    with small_world(shm_dir, "") as world:
        clock = Clock()
        stop = Stop(world.rt, clock)
        stop.look()
        clock.now += 50.0
        assert not stop.longer_than(0.0), "nobody stops"
        world.rt.set(L.C_STOP, L.STOP_TICKS)
        stop.look()
        assert (stop.wanted(), stop.longer_than(0.0)) == (False, False), "the workers do"
        world.rt.set(L.C_STOP, L.STOP_SINKS)
        assert stop.wanted()
        assert not stop.longer_than(0.0), "it was not noticed yet"
        stop.look()
        assert stop.longer_than(0.0), "what a server refuses is not waited for"
        assert not stop.longer_than(STOP_PATIENCE_S)
        clock.now += STOP_PATIENCE_S
        stop.look()
        assert stop.longer_than(STOP_PATIENCE_S)


def test_a_stop_ends_the_pause_before_the_next_attempt(shm_dir: Path) -> None:
    async def paused() -> None:
        stop = Stop(world.rt)
        waiting = asyncio.create_task(stop.pause(3600.0))
        await asyncio.sleep(0)
        world.rt.set(L.C_STOP, L.STOP_SINKS)
        stop.look()
        async with asyncio.timeout(60.0):
            await waiting
            await stop.pause(3600.0)  # from now on every attempt follows soon

    with small_world(shm_dir, "") as world:
        asyncio.run(paused())
