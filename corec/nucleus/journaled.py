"""Told as done is durable: who sets something is answered when the journal has it on disk.

Order of the stores: the nucleus stores what counts, then, within the same hold, ``C_WRITE_DOWN``,
one more than before; the leader writes what counts into journal.lane, with the tick that goes or,
if none does, as the record of one that waits (``Leader._say``), then stores ``C_WRITTEN_DOWN``; the
broker brings it to the disk and gives the lane's room back. Killed in between, the leader's
successor finds the two words apart and writes it (again); who asked hears nothing, and may find it
set or not.

A disk that takes nothing, or a stop, does not undo what counts by then: the answer says that it is
not durable.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from corec import layout as L
from corec.control.waits import AT_ONCE_SECONDS
from corec.log import get_logger
from corec.process.runtime import Runtime

log = get_logger(__name__)
DURABLE_SECONDS_MAX: Final = 0.6 * AT_ONCE_SECONDS  # the answer comes before its client gives up
_LOOK_SECONDS: Final = 0.002
NOT_DURABLE: Final = {"durable": False}


def write_down(rt: Runtime) -> int:
    """Ask for what counts by now to be written down; the world is held. What ``durable`` takes."""
    asked = rt.get(L.C_WRITE_DOWN) + 1
    rt.set(L.C_WRITE_DOWN, asked)
    return asked


async def durable(rt: Runtime, asked: int) -> dict[str, Any]:
    """Wait until it is on disk; what an answer says more, if it is not within a while."""
    deadline = time.monotonic() + DURABLE_SECONDS_MAX
    head = None
    while True:
        if head is None and rt.get(L.C_WRITTEN_DOWN) >= asked:
            head = rt.journal.head
        if head is not None and rt.journal.tail >= head:
            return {}
        if rt.get(L.C_STOP):  # its checkpoint has it, if one is made
            return NOT_DURABLE
        if time.monotonic() > deadline:
            log.warning("what was set counts, and is not on disk yet: the journal waits")
            return NOT_DURABLE
        await asyncio.sleep(_LOOK_SECONDS)
