"""The task that brings the journal to the disk (``corec.journal.file`` has the order of things).

The leader's records wait in journal.lane. They are taken out now and then, and at once when a batch
is to be sent; whoever waits meanwhile shares one sync. The disk is asked from a thread: it may take
its time, or be full, and then whatever depends on a record waits in its lane, and the ticks do
when the lanes are full.
"""

from __future__ import annotations

import asyncio
from typing import Final

import orjson

from corec import layout as L
from corec.broker.events import Events
from corec.broker.status import Status
from corec.journal.file import Journal
from corec.log import get_logger
from corec.process.events import REASON
from corec.process.runtime import Runtime

log = get_logger(__name__)
LOOK_SECONDS: Final = 0.05
RETRY_SECONDS: Final = 1.0
PASS_BYTES: Final = 1 << 20


class Journaling:
    """Writes the journal of one instance."""

    def __init__(self, rt: Runtime, status: Status, events: Events) -> None:
        self._rt = rt
        self._lane = rt.journal
        self._status = status
        self._events = events
        self._journal = Journal(rt.config.state_folder, rt.epoch)
        self._one = asyncio.Lock()

    async def run(self) -> None:
        """Until cancelled."""
        # the lane is shared memory: nothing on this loop tells when the leader has written
        while True:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_SECONDS if await self._try() else RETRY_SECONDS)

    async def durable(self) -> None:
        """Wait until what was in the lane when this was called is on disk."""
        head = self._lane.head
        while self._lane.tail < head:
            if not await self._try():
                await asyncio.sleep(RETRY_SECONDS)

    def written_until(self) -> int:
        """The last tick that went of which, and of all before it, the disk has what there is."""
        went = self._rt.get(L.C_GO_TICK)  # before the lane: a tick's record is there when it goes
        first = next(iter(self._lane.frames()), None)
        return went if first is None else min(went, first.tick - 1)

    async def _try(self) -> bool:
        """Write what waits; false when the disk does not take it, which is shown."""
        try:
            await self._write()
        except OSError as error:
            self._status.disk(f"the journal: {error.strerror or error}")
            return False
        self._status.disk(None)
        return True

    async def _write(self) -> None:
        async with self._one:
            position, records = self._lane.tail, []
            for frame in self._lane.frames(limit_bytes=PASS_BYTES):
                records.append(orjson.loads(frame.payload))
                position = frame.next_position
            if not records:
                return
            after = int(records[0]["tick"]) - 1
            gone = self._journal.cut_short
            await asyncio.to_thread(self._journal.write, records, after)
            self._lane.release(position)
            if self._journal.cut_short > gone:
                self._tell_cut(int(records[-1]["tick"]))

    def _tell_cut(self, tick: int) -> None:
        detail = {REASON: "no checkpoint was made for so long that its oldest part had to go"}
        log.warning("the journal is cut short", **detail)
        self._events.emit("journal_cut", tick, detail)

    def close(self) -> None:
        """Let go of the file."""
        self._journal.close()
