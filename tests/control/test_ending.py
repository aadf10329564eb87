"""What a stop leaves in memory is told to who asked for it, by what lies there."""

from __future__ import annotations

from pathlib import Path

import pytest

from corec import layout as L
from corec.control.discover import Instance
from corec.control.ending import gone, left_in_memory
from corec.control.folders import CONTROL_FILE, OWNER_LOCK
from corec.control.memory import create_control
from shm.owner import OwnerLock

pytestmark = pytest.mark.usefixtures("no_leaks")


def test_what_is_there_says_how_it_ended(shm_dir: Path) -> None:
    nobody = 1 << 30
    one = Instance("i", nobody, str(shm_dir), f"{shm_dir}/s", None, "", "", 0, None, "0")
    path = shm_dir / CONTROL_FILE
    assert gone(one, 5.0, quiet=True)
    assert left_in_memory(one) is None, "a clean stop"
    with create_control(path, 1, 1) as control:
        left = left_in_memory(one)
        assert left is not None
        assert not left.checkpoint
        assert f"no checkpoint was made: its world stays in memory ({shm_dir})" in left.told
        control.words[L.C_DIGEST_VALID] = 1
        left = left_in_memory(one)
        assert left is not None
        assert left.checkpoint
        assert "not everything was delivered" in left.told
        lock = OwnerLock(shm_dir / OWNER_LOCK)
        lock.acquire()
        assert left_in_memory(one) is None, "it runs again"
        lock.release()
    path.write_bytes(b"no segment")
    left = left_in_memory(one)
    assert left is not None
    assert not left.checkpoint
    path.unlink()
    (shm_dir / OWNER_LOCK).unlink()
