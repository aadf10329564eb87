"""Calls by Celery in place of processes of one's own; see ``corec.tasks.queue`` for what is where.

A call that no worker has begun waits. It is sent again, under the same number, when it is not in
the queue either: Redis has lost it, or a worker that was killed had it. That is no attempt, and of
one number only one is begun. From then on it has its ``timeout_seconds``; Celery ends a process
that takes longer, or one that hangs would keep its worker for good. What comes of a call that was
given up finds nobody, and does nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from corec.broker.link import Link, SinkAway
from corec.log import get_logger
from corec.notices import Notice
from corec.process.backoff import Backoff
from corec.tasks.pool import GRACE_SECONDS, CallFailed, returned_by

log = get_logger("corec.tasks")
LOOK_SECONDS: Final = 0.1
AT_ONCE: Final = 256


class _Call:
    """One call on its way."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self.begun: float | None = None
        self.waited: float | None = None
        """When it was last known to wait in the queue, or just sent; None: it is being sent."""


class Elsewhere:
    """A pool (``corec.tasks.pool.Pool``) whose processes are Celery's."""

    def __init__(
        self, run: str, options: Mapping[str, Any], folders: tuple[Path, ...], url: str,
        instance_id: str, link: Callable[[], Link],
    ) -> None:  # fmt: skip
        from corec.tasks import queue  # only who uses it has Celery

        self._run, self._options = run, dict(options)
        self._folders = [str(folder) for folder in folders]
        self._app, self._name = queue.make_queue(url, instance_id), queue.RUN
        self._prefix, self._queue = queue.prefix_of(instance_id), queue.queue_of(instance_id)
        self._lost_seconds = queue.LOST_SECONDS
        self._link = link()
        self._calls: dict[str, _Call] = {}
        self._looking: asyncio.Task[None] | None = None
        self._free = asyncio.Semaphore(AT_ONCE)

    async def call(self, notice: Notice) -> Any:
        """What the function returned for ``notice``. Raises CallFailed."""
        async with self._free:
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._look())
            number, call = uuid.uuid4().hex, _Call()
            self._calls[number] = call
            try:
                said = None
                while said is None:
                    await self._send(number, notice)
                    call.waited = time.monotonic()
                    said = await self._answer(call)
                    call.waited = None
            finally:
                del self._calls[number]
        return returned_by(said)

    async def _send(self, number: str, notice: Notice) -> None:
        backoff = Backoff()
        words = [self._run, number, notice.as_dict(), self._options, self._folders]
        limit = float(self._options["timeout_seconds"]) + GRACE_SECONDS
        send = functools.partial(self._app.send_task, self._name, args=words, retry=False,
                                 time_limit=limit)  # fmt: skip
        while True:
            try:
                await asyncio.to_thread(send)
                return
            except Exception as error:  # noqa: BLE001  # kombu's, redis-py's, the system's
                log.debug("a call can't be sent now", task=self._run, reason=str(error))
                await asyncio.sleep(backoff.next_seconds())

    async def _answer(self, call: _Call) -> dict[str, Any] | None:
        """None: it was lost on the way, as it seems. Raises CallFailed when it took too long."""
        seconds = float(self._options["timeout_seconds"])
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    return await asyncio.shield(call.answer)
            now = time.monotonic()
            if call.begun is not None and now - call.begun > seconds + GRACE_SECONDS:
                raise CallFailed(f"no answer {seconds:g} s after a worker began it")
            if call.begun is None and call.waited and now - call.waited > self._lost_seconds:
                return None

    async def _look(self) -> None:
        """Ask for the answers of all calls together, for ever."""
        backoff = Backoff()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            calls = dict(self._calls)
            if not calls:
                continue
            keys = [f"{self._prefix}{number}{end}" for number in calls for end in ("", ":begun")]
            try:
                if not self._link.connected:
                    await self._link.connect()
                waiting, found = await self._link.checked([("LLEN", self._queue), ("MGET", *keys)])
            except SinkAway:
                await asyncio.sleep(backoff.next_seconds())
                continue
            backoff.reset()
            done = []
            for k, call in enumerate(calls.values()):
                answer, begun = found[2 * k : 2 * k + 2]
                if waiting and call.waited:
                    call.waited = time.monotonic()  # it, or another one
                if begun is not None and call.begun is None:
                    call.begun = time.monotonic()
                if answer is not None and not call.answer.done():
                    call.answer.set_result(orjson.loads(answer))
                    done += keys[2 * k : 2 * k + 2]
            if done:
                with contextlib.suppress(SinkAway):
                    await self._link.call([("DEL", *done)])

    async def close(self) -> None:
        """Wait for nobody."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        await self._link.close()
