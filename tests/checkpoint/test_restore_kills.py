"""``corec checkpoint restore`` killed before each of its changes to a file system: what is left can
be started from, and the same command again comes to what it would have come to."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from corec.cli.saved import restore_one
from corec.config import load_config
from corec.control.folders import instance_folder
from corec.plan import make_plan
from corec.supervisor import segments
from corec.supervisor.opening import fitting_checkpoint
from corec.world.checkpoint import checkpoint_files
from tests.checkpoint.small import BLOQUES, make_checkpoint, put_to_tick
from tests.shm.helpers import KILLED, fork, reap

pytestmark = pytest.mark.usefixtures("no_leaks")

CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "shutil.copyfile")
CHOSEN, LAST = 20, 60


def killed_at(number: int, body: Callable[[], Any]) -> bool:
    """Run ``body`` in a fork that is killed before its change ``number``; whether it was."""

    def watched() -> None:
        seen = 0

        def hook(event: str, _: object) -> None:
            nonlocal seen
            if event in CHANGES:
                if seen == number:
                    os.kill(os.getpid(), signal.SIGKILL)
                seen += 1

        sys.addaudithook(hook)
        body()

    code = reap(fork(watched))
    assert code in (0, KILLED)
    return code == KILLED


def made(home: Path, runtime: Path) -> Path:
    """The configuration of a world in memory at tick 60 with three checkpoints."""
    file = home / "config.json"
    folders = {"state_dir": str(home / "state"), "runtime_dir": str(runtime)}
    file.write_text(json.dumps({"instance_id": "small", "bloques": BLOQUES} | folders))
    config = load_config(file)
    folder = instance_folder(config)
    folder.mkdir(mode=0o700, parents=True)
    plan = make_plan(config)
    rt, _ = segments.create(config, folder, 1, None, plan, lambda _done, _total: None)
    for tick in (CHOSEN, 40, LAST):
        put_to_tick(rt, tick)
        make_checkpoint(rt, config.state_folder)
    for bell in rt.doorbells:
        bell.close()
    return file


def everything(*folders: Path) -> int:
    """How many checkpoints there are, set aside or not."""
    return sum(len(list(folder.rglob("checkpoint-*"))) for folder in folders)


def test_it_can_be_killed_anywhere(tmp_path: Path, shm_dir: Path) -> None:
    """With a file of another folder, so that copying it is among what is cut off."""
    file = made(tmp_path, shm_dir / "run")
    config = load_config(file)
    plan, folder = make_plan(config), instance_folder(config)
    state = config.state_folder
    (first,) = [p for p in checkpoint_files(state) if f"{CHOSEN:016d}" in p.name]
    wanted = str(shutil.copyfile(first, tmp_path / "of-another-disk"))
    shutil.copytree(tmp_path / "state", tmp_path / "kept")
    shutil.copytree(folder, tmp_path / "memory")
    number = 0
    while killed_at(number, partial(restore_one, wanted, file, True)):
        ready = fitting_checkpoint(config, plan)
        assert ready is not None, f"after change {number}"
        whole = segments.adoptable(folder)
        assert whole or ready.tick == CHOSEN, "an older world would begin where it was not asked"
        assert everything(state) >= 3, f"after change {number}"
        assert not killed_at(10**6, partial(restore_one, wanted, file, True))
        ready = fitting_checkpoint(config, plan)
        assert ready is not None
        assert (ready.tick, segments.adoptable(folder)) == (CHOSEN, False)
        assert [p.name for p in state.iterdir() if p.name.startswith(".")] == []
        for place, source in ((state.parent, tmp_path / "kept"), (folder, tmp_path / "memory")):
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(source, place)
        number += 1
    assert number > 5
    shutil.rmtree(folder, ignore_errors=True)
