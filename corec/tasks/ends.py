"""Commands that end notices, on their way to Redis: all that wait go together.

A server that syncs its log at each write answers some fifty of them a second, one by one; the same
number of batches. One loop sends what has gathered, and again what Redis has not done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from corec.broker.link import Link, SinkAway
from corec.log import get_logger
from corec.process.backoff import Backoff
from corec.tasks.streams import Command

log = get_logger("corec.tasks")
TOGETHER: Final = 256
REPLY_SECONDS: Final = 10.0


class Ends:
    """One connection, and who sends over it while there is something."""

    def __init__(self, title: str, link: Callable[[], Link]) -> None:
        self._title, self._link = title, link()
        self._waiting: list[tuple[Command, asyncio.Future[Any]]] = []
        self._sending: asyncio.Task[None] | None = None

    async def told(self, command: Command) -> Any:
        """The reply, once Redis has done it; an error is one where the group is gone."""
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((command, done))
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send())
        return await done

    async def close(self) -> None:
        """Wait for nobody."""
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)
        await self._link.close()

    async def _send(self) -> None:
        backoff = Backoff()
        while self._waiting:
            batch, self._waiting = self._waiting[:TOGETHER], self._waiting[TOGETHER:]
            try:
                if not self._link.connected:
                    await self._link.connect()
                replies = await self._link.call([one for one, _ in batch], REPLY_SECONDS)
            except SinkAway as error:
                replies = [error] * len(batch)
            again = []
            reason = ""
            for (command, done), reply in zip(batch, replies, strict=True):
                if isinstance(reply, Exception) and "NOGROUP" not in str(reply):
                    again.append((command, done))
                    reason = str(reply)
                elif not done.done():  # nobody waits who was cancelled
                    done.set_result(reply)
            if not again:
                backoff.reset()
                continue
            self._waiting = again + self._waiting
            log.warning("a task's end can't be told to Redis", task=self._title, reason=reason)
            await asyncio.sleep(backoff.next_seconds())
