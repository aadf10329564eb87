"""A digest is the world's at the hold, taken of a copy, whatever is pushed beside it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corec.process.runtime import Runtime
from corec.world.checkpoint import read_head
from corec.world.digest import digest_of
from corec.world.digest_copy import DigestCopy
from corec.world.snapshot import Abandoned, Snapshot
from tests.checkpoint.small import (
    fill,
    make_checkpoint,
    push,
    put_to_tick,
    reset,
    ring_table,
    views,
    world,
)

pytestmark = pytest.mark.usefixtures("no_leaks")

MANY = 60_000


@pytest.mark.parametrize("on_disk", [False, True])
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    seed=st.integers(0, 2**32 - 1),
    between=st.lists(st.sampled_from((0, 1, 4, 40, 300, -1)), min_size=2, max_size=8),
)
def test_it_is_the_worlds_at_the_hold(
    rt: Runtime, tmp_path: Path, seed: int, between: list[int], on_disk: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    rng = np.random.default_rng(seed)
    fill(rt, rng)
    push(rt, rng, 250)
    todo = list(between)
    one = DigestCopy(rt, tmp_path, lambda: False)
    copy = one._copy_history

    def disturbed(*arguments: object) -> bool:
        if todo and not held:
            most = todo.pop()
            if most < 0:
                reset(rt, rng)
            else:
                push(rt, rng, most)
        return copy(*arguments)  # type: ignore[arg-type]  # passed on as it came

    held: list[bool] = []
    with monkeypatch.context() as patched:
        patched.setattr(one, "_copy_history", disturbed)
        if on_disk:
            patched.setattr("corec.world.digest_copy.STAGING_BYTES_MAX", 0)
        one.prepare()
    assert os.listdir(tmp_path) == [], "a file without a name"
    held.append(True)
    expected = digest_of(rt.plan, rt.world.words)
    one.take()
    push(rt, rng, 300)
    assert one.digest() == expected
    one.abandon()


def test_a_checkpoint_of_the_same_tick_has_the_same_digest(rt: Runtime, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    fill(rt, rng)
    put_to_tick(rt, 12)
    one = DigestCopy(rt, tmp_path, lambda: False)
    one.prepare()
    one.take()
    tick, digest = one.digest()
    one.abandon()
    head = read_head(make_checkpoint(rt, tmp_path)).head
    assert (head["tick"], head["digest"]) == (tick, digest)


def test_a_checkpoint_in_the_making_is_left_alone(
    rt: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its half is there while it waits for the sinks; a digest asked for meanwhile is beside it."""
    monkeypatch.setattr("corec.world.digest_copy.STAGING_BYTES_MAX", 0)
    snapshot = Snapshot(rt, tmp_path, lambda: False)
    snapshot.prepare()
    (half,) = os.listdir(tmp_path)
    one = DigestCopy(rt, tmp_path, lambda: False)
    one.prepare()
    one.take()
    one.digest()
    one.abandon()
    assert os.listdir(tmp_path) == [half]
    snapshot.abandon()


def test_called_off(rt: Runtime, tmp_path: Path) -> None:
    one = DigestCopy(rt, tmp_path, lambda: True)
    with pytest.raises(Abandoned):
        one.prepare()
    one.abandon()


def test_full_histories_hold_the_world_for_milliseconds(tmp_path: Path, shm_dir: Path) -> None:
    """A sixteenth of a million entities, so a sixteenth of 20 ms, and as much for a busy machine:
    processor time, since others may be at work."""
    bloques = [{"id": "d", "canal": 1, "entidades": MANY, "procesador": "ewma"}]
    with world(tmp_path / "state", shm_dir, bloques) as rt:
        rng = np.random.default_rng(6)
        for view in views(rt):
            table, length = ring_table(view, "values")
            table[:] = rng.random(table.shape, np.float32)
            view.column(view.swarm.processor.history[0].count_field)[:] = 3 * length
        put_to_tick(rt, 3)
        one = DigestCopy(rt, tmp_path, lambda: False)
        one.prepare()
        push_some(rt, rng)
        started = time.thread_time()
        one.take()
        held = time.thread_time() - started
        expected = digest_of(rt.plan, rt.world.words)
        assert one.digest() == expected
        one.abandon()
    assert held < 0.0025


def push_some(rt: Runtime, rng: np.random.Generator) -> None:
    """One value for one entity in a hundred: what arrives between the last round and the hold."""
    for view in views(rt):
        (ring,) = view.swarm.processor.history
        table, _ = ring_table(view, ring.name)
        counts = view.column(ring.count_field)
        for i in rng.integers(0, view.n, view.n // 100):
            table[i, int(counts[i]) % ring.slots] = rng.random()
            counts[i] += 1
