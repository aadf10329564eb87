"""``corec-ctl workers N``: one TTIN or TTOU after the other, each seen to have its effect.

Signals of one kind that wait are merged into one, so the next is sent when the supervisor has done
what the last one asked. The nucleus is replaced with the other processes meanwhile, so the number
is read from shared memory.
"""

from __future__ import annotations

import signal
import time
from typing import Any

from corec.control.discover import Instance, signal_supervisor
from corec.control.fallback import status_from_memory
from corec.control.protocol import ControlError

STEP_SECONDS_MAX = 60.0
_POLL_SECONDS = 0.05


def resize(instance: Instance, wanted: int) -> None:
    """Return when ``wanted`` workers tick.

    Raises ControlError when the supervisor does not follow, MemoryUnreadable when the instance's
    words cannot be read.
    """
    status = _settled(instance, None)
    if wanted > status["bloques"]:
        raise ControlError(
            f"found {wanted} workers, expected at most one for each of {status['bloques']} blocks",
            "bad_request",
        )
    while status["workers"] != wanted:
        up = status["workers"] < wanted
        signal_supervisor(instance, signal.SIGTTIN if up else signal.SIGTTOU)
        status = _settled(instance, status["workers"] + (1 if up else -1))


def _settled(instance: Instance, workers: int | None) -> dict[str, Any]:
    """The status once every process is up again, with ``workers`` workers (None: any number)."""
    deadline = time.monotonic() + STEP_SECONDS_MAX
    while True:
        status = status_from_memory(instance)
        fits = workers in (None, status["workers"])
        up = all(row["state"] in ("ready", "waiting") for row in status["processes"])
        if fits and up and status["state"] not in ("starting", "draining"):
            return status
        if time.monotonic() > deadline:
            asked = "a steady state" if workers is None else f"{workers} workers"
            raise ControlError(
                f"found {status['workers']} workers, state {status['state']}, after "
                f"{STEP_SECONDS_MAX:g} s; expected {asked}; see the log",
                "timeout",
            )
        time.sleep(_POLL_SECONDS)
