"""Checkpoints of whole instances: a reboot, a damaged file, a nucleus that dies making one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis

from corec.control.client import Unreachable
from corec.control.protocol import ControlError
from tests.e2e.conftest import Make
from tests.support.instance import Ended, Instance, Running, small_config
from tests.support.ledger import assert_rows_once, messages_of, rows_of
from tests.support.processes import wait_until

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.slow, pytest.mark.timeout(300)]

DETECTOR = 290
"""The id of the first detector of ``small_config``."""


def config(**changes: Any) -> dict[str, Any]:
    return small_config(**{"checkpoint": {"every_seconds": 0}, "tick_hz": 200.0} | changes)


def reboot(one: Instance) -> None:
    """Every process dies at once, and the memory is gone."""
    pids = list(one.processes())
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)  # else a supervisor may fork between two kills
    for pid in list(one.processes()):
        os.kill(pid, signal.SIGKILL)
    for run in one.runs:
        run.process.wait(10)
    wait_until(lambda: not one.processes(), "all are dead")
    shutil.rmtree(one.runtime_base)


def files(one: Instance, pattern: str = "checkpoint-*.corec") -> list[Path]:
    return sorted((one.home / "var" / "state" / one.instance_id).glob(pattern))


def durable(run: Running, tick: int) -> None:
    """Wait until both sinks have everything up to ``tick``."""

    def reached() -> bool:
        rows = run.status()["processes"]
        return all(r["tick"] >= tick for r in rows if r["role"] in ("persister", "broker"))

    wait_until(reached, f"tick {tick} is in the sinks", 20.0)


def plain_rows(dsn: str, instance_id: str) -> list[dict[str, Any]]:
    left_out = ("instance_id", "timestamp")
    return [
        {k: v for k, v in row.items() if k not in left_out} for row in rows_of(dsn, instance_id)
    ]


def test_after_a_reboot_it_goes_on_as_if_nothing_had_happened(
    make: Make, pg_dsn: str, valkey_url: str
) -> None:
    one = make(config())
    run = one.start("--workers", "2").ready().until_tick(35)
    made = run.ask("snapshot")
    run.until_tick(made["tick"] + 45)
    durable(run, made["tick"] + 25)
    reboot(one)
    ticks = 200
    again = one.run("--workers", "3", "--ticks", str(ticks), "--tick-hz", "0").summary
    end = made["tick"] + ticks
    assert (again["tick"], again["digest_tick"]) == (end, end)
    calm = make(config(instance_id="calm"), name="calm")
    undisturbed = calm.run("--ticks", str(end), "--tick-hz", "0").summary
    assert again["digest"] == undisturbed["digest"]
    assert_rows_once(rows_of(pg_dsn), 8, end)
    assert plain_rows(pg_dsn, "corec1") == plain_rows(pg_dsn, "calm")
    assert messages_of(valkey_url, 1) == messages_of(valkey_url, 1, "calm")


def send(url: str, values: list[float]) -> None:
    with redis.Redis.from_url(url) as client:
        for value in values:
            body = struct.pack("!Ibf?", DETECTOR, 3, value, True)
            client.xadd("corec:{corec1}:in:3", {"m": body})


def taken(run: Running, count: int) -> None:
    wait_until(lambda: len(held(run)) == count, f"{count} readings took effect", 20.0)


def held(run: Running) -> list[float]:
    found: list[float] = run.ask("entity", id=DETECTOR)["estado"]["values"]
    return found


@pytest.mark.parametrize("before", [0, 5])
def test_input_after_the_checkpoint_is_read_again_once(
    make: Make, valkey_url: str, before: int
) -> None:
    """Also when nothing had been read before it: not where the sink's hash says, from the start."""
    values = [float(k) for k in range(before + 7)]
    one = make(config())
    run = one.start("--workers", "2").ready()
    send(valkey_url, values[:before])
    taken(run, before)
    made = run.ask("snapshot")
    send(valkey_url, values[before:])
    taken(run, len(values))
    durable(run, run.status()["tick"] + 300)  # the hash knows, too, that they were applied
    reboot(one)
    run = one.start("--workers", "1").ready()
    assert run.status()["tick"] >= made["tick"]
    taken(run, len(values))
    send(valkey_url, [99.0])
    taken(run, len(values) + 1)
    assert held(run) == [*values, 99.0]
    assert run.stop().code == 0


