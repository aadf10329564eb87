"""Columns on their way into files: parts that wait, are damaged or missing, disks that are full."""

from __future__ import annotations

import os
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import orjson
import pytest

from corec import layout as L
from corec.config import ConfigError, parse_config
from corec.config.collecting import Collect
from corec.kernels import desc as K
from corec.modules.base import Nucleus
from corec.nucleus.collector import (
    HALF,
    Collector,
    Lost,
    ModuloCollect,
    file_of,
    make_files,
    make_folder,
    remove_halves,
)
from corec.nucleus.disk import Disk
from corec.process.runtime import Runtime
from corec.supervisor.room import bytes_needed, check_parts
from corec.view.joined import export_collected
from corec.world.collected import (
    TICKS_MAX,
    Parts,
    held_parts,
    hold,
    parts_bytes,
    parts_in,
    waits,
)
from corec.world.collecting import BEGUN, LOST, Collecting
from corec.world.columns import Apart
from corec.world.tables import make_tables
from tests.checkpoint.small import BLOQUES, fill, put_to_tick, views, words_of, world
from tests.docs.documents import ROOT, blocks
from tests.support.full import no_file_over

parquet = pytest.importorskip("pyarrow.parquet")
pytestmark = pytest.mark.usefixtures("no_leaks")
NAMES = ["valor", "activo", "fallos"]
SQL = ROOT / "docs" / "sql.md"


def at_tick(rt: Runtime, tick: int) -> None:
    """As ``put_to_tick``, and the blocks say so, too."""
    put_to_tick(rt, tick)
    for view in views(rt):
        words_of(view)[L.D_TICK] = tick


def collected(rt: Runtime, tick: int, halves: tuple[int, ...] = (0, 1)) -> None:
    """As workers 0 and 1 leave it, each of a block of the first bloque."""
    for k in halves:
        parts = Parts(rt.folder, rt.plan, rt.world.words, k, k + 1)
        parts.keep(rt.plan.swarms[0], NAMES, tick)


def made(rt: Runtime) -> list[Lost]:
    lost: list[Lost] = []
    make_files(rt, lost)
    return lost


def files(rt: Runtime) -> list[int]:
    found = rt.config.state_folder.glob("collect/*/*")
    return sorted(int(path.stem) for path in found)


@pytest.fixture
def filled(rt: Runtime) -> Runtime:
    """At tick 7."""
    fill(rt, np.random.default_rng(5))
    at_tick(rt, 7)
    return rt


def test_a_file_is_what_the_blocks_were(filled: Runtime) -> None:
    rt = filled
    collected(rt, 7)
    collected(rt, 7)  # again: a worker was killed behind it
    assert made(rt) == []
    assert files(rt) == []  # the next tick is not done by all
    assert not waits(rt.folder, 7)
    assert waits(rt.folder, 8)
    at_tick(rt, 8)
    assert made(rt) == []
    found = parquet.read_table(file_of(rt.config.state_folder, "sensores", 7))
    assert found.column_names == ["tick", "id", *NAMES]
    assert [str(field.type) for field in found.schema] == [
        "int64", "uint32", "float", "bool", "uint32",
    ]  # fmt: skip
    assert found["id"].to_pylist() == list(range(33))
    assert parts_in(rt.folder) == []


def test_the_document_reads_all_of_them_as_one_table(filled: Runtime) -> None:
    rt = filled
    for tick in (7, 8):
        at_tick(rt, tick)
        collected(rt, tick)
    at_tick(rt, 9)
    assert made(rt) == []
    (block,) = [b for b in blocks(SQL, "python") if "pyarrow.dataset" in b.text]
    folder = file_of(rt.config.state_folder, "sensores", 7).parent
    text = block.text.replace("var/state/corec1/collect/town", str(folder))
    assert text != block.text
    printed: list[Any] = []
    exec(text, {"print": printed.append})
    wanted = np.mean(parquet.read_table(folder / f"{7:020d}.parquet")["valor"].to_numpy())
    assert sorted(printed[0]["tick"].to_pylist()) == [7, 8]
    assert printed[0]["valor_mean"].to_pylist() == [pytest.approx(wanted)] * 2


@pytest.mark.parametrize("harm", ["missing", "cut", "garbage"])
def test_what_is_not_whole_is_told_and_made_nothing_of(filled: Runtime, harm: str) -> None:
    rt = filled
    collected(rt, 7, (0,) if harm == "missing" else (0, 1))
    if harm != "missing":
        path = parts_in(rt.folder)[-1].path
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2] if harm == "cut" else b"\0" * 20)
    at_tick(rt, 8)
    ((tick, bloque, reason),) = made(rt)
    assert (tick, bloque) == (7, "sensores")
    assert reason.startswith("found columns of 20 entities, expected 33") or "damaged" in reason
    assert files(rt) == []
    assert parts_in(rt.folder) == []


