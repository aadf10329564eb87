"""``corec-ctl workers N``: one TTIN or TTOU after the other, each seen to have its effect.

Signals of one kind that wait are merged into one, so the next is sent when the supervisor has said
what became of the last. One that comes while it does something else (an upgrade, say) waits
there. The nucleus is replaced with the other processes meanwhile, so the number is read from shared
memory.
"""

from __future__ import annotations

import signal
import time
from typing import Any

from corec.control.discover import Instance, is_supervisor, signal_supervisor
from corec.control.fallback import status_from_memory
from corec.control.outcome import asked_behind
from corec.control.patient import outcome_of
from corec.control.protocol import ControlError

SETTLED_SECONDS_MAX = 60.0
_POLL_SECONDS = 0.05


def resize(instance: Instance, wanted: int) -> None:
    """Return when ``wanted`` workers tick.

    Raises ControlError when the supervisor refuses or does not follow, MemoryUnreadable when the
    instance's words cannot be read, OSError when it can't be signalled.
    """
    status = _settled(instance)
    if wanted > status["bloques"]:
        raise ControlError(
            f"found {wanted} workers, expected at most one for each of {status['bloques']} blocks",
            "bad_request",
        )
    while status["workers"] != wanted:
        before = asked_behind(instance.path)
        up = status["workers"] < wanted
        signal_supervisor(instance, signal.SIGTTIN if up else signal.SIGTTOU)
        outcome = outcome_of(instance, before, "workers")
        if not outcome["accepted"]:
            raise ControlError(f"refused: {outcome['reason']}", "refused")
        status = _settled(instance)


def _settled(instance: Instance) -> dict[str, Any]:
    """The status once the instance is in no change."""
    deadline = time.monotonic() + SETTLED_SECONDS_MAX
    while True:
        status = status_from_memory(instance)
        if status["state"] == "draining" or not is_supervisor(instance):
            raise ControlError("the instance stops, or has stopped", "refused")
        if status["state"] != "starting":
            return status
        if time.monotonic() > deadline:
            raise ControlError(
                f"found state starting for {SETTLED_SECONDS_MAX:g} s, expected a steady "
                "state; see the log",
                "timeout",
            )
        time.sleep(_POLL_SECONDS)
