"""The cache folder's name follows every source, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shm.cache import cache_name


def test_the_name_follows_every_source(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.py").write_text("x = 1")
    (tmp_path / "deep" / "b.py").write_text("y = 1")
    first = cache_name(tmp_path)
    (tmp_path / "notes.txt").write_text("not a source")
    assert cache_name(tmp_path) == first
    (tmp_path / "deep" / "b.py").write_text("y = 2")
    changed = cache_name(tmp_path)
    (tmp_path / "deep" / "b.py").rename(tmp_path / "deep" / "c.py")
    assert len({first, changed, cache_name(tmp_path)}) == 3


@pytest.mark.slow
def test_without_a_writable_cache_it_only_starts_slower(tmp_path: Path) -> None:
    # The folder cannot be made, below a file, by anybody: also not by root.
    (tmp_path / "file").touch()
    root = Path(__file__).parents[2]
    program = (
        "from shm.atomics import read_word; import numpy as np;"
        "print(read_word(np.array([7], np.uint64), 0))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "file" / "cache")},
        cwd=root,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "7\n"), done.stderr
