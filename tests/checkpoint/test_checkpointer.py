"""When a checkpoint counts, what is shown of it, and what becomes of one that cannot be made."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import orjson
import pytest

from corec import layout as L
from corec.nucleus.checkpoints import Checkpointer, CheckpointFailed
from corec.nucleus.digests import Digester
from corec.nucleus.events import EventWriter
from corec.nucleus.hold import Holder
from corec.process.runtime import Runtime
from corec.world.checkpoint import checkpoint_files, read_head
from corec.world.digest import digest_of
from corec.world.snapshot import Abandoned
from tests.checkpoint.small import put_to_tick

pytestmark = pytest.mark.usefixtures("no_leaks")


async def _lead(rt: Runtime) -> None:
    """The leader's part of a hold; it starts no tick."""
    while True:
        rt.set(L.C_HOLD_ACK, rt.get(L.C_HOLD_REQUEST))
        await asyncio.sleep(0.001)


@asynccontextmanager
async def checkpointer(rt: Runtime, every: float = 0.0) -> AsyncIterator[Checkpointer]:
    """One that runs, in a world at tick 7 whose sinks have nothing yet."""
    section = rt.config.checkpoint.model_copy(update={"every_seconds": every})
    rt.config = rt.config.model_copy(update={"checkpoint": section})
    rt.set(L.C_START_MONO_NS, time.monotonic_ns())
    put_to_tick(rt, 7)
    one = Checkpointer(rt, Holder(rt), EventWriter(rt))
    tasks = [asyncio.create_task(one.run()), asyncio.create_task(_lead(rt))]
    try:
        yield one
    finally:
        await one.close()
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 10.0
    while not condition():
        assert time.monotonic() < deadline, f"not within 10 s: {what}"
        await asyncio.sleep(0.002)


def sinks_reach(rt: Runtime, persister: int, broker: int) -> None:
    rt.slot(L.SLOT_PERSISTER).set(L.S_TICK, persister)
    rt.slot(L.SLOT_BROKER).set(L.S_TICK, broker)


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await test()

    asyncio.run(main())


def test_it_counts_once_both_sinks_have_everything_before_it(rt: Runtime) -> None:
    async def test() -> None:
        async with checkpointer(rt) as one:
            asked = asyncio.create_task(one.ask(10.0))
            await until(lambda: one.shown()["state"] == "waiting", "it waits")
            for persister, broker in ((6, 9), (9, 6)):
                sinks_reach(rt, persister, broker)
                await asyncio.sleep(0.15)
                assert one.shown()["state"] == "waiting"
                assert checkpoint_files(one.folder) == []
            late = "Redis has everything up to tick 6"
            await until(lambda: one.waits_for() == late, "it says for whom it waits")
            rt.slot(L.SLOT_BROKER).set(L.S_ERROR, L.REASON_FULL)
            full = "no room is left (disk, spool or server memory)"
            assert one.waits_for() == f"{late}; Redis: {full}"
            rt.slot(L.SLOT_BROKER).set(L.S_ERROR, L.REASON_NONE)
            sinks_reach(rt, 7, 7)
            found = await asked
            assert one.waits_for() == ""
            assert (found["tick"], one.shown()["last"]) == (7, found)
            (path,) = checkpoint_files(one.folder)
            assert (str(path), path.stat().st_size) == (found["path"], found["bytes"])
            assert read_head(path).head["digest"] == found["digest"]

    run(test)


def test_each_who_asks_gets_an_answer(rt: Runtime) -> None:
    """Beside one that waits for a server: the next one, shared by all who asked meanwhile."""

    async def test() -> None:
        async with checkpointer(rt) as one:
            first = asyncio.create_task(one.ask(10.0))
            await until(lambda: one.shown()["state"] == "waiting", "the first waits")
            put_to_tick(rt, 8)
            others = [asyncio.create_task(one.ask(10.0)) for _ in range(5)]
            await asyncio.sleep(0.15)
            assert not any(task.done() for task in (first, *others))
            sinks_reach(rt, 8, 8)
            assert (await first)["tick"] == 7
            assert [(await task)["tick"] for task in others] == [8] * 5
            assert one.shown()["made"] == 2

    run(test)


