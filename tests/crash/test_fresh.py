"""``--fresh`` after a crash: the world in memory is set aside on disk, whole or not at all.

A damaged one is moved within the tmpfs: ``test_damaged.py``.
"""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from corec.config import load_config
from corec.exits import EXIT_FAILED, StartFailed
from corec.plan import make_plan
from corec.supervisor import segments
from corec.supervisor.aside import keep_memory
from tests.e2e.conftest import Make
from tests.support.instance import small_config

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.slow]


def test_the_world_in_memory_and_the_checkpoints_are_set_aside(make: Make) -> None:
    one = make(small_config())
    one.run("--ticks", "4", "--tick-hz", "0")
    run = one.start("--tick-hz", "50").ready().until_tick(8)
    run.process.kill()
    run.process.wait()

    new = one.run("--fresh", "--ticks", "3", "--tick-hz", "0")
    assert new.summary["tick"] == 3
    assert "set aside" in new.err
    (aside,) = one.home.glob("**/aside-*")
    assert [path for path in aside.glob("*") if path.is_file()], "the checkpoint of the stop"
    memory = aside / "memory"
    held = (memory / "world.seg").stat()
    assert held.st_blocks * 512 < held.st_size, "empty pages take no room"

    config = load_config(one.config_path)
    assert segments.fits(config, memory, make_plan(config)), "put back, it would be adopted"
    assert not list(one.runtime_base.glob("**/*.seg"))


@pytest.mark.parametrize("point", ["copied", "kept", "removed", "checkpoints"])
def test_killed_while_it_sets_aside(make: Make, point: str) -> None:
    """A plain start after it goes on with the world: from memory, or from its checkpoint; once the
    first of those is moved, with a new one, and moves the rest."""
    one = make(small_config())
    one.run("--ticks", "4", "--tick-hz", "0")
    run = one.start("--tick-hz", "50").ready().until_tick(8)
    run.process.kill()
    run.process.wait()
    (checkpoint,) = (path for path in one.home.rglob("*.corec") if path.is_file())
    columns = checkpoint.parent / "collect" / "sensors" / "1.parquet"
    columns.parent.mkdir(parents=True)
    columns.touch()
    one.environment["COREC_CRASH"] = f"fresh.{point}"
    killed = one.start("--fresh", "--ticks", "1").process
    assert killed.wait(60) == -signal.SIGKILL
    del one.environment["COREC_CRASH"]
    back = one.run("--ticks", "2", "--tick-hz", "0")
    assert columns.exists() == (point != "checkpoints")
    if point == "checkpoints":
        assert back.summary["tick"] == 2
        (aside,) = one.home.glob("**/aside-*")
        assert {path.name for path in aside.iterdir()} == {
            "memory", "collect", "journal", checkpoint.name,
        }  # fmt: skip
    elif point == "removed":
        assert back.summary["tick"] == 4 + 2
    else:
        assert "adopting the world in memory" in back.err
        assert back.summary["tick"] >= 8 + 2


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """As a disk that is full: for this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_no_room_on_the_disk_changes_nothing(tmp_path: Path) -> None:
    memory, aside = tmp_path / "memory", tmp_path / "state" / "aside-1"
    memory.mkdir()
    for name, size in (("control.seg", 4096), ("world.seg", 1 << 20)):
        (memory / name).write_bytes(bytes(range(1, 255)) * (size // 254))
    with no_file_larger_than(1 << 16), pytest.raises(StartFailed) as failed:
        keep_memory(memory, aside)
    assert failed.value.code == EXIT_FAILED
    assert "File too large; nothing was changed" in str(failed.value)
    assert sorted(path.name for path in memory.iterdir()) == ["control.seg", "world.seg"]
    assert not aside.exists()
    kept = keep_memory(memory, aside)
    for path in memory.iterdir():
        assert (kept / path.name).read_bytes() == path.read_bytes()
