"""Which files of the folder count, which one a start takes, and what may go: never by its name."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from corec import layout as L
from corec.exits import StartFailed
from corec.process.runtime import Runtime
from corec.supervisor.opening import fitting_checkpoint
from corec.world.checkpoint import (
    CheckpointRefused,
    checkpoint_files,
    checkpoint_name,
    read_head,
)
from corec.world.finish import finish
from corec.world.heads import lowest_positions, positions_of
from corec.world.kept import Keeper, survey
from corec.world.restore import check_parts, verify
from corec.world.snapshot import Snapshot
from tests.checkpoint.small import make_checkpoint, put_to_tick, world

pytestmark = pytest.mark.usefixtures("no_leaks")

HIGH = 10**6
"""Ticks of names that sort above every tick that these worlds reach."""
Plant = Callable[[Path, Path], None]


def damaged(path: Path, other: Path) -> None:
    data = bytearray(other.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut_short(path: Path, other: Path) -> None:
    path.write_bytes(other.read_bytes()[:-1])


def fifo(path: Path, other: Path) -> None:
    os.mkfifo(path)


def folder(path: Path, other: Path) -> None:
    path.mkdir()
    (path / "something").write_text("of mine")


def link(path: Path, other: Path) -> None:
    path.symlink_to(other)


def dangling(path: Path, other: Path) -> None:
    path.symlink_to("nowhere")


def foreign(path: Path, other: Path) -> None:
    shutil.copyfile(other, path)


PLANTS = (damaged, cut_short, fifo, folder, link, dangling, foreign)


@pytest.fixture
def other(tmp_path: Path, shm_dir: Path) -> Path:
    """A sound checkpoint of another world with the same configuration."""
    (shm_dir / "other").mkdir()
    with world(tmp_path / "other-state", shm_dir / "other") as rt:
        return make_checkpoint(rt, tmp_path / "others")


@pytest.fixture
def home(rt: Runtime) -> Path:
    """Where the world of ``rt`` has its checkpoints."""
    place = rt.config.state_folder
    place.mkdir(parents=True)
    return place


@pytest.mark.parametrize("plant", PLANTS)
def test_what_is_no_checkpoint_of_this_world_takes_no_place(
    rt: Runtime, home: Path, other: Path, plant: Plant
) -> None:
    strange = [home / checkpoint_name(HIGH + k) for k in range(3)]
    for path in strange:
        plant(path, other)
    keeper = Keeper(home, rt.epoch)
    for tick in range(3, 8):
        put_to_tick(rt, tick)
        made = make_checkpoint(rt, home, keep=2, keeper=keeper)
        assert verify(made).tick == tick
        mine = [path for path in checkpoint_files(home) if path not in strange]
        assert mine == [home / checkpoint_name(t) for t in (tick, tick - 1) if t >= 3]
    assert {one.path for one in keeper.passed_over} == set(strange)
    assert all(os.path.lexists(path) for path in strange), "nothing of it is deleted"
    chosen = fitting_checkpoint(rt.config, rt.plan)
    assert chosen is not None
    assert chosen.tick == 7


@pytest.mark.parametrize("plant", PLANTS)
def test_a_name_that_is_taken_is_made_free(
    rt: Runtime, home: Path, other: Path, plant: Plant
) -> None:
    put_to_tick(rt, 5)
    plant(home / checkpoint_name(5), other)
    made = make_checkpoint(rt, home)
    assert (verify(made).tick, read_head(made).head["epoch"]) == (5, rt.epoch)
    assert os.path.lexists(made.with_name(made.name + ".bad"))


@pytest.mark.parametrize("plant", PLANTS)
def test_the_stop_leaves_one_that_can_be_resumed(
    rt: Runtime, home: Path, other: Path, plant: Plant
) -> None:
    for k in range(5):
        plant(home / checkpoint_name(HIGH + k), other)
    (home / ".checkpoint-1.corec").mkdir()
    put_to_tick(rt, 9)
    finish(rt, Keeper(home, rt.epoch))
    assert rt.get(L.C_DIGEST_VALID)
    assert verify(home / checkpoint_name(9)).head["epoch"] == rt.epoch
    chosen = fitting_checkpoint(rt.config, rt.plan)
    assert chosen is not None
    assert chosen.tick == 9, "made last, whatever tick the others are of"


def test_one_put_back_counts_and_the_last_made_stays(rt: Runtime, home: Path) -> None:
    """The world went back to an earlier tick; somebody puts a later one of its own beside it."""
    put_to_tick(rt, HIGH)
    late = make_checkpoint(rt, home).rename(home.parent / "late")
    for tick in (3, 4):
        put_to_tick(rt, tick)
        make_checkpoint(rt, home, keep=2)
    late.rename(home / checkpoint_name(HIGH))
    put_to_tick(rt, 5)
    make_checkpoint(rt, home, keep=2)
    assert [path.name for path in checkpoint_files(home)] == [
        checkpoint_name(5), checkpoint_name(4),
    ]  # fmt: skip


@pytest.mark.parametrize("keep", [1, 2])
def test_the_newest_made_is_never_removed(rt: Runtime, home: Path, keep: int) -> None:
    for tick in (900, 800, 7):
        put_to_tick(rt, tick)
        made = make_checkpoint(rt, home, keep=keep)
        assert made.exists()
    assert read_head(made).head["made"] > 0
    assert len(checkpoint_files(home)) == keep


def test_a_clock_that_went_back_changes_no_order(
    rt: Runtime, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_to_tick(rt, 7)
    make_checkpoint(rt, home)
    with monkeypatch.context() as patched:
        patched.setattr("corec.world.kept.time.time_ns", lambda: 1)
        put_to_tick(rt, 3)
        make_checkpoint(rt, home)
    chosen = fitting_checkpoint(rt.config, rt.plan)
    assert chosen is not None
    assert chosen.tick == 3


def test_what_does_not_read_back_frees_no_memory(
    rt: Runtime, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_to_tick(rt, 8)
    old = make_checkpoint(rt, home)
    put_to_tick(rt, 9)
    sync = Snapshot.write

    def spoiled(self: Snapshot, digest: str | None = None) -> object:
        monkeypatch.setattr("corec.world.snapshot.check_parts", spoil)
        return sync(self, digest)

    def spoil(path: Path) -> object:
        with open(path, "r+b") as file:
            file.seek(40)
            byte = file.read(1)
            file.seek(40)
            file.write(bytes([byte[0] ^ 1]))
        return check_parts(path)

    monkeypatch.setattr(Snapshot, "write", spoiled)
    with pytest.raises(CheckpointRefused, match="do not match"):
        finish(rt, Keeper(home, rt.epoch))
    assert not rt.get(L.C_DIGEST_VALID)
    assert os.listdir(home) == [old.name]


def test_a_start_over_nothing_but_oddities_begins_anew(
    rt: Runtime, home: Path, other: Path
) -> None:
    for k, plant in enumerate((fifo, folder, dangling)):
        plant(home / checkpoint_name(k), other)
    assert fitting_checkpoint(rt.config, rt.plan) is None
    damaged(home / checkpoint_name(5), other)
    with pytest.raises(StartFailed, match=r"do not match the checksum.*--fresh"):
        fitting_checkpoint(rt.config, rt.plan)
    assert len(os.listdir(home)) == 4, "nothing is touched then"


def test_one_of_another_configuration_is_passed_over(
    rt: Runtime, home: Path, tmp_path: Path, shm_dir: Path
) -> None:
    put_to_tick(rt, 4)
    make_checkpoint(rt, home)
    (shm_dir / "tiny").mkdir()
    bloques = [{"id": "s", "canal": 1, "entidades": 2}]
    with world(tmp_path / "tiny", shm_dir / "tiny", bloques) as tiny:
        put_to_tick(tiny, HIGH)
        strange = make_checkpoint(tiny, home)
    chosen = fitting_checkpoint(rt.config, rt.plan)
    assert chosen is not None
    assert chosen.tick == 4
    (home / checkpoint_name(4)).unlink()
    with pytest.raises(StartFailed, match="does not fit the config"):
        fitting_checkpoint(rt.config, rt.plan)
    assert strange.exists()


def applied(rt: Runtime, tick: int, rows: dict[int, tuple[int, int, int, int]]) -> None:
    size = L.CANALES * L.IN_POS_WORDS
    table = rt.control[L.C_IN_POS + (tick & 1) * size :][:size]
    table[:] = 0
    for canal, words in rows.items():
        table[(canal & 0xFF) * L.IN_POS_WORDS :][: L.IN_POS_WORDS] = words


def needed(home: Path) -> dict[int, str]:
    """By canal the first entry that one of the sound checkpoints needs."""
    good, _ = survey(home, check_parts)
    lowest = lowest_positions(one.head for one in good)
    return {canal: at.needed_from for canal, at in lowest.items()}


def test_the_safe_bound_is_the_lowest_of_those_kept(rt: Runtime, home: Path) -> None:
    states = (
        (3, {1: (50, 7, 0, 1), -2: (9, 0, 5, 0), 4: (1, 1, 0, 1)}),
        (4, {1: (60, 2**64 - 1, 0, 1), -2: (9, 0, 80, 0)}),
        (5, {1: (60, 2**64 - 1, 0, 1), -2: (9, 1, 0, 1), 4: (2, 0, 0, 1)}),
    )
    assert needed(home) == {}
    for tick, rows in states:
        put_to_tick(rt, tick)
        applied(rt, tick, rows)
        made = make_checkpoint(rt, home, keep=3)
        assert positions_of(read_head(made).head) == rows
    assert needed(home) == {1: "50-7", -2: "9-0"}
    put_to_tick(rt, 6)
    applied(rt, 6, dict(states[2][1]))
    make_checkpoint(rt, home, keep=1)
    assert needed(home) == {1: f"60-{2**64 - 1}", -2: "9-1", 4: "2-0"}
