"""When each process last showed that it lives: by its beat, or by work that goes on.

A beat is written between two waits of a process' loop. A worker in a tick that takes long comes to
none, so the compiled code counts up its word S_PROGRESS as it goes (``corec.entities.steps``); what
can be seen of that is only that it moves. The supervisor looks at every turn of its watch loop, and
writes when it saw it move to S_SEEN_NS, where whoever tells the frozen from the busy reads it.
Who writes S_PROGRESS: the worker alone; S_SEEN_NS: the supervisor alone.
"""

from __future__ import annotations

import time

from corec import layout as L
from corec.runtime import Runtime

MOVING_NS = 1_000_000_000


class Sightings:
    """What the supervisor saw of each process, by slot."""

    def __init__(self, rt: Runtime) -> None:
        self.rt = rt
        self._progress: dict[int, int] = {}
        self._moved_ns = 0

    def last_ns(self, number: int) -> int:
        """CLOCK_MONOTONIC of the last sign of life of the process in slot ``number``."""
        slot = self.rt.slot(number)
        progress = slot.get(L.S_PROGRESS)
        if progress != self._progress.setdefault(number, progress):
            self._progress[number] = progress
            self._moved_ns = time.monotonic_ns()
            slot.set(L.S_SEEN_NS, self._moved_ns)
        return max(slot.get(L.S_BEAT_NS), slot.get(L.S_SEEN_NS))

    @property
    def moving(self) -> bool:
        """Whether some worker's tick went on within the last second."""
        return time.monotonic_ns() - self._moved_ns < MOVING_NS
