"""Which shares of the blocks the workers get: decided from looks alone."""

from __future__ import annotations

import signal
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corec import layout as L
from corec.process.roles import SUPERVISOR
from corec.supervisor import altering, changes
from corec.supervisor.evening import (
    DEMAND_MIN,
    IN_A_ROW,
    Balance,
    Evened,
    Look,
    divided,
    heaviest,
    learned,
)
from corec.supervisor.processes import Group
from tests.checkpoint.small import world
from tests.supervisor.test_growing import changes_of
from tests.support.processes import wait_until

costs = st.lists(st.floats(0.01, 100.0), min_size=1, max_size=60)


@settings(max_examples=200, deadline=None)
@given(costs, st.integers(1, 9))
def test_ranges_are_whole_in_order_and_near_even(found: list[float], workers: int) -> None:
    weights = np.array(found)
    shares = divided(weights, workers)
    assert len(shares) == workers
    assert (shares[0][0], shares[-1][1]) == (0, len(found))
    assert all(a[1] == b[0] for a, b in pairwise(shares))
    if workers > len(found):
        return
    assert all(hi > lo for lo, hi in shares)
    # each cut is off by half a block at most, unless a worker would have none
    if weights.max() <= weights.sum() / workers:
        assert heaviest(weights, shares) <= weights.sum() / workers + weights.max() * (1 + 1e-9)


def test_what_a_range_took_is_laid_upon_its_blocks_in_proportion() -> None:
    weights = learned(np.array([1.0, 3.0, 2.0, 2.0, 5.0]), [(0, 2), (2, 4), (4, 4), (4, 5)],
                      [8.0, 1.0, 0.0, 0.5])  # fmt: skip
    assert weights.tolist() == [2.0, 6.0, 0.5, 0.5, 0.5]


class Made:
    """A world whose blocks cost what they cost, and what a balance makes of it."""

    def __init__(self, true: list[float], shares: list[tuple[int, int]], hz: float = 0.0) -> None:
        self.true, self.shares, self.hz = np.array(true), shares, hz
        self.balance = Balance(np.ones(len(true)))

    @property
    def busy(self) -> tuple[float, ...]:
        return tuple(float(self.true[lo:hi].sum()) for lo, hi in self.shares)

    def look(self, ticks: int = 20) -> Evened | None:
        return self.balance.decide(Look(ticks, 2.0, self.hz, self.busy), self.shares)

    def looks(self) -> Evened | None:
        """The last of as many as it takes; before, nothing is said."""
        assert all(self.look() is None for _ in range(IN_A_ROW - 1))
        return self.look()


def test_a_heavy_swarm_is_shared() -> None:
    """One half of the blocks costs nine times the other: one step finds it."""
    made = Made([0.09] * 20 + [0.01] * 20, [(0, 20), (20, 40)])
    found = made.looks()
    assert found is not None
    assert found.before == [(0, 20), (20, 40)]
    assert found.shares == [(0, 11), (11, 40)]
    assert found.told() == {"before": [20, 20], "now": [11, 29], "busy": [0.9, 0.1], "gain": 1.782}
    made.shares = [*found.shares]
    assert made.looks() is None, "even, as whole blocks go"


def test_heavy_blocks_within_a_share_are_found_step_by_step() -> None:
    made = Made([0.1] * 10 + [0.01] * 90, [(0, 50), (50, 100)])
    for _ in range(6):
        found = made.looks()
        if found is None:
            break
        before = max(made.busy)
        made.shares = [*found.shares]
        assert max(made.busy) < before
    assert max(made.busy) < 1.15 * sum(made.busy) / 2


def test_what_is_not_worth_a_pause_is_left() -> None:
    assert Made([0.1] * 40, [(0, 20), (20, 40)]).looks() is None
    assert Made([0.12] * 20 + [0.1] * 20, [(0, 20), (20, 40)]).looks() is None, "9 % at most"
    assert Made([9.0, 1.0, 1.0], [(0, 1), (1, 3)]).looks() is None, "blocks are whole"
    uneven = [0.09] * 20 + [0.01] * 20
    busy, ticks = 1.8, 20
    hz = DEMAND_MIN * ticks / busy
    assert Made(uneven, [(0, 20), (20, 40)], hz=0.99 * hz).looks() is None, "it hardly computes"
    assert Made(uneven, [(0, 20), (20, 40)], hz=1.01 * hz).looks() is not None
    idle = Made([0.1] * 20 + [0.0] * 20, [(0, 20), (20, 40)])
    assert idle.looks() is None, "nothing is known of who did nothing"


