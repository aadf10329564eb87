"""Starting, stopping, being killed: nothing lost, nothing twice, nothing left behind."""

from __future__ import annotations

import json
import os
import signal
from functools import partial
from pathlib import Path

import pytest

from corec.control.client import Unreachable
from tests.e2e.conftest import Make
from tests.support.instance import Running, small_config
from tests.support.ledger import assert_rows_once, messages_of, rows_of
from tests.support.processes import (
    children_of,
    command_of,
    is_running,
    promised,
    wait_until,
)

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.slow, pytest.mark.timeout(300)]

BLOCKS = 8
PACED = ("--tick-hz", "200")


def checkpoints(run: Running) -> list[Path]:
    """The checkpoint files of an instance."""
    return sorted(run.instance.home.rglob("checkpoint-*.corec"))


def assert_exact(make: Make, dsn: str, url: str, digest: str, tick: int) -> None:
    """Digest, rows and messages are those of an undisturbed world at ``tick``."""
    quiet = make(small_config(instance_id="quiet"), name="quiet")
    expected = quiet.run("--ticks", str(tick), "--tick-hz", "0").summary
    assert digest == expected["digest"]
    assert_rows_once(rows_of(dsn), BLOCKS, tick)
    out = messages_of(url, 1)
    assert len(out) == len(set(out)) == expected["messages_out"]
    assert sorted(out) == sorted(messages_of(url, 1, "quiet"))
    of_each: dict[int, int] = {}
    for message in out:
        assert of_each.get(message.id, 0) < message.tick, "tick order per entity"
        of_each[message.id] = message.tick


def flat_out(run: Running, ticks: int) -> Running:
    """For so many ticks, as fast as it can. Before that it is paced, to which a start goes back if
    it asks for another pace: a calm world does all of these ticks once more."""
    run.answered("set", path="tick_hz", value=0)
    return run.until_tick(run.status()["tick"] + ticks)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_drains_and_leaves_a_checkpoint(
    make: Make, pg_dsn: str, valkey_url: str, number: int
) -> None:
    one = make()
    run = one.start(*PACED).ready().until_tick(20)
    run.signal(number)
    summary = run.wait().summary
    assert summary["tick"] >= 20
    assert summary["digest_tick"] == summary["tick"]
    assert len(checkpoints(run)) == 1
    one.assert_clean()
    assert_exact(make, pg_dsn, valkey_url, summary["digest"], summary["tick"])


def test_ctrl_c_reaches_the_whole_group_and_still_drains(make: Make) -> None:
    one = make()
    run = one.start(*PACED).ready().until_tick(20)
    children = [row["pid"] for row in run.status()["processes"]]
    for pid in [*children, run.pid]:  # what a terminal does, but to this group alone
        os.kill(pid, signal.SIGINT)
    summary = run.wait().summary
    assert summary["digest_tick"] == summary["tick"]
    assert summary["restarts"] == 0


def says(run: Running, word: str) -> bool:
    """Whether it has logged ``word``."""
    return word in run.texts()[1]


@pytest.mark.fresh_interpreter
def test_signals_while_it_starts_leave_nothing(make_embedded: Make) -> None:
    one = make_embedded()
    for number, word in ((signal.SIGTERM, "Valkey"), (signal.SIGINT, "creating")):
        run = one.start()
        wait_until(partial(says, run, word), f"it says {word}", 60.0)
        run.signal(number)
        ended = run.wait()
        assert (ended.code, ended.out) == (0, "")
        assert "Traceback" not in ended.err
        one.assert_clean()
    assert one.run("--ticks", "5").summary["tick"] == 5


@pytest.mark.fresh_interpreter
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_while_it_compiles(make: Make, tmp_path: Path, number: int) -> None:
    """To compile what is new is part of a start, and to stop that is no failure."""
    one = make()
    one.environment["NUMBA_CACHE_DIR"] = str(tmp_path)
    run = one.start()
    wait_until(partial(says, run, "compiling, once per version"), "it compiles", 60.0)
    run.signal(number)
    ended = run.wait()
    assert (ended.code, ended.out) == (0, "")
    assert "stopped before the world ran" in ended.err
    assert "Traceback" not in ended.err
    one.assert_clean()


def test_quit_stops_at_once_and_the_world_is_adopted(
    make: Make, pg_dsn: str, valkey_url: str
) -> None:
    one = make()
    run = flat_out(one.start(*PACED, "--workers", "3").ready(), 150)
    run.signal(signal.SIGQUIT)
    ended = run.wait(10.0)
    assert ended.code == 1
    assert json.loads(ended.out)["digest"] is None
    assert "stays in memory" in ended.err
    assert checkpoints(run) == []
    assert not one.processes()
    assert any(name.endswith("control.seg") for name in one.runtime_files())
    stood = json.loads(ended.out)["tick"]
    again = one.run("--ticks", "30", "--tick-hz", "0", "--workers", "2")
    assert "adopting" in again.err
    summary = again.summary
    assert summary["ticks"] == 30
    assert stood + 30 <= summary["tick"] <= stood + 31
    assert_exact(make, pg_dsn, valkey_url, summary["digest"], summary["tick"])


