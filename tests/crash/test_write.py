"""State written into a living instance, whoever dies over it: the bits of a World that was written.

Held against a ``corec.World`` that nobody disturbs, to which the same is written after the same
ticks: at once, after the next tick, behind a kill, a stop, the loss of the machine and in a replay.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis

import corec
from corec.config import parse_config
from corec.control.client import Unreachable
from corec.journal.file import FOLDER, Journal, read_lines, waits
from corec.plan import make_plan
from corec.world import writes
from corec.world.edits import Edit, within
from tests.crash.hearing import MESSAGE
from tests.crash.test_set import Play
from tests.crash.worlds import armed, spared
from tests.e2e.conftest import Make
from tests.support.instance import Instance, machine_is_lost
from tests.support.ledger import events_of
from tests.support.processes import wait_until

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.slow, pytest.mark.timeout(400)]

SIZE = {"entidades": 120, "entidades_por_bloque": 40}
DEATHS = ("nucleus@write.named:1", "nucleus@write.block:2", "worker 1@write.block:2",
          "worker 0@write.block:3")  # fmt: skip


WEIGHED = '''"""Entities that hear, and notice when nobody speaks to them."""

import corec


def gone(me):
    me.gaps = me.gaps + 1
    return me.valor


@corec.celu(state={"seen": "u4", "gaps": "u4"}, silence=4, on_silence=gone)
def weighed(me, value):
    me.seen = me.seen + 1
    return value
'''


def config(processor: str = "sir") -> dict[str, Any]:
    """One that counts who is ill all over it, one that is drawn to its mean."""
    return {
        "instance_id": "corec1", "http": {"port": 0}, "persist": {"every_ticks": 4},
        "streams": {"batch_ms": 2}, "checkpoint": {"every_seconds": 0},
        "bloques": [{"id": "town", "canal": 1, "procesador": processor, **SIZE},
                    {"id": "ring", "canal": 2, "procesador": "kuramoto", **SIZE}],
    }  # fmt: skip


class Both:
    """An instance that is stepped, and a world in this process; what is done is done to both."""

    def __init__(self, one: Instance, world: corec.World) -> None:
        self.one, self.world, self.play = one, world, Play(one)

    def until(self, tick: int) -> None:
        self.play.until(tick)
        self.world.run(tick - self.world.ticks)
        self.same()

    def write(self, *where: Any, dies: bool = False, **fields: Any) -> None:
        """``dies``: the nucleus does, once it counts."""
        with corec.attach("corec1") as found:
            if dies:
                with pytest.raises(Unreachable):
                    found.write(*where, **fields)
            else:
                assert found.write(*where, **fields) == self.world.ticks
        self.world.write(*where, **fields)
        self.same()

    def named(self) -> list[Path]:
        return list(self.one.home.rglob(f"{FOLDER}/write-*.npz"))

    def written_down(self, tick: int) -> bool:
        found = self.one.home.rglob(f"{FOLDER}/journal-*.jsonl")
        records = [one for path in found for one in read_lines(path).records]
        said = [one for one in records if one.get("tick") == tick and "set" in one]
        return any(not waits(record) for record in said)  # a World replays what went

    def same(self) -> None:
        found = self.play.run.answered("digest")
        assert (found["tick"], found["digest"]) == (self.world.ticks, self.world.digest())


@pytest.fixture
def both(make: Make, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Both]:
    def made(*deaths: str, processor: str = "sir") -> Both:
        one = make(config(processor))
        (one.home / "plugins").mkdir()
        (one.home / "plugins" / "weighed.py").write_text(WEIGHED, encoding="utf-8")
        monkeypatch.setenv("COREC_RUNTIME_BASE", str(one.runtime_base))
        monkeypatch.setenv("COREC_HOME", str(one.home))
        return Both(armed(one, deaths) if deaths else one, corec.World(Path(one.config_path)))

    return made


def told(dsn: str) -> list[tuple[int, str, int]]:
    return [
        (e["tick"], e["detalle"]["swarm"], e["detalle"]["entidades"])
        for e in events_of(dsn) if e["tipo"] == "written"
    ]  # fmt: skip


def test_what_is_written_is_the_same_in_every_world(
    both: Callable[..., Both], pg_dsn: str
) -> None:
    one = both(*DEATHS)
    one.until(3)
    with corec.attach("corec1") as found:
        with pytest.raises(Unreachable):  # it dies before anything was written
            found.write("town", fase=np.arange(120) % 3)
        one.same()
        one.write("town", fase=np.arange(120) % 3, dies=True)
        assert found.frame("town")["fase"].tolist() == [k % 3 for k in range(120)]
        with pytest.raises(ValueError, match="found 'phase', expected one of valor, activo, fase"):
            found.write("town", phase=1)
        with pytest.raises(ValueError, match="expected ids of ring: 120 to 239"):
            found.write("ring", [1], theta=1.0)
    one.write("town", [3, 77], valor=2.5, fase=1)
    one.until(4)  # workers die over it
    one.write("ring", {"theta": np.linspace(0.0, 1.0, 120), "activo": np.arange(120) % 5 > 0})
    one.until(7)
    spared(one.one)
    one.write("town", fase=2)
    one.play.again(kill=True)  # it waits for its tick
    one.same()
    one.until(9)
    one.write("ring", omega=0.25)
    one.play.again(kill=False)
    one.same()
    one.until(12)
    assert one.play.run.stop().code == 0
    assert told(pg_dsn) == [
        (3, "town", 120), (3, "town", 2), (4, "ring", 120), (7, "town", 120), (9, "ring", 120),
    ]  # fmt: skip


@pytest.mark.parametrize(("processor", "written", "behind"), [
    ("sir", {"activo": False}, {"activo": 1}),  # a step takes readings in before the blocks run
    ("weighed:weighed", {"seen": 10}, {"seen": 11}),  # one runs for readings, one for who is silent
])  # fmt: skip
def test_a_reading_of_its_tick_comes_behind_it_whoever_dies(
    both: Callable[..., Both], valkey_url: str, processor: str, written: dict[str, Any],
    behind: dict[str, int],
) -> None:  # fmt: skip
    """A worker dies between the first step of a block's tick and its last: its successor finds the
    block at the tick before, and must not write into it once more."""
    one = both("worker 0@block.after_commit:10", processor=processor)  # three in each tick before
    one.until(3)
    one.write("town", **written)
    ids = [1, 7, 39]
    with redis.Redis.from_url(valkey_url) as client:
        packed = b"".join(MESSAGE.pack(i, 1, 0.5, True) for i in ids)
        client.xadd("corec:{corec1}:in:1", {"m": packed})
    wait_until(lambda: one.play.run.answered("status")["messages_in"] == 3, "they are in", 30.0)
    assert began_again(one) == 0
    one.play.until(4)
    one.world.tick({"town": (ids, [0.5] * 3, [True] * 3)})
    assert began_again(one) == 1
    one.same()
    ((name, value),) = behind.items()
    assert np.flatnonzero(one.world.frame("town")[name] == value).tolist() == ids
    one.until(6)
    assert one.play.run.stop().code == 0


def began_again(one: Both) -> int:
    rows = one.play.run.answered("workers")["workers"]
    return sum(int(row["restarts"]) for row in rows)


def test_it_is_written_again_when_a_machine_is_lost(
    both: Callable[..., Both], pg_dsn: str
) -> None:
    one = both()
    one.until(4)
    path = json.loads(one.one.ctl("snapshot", "--json").out)["path"]
    one.until(6)
    one.write("town", fase=np.arange(120) % 2)
    one.write("town", [5], fase=2)
    one.until(8)
    one.write("ring", c=0.5)
    one.until(12)
    wait_until(lambda: one.written_down(9), "the journal has the last of them", 30.0)
    wait_until(lambda: len(told(pg_dsn)) == 3, "its events are out", 30.0)
    machine_is_lost(one.one, one.play.run)
    one.play._begin(one.one)
    one.play.until(12)
    one.same()
    one.write("town", fase=1)  # it waits for its tick, beyond which the journal says nothing
    with corec.World(Path(one.one.config_path), checkpoint=path, replay=True) as again:
        again.run(12 - again.ticks)
        assert again.replay_until == 12
        again.run(2)
        one.until(14)
        assert again.digest() == one.world.digest()
    assert len(one.named()) == 4
    assert one.play.run.stop().code == 0
    assert told(pg_dsn) == [
        (6, "town", 120), (6, "town", 1), (8, "ring", 120), (12, "town", 120),
    ]  # fmt: skip


def test_what_is_needless_goes_and_what_is_damaged_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(parse_config(config(), base_dir=tmp_path))
    edit = Edit("town", np.arange(3), {"fase": np.array([1, 2, 0], np.uint8)})
    for tick in (4, 5, 9):
        writes.name(writes.save(tmp_path, edit, f"{tick:032x}"), 7, tick, tick)
    paths = writes.write_files(tmp_path)
    again = writes.edit_in(tmp_path, plan, paths[0].name)
    assert (again.swarm, again.values["fase"].tolist()) == ("town", [1, 2, 0])
    writes.trim_writes(tmp_path, 8, 9)  # another world's
    with closing(Journal(tmp_path, 7)) as journal:
        journal.write([{"tick": 5}], 4)
    writes.trim_writes(tmp_path, 7, 8)
    assert writes.write_files(tmp_path) == paths[1:]  # the journal begins behind 4
    monkeypatch.setattr(writes, "KEPT_BYTES_MAX", 1)
    writes.trim_writes(tmp_path, 7, 8)
    assert writes.write_files(tmp_path) == paths[2:]
    whole = paths[2].read_bytes()
    paths[2].write_bytes(whole[:-40])
    assert list(writes.edits_in(tmp_path, plan, [paths[2].name], 9)) == []
    taken = sum(path.stat().st_size for path in writes.write_files(tmp_path))
    monkeypatch.setattr(writes, "BYTES_MAX", taken + len(whole) - 1)
    with pytest.raises(OSError, match="make a checkpoint"):
        writes.save(tmp_path, edit, "0" * 32)
    monkeypatch.setattr(writes, "BYTES_MAX", taken + len(whole))
    writes.name(writes.save(tmp_path, edit, "0" * 32), 7, 10, 10)
    with pytest.raises(OSError, match=f"takes {taken + len(whole):,} bytes, and this"):
        writes.save(tmp_path, edit, "0" * 32)
    for most, left in ((taken + len(whole), 2), (taken + len(whole) - 1, 0)):
        monkeypatch.setattr(writes, "KEPT_BYTES_MAX", most)  # for the journal alone
        writes.trim_writes(tmp_path, 7, 10)
        assert len(writes.write_files(tmp_path)) == left


def test_what_does_not_fit_the_fields_of_now_is_left_out(tmp_path: Path) -> None:
    plan = make_plan(parse_config(config(), base_dir=tmp_path))
    ids = np.arange(3)
    names = [
        writes.name(writes.save(tmp_path, Edit("town", ids, values), "0" * 32), 7, 4, k)
        for k, values in enumerate((
            {"gone": np.zeros(3, np.float32)}, {"fase": np.full(3, 0.5, np.float32)},
            {"fase": np.array([0, 1, 2], np.float32)},
        ))
    ]  # fmt: skip
    (found,) = writes.edits_in(tmp_path, plan, names, 4)
    assert found.values["fase"].dtype == np.uint8
    assert found.values["fase"].tolist() == [0, 1, 2]
    part = within(found, 1, 2)
    assert (part.entities.tolist(), part.values["fase"].tolist()) == ([1], [1])


def test_of_a_world_without_a_checkpoint_all_goes(tmp_path: Path) -> None:
    edit = Edit("town", np.arange(3), {"fase": np.zeros(3, np.uint8)})
    for epoch in (6, 7, 8):
        writes.name(writes.save(tmp_path, edit, "0" * 32), epoch, 5, 1)
    before = writes.write_files(tmp_path)
    writes.trim_writes(tmp_path, 8, 4)
    assert writes.write_files(tmp_path) == before
    writes.trim_writes(tmp_path, 8, 4, {7, 8})
    assert writes.write_files(tmp_path) == before[1:]
