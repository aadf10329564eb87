"""One process of a pool: ``python -m corec.tasks.child RUN FOLDER…`` calls one user's function.

It says number 0 once it has imported the function. Jobs, from 1 on, come as lines of JSON on
standard input, and go back as lines on what was standard output; what the function prints goes to
standard error. An async task and ``webhook`` run many jobs at once, any
other one at a time. It ends when its input does, and with the process that started it.
"""

from __future__ import annotations

import asyncio
import os
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, Final

import orjson

from corec.notices import GiveUp, Notice, Task, load_task
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
    return f"{type(error).__name__}: {error}{where}"[:ERROR_MAX]


async def call_task(task: Task, job: dict[str, Any], threads: ThreadPoolExecutor) -> dict[str, Any]:
    """What comes of one call: ``ok`` and what it returned, or the error and whether to give up."""
    notice = Notice.from_dict(job["notice"])
    words: tuple[Any, ...] = (notice, job["options"]) if task.takes_options else (notice,)
    try:
        if task.is_async:
            async with asyncio.timeout(float(job["options"]["timeout_seconds"])):
                returned = await task.function(*words)
        else:
            loop = asyncio.get_running_loop()
            returned = await loop.run_in_executor(threads, task.function, *words)
        if not isinstance(returned, dict | list | tuple | None):
            raise TypeError(
                f"it returns a {type(returned).__name__}, expected readings or None"
            )  # told as any other of its faults
        return {"number": job["number"], "ok": True, "returned": returned}
    except Exception as error:  # noqa: BLE001  # whatever a user's function raises
        give_up = isinstance(error, GiveUp)
        return {"number": job["number"], "ok": False, "error": _said(error), "give_up": give_up}


def as_line(said: dict[str, Any]) -> bytes:
    """What came of a call as JSON, NumPy's numbers as numbers; or that it is none."""
    try:
        return orjson.dumps(said, option=orjson.OPT_SERIALIZE_NUMPY)
    except TypeError as error:
        told = f"what it returns is no JSON: {error}"
        return orjson.dumps({"number": said["number"], "ok": False, "error": told, "give_up": True})


async def _serve(task: Task, answers: BinaryIO) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=LINE_MAX)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
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
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)
        asyncio.run(_serve(load_task(run, [Path(folder) for folder in folders]), answers))


if __name__ == "__main__":
    main()
