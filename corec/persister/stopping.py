"""The instance's stop as the persister sees it: the lanes are to be emptied, and for how long it is
worth trying. One that finds the database away leaves the rest in the spool, for the next start.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Final

from corec import layout as L
from corec.process.runtime import Runtime

STOP_PATIENCE_S: Final = 5.0
"""So long a stop tries to reach a database that is away."""
STOP_SILENCE_S: Final = 15.0
"""A database operation of this age is given up when stopping."""
BROKER_PATIENCE_S: Final = 2.0
AGAIN_S: Final = 0.2
"""While stopping no attempt is longer after the one before."""


class Stop:
    """Whether the instance stops, and since when that is known here."""

    def __init__(self, rt: Runtime, clock: Callable[[], float] = time.monotonic) -> None:
        self._rt, self._clock = rt, clock
        self._since: float | None = None
        self._seen = asyncio.Event()

    def wanted(self) -> bool:
        """Whether the lanes are to be emptied now."""
        return self._rt.get(L.C_STOP) >= L.STOP_SINKS

    def look(self) -> None:
        """Notice a stop that has begun: from now on it is patient for a while, no longer."""
        if self._since is None and self.wanted():
            self._since = self._clock()
            self._seen.set()

    def longer_than(self, seconds: float) -> bool:
        """Whether a stop was noticed so long ago."""
        return self._since is not None and self._clock() - self._since >= seconds

    async def pause(self, seconds: float) -> None:
        """Wait until the next attempt; a stop that begins meanwhile wants an answer at once."""
        if self._seen.is_set():
            await asyncio.sleep(min(seconds, AGAIN_S))
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._seen.wait()

    def broker_left(self) -> bool:
        """Whether the broker tells nothing more: its last events are to be written, too. One that
        can't leave, Redis being away, is not waited for."""
        drained = self._rt.slot(L.SLOT_BROKER).get(L.S_STATE) == L.PROC_DRAINED
        return drained or self.longer_than(BROKER_PATIENCE_S)