@pytest.mark.parametrize("ticks", [TICKS_MAX - 1, TICKS_MAX])
def test_so_many_ticks_wait_and_no_more(filled: Runtime, ticks: int) -> None:
    parts = Parts(filled.folder, filled.plan, filled.world.words, 0, 1)
    for tick in range(ticks):
        at_tick(filled, tick)
        collected(filled, tick, (0,))
    assert parts.room(7 + ticks) == (ticks < TICKS_MAX)
    assert parts.room(ticks - 1)  # that one is among them


def test_what_may_wait_is_in_the_room_that_is_asked_for(filled: Runtime) -> None:
    first, *others = filled.plan.swarms
    asked = (Collect(every=2, columns=("valor",)), Collect(every=1, columns=tuple(NAMES)))
    plan = replace(filled.plan, swarms=(replace(first, collect=asked), *others))
    for tick in range(TICKS_MAX):
        at_tick(filled, tick)
        collected(filled, tick)
    there, needed = held_parts(filled.folder), parts_bytes(plan, 2)
    assert there <= needed <= there + 2 * TICKS_MAX * 4096
    assert bytes_needed(plan, 2) == bytes_needed(filled.plan, 2) + needed
    check_parts(plan, 2, filled.folder)
    with pytest.raises(ConfigError, match=r"^collect: found columns that take 0 MiB while 8 ticks"):
        check_parts(plan, 2, filled.folder, 1 << 50)
    check_parts(filled.plan, 2, filled.folder, 1 << 50)  # it collects none


def test_parts_with_other_columns_are_left_out(filled: Runtime) -> None:
    """The world was killed within a tick, and came back with another configuration."""
    rt = filled
    collected(rt, 7, (0,))
    Parts(rt.folder, rt.plan, rt.world.words, 1, 2).keep(rt.plan.swarms[0], ["valor"], 7)
    at_tick(rt, 8)
    ((tick, bloque, reason),) = made(rt)
    assert (tick, bloque) == (7, "sensores")
    assert reason.startswith("found parts with other columns")
    assert files(rt) == []
    assert parts_in(rt.folder) == []


@pytest.mark.parametrize("old", [False, True])
def test_a_nucleus_that_dies_between_parts_loses_nothing(filled: Runtime, *, old: bool) -> None:
    """Its successor finds the file and some of the parts; a file of another world is none."""
    rt = filled
    collected(rt, 7)
    rest = parts_in(rt.folder)[-1].path
    kept = rest.with_name("kept")
    os.link(rest, kept)
    at_tick(rt, 8)
    assert made(rt) == []
    os.replace(kept, rest)
    if old:
        os.utime(file_of(rt.config.state_folder, "sensores", 7), (0, 0))
    assert [one[:2] for one in made(rt)] == ([(7, "sensores")] if old else [])
    assert files(rt) == [7]
    assert parts_in(rt.folder) == []


@pytest.mark.parametrize("step", [False, True])
def test_blocks_that_went_on_are_no_columns_of_the_tick(filled: Runtime, *, step: bool) -> None:
    """A worker left no part and died in the next tick: its successor says that they are lost."""
    rt = filled
    if step:
        words_of(views(rt)[0])[L.D_STEP] = 1
    else:
        at_tick(rt, 8)
    with pytest.raises(Apart):
        collected(rt, 7)
    asked = (Collect(every=7, columns=("valor",)),)
    first, *others = rt.plan.swarms
    plan = replace(rt.plan, swarms=(replace(first, collect=asked), *others))
    parts = Parts(rt.folder, plan, rt.world.words, 0, 2)
    collecting = Collecting(plan, make_tables(rt.plan, rt.world.payload), 2, parts)
    targs = np.zeros(K.T_COLUMNS, np.int64)
    targs[K.T_TICK] = 8
    assert collecting.run(0, targs, rt.rows[0]) == 2
    told = [orjson.loads(frame.payload) for frame in rt.rows[0].frames(rt.rows[0].tail)]
    assert [one[LOST] for one in told] == [BEGUN, BEGUN]
    assert parts_in(rt.folder) == []


