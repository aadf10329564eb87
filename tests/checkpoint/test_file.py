"""The file: what goes in comes out, and nothing that happened to it goes unseen."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corec import layout as L
from corec.process.runtime import Runtime
from corec.world.checkpoint import (
    CheckpointRefused,
    checkpoint_files,
    read_head,
    set_aside_bad,
)
from corec.world.digest import WorldMoved, digest_of
from corec.world.kept import Keeper
from corec.world.restore import check_parts, load_checkpoint, verify
from corec.world.snapshot import Abandoned, Snapshot
from shm.killpoint import arm
from tests.checkpoint.small import fill, make_checkpoint, push, put_to_tick, reset, views, words_of

pytestmark = pytest.mark.usefixtures("no_leaks")

TINY = [{"id": "s", "canal": 1, "entidades": 2, "procesador": "ewma"}]
POINTS = ("round", "copied", "part", "before_head", "before_sync", "before_rename",
          "after_rename", "after_prune")  # fmt: skip


def restored_digest(rt: Runtime, path: Path) -> tuple[int, str]:
    words = np.zeros(rt.plan.world_bytes // 8, np.uint64)
    load_checkpoint(read_head(path), rt.plan, words.view(np.uint8))
    for index, view in enumerate(views(rt)):
        kept = words[view._base + L.OFF_DYN[view.word & 1] // 8 :][: L.DYN_WORDS]
        assert np.array_equal(kept, words_of(view)), index
        log = view._start + int(view._place["log"])
        size = int(view.dyn[L.D_LOG_N]) * L.LOG_DTYPE.itemsize
        assert np.array_equal(words.view(np.uint8)[log : log + size], view._bytes[log : log + size])
    return digest_of(rt.plan, words)


def test_what_goes_in_comes_out(rt: Runtime, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    fill(rt, rng)
    push(rt, rng, 300)
    put_to_tick(rt, 17)
    path = make_checkpoint(rt, tmp_path)
    digest = digest_of(rt.plan, rt.world.words)
    assert digest[0] == 17
    head = verify(path).head
    assert (head["tick"], head["digest"]) == digest
    assert (head["entidades"], head["epoch"]) == (44, rt.epoch)
    assert restored_digest(rt, path) == digest
    assert path.stat().st_mode & 0o777 == 0o600
    assert check_parts(path).tick == 17


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    seed=st.integers(0, 2**32 - 1),
    between=st.lists(st.sampled_from((0, 1, 4, 40, 300, -1)), min_size=4, max_size=12),
)
def test_values_pushed_while_histories_are_copied(
    rt: Runtime, tmp_path: Path, seed: int, between: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pushes and repairs between any two copies, in every round: the windows are the hold's."""
    rng = np.random.default_rng(seed)
    push(rt, rng, 250)
    todo = list(between)
    snapshot = Snapshot(rt, tmp_path, lambda: False)
    snapshot._chunks = [(b, b + 1) for b in range(rt.plan.n_blocks)]
    copy = snapshot._copy_history

    def disturbed(staging: object, lo: int, hi: int) -> bool:
        if todo and snapshot.progress < 1 and not held:
            most = todo.pop()
            if most < 0:
                reset(rt, rng)
            else:
                push(rt, rng, most)
        return copy(staging, lo, hi)  # type: ignore[arg-type]  # passed on as it came

    held: list[bool] = []
    with monkeypatch.context() as patched:
        patched.setattr(snapshot, "_copy_history", disturbed)
        patched.setattr("corec.world.snapshot.ROUND_ENOUGH_BYTES", -1)
        snapshot.prepare()
        held.append(True)
        snapshot.take()
        head = snapshot.write()
        path = snapshot.publish(Keeper(tmp_path, rt.epoch), 3).path
    assert digest_of(rt.plan, rt.world.words) == (0, head["digest"])
    assert restored_digest(rt, path) == (0, head["digest"])


def test_histories_that_outgrow_the_staging_go_to_the_file(
    rt: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    monkeypatch.setattr("corec.world.packing.CHUNK_BYTES", 1)
    monkeypatch.setattr("corec.world.snapshot.STAGING_BYTES_MAX", 1)
    snapshot = Snapshot(rt, tmp_path, lambda: False)
    snapshot.prepare()
    push(rt, rng, 250)
    fill(rt, rng)
    for view in views(rt):
        words_of(view)[L.D_LOG_N] = view._place["log_cap"]  # more than was there before
    snapshot.take()
    snapshot.write()
    path = snapshot.publish(Keeper(tmp_path, rt.epoch), 3).path
    assert verify(path).head["parts"] > rt.plan.n_blocks
    assert restored_digest(rt, path) == digest_of(rt.plan, rt.world.words)


def test_every_flipped_byte_and_every_cut_is_found(tmp_path: Path, shm_dir: Path) -> None:
    from tests.checkpoint.small import world

    with world(tmp_path, shm_dir, TINY) as rt:
        push(rt, np.random.default_rng(2), 9)
        whole = make_checkpoint(rt, tmp_path).read_bytes()
    bad = shm_dir / "bad.corec"
    for at in range(len(whole)):
        bad.write_bytes(whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :])
        with pytest.raises(CheckpointRefused, match=r"bad\.corec: "):
            check_parts(bad)
        if at % 100 == 0:
            with pytest.raises(CheckpointRefused):
                verify(bad)
    for length in range(len(whole)):
        bad.write_bytes(whole[:length])
        with pytest.raises(CheckpointRefused):
            check_parts(bad)
    bad.write_bytes(whole + b"\0")
    with pytest.raises(CheckpointRefused, match="does not end where it should"):
        verify(bad)
    bad.unlink()


