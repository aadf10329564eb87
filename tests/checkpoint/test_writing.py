"""State that is written into a world in this process: what a nucleus finishes, and when."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corec import layout as L
from corec.config import parse_config
from corec.control.protocol import ControlError
from corec.modules.base import ModuloBase
from corec.nucleus.process import CoreCNucleus
from corec.plan import make_plan
from corec.process.runtime import Runtime
from corec.supervisor import segments
from corec.world import settings, writes
from corec.world.checkpoint import read_head
from corec.world.edits import Edit, apply, checked, within
from corec.world.tables import make_tables
from shm.killpoint import arm
from tests.checkpoint.small import BLOQUES, make_checkpoint, put_to_tick, views, world
from tests.shm.helpers import KILLED, fork, reap

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
            asked = [asyncio.create_task(setter.write(edit_of(rt, 0.25), TOKEN))]
            await until(lambda: list(rt.config.state_folder.rglob(".write-*")), "it is saved")
            asked.append(asyncio.create_task(setter.set({"carga": 0.5})))
            rt.set(L.C_STOP, L.STOP_SINKS)
        for each, what in zip(asked, ("written", "set"), strict=True):
            with pytest.raises(ControlError, match=f"nothing was {what}: the instance is stopping"):
                await each
        assert settings.read(rt) == {}
        assert values(rt) == before
        assert not list(rt.config.state_folder.rglob("*write-*"))

    run(test)


def test_who_sees_a_block_meanwhile_sees_the_last_of_its_writes(rt: Runtime) -> None:
    """A worker that is killed behind a tick's begin writes again, and others look at it."""
    put_to_tick(rt, TICK)
    tables = make_tables(rt.plan, rt.world.payload)
    edits = [edit_of(rt, 0.25), checked(rt.plan, "sensores", [21, 3], {"valor": 0.5})]
    before = [view.column("valor").tolist() for view in views(rt)]

    def killed() -> None:
        arm("write.block", 1)
        apply(rt.plan, tables, edits, lambda block: True)

    assert reap(fork(killed)) == KILLED
    found = [view.column("valor").tolist() for view in views(rt)]
    assert found[0] == [0.5 if k == 3 else 0.25 for k in range(20)]
    assert found[1:] == before[1:]
    apply(rt.plan, tables, edits, lambda block: True)
    assert views(rt)[1].column("valor").tolist() == [0.5 if k == 1 else 0.25 for k in range(13)]


def test_writes_at_once_are_as_one_after_the_other(tmp_path: Path, shm_dir: Path) -> None:
    """Whose life is written, of those ``activo`` is written, too."""
    grid = {"kind": "grid", "width": 10, "height": 10}
    herd = {"id": "herd", "canal": 1, "entidades": 80, "capacidad": 100, "procesador": "schelling",
            "entidades_por_bloque": 40, "space": grid}  # fmt: skip
    k = np.arange(100)
    chosen: list[dict[str, Any]] = [
        {"activo": 0}, {"vivo": k % 3 > 0}, {"vivo": 1, "activo": k % 2}, {"activo": 1},
        {"vivo": k % 5 > 0, "group": 1}, {"activo": k % 7 > 0},
    ]  # fmt: skip
    with world(tmp_path / "state", shm_dir, [herd]) as rt:
        edits = [checked(rt.plan, "herd", None, fields) for fields in chosen]
        edits.append(within(edits[0], 100, 200))  # of none of these blocks
        tables, before = make_tables(rt.plan, rt.world.payload), rt.world.payload.copy()
        for edit in edits:
            apply(rt.plan, tables, [edit], lambda block: True)
        one_by_one = rt.world.payload.copy()
        rt.world.payload[:] = before
        apply(rt.plan, tables, edits, lambda block: True)
        assert (rt.world.payload == one_by_one).all()
        assert (one_by_one != before).any()
        del tables


def test_blocks_of_other_fields_hold_what_was_written(tmp_path: Path, shm_dir: Path) -> None:
    """The next tick does not write it again, as it was: a later one does what it is to do."""
    state, old, new = tmp_path / "state", shm_dir / "old", shm_dir / "new"
    for folder in (old, new):
        folder.mkdir()
    with world(state, old) as rt:
        put_to_tick(rt, TICK)
        begun(rt, edit_of(rt, 0.25), TICK + 1)
        begun(rt, edit_of(rt, 0.75), TICK + 2)
        same = read_head(make_checkpoint(rt, state))
    for name, kept in (("ewma", [1, 2]), ("seasonal", [2])):
        bloques = [BLOQUES[0], {**BLOQUES[1], "procesador": name}]
        config = parse_config(
            {"instance_id": "small", "state_dir": str(state), "bloques": bloques}, base_dir=state
        )
        rt, _ = segments.create(config, new, 2, same, make_plan(config), lambda *_: None)
        assert sorted(one.revision for one in settings.read(rt).values()) == kept
        for bell in rt.doorbells:
            bell.close()
        segments.remove(new)
        vars(rt).clear()
        gc.collect()
