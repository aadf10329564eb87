"""State that is written into a world in this process: what a nucleus finishes, and when."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest

from corec import layout as L
from corec.control.protocol import ControlError
from corec.modules.base import ModuloBase
from corec.nucleus.process import CoreCNucleus
from corec.process.runtime import Runtime
from corec.world import settings, writes
from corec.world.edits import Edit, checked
from tests.checkpoint.small import put_to_tick, views

pytestmark = pytest.mark.usefixtures("no_leaks")
TICK = 7
TOKEN = "5" * 32


def edit_of(rt: Runtime, value: float) -> Edit:
    return checked(rt.plan, "sensores", None, {"valor": value})


def begun(rt: Runtime, edit: Edit, first_tick: int) -> None:
    """As a nucleus leaves it that was killed over the blocks."""
    half = writes.save(rt.config.state_folder, edit, TOKEN)
    revision = rt.get(L.C_SETTINGS) + 1
    file = writes.name(half, rt.epoch, first_tick, revision)
    path, entry = writes.entry_of(edit, file, first_tick, revision)
    settings.write(rt, settings.read(rt) | {path: entry})


def values(rt: Runtime) -> set[float]:
    return {float(v) for view in views(rt) if view.swarm.id == "sensores"
            for v in view.column("valor")}  # fmt: skip


class Looks(ModuloBase):
    """Sees the world as it is when modules begin to serve."""

    nombre = "looks"
    seen: set[float]

    async def inicializar(self) -> None:
        self.seen = values(self.nucleus.rt)

    async def ejecutar(self) -> None:
        await asyncio.Event().wait()


@asynccontextmanager
async def led(rt: Runtime) -> AsyncIterator[None]:
    """Its leader acknowledges holds; it starts no tick."""

    async def lead() -> None:
        while True:
            rt.set(L.C_HOLD_ACK, rt.get(L.C_HOLD_REQUEST))
            await asyncio.sleep(0.001)

    task = asyncio.create_task(lead())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def later(nucleus: CoreCNucleus, beat: int) -> bool:
    return nucleus.slot.get(L.S_BEAT_NS) > beat


async def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 9.0
    while not condition():
        assert time.monotonic() < deadline, f"not in time: {what}"
        await asyncio.sleep(0.002)


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await test()

    asyncio.run(main())


def test_nobody_is_served_before_what_was_begun_is_whole(rt: Runtime) -> None:
    """And a nucleus that waits for the world gives signs of life."""

    async def test() -> None:
        put_to_tick(rt, TICK)
        begun(rt, edit_of(rt, 0.25), TICK + 1)
        begun(rt, edit_of(rt, 0.75), TICK + 1)
        before, nucleus = values(rt), CoreCNucleus(rt)
        looks = Looks(nucleus)
        nucleus.register(looks)
        life = asyncio.create_task(nucleus.ejecutar())
        for _ in range(3):
            beat = nucleus.slot.get(L.S_BEAT_NS)
            await until(partial(later, nucleus, beat), "it beats")
        assert nucleus.slot.get(L.S_STATE) != L.PROC_READY
        assert not hasattr(looks, "seen")
        assert values(rt) == before
        async with led(rt):
            await until(lambda: nucleus.slot.get(L.S_STATE) == L.PROC_READY, "it is ready")
        await until(lambda: hasattr(looks, "seen"), "it serves")
        assert looks.seen == values(rt) == {0.75}
        rt.set(L.C_STOP, L.STOP_NOW)
        assert await life == 0

    run(test)


@pytest.mark.parametrize(("first_tick", "went"), [(TICK, TICK), (TICK + 1, TICK + 1)])
def test_nothing_is_held_for_what_is_in_the_blocks_or_its_workers_do(
    rt: Runtime, first_tick: int, went: int
) -> None:
    """With a server away no boundary may come."""

    async def test() -> None:
        put_to_tick(rt, TICK)
        rt.set(L.C_GO_TICK, went)
        begun(rt, edit_of(rt, 0.25), first_tick)
        before = values(rt)
        await CoreCNucleus(rt).commands.settings.finish()
        assert rt.get(L.C_HOLD_REQUEST) == 0
        assert values(rt) == before

    run(test)


def test_what_comes_to_its_turn_within_a_stop_is_refused(rt: Runtime) -> None:
    """The last checkpoint may be in the making: nothing counts, nothing is left."""

    async def test() -> None:
        put_to_tick(rt, TICK)
        before, setter = values(rt), CoreCNucleus(rt).commands.settings
        async with led(rt), setter.holder.held():
            asked = asyncio.create_task(setter.write(edit_of(rt, 0.25), TOKEN))
            await until(lambda: list(rt.config.state_folder.rglob(".write-*")), "it is saved")
            rt.set(L.C_STOP, L.STOP_SINKS)
        with pytest.raises(ControlError, match="the instance is stopping"):
            await asked
        assert settings.read(rt) == {}
        assert values(rt) == before
        assert not list(rt.config.state_folder.rglob("*write-*"))

    run(test)
