"""When a dead process comes back. Pure: times in seconds of CLOCK_MONOTONIC, no I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

QUICK_SECONDS: Final = 1.0
FIRST_DELAY_SECONDS: Final = 0.1
DELAY_SECONDS_MAX: Final = 5.0
QUICK_DEATHS_MAX: Final = 8
"""So many deaths at once, one after the other (some 6 s), and the process is parked."""
TRIAL_SECONDS: Final = 60.0
"""A parked process is tried once in this time: what killed it may have gone."""


@dataclass
class Restarts:
    """The history of one process: at once after a healthy life, later each time it dies at once.

    One that dies at once again and again is parked: started only for a trial now and then, until
    it lives or somebody calls ``forgive``.
    """

    started: float = 0.0
    quick_deaths: int = 0
    count: int = 0
    due: float | None = field(default=None)
    failed_starts: int = 0

    @property
    def parked(self) -> bool:
        """It died at once too often; true during a trial too."""
        return self.quick_deaths >= QUICK_DEATHS_MAX

    def start(self, now: float) -> None:
        """It was (re)started."""
        self.started = now
        self.due = None
        self.failed_starts = 0

    def not_started(self, now: float) -> float:
        """There was no process to be had; returns when to try again. It is no death."""
        delay = min(FIRST_DELAY_SECONDS * 2.0**self.failed_starts, DELAY_SECONDS_MAX)
        self.failed_starts += 1
        self.due = now + delay
        return self.due

    def died(self, now: float) -> float:
        """It died; returns when to start it again."""
        self.count += 1
        self.quick_deaths = self.quick_deaths + 1 if now - self.started < QUICK_SECONDS else 0
        delay = 0.0
        if self.parked:
            delay = TRIAL_SECONDS
        elif self.quick_deaths > 1:
            delay = min(FIRST_DELAY_SECONDS * 2.0 ** (self.quick_deaths - 2), DELAY_SECONDS_MAX)
        self.due = now + delay
        return self.due

    def forgive(self, now: float) -> None:
        """Something has changed: no death counts any more, and who waits is due now."""
        self.quick_deaths = 0
        if self.due is not None:
            self.due = now
