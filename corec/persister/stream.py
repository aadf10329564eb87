"""A COPY stream that is made in threads while what came before it is sent and committed.

Zstandard is most of the work for a row, and compiled like the rest of it: a thread holds the
interpreter's lock for little of its time.  The pieces of a stream depend on nothing but their rows,
so several are made at once, each by whichever thread is free with a compressor of its own, and sent
in order.  A stream that was given up half way leaves a few steps that nobody will look at.

With two cores, beside other work: rows of 100 messages become about a quarter faster by being made
ahead, and again by the second thread; while a world waits for the persister, both cores encode.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor
from itertools import islice
from typing import Final

STEP_PIECES: Final = 2
"""So many pieces, each of about 100 KiB, are made at a time."""
THREADS: Final = max(1, min(4, len(os.sched_getaffinity(0))))
"""PostgreSQL takes rows of 100 messages twice as fast as one thread makes them."""
STEPS_AHEAD: Final = THREADS + 3
"""So many steps are asked for before the first is sent."""

Job = Callable[[], bytes]
"""Makes one piece."""


class Stream:
    """Pieces that are made from now on, some of them ahead of ``sent``."""

    def __init__(
        self, jobs: Iterator[Job], threads: Executor, made: Callable[[], None] | None = None
    ) -> None:
        """``threads`` run the ``jobs``; ``made``: called, on the loop, once all are done."""
        self._jobs = jobs
        self._threads = threads
        self._made = made
        self._asked_all = False
        self._undone = 0
        self._coming: deque[asyncio.Future[list[bytes]]] = deque()
        for _ in range(STEPS_AHEAD):
            self._ask()

    async def sent(self) -> AsyncIterator[bytes]:
        """The pieces; raises what making them raised."""
        while self._coming:
            step = await self._coming.popleft()
            self._ask()
            for piece in step:
                yield piece

    def _ask(self) -> None:
        jobs = list(islice(self._jobs, STEP_PIECES))
        if not jobs:
            self._asked_all = True
            self._look_whether_all_is_made()
            return
        future = asyncio.get_running_loop().run_in_executor(self._threads, _run, jobs)
        self._undone += 1
        self._coming.append(future)
        future.add_done_callback(self._stepped)

    def _stepped(self, future: asyncio.Future[list[bytes]]) -> None:
        if future.cancelled() or future.exception() is not None:
            self._made = None
            return
        self._undone -= 1
        self._look_whether_all_is_made()

    def _look_whether_all_is_made(self) -> None:
        if self._undone or not self._asked_all or self._made is None:
            return
        made, self._made = self._made, None
        made()


def _run(jobs: list[Job]) -> list[bytes]:
    return [job() for job in jobs]
