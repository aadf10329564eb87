"""Every process dies at every named point, and the world, its rows and its messages do not show it.

A run goes through several deaths of each role: a process' first life ends at the first point of
its list, its second life at the second, and so on (``shm.killpoint``). What such a run leaves is
compared with an undisturbed run of the same configuration: digest, each row with all its columns
and its payload, each message with its tick, each repair.
"""

from __future__ import annotations

from collections import Counter

import pytest

from tests.crash.worlds import (
    Left,
    armed,
    assert_same,
    deaths_expected,
    instance,
    killed,
    left_by,
    spared,
    world,
)
from tests.e2e.conftest import Make

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.slow]

TICKS = 60
PACED = ("--ticks", str(TICKS), "--tick-hz", "40", "--workers", "2")
RUNS = {
    "publishing": (
        "worker@lane.header.0:5", "worker@lane.header.3:14", "worker@lane.publish.before:6",
        "worker@block.before_publish:7", "worker@block.before_post:5",
        "broker@broker.before_multi:2", "broker@broker.multi_sent:3", "broker@broker.after_multi:2",
        "persister@persist.before_copy:1", "persister@persist.after_copy:2",
        "persister@persist.before_commit:1", "persister@persist.after_commit:1",
        "nucleus@checkpoint.copied", "nucleus@checkpoint.part",
    ),
    "committing": (
        "worker@lane.header.1:3", "worker@lane.publish.after:8", "worker@block.between_publish:11",
        "worker@block.before_commit:9", "worker@block.between_public:13",
        "worker@block.after_post:9", "worker 1@settlement.written:3",
        "broker@broker.before_release:3", "broker@broker.after_release:2",
        "broker@lane.release.before:2", "broker@lane.release.after:1",
        "persister@persist.before_release:1", "persister@persist.after_release:1",
        "persister@lane.release.before:1",
        "nucleus@checkpoint.before_head", "nucleus@checkpoint.before_sync",
    ),
    "done": (
        "worker@lane.header.2:7", "worker@block.after_publish:6", "worker@block.after_commit:10",
        "worker@block.between_public:4",
        "worker@worker.before_done:2", "worker@phase.before_done:3",
        "broker@lane.next.head_seen:9", "broker@broker.multi_sent:1",
        "persister@persist.before_copy:2", "persister@lane.release.after:1",
        "nucleus@checkpoint.before_rename", "nucleus@checkpoint.after_rename",
    ),
    "leading": (
        "worker 0@leader.after_cut:2", "worker 0@leader.before_go:3", "worker 0@leader.after_go:2",
        "worker 0@block.after_publish:23", "worker 1@settlement.written:2",
        "worker@phase.all_done:4",
        "worker 1@block.after_commit:1", "worker 1@lane.publish.after:1",
        "worker 1@worker.before_done:1",
        "broker@broker.after_multi:1", "persister@persist.after_commit:2",
        "nucleus@checkpoint.after_prune",
    ),
}  # fmt: skip
_undisturbed: list[Left] = []


def undisturbed(make: Make, pg_dsn: str, valkey_url: str) -> Left:
    """What a run without any death leaves (made once: the configuration is always the same)."""
    if not _undisturbed:
        one = instance(make, world("calm"), "calm")
        ended = one.run("--ticks", str(TICKS), "--tick-hz", "0", "--workers", "2")
        _undisturbed.append(left_by(ended.summary, pg_dsn, valkey_url, "calm"))
        left = _undisturbed[0]
        assert len(left.rows) == 20 * TICKS // 4
        assert all(left.messages.values())
        assert left.repairs
        assert not killed(ended)
    return _undisturbed[0]


@pytest.mark.parametrize("name", RUNS)
def test_killed_at_named_points(make: Make, pg_dsn: str, valkey_url: str, name: str) -> None:
    wanted = undisturbed(make, pg_dsn, valkey_url)
    one = armed(instance(make, world()), RUNS[name])
    ended = one.run(*PACED)
    summary = ended.summary
    assert Counter(killed(ended)) == deaths_expected(RUNS[name], 2)
    assert_same(left_by(summary, pg_dsn, valkey_url, "corec1"), wanted)


def test_killed_between_ticks_at_full_speed(make: Make, pg_dsn: str, valkey_url: str) -> None:
    """There the compiled steps decide, and no pace gives a successor time."""
    deaths = (
        "worker 0@leader.after_cut:2", "worker 0@leader.before_go:3", "worker 0@leader.after_go:2",
        "worker 0@worker.before_done:2", "worker 1@worker.before_done:3",
    )  # fmt: skip
    wanted = undisturbed(make, pg_dsn, valkey_url)
    one = armed(instance(make, world()), deaths)
    ended = one.run("--ticks", str(TICKS), "--tick-hz", "0", "--workers", "2")
    assert Counter(killed(ended)) == deaths_expected(deaths, 2)
    assert_same(left_by(ended.summary, pg_dsn, valkey_url, "corec1"), wanted)


def test_checkpoint_of_a_disturbed_run_goes_on(make: Make, pg_dsn: str, valkey_url: str) -> None:
    """What is on disk after many deaths is as good as what was in memory."""
    wanted = undisturbed(make, pg_dsn, valkey_url)
    one = armed(instance(make, world()), RUNS["done"])
    half = ("--ticks", str(TICKS // 2), "--tick-hz", "40")
    assert one.run(*half, "--workers", "2").summary["tick"] == TICKS // 2
    summary = spared(one).run(*half, "--workers", "3").summary
    assert_same(left_by(summary, pg_dsn, valkey_url, "corec1"), wanted)
