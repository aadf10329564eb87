"""At the spool's limit, and after damage: what is lost is said, exactly, and nothing else is."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import psycopg
import pytest

from corec import layout as L
from corec.persister.spool_format import RECORD_BYTES, scan
from tests.persister.small_world import SmallWorld, exit_code, expected_keys, keys_of, small_world
from tests.support.processes import wait_until
from tests.support.proxied import Proxied

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_leaks")]
LANE = 1 << 16
BIG = 400
"""Messages per row: about 3.4 KB of a lane."""
OVERFLOWING = 100
"""Ticks of six such rows that are two MiB: twice the smallest limit."""


def gaps_of(dsn: str) -> list[dict[str, Any]]:
    """``detalle`` of the gap events."""
    with psycopg.connect(dsn) as connection:
        query = "SELECT detalle FROM eventos WHERE tipo = 'filas_perdidas' ORDER BY tick"
        return [row[0] for row in connection.execute(query).fetchall()]


def check_ledger(world: SmallWorld, dsn: str) -> list[dict[str, Any]]:
    """What was published is in the table once, or in exactly one gap, and the gaps say how much."""
    keys = keys_of(dsn)
    assert len(set(keys)) == len(keys)
    missing = set(expected_keys(world)) - set(keys)
    assert set(keys) | missing == set(expected_keys(world))
    gaps = gaps_of(dsn)
    lanes = {world.rt.plan.block_id(b): f"rows-{world.lane_of(b)}" for b in range(6)}
    lost: Counter[int] = Counter()
    for tick, block in missing:
        (gap,) = (
            k for k, gap in enumerate(gaps)
            if gap["lane"] == lanes[block] and gap["desde"] <= tick <= gap["hasta"]
        )  # fmt: skip
        lost[gap] += 1
    assert [lost[k] for k in range(len(gaps))] == [gap["filas"] for gap in gaps]
    assert world.count(L.P_ROWS) == len(keys)
    assert world.count(L.P_SPOOL_BYTES) == 0
    assert world.spool_files() == []
    return gaps


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_new"])
def test_rows_are_dropped_by_policy(
    policy: str, shm_dir: Path, tmp_path: Path, proxied: Proxied
) -> None:
    options = {"spool_max_mb": 1, "on_full": policy}
    with small_world(shm_dir, proxied.dsn, capacity=LANE, state=tmp_path, persist=options) as world:
        pid = world.start()
        world.publish_ticks(1, 2, messages=BIG)
        wait_until(lambda: world.word(L.S_TICK) == 2, "the first rows are durable")
        proxied.proxy.tell("refuse")
        for tick in range(3, OVERFLOWING, 10):
            world.publish_ticks(tick, tick + 9, messages=BIG, repairs=1)
            assert sum(f.stat().st_size for f in world.spool.iterdir()) <= 1 << 20
        assert world.count(L.P_DROPPED) > 0
        proxied.proxy.tell("pass")
        wait_until(lambda: world.word(L.S_STATE) == L.PROC_READY, "it is ready again", 20.0)
        world.publish_ticks(200, 205, messages=BIG)
        assert world.stop(pid) == 0
        gaps = check_ledger(world, proxied.direct)
        assert {gap["lane"] for gap in gaps} == {"rows-0", "rows-1"}
        assert all(gap["exacto"] and gap["reason"] == policy for gap in gaps)
        assert sum(gap["filas"] + gap["eventos"] for gap in gaps) == world.count(L.P_DROPPED)
        kept = {tick for tick, _ in keys_of(proxied.direct) if 2 < tick < 200}
        # what was on its way when the database went stays, though it is the oldest
        assert max(kept) > 95 if policy == "drop_oldest" else min(kept) == 3


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_new"])
def test_a_frame_larger_than_the_spool_is_dropped_by_itself(
    policy: str, shm_dir: Path, tmp_path: Path, proxied: Proxied
) -> None:
    """And does not hold up what comes after it, as it did by ``drop_oldest``."""
    options = {"spool_max_mb": 1, "on_full": policy}
    entries = (1 << 20) // L.LOG_DTYPE.itemsize
    proxied.proxy.tell("refuse")
    with small_world(
        shm_dir, proxied.dsn, capacity=1 << 24, state=tmp_path, persist=options
    ) as world:
        pid = world.start()
        world.publish_ticks(1, 1)
        for block in (1, 5):
            world.publish(2, block, messages=entries)
        world.publish_ticks(3, 3)
        wait_until(lambda: all(lane.used == 0 for lane in world.rt.rows), "all of it is moved", 30)
        assert world.count(L.P_DROPPED) >= 2
        proxied.proxy.tell("pass")
        assert world.stop(pid) == 0
        gaps = check_ledger(world, proxied.direct)
        assert {gap["reason"] for gap in gaps} == {policy}
        if policy == "drop_oldest":
            assert [tick for tick, _ in keys_of(proxied.direct)] == [1] * 6 + [3] * 6


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_new"])
@pytest.mark.parametrize("point", ["spool.stub_written", "spool.stub_renamed"])
@pytest.mark.parametrize("nth", [1, 3])
def test_killed_while_dropping(
    policy: str, point: str, nth: int, shm_dir: Path, tmp_path: Path, proxied: Proxied
) -> None:
    options = {"spool_max_mb": 1, "on_full": policy}
    proxied.proxy.tell("refuse")
    with small_world(shm_dir, proxied.dsn, capacity=LANE, state=tmp_path, persist=options) as world:
        pid = world.start(f"{point}:{nth}")
        ended: list[int] = []

        def killed() -> bool:
            found, status = os.waitpid(pid, os.WNOHANG) if not ended else (0, 0)
            if found:
                ended.append(os.waitstatus_to_exitcode(status))
            return bool(ended)

        tick = 0
        while not killed():
            tick += 1
            for block in range(6):
                wait_until(
                    lambda: world.rt.rows[0].used < LANE // 2 > world.rt.rows[1].used or killed(),
                    "there is room, or it was killed",
                )
                world.publish(tick, block, messages=BIG)
            world.done(tick)
            assert tick < 3 * OVERFLOWING
        assert ended == [-signal.SIGKILL]
        pid = world.start()
        world.publish_ticks(tick + 1, tick + 40, messages=BIG)
        proxied.proxy.tell("pass")
        assert world.stop(pid) == 0
        gaps = check_ledger(world, proxied.direct)
        assert {gap["reason"] for gap in gaps} == {policy}
        assert list(world.spool.iterdir()) == []


def test_ticks_wait_at_the_limit(shm_dir: Path, tmp_path: Path, proxied: Proxied) -> None:
    proxied.proxy.tell("refuse")
    with small_world(
        shm_dir, proxied.dsn, capacity=LANE, state=tmp_path, persist={"spool_max_mb": 1}
    ) as world:
        pid = world.start()
        tick = 0
        while world.word(L.S_ERROR) != L.REASON_FULL:
            tick += 1
            world.publish_ticks(tick, tick, messages=BIG)
            wait_until(
                lambda: (
                    max(lane.used for lane in world.rt.rows) < LANE // 2
                    or world.word(L.S_ERROR) == L.REASON_FULL
                ),
                "the lanes have room, or the spool has none",
            )
        size = sum(f.stat().st_size for f in world.spool_files())
        assert 900_000 < size <= 1 << 20
        wait_until(lambda: world.word(L.S_STATE) == L.PROC_WAITING_SINK, "it waits")
        proxied.proxy.tell("pass")
        world.publish_ticks(tick + 1, tick + 30, messages=BIG)
        assert world.stop(pid) == 0
        assert check_ledger(world, proxied.direct) == []
        assert world.count(L.P_DROPPED) == 0
        assert len(world.sent) == 6 * (tick + 30)


def spool_two_lanes(world: SmallWorld) -> Path:
    """Spool ticks 1 to 60, some per record, and kill the persister; the file."""
    pid = world.start()
    for first in (1, 21, 41):
        world.publish_ticks(first, first + 19)
        wait_until(lambda: all(lane.used == 0 for lane in world.rt.rows), "it is spooled")
    os.kill(pid, signal.SIGKILL)
    exit_code(pid)
    (path,) = world.spool_files()
    return path


@pytest.mark.parametrize("part", ["bytes", "head"])
def test_damage_in_the_middle(part: str, shm_dir: Path, tmp_path: Path, proxied: Proxied) -> None:
    """One record is lost, those around it are not; the file is kept."""
    proxied.proxy.tell("refuse")
    with small_world(shm_dir, proxied.dsn, state=tmp_path) as world:
        path = spool_two_lanes(world)
        records = scan(path, last=True).records
        (k,) = (
            k for k, one in enumerate(records)
            if one.extent.lane == "rows-1" and one.extent.first_tick == 21
        )  # fmt: skip
        last, rows = records[k].extent.last_tick, records[k].extent.rows
        assert 21 <= last <= 40, "the spool may have begun a record within what was published"
        assert 3 * (last - 21) < rows <= 3 * (last - 20)
        at = records[k].offset + (100 if part == "bytes" else 8 - RECORD_BYTES)
        data = bytearray(path.read_bytes())
        data[at] ^= 1
        path.write_bytes(data)
        proxied.proxy.tell("pass")
        pid = world.start()
        world.publish_ticks(61, 65)
        assert world.stop(pid) == 0
        if part == "bytes":
            (gap,) = check_ledger(world, proxied.direct)
            assert (gap["lane"], gap["desde"], gap["hasta"]) == ("rows-1", 21, last)
            assert (gap["filas"], gap["reason"], gap["exacto"]) == (rows, "corrupt", True)
            assert world.count(L.P_DROPPED) == rows
        else:
            (gap,) = gaps_of(proxied.direct)
            extent = records[k].extent
            assert gap["bytes"] == extent.end - extent.begin
            assert (gap["filas"], gap["reason"], gap["exacto"]) == (None, "missing", False)
            lost = set(expected_keys(world)) - set(keys_of(proxied.direct))
            assert {tick for tick, _ in lost} == set(range(21, last + 1))
            assert len(lost) == rows
        (kept,) = world.spool_files(".bad")
        assert kept.read_bytes() == data


def test_file_without_a_head(shm_dir: Path, tmp_path: Path, proxied: Proxied) -> None:
    proxied.proxy.tell("refuse")
    with small_world(shm_dir, proxied.dsn, state=tmp_path) as world:
        path = spool_two_lanes(world)
        path.write_bytes(b"rubbish!" * 1000)
        proxied.proxy.tell("pass")
        world.publish_ticks(61, 65)
        world.drain()
        gaps = sorted(gaps_of(proxied.direct), key=lambda gap: str(gap["lane"]))
        assert [gap["lane"] for gap in gaps] == ["rows-0", "rows-1"]
        assert all(gap["reason"] == "missing" and gap["filas"] is None for gap in gaps)
        assert [key for key in expected_keys(world) if key[0] > 60] == keys_of(proxied.direct)
        assert len(world.spool_files(".bad")) == 1
        assert world.spool_files() == []
