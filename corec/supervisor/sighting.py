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
from corec.process.runtime import Runtime, Slot, word_to_float
from corec.worker.leader import JOURNAL_WAITS_BYTES

MOVING_NS = 1_000_000_000
FRESH_NS = 5_000_000_000
"""A worker that waits beats once a second at least."""
SLOW_HZ = 1.0


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

    @property
    def calm(self) -> bool:
        """Whether it is as it should be that no tick comes: it is paused, the workers rest for a
        change, a tick takes long and goes on, or none need have come."""
        rests = self.rt.get(L.C_PAUSED) != 0 or self.rt.get(L.C_REST) & 1
        return bool(rests) or self.moving or self.waiting

    @property
    def waiting(self) -> bool:
        """Whether no tick need have come, all workers being well: the pace is so slow that none is
        due for a while, or something holds them up."""
        now = time.monotonic_ns()
        if any(now - worker.get(L.S_BEAT_NS) > FRESH_NS for worker in self._workers()):
            return False
        return 0.0 < word_to_float(self.rt.get(L.C_TICK_HZ)) <= SLOW_HZ or self.held_up

    @property
    def held_up(self) -> bool:
        """Whether a worker waits for a server to make room, the journal is not on the disk, or a
        tick that runs again waits for its input or for the world to grow."""
        rt = self.rt
        tick, grows = rt.get(L.C_GO_TICK), rt.get(L.C_GROW_FIRST)
        again = tick < rt.get(L.C_FOLLOW) or 0 < grows <= tick + 1
        written = rt.journal.used <= JOURNAL_WAITS_BYTES
        waits = any(w.get(L.S_STATE) == L.PROC_WAITING_SINK for w in self._workers())
        return again or not written or waits

    def _workers(self) -> list[Slot]:
        return [self.rt.slot(L.SLOT_WORKER0 + k) for k in range(self.rt.get(L.C_WORKERS))]
