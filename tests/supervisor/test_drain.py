"""What a stop takes for standing still."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from corec import layout as L
from corec.supervisor import drain
from corec.supervisor.processes import Group, Member
from corec.world.tables import Tables
from tests.persister.small_world import SmallWorld

STILL_SECONDS = 0.05
LONG_SECONDS = 30 * STILL_SECONDS
"""Whom a busy machine does not let run for so long is taken for one that was not given up."""


def test_a_collector_on_a_slow_disk_is_not_stuck(tmp_path: Path) -> None:
    """What it makes files of gets less, and nothing else moves."""
    world = SmallWorld(tmp_path, "")
    rt = world.rt
    try:
        part = rt.folder / f"collected-{1:020d}-{0:010d}-{0:010d}.part"
        part.touch()
        one = drain.Drain(rt, Group(rt, cast(Tables, None), 0, lambda: None))
        before = one._moved(drain.TICKS)
        assert one._moved(drain.TICKS) == before
        part.unlink()
        assert one._moved(drain.TICKS) != before
    finally:
        world.close()


@pytest.mark.parametrize("commits", [True, False])
def test_a_persister_that_empties_its_spool_is_not_stuck(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, commits: bool
) -> None:
    """No lane moves: what is written lies in files."""
    monkeypatch.setattr(drain, "STILL_SECONDS", STILL_SECONDS)
    world = SmallWorld(tmp_path, "")
    rt = world.rt
    group = Group(rt, cast(Tables, None), 0, lambda: None)
    persister = next(m for m in group.members if m.role == "persister")
    begun = time.monotonic()

    def turn(finished: Callable[[Member, int], bool]) -> bool:
        long = time.monotonic() - begun > LONG_SECONDS
        for member in group.members:
            if member is not persister or long:
                member.finished = finished(member, 0)
        if commits:
            slot = rt.slot(L.SLOT_PERSISTER)
            word = L.S_COUNT0 + L.P_TRANSACTIONS
            slot.set(word, slot.get(word) + 1)
        return True

    try:
        assert drain.Drain(rt, group).run(turn) is not None
        assert persister.called_off is not commits
        assert (time.monotonic() - begun > LONG_SECONDS) is commits
    finally:
        world.close()
