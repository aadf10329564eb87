"""How long a killed worker is missed: from ``kill`` to its successor's next committed tick."""

from __future__ import annotations

import os
import signal
import statistics
import time
from typing import Any, Final

from corec import layout as L
from corec.control.memory import open_control
from corec.lab.chaos.instance import ChaosInstance
from shm.atomics import read_word
from shm.segment import Segment, SegmentRefused

WATCH_SECONDS_MAX: Final = 5.0
LOOK_SECONDS: Final = 0.0005


class Recovery:
    """Kills workers and watches the control segment for their successors' ticks."""

    def __init__(self, instance: ChaosInstance) -> None:
        self.instance = instance
        self.times_ms: list[float] = []

    def kill(self, pid: int) -> None:
        """SIGKILL a worker and wait, up to 5 s, until its place has committed another tick.

        A kill is not counted when its worker was not at rest in its place: while the group changes,
        or in the second after another death.
        """
        segment = self._attach()
        if segment is None:
            os.kill(pid, signal.SIGKILL)
            return
        words = segment.words
        bases = [L.slot_base(L.SLOT_WORKER0 + k) for k in range(int(words[L.C_WORKERS]))]
        base = next((b for b in bases if int(read_word(words, b + L.S_PID)) == pid), None)
        os.kill(pid, signal.SIGKILL)
        killed = time.monotonic()
        if base is not None:
            tick = int(read_word(words, base + L.S_TICK))
            while time.monotonic() - killed < WATCH_SECONDS_MAX:
                # a tick that was committed as the kill arrived is the dead one's own
                other = int(read_word(words, base + L.S_PID)) not in (pid, 0)
                if other and int(read_word(words, base + L.S_TICK)) > tick:
                    break
                time.sleep(LOOK_SECONDS)
            self.times_ms.append(1000.0 * (time.monotonic() - killed))
        del words
        segment.close()

    def _attach(self) -> Segment | None:
        try:
            return open_control(self.instance.folder)
        except (OSError, SegmentRefused):
            return None  # it is being made at this moment

    def percentiles(self) -> dict[str, Any]:
        """Number, p50, p99 and the largest, in ms; the numbers are None when nothing was timed."""
        ordered = sorted(self.times_ms)
        if not ordered:
            return {"n": 0, "p50": None, "p99": None, "max": None}
        at = min(len(ordered) - 1, round(0.99 * (len(ordered) - 1)))
        return {
            "n": len(ordered),
            "p50": round(statistics.median(ordered), 1),
            "p99": round(ordered[at], 1),
            "max": round(ordered[-1], 1),
        }
