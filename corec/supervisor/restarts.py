"""When a dead process comes back. Pure: times in seconds of CLOCK_MONOTONIC, no I/O."""

from __future__ import annotations

from dataclasses import dataclass, field

QUICK_SECONDS = 1.0
FIRST_DELAY_SECONDS = 0.1
DELAY_SECONDS_MAX = 5.0


@dataclass
class Restarts:
    """The history of one process: at once after a healthy life, later each time it dies at once."""

    started: float = 0.0
    quick_deaths: int = 0
    count: int = 0
    due: float | None = field(default=None)

    def start(self, now: float) -> None:
        """It was (re)started."""
        self.started = now
        self.due = None

    def died(self, now: float) -> float:
        """It died; returns when to start it again."""
        self.count += 1
        self.quick_deaths = self.quick_deaths + 1 if now - self.started < QUICK_SECONDS else 0
        delay = 0.0
        if self.quick_deaths > 1:
            delay = min(FIRST_DELAY_SECONDS * 2.0 ** (self.quick_deaths - 2), DELAY_SECONDS_MAX)
        self.due = now + delay
        return self.due