@pytest.mark.fresh_interpreter  # the first of them, and none but init would be its orphans' parent
def test_a_killed_supervisor_leaves_no_orphan_and_is_adopted(
    make: Make, pg_dsn: str, valkey_url: str
) -> None:
    one = make()
    for number in range(3):
        one.fresh_interpreter = number == 0
        run = flat_out(one.start("--tick-hz", f"{200 + number}").ready(), 100)
        run.process.kill()
        run.process.wait()
        wait_until(lambda: not one.processes(), "no orphan is left", promised(2.0))
    summary = one.run("--ticks", "10", "--tick-hz", "0").summary
    assert summary["tick"] > 300
    assert_exact(make, pg_dsn, valkey_url, summary["digest"], summary["tick"])


def test_embedded_servers_go_with_the_supervisor_and_come_back(make_embedded: Make) -> None:
    one = make_embedded()
    run = flat_out(one.start(*PACED).ready(), 50)
    children = {pid: command_of(pid) for pid in children_of(run.pid)}
    assert "postgres" in " ".join(children.values())
    assert "valkey" in " ".join(children.values())
    run.process.kill()
    run.process.wait()
    wait_until(lambda: not any(map(is_running, children)), "no server is left", promised(2.0))
    wait_until(lambda: not one.processes(), "no orphan is left", promised(2.0))
    run = one.start("--tick-hz", "100").ready()
    assert run.status()["tick"] >= 50
    run.until_tick(run.status()["tick"] + 20)
    tick = run.stop().summary["tick"]
    # what the tables and streams hold is seen through the next run's own counts
    summary = one.run("--ticks", "0").summary
    assert summary["rows_persisted"] == BLOCKS * (tick // 10)
    quiet = make_embedded(name="quiet").run("--ticks", str(tick), "--tick-hz", "0").summary
    assert summary["digest"] == quiet["digest"]
    assert summary["messages_out"] == quiet["messages_out"]


@pytest.mark.parametrize("role", ["worker 0", "worker 1", "persister", "broker", "nucleus"])
def test_a_killed_child_costs_nothing(make: Make, pg_dsn: str, valkey_url: str, role: str) -> None:
    name, _, index = role.partition(" ")
    one = make()
    run = one.start(*PACED, "--workers", "2").ready()
    descriptors = len(os.listdir(f"/proc/{run.pid}/fd"))
    killed: set[int] = set()
    for _ in range(3):
        run.until_tick(run.status()["tick"] + 7)
        pid = run.pid_of(name, int(index or 0))
        os.kill(pid, signal.SIGKILL)
        killed.add(pid)

        def another() -> bool:
            try:
                status = run.status()
            except Unreachable:
                return False
            rows = {(r["role"], r["index"]): r for r in status["processes"]}
            row = rows[name, int(index or 0)]
            return row["pid"] not in killed and row["state"] in ("ready", "waiting")

        wait_until(another, f"another {role}", 20.0)
        assert not any(is_running(pid) for pid in killed)
    held = Path(f"/proc/{run.pid}/fd")  # some are open for a moment only
    wait_until(lambda: len(os.listdir(held)) <= descriptors, "no descriptor is left", 10.0)
    summary = run.stop().summary
    assert summary["restarts"] == 3
    assert_exact(make, pg_dsn, valkey_url, summary["digest"], summary["tick"])


def test_two_instances_at_once(make_embedded: Make) -> None:
    ids = {"first": "same", "second": "same", "third": "other"}
    ones = {
        name: make_embedded(small_config(instance_id=id_, http={}), name=name)
        for name, id_ in ids.items()
    }
    runs = {name: one.start("--tick-hz", "50") for name, one in ones.items()}
    statuses = {name: run.ready().status() for name, run in runs.items()}
    assert len({s["http_url"] for s in statuses.values()}) == 3
    assert len({s["folder"] for s in statuses.values()}) == 3
    for run in runs.values():
        run.until_tick(20)
        run.signal(signal.SIGTERM)
    for run in runs.values():
        summary = run.wait().summary
        assert summary["rows_persisted"] == BLOCKS * (summary["tick"] // 10)
        assert summary["restarts"] == 0


def test_two_instances_of_one_home(make_embedded: Make, tmp_path: Path) -> None:
    """The same checkout, another configuration: servers, states and sockets are kept apart."""
    one = make_embedded()
    other = one.home / "configs" / "other.json"
    other.write_text(json.dumps(small_config(instance_id="other", http={})))
    first = one.start(*PACED).ready()
    second = one.run("--config", str(other), "--ticks", "20", "--tick-hz", "0").summary
    assert second["rows_persisted"] == BLOCKS * 2
    first.ready()
    assert first.stop().summary["restarts"] == 0


def test_control_from_outside(make: Make) -> None:
    one = make()
    run = one.start(*PACED).ready().until_tick(5)
    status = json.loads(one.ctl("status", "--json").out)
    assert status["instance_id"] == "corec1"
    assert status["state"] in ("running", "degraded")  # behind its pace, where others compute
    assert {p["role"] for p in status["processes"]} == {
        "nucleus", "worker", "persister", "broker",
    }  # fmt: skip
    digest = json.loads(one.ctl("digest", "--json").out)
    assert digest["tick"] >= 5
    stopped = one.ctl("stop", "--json")
    assert stopped.code == 0
    assert run.wait().summary["tick"] >= digest["tick"]
    assert one.ctl("status").code == 3