def test_periods_keep_and_a_damaged_newest_one(make: Make) -> None:
    one = make(config(checkpoint={"every_seconds": 0.5, "keep": 2}))
    run = one.start("--workers", "2").ready()
    wait_until(lambda: run.status()["checkpoint"]["made"] >= 3, "three were made", 30.0)
    shown = run.status()["checkpoint"]
    assert shown["error"] is None
    assert shown["last"]["hold_seconds"] < 0.5
    # the oldest goes once the newest has its name, and they are made all the while
    wait_until(lambda: len(files(one)) == 2, "no more than two are kept", 30.0)
    refused = one.command("checkpoint", "restore", files(one)[0].name)
    assert (refused.code, "is running" in refused.err) == (4, True), refused
    assert run.stop().code == 0

    listed = json.loads(one.command("checkpoint", "ls", "--json").out)["checkpoints"]
    assert [row["sound"] for row in listed] == [True, True]
    _, newer = files(one)
    whole = newer.read_bytes()
    at = len(whole) // 2
    newer.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    checked = one.command("checkpoint", "verify", "all", "--json")
    rows = json.loads(checked.out)["checkpoints"]
    assert (checked.code, [row["sound"] for row in rows]) == (1, [False, True])
    found = one.run("--ticks", "0")
    assert (found.summary["tick"], found.summary["digest"]) == (
        listed[1]["tick"], listed[1]["digest"],
    )  # fmt: skip
    assert "a damaged checkpoint is passed over" in found.err
    assert [path.name for path in files(one, "*.bad")] == [newer.name + ".bad"]

    for path in files(one):
        path.write_bytes(path.read_bytes()[:-3])
    none = one.run("--ticks", "0")
    assert none.code == 2
    assert "is cut short" in none.err
    assert "--fresh begins a new world" in none.err
    assert len(files(one, "*.bad")) == 1, "with nothing to fall back to, nothing is moved"


def test_links_of_a_checkpoints_name(make: Make) -> None:
    """One that is the only file, too, is what a start makes of it; in a circle it is a line."""
    one = make(config())
    one.run("--ticks", "5", "--tick-hz", "0")
    (made,) = files(one)
    real = made.rename(made.with_name("real"))
    made.symlink_to(real.name)
    (row,) = json.loads(one.command("checkpoint", "ls", "--json").out)["checkpoints"]
    assert (row["sound"], "a symbolic link" in row["error"]) == (False, True)
    named = one.command("checkpoint", "verify", str(made), "--json")
    (row,) = json.loads(named.out)["checkpoints"]
    assert (named.code, row["sound"], row["last_made"]) == (0, True, True)

    made.unlink()
    made.symlink_to(made.name)
    for words in (("ls",), ("verify", "all"), ("verify", str(made)), ("restore", str(made))):
        done = one.command("checkpoint", *words)
        assert (done.code, "Traceback" in done.err) == (int(words != ("ls",)), False), done


def test_restore_chooses_an_older_one(make: Make) -> None:
    one = make(config())
    digests = {}
    for _ in range(2):
        summary = one.run("--ticks", "20", "--tick-hz", "0").summary
        digests[summary["tick"]] = summary["digest"]
    chosen = one.command("checkpoint", "restore", "20", "--json")
    assert chosen.code == 0, chosen.err
    assert json.loads(chosen.out)["digest"] == digests[20]
    run = one.start().ready().until_tick(25)
    only_the_memory_survives(one, run)
    (aside,) = files(one, "aside-*")
    (back,) = aside.iterdir()
    with_world = one.command("checkpoint", "restore", str(back), "--json")
    assert with_world.code == 0, with_world.err
    (world_aside,) = json.loads(with_world.out)["set_aside"]
    assert (Path(world_aside) / "world.seg").exists()
    assert Path(world_aside).is_relative_to(one.home), "on disk"
    left = [name for name in one.runtime_files() if name.endswith((".seg", ".lane"))]
    assert left == [], "nothing of it stays in memory"
    listed = json.loads(one.command("checkpoint", "ls", "--json").out)
    assert {row["where"] for row in listed["set_aside"]} == {"on disk"}
    found = one.run("--ticks", "0").summary
    assert (found["tick"], found["digest"]) == (40, digests[40])
    shutil.rmtree(one.runtime_base, ignore_errors=True)
    unknown = one.command("checkpoint", "free", "aside-nothing")
    assert (unknown.code, "expected all or a folder" in unknown.err) == (2, True)
    freed = json.loads(one.command("checkpoint", "free", "all", "--json").out)
    assert freed["bytes"] == sum(row["bytes"] for row in freed["freed"]) > 0
    assert files(one, "aside-*") == []

    one.configure(config(seed=7))
    misfit = one.command("checkpoint", "restore", "20")
    assert (misfit.code, "does not fit" in misfit.err) == (2, True), misfit
    assert one.runtime_files() == []


