"""How an instance ends, for who asked it to: that it is gone, and what it has left in memory.

A clean stop removes the world from memory. One that could make no checkpoint, or whose sinks have
not got everything, leaves it there, which is a tmpfs: the next start goes on with it, a machine
that is switched off has it no more. The exit code of the instance is for who started it; whoever
else had it stopped is told by what is there.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from corec import layout as L
from corec.control.asking import waiting
from corec.control.discover import Instance, is_supervisor
from corec.control.folders import OWNER_LOCK
from corec.control.memory import open_control
from shm.owner import probe
from shm.segment import SegmentRefused


class Left(NamedTuple):
    """A world in memory, and whether there is a checkpoint of its last tick, too."""

    checkpoint: bool
    told: str


def gone(instance: Instance, timeout_seconds: float, *, quiet: bool) -> bool:
    """Whether ``instance`` has ended in time."""
    deadline = time.monotonic() + timeout_seconds
    with waiting(f"{instance.instance_id} drains…", quiet=quiet):
        while time.monotonic() < deadline:
            # the process, and not when it began: an upgrade that is under way begins anew
            if not is_supervisor(instance):
                return True
            time.sleep(0.05)
    return False


def left_in_memory(instance: Instance) -> Left | None:
    """What ``instance``, which is gone, has left; None: nothing, or it runs again."""
    try:
        if probe(instance.path / OWNER_LOCK) is not None:
            return None
        with open_control(instance.path) as control:
            made = int(control.words[L.C_DIGEST_VALID]) != 0
    except FileNotFoundError:
        return None
    except (OSError, SegmentRefused):
        made = False
    place = f"its world stays in memory ({instance.folder}) for the next start"
    if made:
        return Left(True, f"not everything was delivered, and waits: {place}, with a checkpoint")
    return Left(False, f"no checkpoint was made: {place}, and goes with the machine; see its log")
