"""The oracle's thermostats and alerts, by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from corec.lab.oracle.alerting import Life, Thermostats, lives


def told(
    rounds: Mapping[int, Sequence[bool | None]], last: int, silence: int = 100
) -> list[list[int]]:
    """By entity, the ticks of its messages: None says nothing in that tick, True something bad."""
    entities = len(next(iter(rounds.values())))
    oracle = Thermostats(entities, silence)
    for tick, said in rounds.items():
        ids = np.array([i for i, bad in enumerate(said) if bad is not None], np.int64)
        oracle.take(tick, ids, np.array([bad for bad in said if bad is not None], np.bool_))
    messages = oracle.end(last)
    return [[tick for tick, who in messages if who == i] for i in range(entities)]


def test_three_bad_ones_of_the_last_five() -> None:
    series = [True, False, True, False, True, False, True, False, False, False]
    rounds = {tick: [bad, False] for tick, bad in enumerate(series, 1)}
    assert told(rounds, 10) == [[5, 7], []]


def test_readings_of_one_tick_are_messages_of_one_tick() -> None:
    oracle = Thermostats(1, 100)
    for _ in range(4):
        oracle.take(7, np.array([0]), np.array([True]))
    assert oracle.end(7) == [(7, 0), (7, 0)]


@pytest.mark.parametrize(("back", "found"), [(13, []), (14, [13])])
def test_silence_is_told_once_and_only_when_it_lasted(back: int, found: list[int]) -> None:
    assert told({3: [False], back: [False]}, back, silence=10) == [found]


def test_who_never_said_anything_is_silent_too() -> None:
    assert told({3: [None, False]}, 10, silence=10) == [[10], []]
    assert told({3: [None, False]}, 9, silence=10) == [[], []]


def test_an_alert_ends_when_nothing_came_for_longer() -> None:
    messages = [(10, 4), (10, 4), (15, 4), (21, 4), (12, 3)]
    assert lives(messages, 5) == [Life(3, 12, 12, 1), Life(4, 10, 15, 2), Life(4, 21, 21, 1)]
    assert lives(messages, 6) == [Life(3, 12, 12, 1), Life(4, 10, 21, 3)]
