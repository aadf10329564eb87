"""One task of the configuration: notices out of its consumer group, calls, what follows from them.

Each notice is ended once: its entry is acknowledged together with its answers, or with its letter
of failure (``streams.END_NOTICES``). Of an entry with many, a hash says how many are ended, so a
kill repeats CHUNK of them at most. What a killed process had taken is still pending and comes first
after its restart. The pauses between attempts hold no place in the pool.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

import redis.exceptions as X

from corec.broker.groups import FIRST, group_of, make_group
from corec.broker.link import Link, SinkAway
from corec.config.acting import TaskConfig
from corec.log import get_logger
from corec.notices import Notice
from corec.plan import Plan
from corec.process.backoff import Backoff
from corec.tasks.elsewhere import Elsewhere
from corec.tasks.ends import REPLY_SECONDS, Ends
from corec.tasks.pool import CallFailed, Pool
from corec.tasks.source import Source
from corec.tasks.streams import (
    ELSEWHERE,
    Command,
    Names,
    answers_of,
    end_notices,
    failure,
    unread,
)
from corec.tasks.trimmed import gone
from shm.killpoint import kill_point

log = get_logger("corec.tasks")
BLOCK_MS: Final = 500
CHUNK: Final = 256
"""Notices of one entry that are called, and ended, together."""
RETRY_SECONDS_MOST: Final = 60.0
CONSUMER: Final = "corec"


class Counts:
    """What the runners of one process count together."""

    done = retried = failed = waiting = 0


class Pace:
    """Calls of one task, whatever streams it has, at no more than so many a second; 0: any."""

    def __init__(self, per_second: float) -> None:
        self._step = 1.0 / per_second if per_second else 0.0
        self._next_at = 0.0

    async def wait(self) -> None:
        """Until it may be called."""
        if not self._step:
            return
        now = time.monotonic()
        at = max(self._next_at, now)
        self._next_at = at + self._step
        await asyncio.sleep(at - now)


class Runner:
    """Runs one task on one stream until it is cancelled."""

    def __init__(
        self, config: TaskConfig, source: Source, pool: Pool | Elsewhere, pace: Pace, plan: Plan,
        names: Names, link: Callable[[], Link], counts: Counts,
    ) -> None:  # fmt: skip
        self.config, self.title, self._pool, self._plan = config, config.title, pool, plan
        self.source, self._pace = source, pace
        self._names, self._counts = names, counts
        self._link, self._ends = link(), Ends(self.title, link)
        self._running: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(source.in_flight)

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
            await self._ends.close()

    async def make_group(self, link: Link, start: str | None = None) -> None:
        """The consumer group, where there is none. Raises SinkAway."""
        kill_point("tasks.before_group")
        stream, behind = self.source.stream, self.source.behind
        refused = await make_group(link, stream, self.group, behind, start=start)
        if refused is not None:
            raise SinkAway(0, str(refused))

    def _mine(self, groups: list[Any]) -> Any:
        """What XINFO GROUPS says of its group; None: there is none."""
        return next((g for g in groups if g[b"name"] == self.group.encode()), None)

    async def _take(self) -> None:
        await self._link.connect()
        if self.source.epoch is not None:
            await self._world_begun()
            await self.make_group(self._link)
        after = b"0"  # first what was taken and not ended
        known: set[bytes] = {task.get_name().encode() for task in self._running}
        while True:
            room = min(64, max(1, self._room._value))  # it has no public one
            await self._room.acquire()
            self._room.release()
            command: Command = (
                "XREADGROUP", "GROUP", self.group, CONSUMER, "COUNT", room,
                *(("BLOCK", BLOCK_MS) if after == b">" else ()), "STREAMS", self.source.stream,
                after,
            )  # fmt: skip
            if after == b">":
                await self._tell_unread()
            (reply,) = await self._link.call([command], REPLY_SECONDS)
            if isinstance(reply, X.ResponseError) and "NOGROUP" in str(reply):
                await self.make_group(self._link, FIRST)  # the server lost what it had
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

    async def _world_begun(self) -> None:
        """The streams are of this world from when the hash says so. Raises SinkAway."""
        while True:
            (epoch,) = await self._link.checked([("HGET", self._names.pos, "epoch")])
            if epoch is not None and int(epoch) == self.source.epoch:
                return
            await asyncio.sleep(BLOCK_MS / 1000)

    async def _tell_unread(self) -> None:
        """A letter about what was trimmed ahead of the group. Raises SinkAway."""
        info, groups = await self._link.call(
            [("XINFO", "STREAM", self.source.stream), ("XINFO", "GROUPS", self.source.stream)]
        )
        if not isinstance(info, dict) or not isinstance(groups, list):
            return  # it is made again by who reads
        mine = self._mine(groups)
        if mine is None or mine[b"entries-read"] is None:
            return
        missed = gone(info) - int(mine[b"entries-read"])
        if missed > 0:
            log.error("notices were trimmed before they were read", task=self.title, entries=missed)
            words = unread(self.title, self.config.run, self.source.stream, missed)
            await self._link.checked([("XADD", self._names.failed, "*", *words)])

    async def _begin(self, entry: bytes, fields: Any) -> None:
        await self._room.acquire()
        task = asyncio.create_task(self._notice(entry, fields), name=entry.decode())
        self._running.add(task)

        def over(done: asyncio.Task[None]) -> None:
            self._running.discard(done)
            self._room.release()
            if not done.cancelled() and (error := done.exception()) is not None:
                log.error("a notice was dropped", task=self.title, entry=entry, error=str(error))

        task.add_done_callback(over)

    async def _notice(self, entry: bytes, fields: Any) -> None:
        """An entry, from the first attempt at its first notice to the end of its last one."""
        if not fields:  # trimmed while it was pending
            done = await self._done(entry)
            words = unread(self.title, self.config.run, self.source.stream, 1)
            await self._end(entry, (done, done, done), [(self._names.failed, words)])
            return
        try:
            batch = self.source.batch(fields)
        except Exception as error:  # noqa: BLE001  # it would be pending, and met again, for good
            log.warning("found no notice in the stream", entry=entry, error=repr(error)[:500])
            await self._end(entry, (0, 0, 0), [])
            return
        done = await self._done(entry) if batch.size > CHUNK else 0
        self._counts.waiting += batch.size - done
        left = batch.size - done
        try:
            while True:
                part = batch.part(done, min(done + CHUNK, batch.size))
                found = await asyncio.gather(*(self._outcome(one) for one in part))
                entries = [one for some in found for one in some]
                end = done + len(part)
                kill_point("tasks.before_end")
                end = await self._end(entry, (done, end, batch.size), entries)
                kill_point("tasks.after_end")
                self._counts.waiting -= end - done
                left -= end - done
                done = end
                if done == batch.size:
                    return
        finally:
            self._counts.waiting -= left

    async def _outcome(self, notice: Notice) -> list[tuple[str, list[Any]]]:
        """The entries that follow from ``notice``: answers, or a letter of failure."""
        pause, attempt = Backoff(most_seconds=RETRY_SECONDS_MOST), 0
        while True:
            attempt += 1
            await self._pace.wait()
            try:
                returned = await self._pool.call(notice)
                answers = answers_of(self._plan, self._names, returned)
            except Exception as error:  # noqa: BLE001  # whatever it is, no notice is lost by it
                give_up = isinstance(error, (ValueError, TypeError))
                give_up |= isinstance(error, CallFailed) and error.give_up
                if give_up or attempt > self.config.retries:
                    log.warning("a task failed for good", task=self.title, notice=notice.key,
                                attempts=attempt, error=str(error))  # fmt: skip
                    self._counts.failed += 1
                    said = notice.as_dict()
                    words = failure(self.title, self.config.run, said, attempt, str(error))
                    return [(self._names.failed, words)]
                self._counts.retried += 1
                after = error.after_seconds if isinstance(error, CallFailed) else 0.0
                await asyncio.sleep(max(pause.next_seconds(), after))
            else:
                self._counts.done += 1
                return answers

    async def _done(self, entry: bytes) -> int:
        """How many notices of an entry are ended."""
        field = f"{self.source.stream} {self.group} {entry.decode()}"
        found = await self._ends.told(("HGET", self._names.progress, field))
        return 0 if found is None or isinstance(found, Exception) else int(found)

    async def _end(
        self, entry: bytes, span: tuple[int, int, int], entries: list[tuple[str, list[Any]]]
    ) -> int:
        """End some notices of an entry with what follows from them; how many of it are ended then:
        fewer than there were before, where Redis came back without its last writes."""
        reply = await self._ends.told(
            end_notices(self._names, self.source.stream, self.title, entry, span, entries)
        )
        return await self._done(entry) if reply == ELSEWHERE else span[1]
