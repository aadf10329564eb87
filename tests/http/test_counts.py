"""A worker's counters: they never fall, their sum is the world's, whoever comes, leaves or dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corec import layout as L
from corec.plan import split_blocks
from corec.process.runtime import Runtime
from corec.supervisor import segments
from corec.world import counts
from corec.world.checkpoint import read_head
from corec.world.finish import finish
from corec.world.inspect import totals
from corec.world.kept import Keeper
from shm.killpoint import arm
from tests.checkpoint.small import make_checkpoint, put_to_tick, views, words_of, world
from tests.shm.helpers import fork, reap

LANES = 5
BLOQUES = [{"id": "s", "canal": 1, "entidades": 70, "entidades_por_bloque": 10}]


@pytest.fixture
def rt(tmp_path: Path, shm_dir: Path) -> Iterator[Runtime]:
    """Seven blocks, two workers, lanes for more."""
    with world(tmp_path / "state", shm_dir, BLOQUES) as made:
        segments.more_lanes(made, LANES)
        made.set(L.C_LANES, LANES)
        yield made


def work(rt: Runtime, rng: np.random.Generator, tick: int) -> None:
    """Every block counts something and every worker is done with ``tick``."""
    for view in views(rt):
        for word in counts.BY_WORKER.values():
            words_of(view)[word] += np.uint64(rng.integers(0, 100))
    rt.set(L.C_GO_TICK, tick)
    for k in range(rt.get(L.C_WORKERS)):
        rt.slot(L.SLOT_WORKER0 + k).set(L.S_TICK, tick)


def assert_grown(before: list[dict[str, int]], after: list[dict[str, int]]) -> None:
    for old, new in zip(before, after, strict=True):
        assert all(new[name] >= old[name] for name in counts.NAMES), (before, after)


def drawn_shares(
    rt: Runtime, rng: np.random.Generator, workers: int
) -> list[tuple[int, int]] | None:  # fmt: skip
    """Any ranges, empty ones too; or equal ones."""
    if rng.integers(0, 2):
        return None
    inner = sorted(rng.integers(0, rt.plan.n_blocks + 1, workers - 1).tolist())
    return [*pairwise([0, *inner, rt.plan.n_blocks])]


def assert_whole(rt: Runtime, found: list[dict[str, int]]) -> None:
    total = totals(rt)
    for name in counts.BY_WORKER:
        assert sum(one[name] for one in found) == total[name]


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    changes=st.lists(st.integers(1, LANES), min_size=1, max_size=8), seed=st.integers(0, 2**32 - 1)
)
def test_workers_come_and_go(rt: Runtime, changes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    tick = rt.get(L.C_GO_TICK)
    segments.regroup_words(rt, LANES)  # every slot has a counter from here on
    before = counts.by_slot(rt)
    for workers in changes:
        for _ in range(int(rng.integers(0, 3))):
            tick += 1
            work(rt, rng, tick)
            after = counts.by_slot(rt)
            assert_grown(before, after)
            assert_whole(rt, after)
            assert after[0]["ticks"] == tick
            still = range(rt.get(L.C_WORKERS), LANES)
            assert all(before[k] == after[k] for k in still)
            before = after
        shares = drawn_shares(rt, rng, workers) or split_blocks(rt.plan, workers)
        segments.regroup_words(rt, workers, shares)
        assert counts.by_slot(rt) == before, "a change alone counts nothing"
        assert counts.ranges(rt, workers) == shares
        owners = [counts.worker_of(rt, block) for block in range(rt.plan.n_blocks)]
        assert owners == [k for k, (lo, hi) in enumerate(shares) for _ in range(lo, hi)]


def test_a_supervisor_killed_within_a_change(rt: Runtime) -> None:
    """Carries of the copy that counts are not touched; after C_COUNTED the new ones hold, whatever
    C_WORKERS says."""
    rng = np.random.default_rng(1)
    for tick in (1, 2):
        work(rt, rng, tick)
    segments.regroup_words(rt, LANES)
    segments.regroup_words(rt, 2)
    before, shares = counts.by_slot(rt), counts.ranges(rt, 2)
    copy = rt.get(L.C_COUNTED) >> 62
    for k in range(LANES):
        for n in range(len(counts.NAMES)):
            rt.slot(L.SLOT_WORKER0 + k).set(L.S_CARRY[1 - copy] + n, int(rng.integers(1, 2**60)))
        rt.slot(L.SLOT_WORKER0 + k).set(L.S_ENDS[1 - copy], 1)
    assert counts.by_slot(rt) == before
    assert counts.ranges(rt, 2) == shares
    for k in range(4):
        rt.slot(L.SLOT_WORKER0 + k).set(L.S_TICK, 2)
    counts.carry_over(rt, 4)  # killed before C_WORKERS
    assert rt.get(L.C_WORKERS) == 2
    assert counts.by_slot(rt) == before
    work(rt, rng, 3)
    after = counts.by_slot(rt)
    assert_grown(before, after)
    assert_whole(rt, after)
    segments.regroup_words(rt, 3)
    settled = counts.by_slot(rt)
    assert_grown(after, settled)  # ticks of those who were counted for and did not run
    assert_whole(rt, settled)
    assert [one["entity_updates"] for one in settled] == [one["entity_updates"] for one in after]


@pytest.mark.parametrize("point", ["shares.end", "shares.carry", "shares.written"])
def test_a_supervisor_killed_between_any_two_stores_of_new_shares(rt: Runtime, point: str) -> None:
    """Until C_COUNTED nothing of them is seen, whichever store was the last one; whoever comes then
    divides the blocks anew."""
    rng = np.random.default_rng(4)
    segments.regroup_words(rt, 3, [(0, 1), (1, 5), (5, 7)])
    work(rt, rng, 1)
    before, shares = counts.by_slot(rt), counts.ranges(rt, 3)
    assert shares == [(0, 1), (1, 5), (5, 7)]
    wanted = [(0, 4), (4, 5), (5, 5), (5, 7)]

    deaths = 0

    def change() -> None:
        arm(point, deaths + 1)
        counts.carry_over(rt, 4, wanted)

    while reap(fork(change)) == -signal.SIGKILL:
        deaths += 1
        assert counts.by_slot(rt) == before
        assert counts.ranges(rt, 3) == shares
        owners = [counts.worker_of(rt, block) for block in range(rt.plan.n_blocks)]
        assert owners == [k for k, (lo, hi) in enumerate(shares) for _ in range(lo, hi)]
    each = {"shares.end": 1, "shares.carry": len(counts.NAMES)}
    assert deaths == (4 * each[point] if point in each else 1), "behind each store"
    new = dict.fromkeys(counts.NAMES, 0)
    assert counts.by_slot(rt) == [*before, new], "the last one went through"
    segments.regroup_words(rt, 4, wanted)
    assert counts.by_slot(rt)[:3] == before[:3]
    assert counts.ranges(rt, 4) == wanted


def restored(rt: Runtime, path: Path, folder: Path, workers: int) -> list[dict[str, int]]:
    folder.mkdir()
    again, _ = segments.create(
        rt.config, folder, workers, read_head(path), rt.plan, lambda _done, _total: None
    )
    try:
        found = counts.by_slot(again)
        assert again.get(L.C_GO_TICK) == rt.get(L.C_GO_TICK)
        return found
    finally:
        for bell in again.doorbells:
            os.close(bell.fileno())
        segments.remove(folder)


@pytest.mark.parametrize("workers", [1, 2, 5, 7])
def test_they_go_on_over_an_orderly_stop_and_begin_anew_after_a_crash(
    rt: Runtime, tmp_path: Path, shm_dir: Path, workers: int
) -> None:
    rng = np.random.default_rng(2)
    work(rt, rng, 1)
    segments.regroup_words(rt, 5)
    put_to_tick(rt, 9)
    work(rt, rng, 9)
    before = counts.by_slot(rt)
    folder = tmp_path / "state" / "small"
    made = make_checkpoint(rt, folder)
    crashed = restored(rt, made, shm_dir / "crashed", workers)
    assert crashed == [dict.fromkeys(counts.NAMES, 0)] * workers
    finish(rt, Keeper(folder, rt.epoch))
    stopped = restored(rt, made, shm_dir / "stopped", workers)
    assert_whole(rt, stopped)
    assert stopped[:5] == before, "also of those who have no worker now"