def test_a_world_that_moves_is_refused(rt: Runtime, tmp_path: Path) -> None:
    put_to_tick(rt, 5)
    view = views(rt)[1]
    view._words[view._base + L.OFF_COMMIT // 8] = np.uint64(6 << 16 | view.word & 1)
    snapshot = Snapshot(rt, tmp_path, lambda: False)
    snapshot.prepare()
    with pytest.raises(WorldMoved, match="not at rest at tick 5"):
        snapshot.take()
    snapshot.abandon()
    assert list(tmp_path.glob("*corec*")) == []


def test_other_columns_are_refused(rt: Runtime, tmp_path: Path, shm_dir: Path) -> None:
    from tests.checkpoint.small import world

    path = make_checkpoint(rt, tmp_path)
    (shm_dir / "other").mkdir()
    with world(tmp_path, shm_dir / "other", TINY) as other:
        words = np.zeros(other.plan.world_bytes, np.uint8)
        with pytest.raises(CheckpointRefused, match="other columns"):
            load_checkpoint(read_head(path), other.plan, words)


def test_as_many_are_kept_as_configured_and_names_sort_by_tick(rt: Runtime, tmp_path: Path) -> None:
    for tick in (9, 10, 100, 101):
        put_to_tick(rt, tick)
        make_checkpoint(rt, tmp_path, keep=3)
    assert [read_head(path).tick for path in checkpoint_files(tmp_path)] == [101, 100, 10]
    aside = set_aside_bad(checkpoint_files(tmp_path)[0])
    assert aside.name.endswith("101.corec.bad")
    assert [read_head(path).tick for path in checkpoint_files(tmp_path)] == [100, 10]


def test_called_off_leaves_nothing(rt: Runtime, tmp_path: Path) -> None:
    asked = 0

    def called_off() -> bool:
        nonlocal asked
        asked += 1
        return asked > 1

    snapshot = Snapshot(rt, tmp_path, called_off)
    snapshot._chunks = [(b, b + 1) for b in range(rt.plan.n_blocks)]
    with pytest.raises(Abandoned):
        snapshot.prepare()
    snapshot.abandon()
    assert os.listdir(tmp_path) == []


def _forked(work: object) -> int:
    """Exit status of ``work()`` in a child."""
    pid = os.fork()
    if not pid:
        try:
            assert callable(work)
            work()
        except OSError as error:
            os._exit(error.errno or 1)
        finally:
            os._exit(0)
    return os.waitpid(pid, 0)[1]


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_at_any_step_leaves_a_whole_set(rt: Runtime, tmp_path: Path, point: str) -> None:
    rng = np.random.default_rng(4)
    folder = tmp_path / "checkpoints"
    for tick in (3, 4):
        push(rt, rng, 5)
        put_to_tick(rt, tick)
        make_checkpoint(rt, folder, keep=2)
    put_to_tick(rt, 5)

    def killed() -> None:
        arm(f"checkpoint.{point}")
        make_checkpoint(rt, folder, keep=2)

    assert os.WTERMSIG(_forked(killed)) == 9
    ticks = [verify(path).tick for path in checkpoint_files(folder)]
    new = {"after_rename": [5, 4, 3], "after_prune": [5, 4]}
    assert ticks == new.get(point, [4, 3])
    put_to_tick(rt, 6)
    make_checkpoint(rt, folder, keep=2)
    assert next(verify(path).tick for path in checkpoint_files(folder)) == 6
    assert len(os.listdir(folder)) == 2, "what the killed one left is gone"


def test_a_full_disk_is_an_error_and_the_old_set_stays(rt: Runtime, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    make_checkpoint(rt, folder)
    put_to_tick(rt, 5)

    def full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
        make_checkpoint(rt, folder)

    assert os.waitstatus_to_exitcode(_forked(full)) == errno.EFBIG
    assert [verify(path).tick for path in checkpoint_files(folder)] == [0]
    assert len(os.listdir(folder)) == 1