def test_folders_are_made_with_their_parents(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b" / "c")
    make_folder(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_a_full_disk_has_them_wait(filled: Runtime) -> None:
    rt = filled
    collected(rt, 7)
    at_tick(rt, 8)
    with no_file_over(100), pytest.raises(OSError, match="File too large"):
        make_files(rt, [])
    assert len(parts_in(rt.folder)) == 2
    assert files(rt) == []
    assert not list(rt.config.state_folder.rglob(f"{HALF}*"))
    assert made(rt) == []
    assert files(rt) == [7]


def test_a_folder_that_takes_nothing_degrades_the_instance(filled: Runtime) -> None:
    """Whatever its reason is, full or not."""
    rt = filled
    collected(rt, 7)
    put_there = rt.config.state_folder / "collect"
    put_there.parent.mkdir(parents=True)
    put_there.touch()  # a file where the folder is to be
    at_tick(rt, 8)
    disk = Disk(rt)
    module = ModuloCollect(cast(Nucleus, SimpleNamespace(rt=rt)), Collector(rt), disk)
    with pytest.raises(OSError, match="exists") as refused:
        make_files(rt, [])
    module._show(refused.value)
    assert rt.slot(L.SLOT_NUCLEUS).get(L.S_ERROR) == L.REASON_FULL
    disk.show("checkpoint", full=False)  # one was made: these still have no place
    assert rt.slot(L.SLOT_NUCLEUS).get(L.S_ERROR) == L.REASON_FULL
    disk.show("checkpoint", full=True)
    put_there.unlink()
    assert made(rt) == []
    module._show(None)
    assert rt.slot(L.SLOT_NUCLEUS).get(L.S_ERROR) == L.REASON_FULL, "no checkpoint is made"
    disk.show("checkpoint", full=False)
    assert rt.slot(L.SLOT_NUCLEUS).get(L.S_ERROR) == L.REASON_NONE


def test_a_full_memory_is_told_by_who_finds_it(filled: Runtime) -> None:
    with no_file_over(100), pytest.raises(OSError, match="File too large"):
        collected(filled, 7)
    assert not list(filled.folder.glob("collected-*"))


def test_a_policy_leaves_out_and_only_the_last_stay(tmp_path: Path, shm_dir: Path) -> None:
    with world(tmp_path, shm_dir) as rt:
        raw: dict[str, Any] = {
            "instance_id": "small", "state_dir": str(tmp_path), "bloques": BLOQUES,
            "persist": {"on_full": "drop_oldest"},
            "collect": {"swarm": "sensores", "every": 1, "columns": NAMES, "keep": 2},
        }  # fmt: skip
        rt.config = parse_config(raw, base_dir=tmp_path)
        for tick in range(1, 6):
            at_tick(rt, tick)
            collected(rt, tick)
        at_tick(rt, 5)
        with no_file_over(1500):  # the log's lines fit
            assert [one[:2] for one in made(rt)] == [(tick, "sensores") for tick in range(1, 5)]
        for tick in range(6, 9):
            at_tick(rt, tick)
            collected(rt, tick)
            assert made(rt) == []
        assert files(rt) == [6, 7]
        half = rt.config.state_folder / "collect" / "sensores" / f"{HALF}1.parquet"
        half.touch()
        remove_halves(rt.config.state_folder)
        assert files(rt) == [6, 7]
        done = export_collected(rt.config, None, tmp_path / "all.csv")
        assert (done["files"], done["rows"]) == (2, 66)
        assert (tmp_path / "all.csv").read_text().count("\n") == 67
        with no_file_over(100), pytest.raises(OSError, match=r"File too large|writing bytes"):
            export_collected(rt.config, None, tmp_path / "full.parquet")
        assert not list(tmp_path.glob("*full*"))
        with pytest.raises(ValueError, match="found 'x', expected one of sensores"):
            export_collected(rt.config, "x", tmp_path / "all.csv")


def test_files_with_other_types_are_put_together(filled: Runtime, tmp_path: Path) -> None:
    """A processor whose field has another type goes on, and so do its files."""
    rt = filled
    collected(rt, 7)
    at_tick(rt, 8)
    assert made(rt) == []
    path = file_of(rt.config.state_folder, "sensores", 7)
    whole, out = parquet.read_table(path), tmp_path / "all.parquet"
    kind = import_module("pyarrow").type_for_alias

    def other(**types: str) -> None:
        schema = whole.schema
        for name, alias in types.items():
            field = schema.field(name)
            schema = schema.set(schema.get_field_index(name), field.with_type(kind(alias)))
        parquet.write_table(whole.cast(schema), path.with_stem(f"{8:020d}"))

    other(valor="double", fallos="float")
    assert export_collected(rt.config, None, out)["rows"] == 66
    found = parquet.read_table(out)
    assert [str(found.schema.field(name).type) for name in NAMES] == ["double", "bool", "double"]
    for name in NAMES:
        assert found[name].to_pylist() == 2 * whole[name].to_pylist()
    other(activo="uint8")
    with pytest.raises(ValueError, match=r"files of sensores don't fit together: .*activo"):
        export_collected(rt.config, None, out)


def test_a_part_says_what_it_holds(filled: Runtime) -> None:
    collected(filled, 7)
    first, second = (hold(one.path) for one in parts_in(filled.folder))
    assert (first.entidades, second.first_id, second.of) == (20, 20, 33)
    assert list(first.columns) == NAMES
