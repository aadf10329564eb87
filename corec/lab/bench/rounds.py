"""Measuring in turns: A B C, A B C, … so that a machine that slows down slows everybody down."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from corec.lab.bench.results import Row


@dataclass(frozen=True)
class Effort:
    """How long and how often: ``quick`` is for seeing that it works, not for figures."""

    quick: bool = False
    rounds: int = 5

    @property
    def sample_seconds(self) -> float:
        """Aim for the length of one sample."""
        return 0.03 if self.quick else 0.4

    def pick(self, usual: int, quick: int) -> int:
        """A count that is smaller when quick."""
        return quick if self.quick else usual


@dataclass
class Contender:
    """``sample()`` does the work once and returns one sample, in the table's unit."""

    name: str
    sample: Callable[[], float]
    ours: bool = False
    note: str = ""


class RivalFailed(RuntimeError):
    """A rival did not do its work in one sample; its other samples count."""


def interleave(contenders: Sequence[Contender], rounds: int) -> list[Row]:
    """``rounds`` samples of each, taken in turns; every contender is warm before the first.

    A rival whose sample fails (``RivalFailed``) loses it, and its note says so; one that has none
    left has no row.
    """
    rows = [Row(c.name, [], c.ours, c.note) for c in contenders]
    for contender in contenders:
        tell(f"  warming up: {contender.name}")
        _sampled(contender, Row("", []))
    for number in range(rounds):
        tell(f"  round {number + 1} of {rounds}")
        for contender, row in zip(contenders, rows, strict=True):
            _sampled(contender, row)
    return [row for row in rows if row.samples]


def _sampled(contender: Contender, row: Row) -> None:
    try:
        row.samples.append(contender.sample())
    except RivalFailed as error:
        if contender.ours:
            raise
        tell(f"  {contender.name}: {error}")
        row.note = f"{contender.note}; some samples failed: {error}"


def rate_of(work: Callable[[], None], units: float, seconds: float) -> Callable[[], float]:
    """A ``sample`` that repeats ``work`` for about ``seconds`` and returns ``units`` per second.

    How often is settled by the first call, so that every sample is of the same work.
    """
    times: list[int] = []

    def sample() -> float:
        if not times:
            work()
            began = time.perf_counter()
            work()
            times.append(max(1, round(seconds / max(time.perf_counter() - began, 1e-9))))
        began = time.perf_counter()
        for _ in range(times[0]):
            work()
        return units * times[0] / (time.perf_counter() - began)

    return sample


def nanoseconds_each(
    function: Any, arguments: tuple[Any, ...], times: int, units: int, keep: object = None
) -> Callable[[], float]:
    """A ``sample`` of a compiled loop ``function(*arguments, times)`` over so many ``units`` a
    time; ``keep``: whose memory it works on."""

    def sample(_keep: object = keep) -> float:
        began = time.perf_counter()
        function(*arguments, times)
        return (time.perf_counter() - began) / times / units * 1e9

    return sample


def tell(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


def wait_until(condition: Callable[[], object], what: str, seconds: float) -> float:
    """Wait for ``condition()``; returns how long it took, in seconds.

    Raises TimeoutError with ``what`` after ``seconds``.
    """
    began = time.perf_counter()
    pause = 0.0001
    while not condition():
        if time.perf_counter() - began > seconds:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        time.sleep(pause)
        pause = min(pause * 1.2, 0.003)
    return time.perf_counter() - began
