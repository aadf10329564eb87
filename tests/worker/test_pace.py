"""Missed deadlines and the achieved pace: the slower a world, the more is said of it."""

from __future__ import annotations

import pytest

from corec.nucleus.pace import Pace
from corec.worker.leader import Pacer


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """In the place of the leader's."""
    made = Clock()
    monkeypatch.setattr("corec.worker.leader.time", made)
    return made


def missed(clock: Clock, hz: float, tick_seconds: float, seconds: float) -> tuple[int, int]:
    """(ticks, deadlines missed) of a world whose ticks take so long."""
    pacer = Pacer()
    ticks = count = 0
    end = clock.now + seconds
    while clock.now < end:
        clock.now += max(0.0, pacer.wait_seconds(hz))
        count += pacer.started(hz)
        ticks += 1
        clock.now += tick_seconds
    return ticks, count


@pytest.mark.parametrize("hz", [0.25, 10.0, 1000.0])
@pytest.mark.parametrize("times", [2.0, 5.0, 40.0, 4000.0])
def test_a_world_that_is_too_slow_misses_its_pace_however_slow_it_is(
    clock: Clock, hz: float, times: float
) -> None:
    seconds = max(60.0, 100 * times / hz)
    ticks, count = missed(clock, hz, times / hz, seconds)
    assert ticks == pytest.approx(seconds * hz / times, abs=2)
    assert count == pytest.approx(seconds * hz, rel=0.1)


@pytest.mark.parametrize("share", [0.1, 0.99])
def test_a_world_that_keeps_its_pace_misses_nothing(clock: Clock, share: float) -> None:
    ticks, count = missed(clock, 10.0, share / 10.0, 100.0)
    assert ticks == pytest.approx(1000, abs=2)
    assert count == 0


def test_one_long_tick_is_caught_up_with_and_each_late_one_counts(clock: Clock) -> None:
    pacer = Pacer()
    found = []
    for n in range(12):
        clock.now += max(0.0, pacer.wait_seconds(10.0))
        found.append(pacer.started(10.0))
        clock.now += 0.55 if n == 3 else 0.001
    assert found == [0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0]


def test_flat_out_has_no_deadlines(clock: Clock) -> None:
    pacer = Pacer()
    assert pacer.wait_seconds(0.0) == 0.0
    clock.now += 1000.0
    assert pacer.started(0.0) == 0


def run(pace: Pace, hz: float, achieved: float, began: float, seconds: float) -> None:
    steps = int(seconds / 0.2)
    for k in range(steps + 1):
        now = k * 0.2
        pace.look(began + now, int(achieved * (began + now)), hz, still=False)


@pytest.mark.parametrize(
    ("achieved", "behind", "far_behind"),
    [(10.0, False, False), (9.2, False, False), (8.0, True, False), (0.25, True, True),
     (0.0, True, True)],
)  # fmt: skip
def test_achieved_against_wanted(achieved: float, behind: bool, far_behind: bool) -> None:
    pace = Pace()
    run(pace, 10.0, achieved, 0.0, 9.0)
    assert (pace.behind, pace.far_behind) == (False, False), "not for a moment's sake"
    run(pace, 10.0, achieved, 9.0, 20.0)
    assert pace.achieved_hz == pytest.approx(achieved, abs=0.15)
    assert (pace.behind, pace.far_behind) == (behind, far_behind)


def test_a_slow_pace_needs_a_longer_look(clock: Clock) -> None:
    pace = Pace()
    run(pace, 0.01, 0.0, 0.0, 400.0)
    assert not pace.behind
    run(pace, 0.01, 0.0, 400.0, 200.0)
    assert pace.far_behind


def test_a_pause_a_new_pace_and_an_older_world_begin_anew() -> None:
    for begin in ("pause", "pace", "older"):
        pace = Pace()
        run(pace, 10.0, 1.0, 0.0, 20.0)
        assert pace.far_behind
        pace.look(20.2, 3 if begin == "older" else 20, 5.0 if begin == "pace" else 10.0,
                  still=begin == "pause")  # fmt: skip
        assert not pace.behind
        assert pace.achieved_hz == 0.0
