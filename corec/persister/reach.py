"""Whether the database takes anything at this moment, and since when it does not.

Told by the task that does the work: it asks for a connection, an operation begins, it was answered,
the connection is gone. Asked by those that never wait for the database, the watch and the spooler.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from corec.persister.writer import Listening, abandon

SILENT_S: Final = 3.0
"""A database that has not answered for so long takes nothing."""


class Reach:
    """What is known of the database; before the first word it is away."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock``: as ``Listening.heard`` has it."""
        self._clock = clock
        self._connection: Listening | None = None
        self._asked_at: float | None = None
        self._away_since: float | None = clock()

    def asked(self) -> None:
        """An operation begins now."""
        self._asked_at = self._clock()

    def connected(self, connection: Listening) -> None:
        """It is asked through this connection from now on."""
        self._connection = connection

    def answered(self) -> None:
        """Nothing is asked any more."""
        self._asked_at = None

    def takes(self) -> None:
        """It takes rows."""
        self._away_since = None

    def gone(self) -> None:
        """The connection is no more; what it was asked has no answer."""
        self._asked_at, self._connection = None, None
        if self._away_since is None:
            self._away_since = self._clock()

    def abandon(self) -> None:
        """End the connection whatever it waits for: the work hears of it as of any lost one."""
        if self._connection is not None:
            abandon(self._connection)

    def silent_seconds(self) -> float:
        """How long what it was asked has had no answer; 0: it was asked nothing.

        What it takes of a long COPY, and each answer of a long transaction, is a sign of life.
        """
        if self._asked_at is None:
            return 0.0
        heard = 0.0 if self._connection is None else self._connection.heard
        return self._clock() - max(self._asked_at, heard)

    def away_seconds(self) -> float:
        """Since when it takes nothing; 0 while it does."""
        if self._away_since is not None:
            return max(1e-9, self._clock() - self._away_since)
        silent = self.silent_seconds()
        return silent if silent > SILENT_S else 0.0
