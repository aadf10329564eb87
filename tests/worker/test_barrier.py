"""Who waits for the other workers between the phases of a tick."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from pathlib import Path

import pytest

from corec import layout as L
from corec.config import parse_config
from corec.plan import make_plan
from corec.process.life import Child
from corec.process.runtime import Slot
from corec.supervisor import segments
from corec.worker.leader import SPINS_FLAT_OUT
from corec.worker.process import Worker
from tests.checkpoint.small import BLOQUES

pytestmark = pytest.mark.usefixtures("no_leaks")
LATE_SECONDS = 0.05
MARK = 1 << 8


async def waited(worker: Worker, other: Slot) -> int:
    """CPU time of a wait for ``other``, which is late."""
    worker.rings.open()
    worker.slot.set(L.S_PHASE, MARK)
    asyncio.get_running_loop().call_later(LATE_SECONDS, other.set, L.S_PHASE, MARK)
    used = time.thread_time_ns()
    assert await worker._others_did(MARK, SPINS_FLAT_OUT)
    used = time.thread_time_ns() - used
    worker.rings.close()
    return used


def test_its_cpu_time_is_none_of_computing(tmp_path: Path, shm_dir: Path) -> None:
    """Else the least busy would seem as busy as the busiest, and no shares were ever evened out."""
    config = parse_config(
        {"instance_id": "small", "state_dir": str(tmp_path), "bloques": BLOQUES}, base_dir=tmp_path
    )
    rt, tables = segments.create(
        config, shm_dir, 2, None, make_plan(config), lambda _done, _all: None
    )
    worker = Worker(rt, tables, 0, 2, Child(rt, L.SLOT_WORKER0, "worker 0", os.getppid()))

    try:
        used = asyncio.run(waited(worker, rt.slot(L.SLOT_WORKER0 + 1)))
        assert 0.5 * used < worker.idle_ns <= used
    finally:
        del worker
        for bell in rt.doorbells:
            bell.close()
        segments.remove(shm_dir)
        vars(rt).clear()
        del tables
        gc.collect()