def _are_to_rest(one: changes.Changes) -> bool:
    return not one.step() and bool(one.rt.get(L.C_REST) & 1)


@pytest.mark.usefixtures("no_leaks")
def test_a_rest_that_does_not_come_soon_is_called_off(
    tmp_path: Path, shm_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody asked for it, so wishes do not wait for it, and nobody is told."""
    monkeypatch.setattr(altering, "EVENING_SECONDS_MAX", 0.05)
    with world(tmp_path, shm_dir) as rt:
        one = changes_of(rt)
        before = rt.events[SUPERVISOR].head
        found = Evened([(0, 2), (2, 5)], [(0, 3), (3, 5)], (), 2.0)
        one._begin("evening", "", one.altering.evened(found))
        wait_until(partial(_are_to_rest, one), "they are to rest", 30.0)
        wait_until(one.step, "it is called off", 5.0)
        assert not rt.get(L.C_REST) & 1
        assert not one.busy
        assert rt.events[SUPERVISOR].head == before
        del one


@pytest.mark.usefixtures("no_leaks")
def test_nothing_is_evened_out_unless_everybody_runs_who_is_wanted(
    tmp_path: Path, shm_dir: Path
) -> None:
    """A rest has who is parked tried at once."""
    with world(tmp_path, shm_dir) as rt:
        group = Group(rt, cast(Any, None), 2, lambda: None)
        first, *others = group.members
        for member in others:
            member.process = object()
        assert not group.whole
        first.called_off = True
        assert group.whole
        first.called_off, first.process = False, object()
        assert group.whole
        del group


@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize(
    "hinders", ["nothing", "a change", "a wish", "a full sink", "who died", "the ticks are few"]
)
def test_when_nothing_is_evened_out(
    tmp_path: Path, shm_dir: Path, monkeypatch: pytest.MonkeyPatch, hinders: str
) -> None:
    """While something is changed or waits, the supervisor does not even look."""
    found = Evened([(0, 2), (2, 5)], [(0, 3), (3, 5)], (0.4, 0.6), 1.5)
    looks: list[Evened | None] = []

    def look() -> Evened | None:
        looks.append(None if hinders == "the ticks are few" else found)
        return looks[-1]

    with world(tmp_path, shm_dir) as rt:
        one = changes_of(rt)
        monkeypatch.setattr(one.altering.evening, "look", look)
        for member in one.group.members:
            member.process = object()
        if hinders == "a change":
            one._begin("reopen", "", one._reopen())
        elif hinders == "a wish":
            one.ask(signal.SIGHUP)
        elif hinders == "a full sink":
            rt.slot(L.SLOT_WORKER0).set(L.S_STATE, L.PROC_WAITING_SINK)
        elif hinders == "who died":
            one.group.members[-1].process = None
        before = one.busy
        one.even_out()
        looked = hinders in ("nothing", "the ticks are few")
        assert len(looks) == looked
        assert (one._change == "evening") == (hinders == "nothing")
        assert one.busy == (before or hinders == "nothing")
        assert not rt.get(L.C_REST) & 1, "nobody rests yet"
        del one


def test_an_even_look_or_a_rest_begins_anew() -> None:
    made = Made([0.09] * 20 + [0.01] * 20, [(0, 20), (20, 40)])
    assert [made.look() for _ in range(IN_A_ROW - 1)] == [None] * (IN_A_ROW - 1)
    made.balance.rest()
    assert [made.look() for _ in range(IN_A_ROW - 1)] == [None] * (IN_A_ROW - 1)
    assert made.balance.decide(Look(20, 2.0, 0.0, (1.0, 1.0)), made.shares) is None
    assert made.looks() is not None
