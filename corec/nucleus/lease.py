"""Holds for readers outside: the world stands still until the reader says so, a second at most.

A reader that maps the world itself (``corec.attach``) needs it at rest when it ticks too fast for a
frame to be read between two ticks. Whoever asked and then died costs the world what the lease says;
a nucleus that is killed leaves what ``hold`` says of a hold.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Any, Final

from corec.nucleus.hold import Holder
from corec.process.roles import committed_tick

SECONDS_MAX: Final = 1.0


class Leases:
    """The holds of one nucleus that clients have asked for; they queue as all holds do."""

    def __init__(self, holder: Holder) -> None:
        self.holder = holder
        self._numbers = itertools.count(1)
        self._open: dict[int, tuple[asyncio.Event, asyncio.Task[None], float]] = {}

    async def begin(self, seconds: float) -> dict[str, Any]:
        """Hold the world; answers when it stands still. Raises HoldTimeout."""
        number = next(self._numbers)
        still: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        over = asyncio.Event()
        task = asyncio.create_task(self._hold(still, over, seconds))
        task.add_done_callback(lambda _: self._open.pop(number, None))
        try:
            tick = await still
        except asyncio.CancelledError:
            task.cancel()
            raise
        self._open[number] = (over, task, time.monotonic())
        return {"hold": number, "tick": tick, "seconds": seconds}

    async def _hold(self, still: asyncio.Future[int], over: asyncio.Event, seconds: float) -> None:
        try:
            async with self.holder.held():
                still.set_result(committed_tick(self.holder.rt.get))
                try:
                    async with asyncio.timeout(seconds):
                        await over.wait()
                except TimeoutError:
                    pass  # the reader was too slow, or is gone; it sees that by the blocks' words
        except Exception as error:
            if still.done():
                raise
            still.set_exception(error)

    async def end(self, number: int) -> dict[str, Any]:
        """Let the world go on; ``released`` false: the lease had run out."""
        found = self._open.pop(number, None)
        if found is None:
            return {"released": False, "held_seconds": None}
        over, task, began = found
        over.set()
        await asyncio.wait([task])
        return {"released": True, "held_seconds": round(time.monotonic() - began, 6)}
