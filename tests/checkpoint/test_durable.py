"""Names that are to outlive a lost machine."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest

from corec.config import parse_config
from corec.durable import give_name, sync_file, sync_folder
from corec.supervisor.identity import FILE_NAME, identity


def test_it_takes_a_folder_and_keeps_nothing_open(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    before = os.listdir("/proc/self/fd")
    sync_folder(tmp_path)
    with pytest.raises(NotADirectoryError):
        sync_folder(tmp_path / "file")
    with pytest.raises(FileNotFoundError):
        sync_folder(tmp_path / "nothing")
    assert os.listdir("/proc/self/fd") == before


ROOT = Path(__file__).parents[2]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the file system is told, in order; it is told it all the same."""
    found: list[str] = []
    sync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        kind = os.fstat(descriptor).st_mode
        found.append("folder" if stat.S_ISDIR(kind) else f"file of {os.fstat(descriptor).st_size}")
        sync(descriptor)

    def named(half: Path, path: Path) -> None:
        found.append("name")
        replace(half, path)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", named)
    return found


def test_a_whole_file_gets_its_name_behind_its_bytes(tmp_path: Path, told: list[str]) -> None:
    half, path = tmp_path / ".half", tmp_path / "whole"
    path.write_text("old")
    with half.open("w") as file:
        file.write("whole")
        sync_file(file)
        give_name(half, path)
    assert told == ["file of 5", "name", "folder"]
    assert path.read_text() == "whole"
    assert not half.exists()


def test_who_an_instance_is_outlives_a_lost_machine(tmp_path: Path, told: list[str]) -> None:
    """A name that is lost is another instance to the servers, which hold the lease of this one."""
    bloque = {"id": "a", "canal": 1, "entidades": 1}
    config = parse_config({"instance_id": "i", "state_dir": str(tmp_path), "bloques": [bloque]})
    first = identity(config)
    assert told == ["file of 25", "name", "folder"]
    assert (config.state_folder / FILE_NAME).stat().st_size == 25
    assert identity(config).id == first.id


def test_nobody_else_tells_the_disk_of_a_file() -> None:
    """But who appends to it, by ``fdatasync``."""
    syncs = re.compile(r"\bos\.fsync\b")
    found = {
        str(path.relative_to(ROOT / "corec")) for path in (ROOT / "corec").rglob("*.py")
        if syncs.search(path.read_text("utf-8")) and "lab" not in path.parts
    }  # fmt: skip
    assert found == {"durable.py"}
