"""One process of a pool: ``python -m corec.tasks.child RUN FOLDER…`` calls one user's function.

It says number 0 once it has imported the function. Jobs, from 1 on, come as lines of JSON on what
was standard input, and go back as lines on what was standard output; what the function prints goes
to standard error, and it, and whatever it starts, finds nothing on standard input. An async task
and ``webhook`` run many jobs at once, any other one at a time. It ends when its input does, and
with the process that started it.
"""

from __future__ import annotations

import asyncio
import os
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, Final

import orjson

from corec.notices import GiveUp, Later, Notice, Task, load_task
from corec.proc import die_with

AT_ONCE: Final = 16
LINE_MAX: Final = 1 << 24
ERROR_MAX: Final = 2000


def at_once(task: Task) -> int:
    """How many jobs one process of ``task`` runs together."""
    return AT_ONCE if task.is_async or task.name == "webhook" else 1


def _said(error: BaseException) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1:]
    where = f" ({Path(last[0].filename).name}, line {last[0].lineno})" if last else ""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001  # it is the user's, too
        text = "(it has no text)"
    said = f"{type(error).__name__}: {text}{where}"[:ERROR_MAX]
    return said.encode("utf-8", "backslashreplace").decode()  # halves of surrogate pairs


def _called(function: Callable[..., Any], words: tuple[Any, ...]) -> tuple[Any, Any]:
    """What it returned, and what it raised, whatever that is: a future would not carry a
    StopIteration, and a loop would end by a SystemExit."""
    try:
        return function(*words), None
    except BaseException as error:  # noqa: BLE001  # as said
        return None, error


async def _awaited(function: Callable[..., Any], words: tuple[Any, ...]) -> tuple[Any, Any]:
    """The same of an async one; who waits for this may still cancel it."""
    me = asyncio.current_task()
    try:
        return await function(*words), None
    except BaseException as error:
        if isinstance(error, asyncio.CancelledError) and me is not None and me.cancelling():
            raise
        return None, error


async def call_task(task: Task, job: dict[str, Any], threads: ThreadPoolExecutor) -> dict[str, Any]:
    """What comes of one call: ``ok`` and what it returned, or the error, whether to give up, and
    how many seconds it is to be left alone at least."""
    notice, failed = Notice.from_dict(job["notice"]), {"number": job["number"], "ok": False}
    words: tuple[Any, ...] = (notice, job["options"]) if task.takes_options else (notice,)
    if task.is_async:
        seconds = float(job["options"]["timeout_seconds"])
        try:
            async with asyncio.timeout(seconds):
                returned, error = await _awaited(task.function, words)
        except TimeoutError:
            return {**failed, "error": f"no end after {seconds:g} s", "give_up": False}
    else:
        loop = asyncio.get_running_loop()
        returned, error = await loop.run_in_executor(threads, _called, task.function, words)
    if error is not None:
        after = error.after_seconds if isinstance(error, Later) else 0.0
        give_up = isinstance(error, GiveUp)
        return {**failed, "error": _said(error), "give_up": give_up, "after": after}
    if not isinstance(returned, dict | list | tuple | None):
        told = f"it returns a {type(returned).__name__}, expected readings or None"
        return {**failed, "error": told, "give_up": True}
    return {"number": job["number"], "ok": True, "returned": returned}


def as_line(said: dict[str, Any]) -> bytes:
    """What came of a call as JSON, NumPy's numbers as numbers; or that it is none, or too long to
    be read as a line."""
    try:
        line = orjson.dumps(said, option=orjson.OPT_SERIALIZE_NUMPY)
    except TypeError as error:
        told = f"what it returns is no JSON: {error}"
    else:
        if len(line) < LINE_MAX:
            return line
        told = f"what it returns has {len(line)} bytes as JSON, expected fewer than {LINE_MAX}"
    return orjson.dumps({"number": said["number"], "ok": False, "error": told, "give_up": True})


async def _serve(task: Task, jobs: BinaryIO, answers: BinaryIO) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=LINE_MAX)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), jobs)
    running: set[asyncio.Task[None]] = set()

    def answer(said: dict[str, Any]) -> None:
        answers.write(as_line(said) + b"\n")
        answers.flush()

    answer({"number": 0})
    with ThreadPoolExecutor(at_once(task)) as threads:

        async def run(job: dict[str, Any]) -> None:
            answer(await call_task(task, job, threads))

        while line := await reader.readline():
            one = asyncio.create_task(run(orjson.loads(line)))
            running.add(one)
            one.add_done_callback(running.discard)


def main() -> None:
    """The process."""
    parent, run, *folders = sys.argv[1:]
    if not die_with(int(parent)):
        return
    with os.fdopen(os.dup(0), "rb", 0) as jobs, os.fdopen(os.dup(1), "wb") as answers:
        with open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), 0)
        os.dup2(2, 1)
        asyncio.run(_serve(load_task(run, [Path(folder) for folder in folders]), jobs, answers))


if __name__ == "__main__":
    main()