def test_who_still_waits_at_the_end_is_told(rt: Runtime) -> None:
    async def test() -> None:
        async with checkpointer(rt) as one:
            asked = [asyncio.create_task(one.ask(10.0))]
            await until(lambda: one.shown()["state"] == "waiting", "the first waits")
            asked.append(asyncio.create_task(one.ask(10.0)))
            await asyncio.sleep(0)
            await one.close()
            for task in asked:
                with pytest.raises(CheckpointFailed, match="called off"):
                    await task

    run(test)


def test_digests_asked_for_together_are_shared_and_right(rt: Runtime) -> None:
    async def test() -> None:
        async with checkpointer(rt) as one:
            digester = Digester(rt, one.holder, one.aside)
            tick, digest = digest_of(rt.plan, rt.world.words)
            found = await asyncio.gather(*(digester.ask() for _ in range(4)), one.ask(0.01),
                                         return_exceptions=True)  # fmt: skip
            assert isinstance(found.pop(), TimeoutError)
            for one_found in found:
                assert isinstance(one_found, dict)
                assert (one_found["tick"], one_found["digest"]) == (tick, digest)
            again = await digester.ask()
            assert (again["tick"], again["digest"]) == (tick, digest)
            rt.set(L.C_STOP, L.STOP_TICKS)
            with pytest.raises(Abandoned):
                await digester.ask()

    run(test)


def test_periodic_ones_are_left_out_while_one_waits(
    rt: Runtime, capfd: pytest.CaptureFixture[str]
) -> None:
    async def test() -> None:
        async with checkpointer(rt, every=0.1) as one:
            await until(lambda: one.shown()["left_out"] >= 2, "two are left out")
            assert one.shown()["tick"] == 7
            sinks_reach(rt, 100, 100)
            await until(lambda: one.shown()["made"] >= 2, "they are made again")

    run(test)
    assert "PostgreSQL has everything up to tick 0" in "".join(capfd.readouterr())


def test_a_time_out_leaves_it_in_the_making(rt: Runtime) -> None:
    async def test() -> None:
        async with checkpointer(rt) as one:
            with pytest.raises(TimeoutError):
                await one.ask(0.3)
            sinks_reach(rt, 7, 7)
            await until(lambda: one.shown()["made"] == 1, "it is made all the same")

    run(test)


def test_the_stop_calls_it_off(rt: Runtime) -> None:
    async def test() -> None:
        async with checkpointer(rt) as one:
            asked = asyncio.create_task(one.ask(10.0))
            await until(lambda: one.shown()["state"] == "waiting", "it waits")
            rt.set(L.C_STOP, L.STOP_TICKS)
            with pytest.raises(CheckpointFailed, match="called off"):
                await asked
            with pytest.raises(CheckpointFailed, match="is stopping"):
                await one.ask(10.0)
            assert list(one.folder.iterdir()) == []

    run(test)


def test_one_that_cannot_be_made_is_told_and_the_next_one_is(rt: Runtime) -> None:
    async def test() -> None:
        async with checkpointer(rt) as one:
            sinks_reach(rt, 100, 100)
            one.folder.parent.mkdir(parents=True)
            one.folder.write_text("in the way")
            with pytest.raises(CheckpointFailed, match="File exists"):
                await one.ask(10.0)
            shown = one.shown()
            assert (shown["state"], shown["failed"]) == ("failed", 1)
            assert "File exists" in shown["error"]
            one.folder.unlink()
            await one.ask(10.0)
            assert one.shown()["error"] is None
            assert one.shown()["state"] == "idle"

    run(test)
    bodies = [orjson.loads(bytes(f.payload)) for f in rt.events["nucleus"].frames()]
    assert [body["tipo"] for body in bodies] == ["checkpoint_fallido"]


def test_a_full_disk_degrades_until_one_succeeds(
    rt: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    async def test() -> None:
        async with checkpointer(rt) as one:
            sinks_reach(rt, 100, 100)
            with monkeypatch.context() as patched:
                patched.setattr("corec.world.checkpoint.PartWriter.write", full)
                with pytest.raises(CheckpointFailed, match="No space left"):
                    await one.ask(10.0)
            assert rt.slot(L.SLOT_NUCLEUS).get(L.S_ERROR) == L.REASON_FULL
            assert list(one.folder.iterdir()) == []
            await one.ask(10.0)
            assert rt.slot(L.SLOT_NUCLEUS).get(L.S_ERROR) == L.REASON_NONE

    run(test)
