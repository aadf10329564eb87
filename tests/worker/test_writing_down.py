"""What the leader writes down for the journal, and what an answer that waits for it says."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from corec import layout as L
from corec.config import Config, parse_config
from corec.control.setting import tick_told
from corec.nucleus.journaled import NOT_DURABLE, durable, write_down
from corec.process.runtime import Runtime, float_to_word
from corec.worker.leader import Leader
from corec.world import settings
from corec.world.settings import Entry
from tests.checkpoint.small import BLOQUES, put_to_tick, world

pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.fixture
def rt(tmp_path: Path, shm_dir: Path) -> Iterator[Runtime]:
    with world(tmp_path, shm_dir) as found:
        found.set(L.C_LIMIT_TICK, 100)
        yield found


def parsed(**changes: Any) -> Config:
    raw = {"instance_id": "small", "bloques": BLOQUES, **changes}
    return parse_config(raw)


def records(rt: Runtime) -> list[dict[str, Any]]:
    frames = rt.journal.frames(rt.journal.tail)
    return [orjson.loads(frame.payload) for frame in frames]


@pytest.mark.parametrize("waits", [False, True])
def test_what_carga_is_to_come_back_to_is_written_with_its_tick(
    rt: Runtime, *, waits: bool
) -> None:
    """It was lowered to what is then asked for: what counts stays, and the wish ends."""
    rt.set(L.C_CARGA, float_to_word(0.5))
    rt.set(L.C_CARGA_ASKED, float_to_word(1.0))
    leader = Leader(rt, rt.lanes)
    for tick in (1, 2):
        leader.go(tick)
        put_to_tick(rt, tick)
    assert [r["carga_asked"] for r in records(rt) if "carga_asked" in r] == [1.0]
    rt.set(L.C_CARGA_ASKED, 0)
    write_down(rt)
    if waits:
        rt.set(L.C_PAUSED, 1)
        assert leader.wait_seconds(3) is None
        rt.set(L.C_PAUSED, 0)
    leader.go(3)
    last = records(rt)[-1]
    assert (last["tick"], last["carga"], last["carga_asked"]) == (3, 0.5, 0.0)
    assert rt.get(L.C_WRITTEN_DOWN) == rt.get(L.C_WRITE_DOWN)
    count = len(records(rt))
    put_to_tick(rt, 3)
    leader.go(4)
    assert all("carga" not in record for record in records(rt)[count:])


def test_who_is_killed_before_it_is_written_down_has_set_it(rt: Runtime) -> None:
    """It counts by its entry, and the next tick says so."""
    leader = Leader(rt, rt.lanes)
    leader.go(1)
    put_to_tick(rt, 1)
    entry = Entry(3, 10, 2, 1, "persist.every_ticks", 10)
    settings.write(rt, {"persist.every_ticks": entry})
    leader.go(2)
    last = records(rt)[-1]
    assert (last["tick"], last["revision"], list(last["set"])) == (2, 1, ["persist.every_ticks"])


def test_what_a_reload_changes_is_written_down(rt: Runtime) -> None:
    """Or a checkpoint from behind it would not be known from one of before it."""
    plain, asked = rt.config, rt.get(L.C_WRITE_DOWN)
    settings.settle(rt, plain)
    assert rt.get(L.C_WRITE_DOWN) == asked  # a new world
    for config in (parsed(carga=0.5), parsed(carga=0.5), parsed(carga=0.5, tick_hz=7.0)):
        settings.settle(rt, config)
        assert rt.get(L.C_WRITE_DOWN) == asked + 1
    settings.write(rt, {"persist.every_ticks": Entry(3, 10, 1, 1, "persist.every_ticks", 10)})
    settings.settle(rt, parsed(carga=0.5))
    assert rt.config.persist.every_ticks == 3
    assert rt.get(L.C_WRITE_DOWN) == asked + 1
    settings.settle(rt, parsed(carga=0.5, persist={"every_ticks": 4}))
    assert rt.config.persist.every_ticks == 4
    assert rt.get(L.C_WRITE_DOWN) == asked + 2
    rt.set(L.C_PAUSED, 1)
    leader = Leader(rt, rt.lanes)
    assert leader.wait_seconds(1) is None
    said = records(rt)[-1]
    assert (said["tick"], said["until"], said["carga"], said["set"]) == (1, 0, 0.5, {})


@pytest.mark.parametrize("stop", [L.STOP_TICKS, L.STOP_NOW])
def test_a_stop_makes_nothing_durable_yet(rt: Runtime, stop: int) -> None:
    asked = write_down(rt)
    rt.set(L.C_STOP, stop)
    assert asyncio.run(durable(rt, asked)) == NOT_DURABLE
    rt.set(L.C_WRITTEN_DOWN, asked)
    assert asyncio.run(durable(rt, asked)) == {}


def test_python_warns_of_what_is_not_on_disk() -> None:
    with pytest.warns(RuntimeWarning, match="not on disk yet"):
        assert tick_told({"after_tick": 3, "durable": False}) == 3
    assert tick_told({"after_tick": 3}) == 3
