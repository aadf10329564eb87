"""Jittered exponential back-off between attempts, or looks: the one that all of CoreC has."""

from __future__ import annotations

import random
from typing import Final

FIRST_SECONDS: Final = 0.1
MOST_SECONDS: Final = 5.0


class Backoff:
    """``first_seconds``, doubled at each failure up to ``most_seconds``, times a random factor of
    0.5 to 1."""

    def __init__(
        self, seed: int | None = None, most_seconds: float = MOST_SECONDS,
        first_seconds: float = FIRST_SECONDS,
    ) -> None:  # fmt: skip
        self._random = random.Random(seed)
        self._first = self._seconds = first_seconds
        self._most = most_seconds

    def reset(self) -> None:
        """After a success."""
        self._seconds = self._first

    def next_seconds(self) -> float:
        """How long to wait before the next attempt."""
        wait = self._seconds * self._random.uniform(0.5, 1.0)
        self._seconds = min(self._most, self._seconds * 2)
        return wait
