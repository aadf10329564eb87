"""What comes of one call: whatever the function raises or returns is told, at once."""

from __future__ import annotations

import asyncio
import functools
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
import pytest

import corec
from corec.notices import Later, Notice, Task
from corec.tasks import child
from corec.tasks.child import LINE_MAX, as_line, call_task

NOTICE = Notice("0-1-2", "raised", 1, 2, 1, "sensor", 1.0, {}, 1)


class Mute(Exception):
    """One that can't be told as text."""

    def __str__(self) -> str:
        raise RuntimeError


def said_of(function: Callable[[Any], Any], seconds: float = 30.0) -> dict[str, Any]:
    """As it goes back to who made the call."""
    is_async = asyncio.iscoroutinefunction(getattr(function, "func", function))
    job = {"number": 7, "notice": NOTICE.as_dict(), "options": {"timeout_seconds": seconds}}
    with ThreadPoolExecutor(1) as threads:
        said = asyncio.run(call_task(Task("f", function, is_async), job, threads))
    found: dict[str, Any] = orjson.loads(as_line(said))
    assert found.pop("number") == 7
    return found


def raising(error: BaseException, _: Any) -> None:
    raise error


async def raising_later(error: BaseException, _: Any) -> None:
    await asyncio.sleep(0)
    raise error


@pytest.mark.parametrize(
    ("error", "text"),
    [(StopIteration(), "StopIteration: "), (asyncio.CancelledError("no"), "CancelledError: no"),
     (SystemExit(3), "SystemExit: 3"), (OSError("\udcff\ud800"), "OSError: \\udcff\\ud800"),
     (Mute(), "Mute: (it has no text)"), (ValueError("\0"), "ValueError: \0")],
)  # fmt: skip
def test_whatever_is_raised_is_told_and_may_pass(error: BaseException, text: str) -> None:
    ways: list[Any] = [raising]
    if not isinstance(error, StopIteration):  # a coroutine makes another error of it
        ways.append(raising_later)
    for way in ways:
        function = functools.partial(way, error)
        said = said_of(function)
        assert said["error"].startswith(text)
        assert (said["ok"], said["give_up"], said["after"]) == (False, False, 0.0)
    assert said_of(functools.partial(raising, Later("wait", 7.5)))["after"] == 7.5
    assert said_of(functools.partial(raising, corec.GiveUp("no")))["give_up"]


def test_an_async_call_has_an_end() -> None:
    async def endless(_: Any) -> None:
        await asyncio.Event().wait()

    async def deaf(_: Any) -> tuple[int, float]:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return (2, 0.5)
        raise AssertionError

    said = said_of(endless, 0.01)
    assert (said["error"], said["give_up"]) == ("no end after 0.01 s", False)
    assert said_of(deaf, 0.01)["returned"] == [2, 0.5]


@pytest.mark.parametrize("returned", ["text", b"", 1.0, True, {1}, object()])
def test_what_is_returned_by_mistake_is_not_tried_again(returned: Any) -> None:
    said = said_of(lambda _: returned)
    assert said["error"] == f"it returns a {type(returned).__name__}, expected readings or None"
    assert said["give_up"]


def test_a_line_of_the_greatest_length_and_one_more() -> None:
    def line(extra: int) -> bytes:
        empty = len(orjson.dumps({"number": 1, "ok": True, "returned": [""]}))
        text = "x" * (LINE_MAX - 1 - empty + extra)
        return as_line({"number": 1, "ok": True, "returned": [text]})

    assert len(line(0)) == LINE_MAX - 1
    said = orjson.loads(line(1))
    assert said["error"].endswith(f"has {LINE_MAX} bytes as JSON, expected fewer than {LINE_MAX}")
    assert (said["ok"], said["give_up"]) == (False, True)


def test_who_yields_is_no_task() -> None:
    def several(notice: Any) -> Any:
        yield (1, 2.0)

    async def slowly(notice: Any) -> Any:
        yield (1, 2.0)

    for function in (several, slowly):
        with pytest.raises(TypeError, match="this one yields; return a list"):
            corec.task(function)


def test_what_a_task_starts_reads_none_of_its_calls(tmp_path: Any) -> None:
    """Its standard input is where its process gets its calls from: it would take the next one."""
    (tmp_path / "reading.py").write_text(
        "import subprocess, sys\nimport corec\n\n@corec.task\ndef read(notice):\n"
        "    got = subprocess.run(['cat'], capture_output=True).stdout.decode()\n"
        "    return (2, float(len(got + sys.stdin.read())))\n"
    )

    async def calls() -> list[Any]:
        made = await asyncio.create_subprocess_exec(
            sys.executable, "-m", child.__name__, str(os.getpid()), "reading:read",
            str(tmp_path), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        job = {"notice": NOTICE.as_dict(), "options": {"timeout_seconds": 30.0}}
        lines = b"".join(orjson.dumps({"number": k, **job}) + b"\n" for k in (1, 2))
        assert made.stdin is not None
        assert made.stdout is not None
        made.stdin.write(lines)
        found = [orjson.loads(await made.stdout.readline()) for _ in range(3)]
        made.stdin.close()
        await made.wait()
        return found

    begun, *found = asyncio.run(calls())
    assert begun == {"number": 0}
    assert sorted(one["number"] for one in found) == [1, 2]
    assert all(one["returned"] == [2, 0.0] for one in found)
