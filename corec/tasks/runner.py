"""One task of the configuration: notices out of its consumer group, calls, what follows from them.

Each notice is taken by the group, and ended once: acknowledged together with its answers, or with
its letter of failure (``streams.END_NOTICE``). What a killed process had taken is still pending
and comes first after its restart. The pauses between attempts hold no place in the pool.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

import redis.exceptions as X

from corec.backoff import Backoff
from corec.broker.link import Link, SinkAway
from corec.config.acting import TaskConfig
from corec.log import get_logger
from corec.notices import Notice
from corec.plan import Plan
from corec.tasks.elsewhere import Elsewhere
from corec.tasks.pool import CallFailed, Pool
from corec.tasks.streams import Command, Names, answers_of, end_notice, failure, group_of, notice_of

log = get_logger("corec.tasks")
BLOCK_MS: Final = 500
REPLY_SECONDS: Final = 10.0
IN_FLIGHT: Final = 1000
RETRY_SECONDS_MOST: Final = 60.0
CONSUMER: Final = "corec"


class Counts:
    """What the runners of one process count together."""

    done = retried = failed = waiting = 0


class Runner:
    """Runs one task until it is cancelled."""

    def __init__(
        self, config: TaskConfig, pool: Pool | Elsewhere, plan: Plan, names: Names,
        link: Callable[[], Link], counts: Counts,
    ) -> None:  # fmt: skip
        self.config, self.title, self._pool, self._plan = config, config.title, pool, plan
        self._names, self._counts = names, counts
        self._link, self._ending = link(), link()
        self._end_lock = asyncio.Lock()
        self._running: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(IN_FLIGHT)
        self._next_at = 0.0

    @property
    def group(self) -> str:
        """Its consumer group."""
        return group_of(self.title)

    async def close(self) -> None:
        """End its processes."""
        await self._pool.close()

    async def run(self) -> None:
        """Take notices for ever; Redis may go and come."""
        backoff = Backoff()
        try:
            while True:
                try:
                    await self._take()
                except SinkAway as error:
                    log.debug("tasks wait for Redis", task=self.title, reason=str(error))
                    await asyncio.sleep(backoff.next_seconds())
        finally:
            for one in self._running:
                one.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)
            await self._link.close()
            await self._ending.close()

    async def make_group(self, link: Link, start: str = "$") -> None:
        """The consumer group, which begins with the next notice. Raises SinkAway."""
        command: Command = (
            "XGROUP", "CREATE", self._names.notices, self.group, start, "MKSTREAM",
        )  # fmt: skip
        (reply,) = await link.call([command])
        if isinstance(reply, Exception) and "BUSYGROUP" not in str(reply):
            raise SinkAway(0, str(reply))

    async def _take(self) -> None:
        await self._link.connect()
        after = b"0"  # first what was taken and not ended
        known: set[bytes] = {task.get_name().encode() for task in self._running}
        while True:
            room = min(64, max(1, self._room._value))  # it has no public one
            await self._room.acquire()
            self._room.release()
            command: Command = (
                "XREADGROUP", "GROUP", self.group, CONSUMER, "COUNT", room,
                *(("BLOCK", BLOCK_MS) if after == b">" else ()), "STREAMS", self._names.notices,
                after,
            )  # fmt: skip
            (reply,) = await self._link.call([command], REPLY_SECONDS)
            if isinstance(reply, X.ResponseError) and "NOGROUP" in str(reply):
                await self.make_group(self._link, "0")  # the server lost what it had
                continue
            if isinstance(reply, Exception):
                raise SinkAway(0, str(reply))
            entries = next(iter(reply.values())) if isinstance(reply, dict) and reply else []
            for entry, fields in entries:
                after = entry if after != b">" else after
                if entry not in known:
                    await self._begin(bytes(entry), fields)
            if not entries and after != b">":
                after, known = b">", set()

    async def _begin(self, entry: bytes, fields: Any) -> None:
        await self._room.acquire()
        self._counts.waiting += 1
        task = asyncio.create_task(self._notice(entry, fields), name=entry.decode())
        self._running.add(task)

        def over(done: asyncio.Task[None]) -> None:
            self._running.discard(done)
            self._room.release()
            self._counts.waiting -= 1
            if not done.cancelled() and (error := done.exception()) is not None:
                log.error("a notice was dropped", task=self.title, entry=entry, error=str(error))

        task.add_done_callback(over)

    async def _notice(self, entry: bytes, fields: Any) -> None:
        """One notice from its first attempt to its end."""
        try:
            notice = notice_of(fields or [])
        except (ValueError, KeyError, TypeError) as error:
            log.warning("found no notice in the stream", entry=entry, error=repr(error))
            await self._end(entry, [])
            return
        wanted = self.config.canal in (None, notice.canal) and notice.event in self.config.when
        await self._end(entry, await self._outcome(notice) if wanted else [])

    async def _outcome(self, notice: Notice) -> list[tuple[str, list[Any]]]:
        """The entries that follow from ``notice``: answers, or a letter of failure."""
        pause, attempt = Backoff(most_seconds=RETRY_SECONDS_MOST), 0
        while True:
            attempt += 1
            await self._pace()
            try:
                returned = await self._pool.call(notice)
                answers = answers_of(self._plan, self._names, returned)
            except (CallFailed, ValueError, TypeError) as error:
                give_up = not isinstance(error, CallFailed) or error.give_up
                if give_up or attempt > self.config.retries:
                    log.warning("a task failed for good", task=self.title, notice=notice.key,
                                attempts=attempt, error=str(error))  # fmt: skip
                    self._counts.failed += 1
                    words = failure(self.title, self.config.run, notice, attempt, str(error))
                    return [(self._names.failed, words)]
                self._counts.retried += 1
                await asyncio.sleep(pause.next_seconds())
            else:
                self._counts.done += 1
                return answers

    async def _pace(self) -> None:
        if not self.config.per_second:
            return
        now = time.monotonic()
        self._next_at = max(self._next_at, now) + 1.0 / self.config.per_second
        await asyncio.sleep(self._next_at - 1.0 / self.config.per_second - now)

    async def _end(self, entry: bytes, entries: list[tuple[str, list[Any]]]) -> None:
        """Acknowledge the notice with what follows from it; again until Redis has said so."""
        command = end_notice(self._names, self.title, entry, entries)
        backoff = Backoff()
        while True:
            async with self._end_lock:
                try:
                    if not self._ending.connected:
                        await self._ending.connect()
                    (reply,) = await self._ending.call([command], REPLY_SECONDS)
                    if not isinstance(reply, Exception) or "NOGROUP" in str(reply):
                        return
                except SinkAway as error:
                    reply = error
            log.warning("a task's end can't be told to Redis", task=self.title, reason=str(reply))
            await asyncio.sleep(backoff.next_seconds())
