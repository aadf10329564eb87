"""Names that are to outlive a lost machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from corec.durable import sync_folder


def test_it_takes_a_folder_and_keeps_nothing_open(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    before = os.listdir("/proc/self/fd")
    sync_folder(tmp_path)
    with pytest.raises(NotADirectoryError):
        sync_folder(tmp_path / "file")
    with pytest.raises(FileNotFoundError):
        sync_folder(tmp_path / "nothing")
    assert os.listdir("/proc/self/fd") == before