def only_the_memory_survives(one: Instance, run: Running) -> None:
    """The supervisor is killed, and everybody with it; the world stays in memory."""
    run.signal(signal.SIGKILL)
    run.process.wait(10)
    wait_until(lambda: not one.processes(), "nobody is left", 10.0)


def test_a_misfit_world_in_memory_is_listed_and_can_be_freed(make: Make) -> None:
    """What --fresh moves aside stays in memory; it is seen there, and goes by a command."""
    one = make(config())
    only_the_memory_survives(one, one.start().ready().until_tick(5))
    one.configure(config(seed=7))
    run = one.start("--fresh").ready()
    checks = {row["check"]: row for row in run.ask("doctor")["checks"]}
    assert checks["worlds set aside in memory"]["ok"] is False
    listed = json.loads(one.command("checkpoint", "ls", "--json").out)["set_aside"]
    (held,) = (row for row in listed if row["where"] == "in memory")
    assert held["bytes"] > 1 << 20
    text = one.command("checkpoint", "ls").out
    assert "set aside in memory" in text
    freed = one.command("checkpoint", "free", Path(held["path"]).name)
    assert freed.code == 0, freed.err
    assert not Path(held["path"]).exists()
    checks = {row["check"]: row for row in run.ask("doctor")["checks"]}
    assert checks["worlds set aside in memory"]["ok"] is True
    assert run.stop().code == 0


def test_a_put_back_file_does_not_end_the_world(make: Make) -> None:
    """Of an older world of this configuration, with a higher tick: the stop's is resumed."""
    one = make(config())
    one.run("--ticks", "90", "--tick-hz", "0")
    (old,) = files(one)
    run = one.start("--fresh", "--ticks", "1000000").ready().until_tick(5)
    (aside,) = files(one, "aside-*")
    shutil.copy(aside / old.name, old)
    shutil.copy(aside / old.name, old.with_name(old.name.replace("90", "91")))
    os.mkfifo(old.with_name(old.name.replace("90", "92")))
    run.ask("snapshot")
    checks = {row["check"]: row for row in run.ask("doctor")["checks"]}
    assert checks["checkpoint folder"]["ok"] is False
    assert "expected a plain file" in checks["checkpoint folder"]["detail"]
    stopped = run.stop()
    assert stopped.code == 0
    again = one.run("--ticks", "0")
    assert again.code == 0, again.err
    assert (again.summary["tick"], again.summary["digest"]) == (
        stopped.summary["tick"], stopped.summary["digest"],
    )  # fmt: skip


def ctl(one: Instance, *arguments: str) -> Ended:
    return one.ctl(*arguments, "--json", "--config", str(one.config_path))


def test_all_at_once(make: Make) -> None:
    """Digests and snapshots while every process is replaced: each gets its answer."""
    change = ("workers", "3")
    one = make(config(tick_hz=50.0))
    run = one.start("--workers", "2").ready().until_tick(5)
    wishes = [("digest",), ("snapshot",), change, ("digest",), ("snapshot",)]
    with ThreadPoolExecutor(len(wishes)) as pool:
        answers = list(pool.map(lambda wish: ctl(one, *wish), wishes))
    for wish, answer in zip(wishes, answers, strict=True):
        assert answer.code == 0, (wish, answer)
        if wish != change:
            assert json.loads(answer.out)["tick"] >= 5, wish
    assert run.stop().code == 0


def test_a_nucleus_that_dies_while_it_makes_one(make: Make) -> None:
    points = ("held", "part", "waiting", "before_rename", "after_rename")
    one = make(config())
    one.environment["COREC_CRASH"] = ",".join(f"nucleus@checkpoint.{point}" for point in points)
    run = one.start("--workers", "2").ready()
    for point in points:
        before, tick = run.pid_of("nucleus"), run.status()["tick"]
        with pytest.raises((Unreachable, ControlError)):
            run.ask("snapshot")

        def back(old: int = before) -> bool:
            try:
                return run.pid_of("nucleus") != old and run.status()["state"] == "running"
            except (Unreachable, ControlError):
                return False

        wait_until(back, f"the nucleus is back after {point}", 30.0)
        run.until_tick(tick + 20)
        assert len(files(one)) == (1 if point == "after_rename" else 0)
    assert run.ask("snapshot")["tick"] > 0
    assert len(files(one)) == 2
    assert files(one, ".checkpoint*") == []
    assert one.command("checkpoint", "verify").code == 0
    assert run.stop().code == 0
