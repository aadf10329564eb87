"""A world that is to grow and finds no room: told once, tried again less and less often."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from corec import layout as L
from corec.config import ConfigError
from corec.config.change import changed
from corec.journal.past import Growth
from corec.plan import make_plan
from corec.process.roles import SUPERVISOR
from corec.process.runtime import Runtime
from corec.supervisor import changes
from corec.supervisor.changes import Changes, Hand
from corec.supervisor.growing import GROWN, CannotGrow, room_for
from corec.supervisor.opening import World, remove_half_made
from corec.supervisor.processes import Group
from corec.supervisor.refitting import FITTED
from corec.supervisor.room import check_room
from corec.supervisor.wishes import Wishes
from corec.world import past
from tests.checkpoint.small import world
from tests.support.processes import wait_until

pytestmark = pytest.mark.usefixtures("no_leaks")

TOO_LARGE = 1 << 50
LONG_SECONDS = 4.0
"""So long a busy machine may hold up a call; less than the first wait."""


def changes_of(rt: Runtime) -> Changes:
    """As the supervisor has them; nobody is forked, and nobody waits for an answer."""
    nothing = cast(Any, None)
    group = Group(rt, nothing, 2, lambda: None)
    hand = Hand(lambda: (), lambda: None, lambda _, migrating: None, nothing, lambda: None)
    return Changes(rt.config, Wishes(), rt, group, hand)


def unheard(note: str | None, tick: int | None = None, **detalle: Any) -> None:
    """Nothing is done that could be told of."""
    raise AssertionError((note, tick, detalle))


def test_what_the_journal_wants_and_has_no_room_is_told_once(
    tmp_path: Path, shm_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world(tmp_path, shm_dir) as rt:
        rt.growths = [Growth(1, replace(rt.plan, world_bytes=TOO_LARGE))]
        one = changes_of(rt)
        before = rt.events[SUPERVISOR].head
        one.grow_again()
        wait_until(one.step, "it has been tried", 60.0)
        told = rt.events[SUPERVISOR].head
        assert told > before
        assert not rt.get(L.C_REST) & 1, "nobody rested for it"
        assert not (shm_dir / GROWN).exists()
        one.grow_again()
        assert not one.busy, "not at once again"
        for tries in range(1, 9):
            monkeypatch.setattr(one, "_grow_at", 0.0)
            asked = time.monotonic()
            one.grow_again()
            waits = one._grow_at - asked
            wait_until(one.step, "it has been tried again", 60.0)
            most = min(changes.GROW_AGAIN_SECONDS * 2**tries, changes.GROW_SECONDS_MAX)
            assert 0.5 * most <= waits < most + LONG_SECONDS
        assert rt.events[SUPERVISOR].head == told
        del one


def test_the_larger_world_has_its_room_before_anybody_rests(tmp_path: Path, shm_dir: Path) -> None:
    with world(tmp_path, shm_dir) as rt:
        with room_for(rt, rt.plan):
            assert (shm_dir / GROWN).stat().st_size > rt.plan.world_bytes
        assert not (shm_dir / GROWN).exists(), "the world did not become it"
        numbers = f"needs {TOO_LARGE + 4096} bytes, [0-9]+ are free"
        larger = replace(rt.plan, world_bytes=TOO_LARGE)
        with pytest.raises(CannotGrow, match=numbers), room_for(rt, larger):
            pass
        for name in (GROWN, FITTED):
            (shm_dir / name).touch()
        remove_half_made(shm_dir)
        assert not list(shm_dir.glob("world.seg.[!j]*"))


def test_a_growth_that_no_record_can_tell_of_is_refused(
    tmp_path: Path, shm_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past, "CONFIG_BYTES_MAX", 100)
    with world(tmp_path, shm_dir) as rt:
        larger = changed(rt.config, "bloques.sensores.entidades", 53)
        steps = changes_of(rt).altering.changed_over(
            "set", larger, ["bloques[0].entidades"], {}, unheard
        )
        with pytest.raises(ConfigError, match="allowed values that take at most 100"):
            next(steps)
        del steps


def test_a_start_demands_room_for_both_worlds(tmp_path: Path, shm_dir: Path) -> None:
    with world(tmp_path, shm_dir) as rt:
        first, plan = rt.plan, make_plan(rt.config)
        sizes = {n: replace(plan, world_bytes=n) for n in (10, 40, 50)}
        grows = (Growth(5, sizes[40]), Growth(9, sizes[50]))
        assert World(sizes[10], None, None).beside == 0
        assert World(sizes[10], sizes[50], None).beside == 10
        assert World(sizes[10], sizes[50], None, growths=grows).beside == 40
        with pytest.raises(ConfigError, match="for the world that they grow from"):
            check_room(first, 2, shm_dir, 0, TOO_LARGE)
