"""The processes of one task: jobs go to whoever is free; who dies or hangs is replaced.

A job whose process died, or took too long, failed like one whose function raised: the caller tries
it again. A plain function can't be interrupted, so its process is killed.

Calls of an async function share a process. Which of them it died of, or hangs in, nobody can tell,
so each that it had runs once more in a process of its own before it has failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from corec.log import get_logger
from corec.notices import Notice, Task, without_secrets
from corec.process.backoff import Backoff
from corec.tasks.child import LINE_MAX, at_once

log = get_logger("corec.tasks")
GRACE_SECONDS: Final = 2.0
"""Over the time-out that the call itself knows, before its process is killed."""
START_SECONDS: Final = 60.0
"""For a process to start Python and to import the function's module."""


class CallFailed(Exception):
    """A call went wrong; the text says how."""

    def __init__(self, text: str, *, give_up: bool = False, after_seconds: float = 0.0) -> None:
        """``after_seconds``: it is not to be tried again before."""
        super().__init__(text)
        self.give_up, self.after_seconds = give_up, after_seconds


class _Ended(CallFailed):
    """Its process ended, or had to be; ``shared``: maybe because of another call."""

    def __init__(self, text: str, *, shared: bool) -> None:
        super().__init__(text)
        self.shared = shared


def returned_by(said: Mapping[str, Any]) -> Any:
    """What a call returned, as ``child.call_task`` said it. Raises CallFailed."""
    if said["ok"]:
        return said["returned"]
    raise CallFailed(said["error"], give_up=said["give_up"], after_seconds=said.get("after", 0.0))


class _Process:
    """One child and the jobs it has."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.jobs: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.begun = asyncio.Event()
        """It can take jobs, or has ended."""
        self.killed = False
        """It takes no more: that it has ended is known a little later."""
        self.reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        try:
            while line := await self.process.stdout.readline():
                said = orjson.loads(line)
                self.begun.set()
                job = self.jobs.pop(said["number"], None)
                if job is not None and not job.done():
                    job.set_result(said)
        except (ValueError, KeyError, TypeError) as error:  # a line too long, or of somebody else
            log.warning("a task's process says what is none of its calls", reason=str(error)[:200])
            self.kill()
        finally:
            code = await self.process.wait()
            self.begun.set()
            shared = self.shared
            for job in self.jobs.values():
                if not job.done():
                    job.set_exception(_Ended(f"its process ended ({code})", shared=shared))
            self.jobs.clear()

    @property
    def shared(self) -> bool:
        """Whether what happens to one of its jobs may come of another one."""
        return self.killed or len(self.jobs) > 1

    def kill(self) -> None:
        self.killed = True
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()


class Pool:
    """The processes of ``task``; ``options`` is its entry of the configuration."""

    def __init__(
        self, task: Task, run: str, options: Mapping[str, Any], folders: tuple[Path, ...]
    ) -> None:
        self._run, self._options, self._folders = run, dict(options), folders
        self._each = at_once(task)
        self._count = int(options["workers"])
        self._members: list[_Process] = []
        self._numbers = itertools.count(1)
        self._making = asyncio.Lock()
        self._backoff = Backoff()
        self.places = self._each * self._count
        self._free = asyncio.Semaphore(self.places)
        self._alone = asyncio.Semaphore(self._count)
        self._apart: set[_Process] = set()
        self._closed = False

    async def call(self, notice: Notice) -> Any:
        """What the function returned for ``notice``. Raises CallFailed."""
        async with self._free:
            try:
                said = await self._ask(await self._member(), notice)
            except _Ended as ended:
                if not ended.shared or self._closed:
                    raise
                said = await self._ask_alone(notice)
        if said["ok"]:
            self._backoff.reset()
        return returned_by(said)

    async def _ask_alone(self, notice: Notice) -> dict[str, Any]:
        """Call it in a process that nobody shares."""
        async with self._alone:
            member = await self._new_process()
            self._apart.add(member)
            try:
                return await self._ask(member, notice)
            finally:
                member.kill()
                with contextlib.suppress(Exception):
                    await member.reading
                self._apart.discard(member)

    async def _ask(self, member: _Process, notice: Notice) -> dict[str, Any]:
        """What ``member`` says of a call."""
        if self._closed:
            raise CallFailed("the pool is closed")
        number = next(self._numbers)
        job: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        member.jobs[number] = job
        line = orjson.dumps(
            {"number": number, "notice": notice.as_dict(), "options": self._options}
        )
        seconds = float(self._options["timeout_seconds"]) + GRACE_SECONDS
        try:
            await self._begun(member)
            assert member.process.stdin is not None
            with contextlib.suppress(OSError, RuntimeError):  # it has ended, as the job says
                member.process.stdin.write(line + b"\n")
            async with asyncio.timeout(seconds):
                return await job
        except TimeoutError:
            shared = member.shared
            member.kill()
            raise _Ended(f"no end after {seconds - GRACE_SECONDS:g} s", shared=shared) from None
        finally:
            member.jobs.pop(number, None)

    async def _begun(self, member: _Process) -> None:
        """Wait until it has imported the function: that is no part of a call's time, or no call
        would ever end where Python takes longer to start. Raises CallFailed."""
        try:
            async with asyncio.timeout(START_SECONDS):
                await member.begun.wait()
        except TimeoutError:
            member.kill()
            text = f"its process did not begin within {START_SECONDS:g} s"
            raise CallFailed(text) from None

    async def _member(self) -> _Process:
        """Who has the fewest jobs, of as many as there are to be."""
        async with self._making:
            self._members = [m for m in self._members if m.process.returncode is None
                             and not m.reading.done()]  # fmt: skip
            able = [m for m in self._members if not m.killed]
            idle = min(able, key=lambda m: len(m.jobs), default=None)
            if idle is not None and (not idle.jobs or len(able) == self._count):
                return idle
            self._members.append(await self._new_process())
            return self._members[-1]

    async def _new_process(self) -> _Process:
        """Raises CallFailed."""
        try:
            return _Process(await self._start())
        except OSError as error:
            await asyncio.sleep(self._backoff.next_seconds())
            raise CallFailed(f"no process can be made: {error.strerror}") from None

    async def _start(self) -> asyncio.subprocess.Process:
        kept = without_secrets(os.environ)
        folders = [str(folder) for folder in self._folders]
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "corec.tasks.child", str(os.getpid()), self._run, *folders,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=kept,
            limit=LINE_MAX,
        )  # fmt: skip

    async def close(self) -> None:
        """Kill everybody."""
        self._closed = True
        everybody = [*self._members, *self._apart]
        for member in everybody:
            member.kill()
        for member in everybody:
            with contextlib.suppress(Exception):
                await member.reading
