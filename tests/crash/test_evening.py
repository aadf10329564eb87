"""Blocks move between workers, one of which computes longer; kills at its stores do not show."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import corec
from corec.control.client import Unreachable
from corec.control.protocol import ControlError
from corec.supervisor.evening import GAIN_MIN
from shm.killpoint import ENVIRONMENT
from tests.crash.worlds import armed, killed
from tests.e2e.conftest import Make
from tests.support.instance import Ended, Instance, Running
from tests.support.ledger import events_of, rows_of
from tests.support.processes import promised, wait_until

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.slow, pytest.mark.timeout(300)]

SUBJECTS = Path(__file__).parents[1] / "modules" / "subjects.py"


def config() -> dict[str, Any]:
    """The first worker of two has all the work: 8 blocks of those who compute, 8 of others."""
    swarm = {"entidades": 80, "entidades_por_bloque": 10}
    heavy = {"procesador": "module_subjects:heavy", "parametros": {"work": 100_000.0}}
    return {
        "instance_id": "corec1", "http": {"port": 0}, "persist": {"every_ticks": 4},
        "checkpoint": {"every_seconds": 0}, "modules": ["sincronizacion"],
        "bloques": [{"id": "heavy", "canal": 1, **swarm, **heavy},
                    {"id": "light", "canal": 2, **swarm}],
    }  # fmt: skip


EQUAL = [0] * 8 + [1] * 8


def instance(make: Make) -> Instance:
    """It finds those who compute."""
    one = make(config())
    for folder in (one.home / "plugins", one.config_path.parent):
        folder.mkdir(exist_ok=True)
        shutil.copy(SUBJECTS, folder / "module_subjects.py")
    return one


def evened(dsn: str) -> list[dict[str, Any]]:
    """What was told."""
    return [e["detalle"] for e in events_of(dsn, "corec1") if e["tipo"] == "workers_evened"]


def assert_like_a_world_in_this_process(one: Instance, ended: Ended) -> None:
    """Where it stopped."""
    with corec.World(one.config_path) as world:
        world.run(ended.summary["digest_tick"])
        assert world.digest() == ended.summary["digest"]


def shares(owned: list[int]) -> list[int]:
    """How many blocks each of two workers has."""
    return [owned.count(0), owned.count(1)]


def told_shares(dsn: str) -> list[list[int]]:
    """What was told of how many each has."""
    return [told["now"] for told in evened(dsn)]


def owners(run: Running) -> list[int]:
    """Which worker ticks each block; none while the nucleus is being replaced."""
    try:
        return [run.ask("block", id=f"{swarm}:{k:05d}")["worker"]
                for swarm in ("heavy", "light") for k in range(8)]  # fmt: skip
    except (Unreachable, ControlError):
        return []


def test_a_worker_with_less_to_do_takes_blocks_over(make: Make, pg_dsn: str) -> None:
    """The supervisor dies before and after the new shares count, and a worker within a tick of
    them; the next number of workers and a reload keep to what is known."""
    one = instance(make)
    for point in ("shares.written:2", "shares.counts:1"):  # the first pass: the world is made
        one.environment[ENVIRONMENT] = point
        run = one.start("--tick-hz", "20", "--workers", "2").ready(120.0)
        assert owners(run) == EQUAL, point
        run.process.wait(90.0)
        wait_until(lambda: not one.processes(), "its processes end", promised(5.0))
    run = armed(one, ("worker 0@block.before_commit:40", "worker 1@block.after_commit:60")).start(
        "--tick-hz", "20", "--workers", "2"
    )
    run.ready(120.0)
    found = owners(run)
    moved = found.count(1)
    assert found == [0] * (16 - moved) + [1] * moved
    assert 12 <= moved <= 14, "half of those who compute, and all others"
    assert evened(pg_dsn) == [], "each died before it told"
    assert one.ctl("workers", "3").code == 0
    known = "what is known of the costs counts for three, too"
    wait_until(lambda: owners(run)[8:] == [2] * 8, known, 60.0)
    wait_until(lambda: len(set(owners(run))) == 3, "three workers", 60.0)
    ended = run.stop()
    assert ended.code == 0
    assert sorted(set(killed(ended))) == ["worker 0", "worker 1"]
    assert_like_a_world_in_this_process(one, ended)
    rows = [(row["id"], row["tick"]) for row in rows_of(pg_dsn, "corec1")]
    assert len(rows) == len(set(rows)) == 16 * (ended.summary["digest_tick"] // 4)


def test_the_others_do_not_notice(make: Make, pg_dsn: str) -> None:
    """Only the workers are new; a reload and growth keep to what is known of the costs."""
    one = instance(make)
    run = one.start("--tick-hz", "20", "--workers", "2").ready(120.0)
    pids = [run.pid_of(role, 0) for role in ("nucleus", "broker", "persister")]
    wait_until(lambda: owners(run) not in ([], EQUAL), "the shares are evened out", 90.0)
    assert [run.pid_of(role, 0) for role in ("nucleus", "broker", "persister")] == pids
    found = owners(run)
    one.configure(config() | {"persist": {"every_ticks": 5}})
    assert one.ctl("reload").code == 0
    # the costs may be looked at a second time meanwhile
    wait_until(lambda: shares(owners(run)) in told_shares(pg_dsn), "it has known shares", 60.0)
    here = run.answered("digest")
    with corec.World(one.config_path) as world:
        world.run(here["tick"])
        assert world.digest() == here["digest"]
    assert one.ctl("grow", "light", "20").code == 0
    wait_until(lambda: len(owners(run)) == 16, "the nucleus knows the larger world", 60.0)
    after = owners(run)
    assert set(after[:8]) == {0, 1}, "equal shares would be the first nine blocks and the others"
    assert after[8:] == [1] * 8
    grown = [run.answered("block", id=f"light:{k:05d}")["worker"] for k in (8, 9)]
    assert grown == [1, 1]
    assert run.stop().code == 0
    told = evened(pg_dsn)[0]
    assert told["before"] == [8, 8]
    assert shares(found) in told_shares(pg_dsn)
    assert told["busy"][0] > told["busy"][1]
    assert told["gain"] >= GAIN_MIN
