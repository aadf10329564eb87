"""What a process says of itself is stored in one place, and is what holds now."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import pytest

from corec import layout as L
from corec.broker.link import SinkAway
from corec.broker.status import Status
from corec.nucleus.disk import Disk
from corec.process.runtime import Slot
from corec.process.showing import Showing
from tests.checkpoint.small import world

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("no_leaks")


def _shown(slot: Slot) -> tuple[int, int]:
    return slot.get(L.S_STATE), slot.get(L.S_ERROR)


def test_nobody_else_stores_it() -> None:
    stores = re.compile(r"set\(L\.S_(?:STATE|ERROR)\b|S_(?:STATE|ERROR), L\.(?:PROC|REASON)_")
    found = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "corec").rglob("*.py") if stores.search(path.read_text("utf-8"))
    }  # fmt: skip
    assert found == set()
    assert stores.search("slot.set(L.S_STATE, L.PROC_READY)")


def test_a_broker_that_has_not_begun_is_starting_again_once_its_trouble_is_gone(
    tmp_path: Path, shm_dir: Path
) -> None:
    """It said that it waits until it had begun, with no trouble to be seen."""
    with world(tmp_path, shm_dir) as rt:
        slot = rt.slot(L.SLOT_BROKER)
        shown = partial(_shown, slot)
        Showing(slot).starting()
        status = Status(rt)
        status.trouble("out", SinkAway(L.REASON_REFUSED, "no"))
        assert shown() == (L.PROC_WAITING_SINK, L.REASON_REFUSED)
        status.fine("out")
        assert shown() == (L.PROC_STARTING, L.REASON_NONE)
        status.ready()
        status.inbox_full(True)
        assert shown() == (L.PROC_WAITING_SINK, L.REASON_NONE)
        status.inbox_full(False)
        assert shown() == (L.PROC_READY, L.REASON_NONE)
        status.drained()
        assert shown() == (L.PROC_DRAINED, L.REASON_NONE)
        del slot, status, shown


def test_who_begins_its_work_keeps_what_the_disk_said(tmp_path: Path, shm_dir: Path) -> None:
    with world(tmp_path, shm_dir) as rt:
        slot = rt.slot(L.SLOT_NUCLEUS)
        disk = Disk(rt)
        disk.show("writes", full=True)
        Showing(slot).works()
        assert (slot.get(L.S_STATE), slot.get(L.S_ERROR)) == (L.PROC_READY, L.REASON_FULL)
        disk.show("writes", full=False)
        assert slot.get(L.S_ERROR) == L.REASON_NONE
        del slot, disk
