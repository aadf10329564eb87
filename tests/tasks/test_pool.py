"""A pool's processes: what of their life is a call's time."""

from __future__ import annotations

import asyncio
import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import uvloop

from corec.notices import Notice, load_task
from corec.tasks import pool as pools
from corec.tasks.pool import CallFailed, Pool

SLOW = '''"""Takes its time to be imported where calls are made, and says when it is called."""

import os
import sys
import threading

import corec

if "corec.tasks.child" in " ".join(sys.orig_argv):
    threading.Event().wait({wait})


@corec.task
def answer(notice):
    """A reading."""
    return {{"id": 1, "valor": 2.0}}
'''
NOTICE = Notice("0-1-2", "raised", 1, 2, 1, "sensor", 1.0, {}, 1)
OPTIONS: dict[str, Any] = {"workers": 1, "timeout_seconds": 1.0}
PATIENT: dict[str, Any] = {**OPTIONS, "timeout_seconds": 60.0}


def called(folder: Path, wait: float) -> Any:
    """What one call comes to; its module takes ``wait`` seconds to be imported."""
    (folder / "slowly.py").write_text(SLOW.format(wait=wait))

    async def call() -> Any:
        pool = Pool(load_task("slowly:answer", (folder,)), "slowly:answer", OPTIONS, (folder,))
        try:
            return await pool.call(NOTICE)
        finally:
            await pool.close()

    return asyncio.run(call())


def test_who_ends_between_two_calls_has_failed_the_next(tmp_path: Path) -> None:
    """Also where its end is known to who would write to it, and to nobody else yet."""
    (tmp_path / "slowly.py").write_text(SLOW.format(wait=0))

    async def calls() -> Any:
        pool = Pool(load_task("slowly:answer", (tmp_path,)), "slowly:answer", PATIENT, (tmp_path,))
        try:
            await pool.call(NOTICE)
            (member,) = pool._members
            assert member.process.stdin is not None
            member.process.stdin.close()
            for _ in range(3):  # rounds of the loop, until it is closed
                await asyncio.sleep(0)
            with pytest.raises(CallFailed, match="its process ended"):
                await pool.call(NOTICE)
            return await pool.call(NOTICE)
        finally:
            await pool.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(calls()) == {"id": 1, "valor": 2.0}


HANGING = """import threading

import corec


@corec.task
def hang(notice):
    if notice.entity == 2:
        threading.Event().wait()
    return [[notice.entity, 1.0]]


@corec.task
def boast(notice):
    return "x" * 5 if notice.entity == 2 else ["x" * (1 << 24)]
"""


def test_who_comes_behind_one_that_hangs_gets_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing is tried again, it would have failed for good, by another one's fault."""
    monkeypatch.setattr(pools, "GRACE_SECONDS", 0.5)
    (tmp_path / "hanging.py").write_text(HANGING)

    async def calls() -> list[Any]:
        task = load_task("hanging:hang", (tmp_path,))
        pool = Pool(task, "hanging:hang", OPTIONS, (tmp_path,))
        others = [dataclasses.replace(NOTICE, entity=k) for k in (3, 4)]
        try:
            return await asyncio.gather(
                *(pool.call(one) for one in (NOTICE, *others)), return_exceptions=True
            )
        finally:
            await pool.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        failed, *found = runner.run(calls())
    assert isinstance(failed, CallFailed)
    assert found == [[[3, 1.0]], [[4, 1.0]]]


def test_what_is_too_long_to_go_back_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "hanging.py").write_text(HANGING)

    async def call() -> None:
        task = load_task("hanging:boast", (tmp_path,))
        pool = Pool(task, "hanging:boast", PATIENT, (tmp_path,))
        try:
            for entity, text in ((3, "bytes as JSON, expected fewer"), (2, "it returns a str")):
                with pytest.raises(CallFailed, match=text) as failed:
                    await pool.call(dataclasses.replace(NOTICE, entity=entity))
                assert failed.value.give_up
        finally:
            await pool.close()

    asyncio.run(call())


def test_a_start_is_no_part_of_a_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "GRACE_SECONDS", 0.5)
    assert called(tmp_path, 3.0) == {"id": 1, "valor": 2.0}


def test_a_start_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "START_SECONDS", 0.2)
    with pytest.raises(CallFailed, match="its process did not begin within"):
        called(tmp_path, 60.0)


FALLING = """import asyncio
import os
import threading

import corec


@corec.task
async def fall(notice):
    if notice.entity == 0:
        os._exit(3)
    if notice.entity == 9:
        threading.Event().wait(60)
    await asyncio.sleep(0.2)
    return {"id": notice.entity, "valor": 2.0}
"""


@pytest.mark.parametrize(
    ("guilty", "options", "said"), [(0, PATIENT, r"ended \(3\)"), (9, OPTIONS, "no end after 1 s")]
)
def test_nobody_fails_with_another_call_of_its_process(
    tmp_path: Path, guilty: int, options: dict[str, Any], said: str
) -> None:
    """Where an async function ends the process, or stops its loop."""
    (tmp_path / f"falling{guilty}.py").write_text(FALLING)
    run = f"falling{guilty}:fall"

    async def calls() -> list[Any]:
        pool = Pool(load_task(run, (tmp_path,)), run, options, (tmp_path,))
        notices = [dataclasses.replace(NOTICE, entity=one) for one in (1, guilty, 2)]
        try:
            found = await asyncio.gather(*map(pool.call, notices), return_exceptions=True)
            assert not pool._apart
            return found
        finally:
            await pool.close()

    first, failed, second = asyncio.run(calls())
    assert (first["id"], second["id"]) == (1, 2)
    assert isinstance(failed, CallFailed)
    assert re.search(said, str(failed))
