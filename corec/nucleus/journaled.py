"""Told as done is durable: who sets something is answered when the journal has it on disk.

Order of the stores: the nucleus stores what counts, then, within the same hold, ``C_WRITE_DOWN``,
one more than before; the leader writes what counts into journal.lane, with the tick that goes or,
if none does, as the record of one that waits (``Leader._say``), then stores ``C_WRITTEN_DOWN``; the
broker brings it to the disk and gives the lane's room back. Killed in between, the leader's
successor finds the two words apart and writes it (again); who asked hears nothing, and may find it
set or not.

A disk that takes nothing, or a stop, does not undo what counts by then: the answer says that it is
not durable. What a reload changes (``settings.settle``) is written down and answered likewise: the
supervisor stores the words then, while there is no nucleus.
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


class Asked:
    """What is waited for."""

    def __init__(self, rt: Runtime, asked: int) -> None:
        self._rt, self._asked = rt, asked
        self._head: int | None = None
        self._deadline = time.monotonic() + DURABLE_SECONDS_MAX

    def on_disk(self) -> bool:
        """Whether the disk has it by now."""
        if self._head is None and self._rt.get(L.C_WRITTEN_DOWN) >= self._asked:
            self._head = self._rt.journal.head
        return self._head is not None and self._rt.journal.tail >= self._head

    def too_late(self) -> bool:
        """Whether it was waited for long enough."""
        return time.monotonic() > self._deadline


async def durable(rt: Runtime, asked: int) -> dict[str, Any]:
    """Wait until it is on disk; what an answer says more, if it is not within a while."""
    waiting = Asked(rt, asked)
    while True:
        if waiting.on_disk():
            return {}
        if rt.get(L.C_STOP):  # its checkpoint has it, if one is made
            return NOT_DURABLE
        if waiting.too_late():
            log.warning("what was set counts, and is not on disk yet: the journal waits")
            return NOT_DURABLE
        await asyncio.sleep(_LOOK_SECONDS)
