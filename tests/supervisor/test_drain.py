"""What a stop takes for standing still."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from corec import layout as L
from corec.control.status import About, sinks
from corec.process import roles
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


@pytest.fixture
def another_sink(monkeypatch: pytest.MonkeyPatch) -> roles.Role:
    """A row more in the table: files, made by who follows alerts, where somebody does."""
    sink = roles.Sink("files", "files", lambda _at: "a folder", moves=("tasks_done",),
                      keeps="tasks_waiting")  # fmt: skip
    row = roles.TASKS._replace(sink=sink)
    monkeypatch.setattr(roles, "SINGLE", (*(r for r in roles.SINGLE if r is not roles.TASKS), row))
    return row


def test_a_sink_is_known_by_its_row(tmp_path: Path, another_sink: roles.Role) -> None:
    """What each has not got, what moves in it, what is shown of it: nobody names them."""
    world = SmallWorld(tmp_path, "")
    rt = world.rt
    try:
        stop = drain.Drain(rt, Group(rt, cast(Tables, None), 0, lambda: None))
        assert stop._undelivered() == {"postgresql": 0, "redis": 0}
        for lane in (rt.rows[0], rt.rows[1], rt.events["nucleus"]):
            assert lane.push(L.KIND_EVENT_FRAME, b"{}")
        assert rt.out[1].push(L.KIND_MESSAGES_FRAME, b"")
        rows = rt.rows[0].used + rt.rows[1].used + rt.events["nucleus"].used
        taken = {"postgresql": rows, "redis": rt.out[1].used}
        assert min(taken.values()) > 0
        assert stop._undelivered() == taken
        rt.set(L.C_ACTS, 1)  # from here on there is another
        counted = {"spool_bytes": 5, "tasks_waiting": 7}
        for name, value in counted.items():
            role, word = roles.COUNTERS[name]
            rt.slot(role.slot).set(L.S_COUNT0 + word, value)
        found = drain.Drained(waiting_bytes=stop._undelivered(), kept_bytes=stop._kept())
        assert found.undelivered_bytes == {
            "postgresql": rows + 5, "redis": taken["redis"], "files": 7,
        }  # fmt: skip
        before = stop._moved(drain.SINKS)
        rt.slot(another_sink.slot).set(L.S_COUNT0 + L.T_DONE, 1)
        assert stop._moved(drain.SINKS) != before
        about = About("i", "", None, "redis://here", "db there", "1", "nucleus")
        shown = {key: one["address"] for key, one in sinks(rt.get, about).items()}
        assert shown == {"postgresql": "db there", "redis": "redis://here", "files": "a folder"}
    finally:
        world.close()


def test_every_lane_that_is_emptied_is_one_sinks(tmp_path: Path) -> None:
    world = SmallWorld(tmp_path, "")
    try:
        takes = [kind for _role, sink in roles.sinks(world.rt.get) for kind in sink.takes]
        assert sorted(takes) == sorted(world.rt.lanes_by_kind())
        shown = {kind for kind, _who, _lane in world.rt.shown_lanes()}
        assert shown - set(takes) == {"in"}, "which the workers empty"
    finally:
        world.close()
