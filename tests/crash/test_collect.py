"""Whole columns in files, whoever dies over them: each is what a calm ``World`` was at its tick."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest

import corec
from corec.world.collected import FOLDER, TICKS_MAX, parts_in
from tests.crash.hearing import COLUMNS, EARS, instance, same_columns, table_in
from tests.crash.worlds import armed, killed
from tests.e2e.conftest import Make
from tests.support.instance import Instance, Running
from tests.support.processes import is_running, wait_until

pytest.importorskip("pyarrow")
pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.slow, pytest.mark.timeout(300)]

DEATHS = (
    "worker 0@collect.part:2", "worker 1@collect.part:2", "worker 0@collect.part:1",
    "nucleus@collect.removed:99", "nucleus@collect.made:1", "nucleus@collect.named:2",
    "nucleus@collect.made:2", "nucleus@collect.removed:1",
)  # fmt: skip
LAST, FULL = 100, 10 * (TICKS_MAX + 1)
LEGS = {"swarm": "legs", "every": 20, "columns": ["x", "valor"]}
"""The second worker's blocks."""


def until_no_more_may_wait(one: Instance) -> Running:
    """As many ticks as may wait do, since nothing can be written, and so does the world behind
    them, whoever dies; then it can."""
    in_its_place = one.home / "var" / "state" / "corec1" / FOLDER
    in_its_place.parent.mkdir(parents=True, mode=0o700)
    in_its_place.touch()
    run = one.start("--ticks", str(LAST), "--tick-hz", "50", "--workers", "2")
    run.lives().until_tick(FULL)
    doomed = [run.pid_of("worker", 0), run.pid_of("worker", 1), run.pid_of("nucleus")]
    for pid in doomed:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(map(is_running, doomed)), "they are dead", 30.0)
    run.lives()
    assert run.status()["tick"] == FULL
    assert len({part.tick for part in parts_in(one.folder)}) == TICKS_MAX
    in_its_place.unlink()
    return run


def test_whoever_is_killed_over_it(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    one = armed(instance(make, collect=LEGS), DEATHS)
    monkeypatch.setenv("COREC_HOME", str(one.home))
    ended = until_no_more_may_wait(one).wait(240.0)
    assert ended.code == 0, ended.err
    assert {"worker 0", "worker 1", "nucleus"} <= set(killed(ended))
    (folder,) = one.home.rglob("collect")
    files, legs = (sorted((folder / name).iterdir()) for name in ("ears", "legs"))
    assert [int(path.stem) for path in files] == list(range(10, LAST, 10))
    assert [int(path.stem) for path in legs] == list(range(20, LAST, 20))
    with corec.World(Path(one.config_path)) as world:
        for path in files:
            world.run(10)
            same_columns(found := table_in(path), world)
            said = found.schema.metadata
            assert (said[b"tick"], said[b"bloque"]) == (str(world.ticks).encode(), b"ears")
            if world.ticks % 20 == 0:
                frame, found = world.frame("legs"), table_in(legs[world.ticks // 20 - 1])
                for name in ("id", "x", "valor"):
                    assert (found[name].to_numpy() == frame[name]).all()
        world.run(LAST - world.ticks)
        assert world.digest() == ended.summary["digest"]
    out = one.home / "all.parquet"
    told = ("--collected", "--config", str(one.config_path), "--swarm")
    done = one.command("export", str(out), *told, "ears", "--json")
    assert done.summary == {
        "file": str(out), "swarm": "ears", "files": len(files), "rows": EARS * len(files),
    }  # fmt: skip
    found = table_in(out)
    assert found.column_names == ["tick", "id", *COLUMNS]
    assert (np.diff(found["tick"].to_numpy()) >= 0).all()
    refused = one.command("export", str(out), *told, "arms")
    assert refused.code == 2
    assert refused.err == "corec: --swarm: found 'arms', expected one of ears, legs\n"
