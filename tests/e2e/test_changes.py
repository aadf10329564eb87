"""Reload and upgrade: the world goes on, and ends as if nothing had been changed."""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from corec.control.outcome import asked_behind, await_change, doing, last_change
from tests.e2e.conftest import Make
from tests.support.instance import Instance, Running, small_config
from tests.support.ledger import events_of, rows_of
from tests.support.processes import children_of, wait_until


def _outcome(instance: Instance, before: int) -> dict[str, object]:
    folder = Path(instance.folder)
    wait_until(lambda: last_change(folder)["number"] > before, "the outcome of the change", 120)
    return last_change(folder)


def _changed(run: Running, change: str) -> list[str]:
    """What the supervisor has taken over by changes of this kind."""
    told = [line for line in run.texts()[1].splitlines() if '"configuration changed"' in line]
    found = [one["changed"] for one in map(json.loads, told) if one["change"] == change]
    return [path for paths in found for path in paths]


def _opened(run: Running, path: Path) -> bool:
    """Whether a child of the supervisor has this file open."""
    links = [link for pid in children_of(run.pid) for link in Path(f"/proc/{pid}/fd").glob("*")]
    with suppress(OSError):  # it has ended, or closed it
        return any(link.samefile(path) for link in links)
    return False


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_reload_takes_over_the_pace_and_refuses_another_world(make: Make) -> None:
    instance = make(small_config(tick_hz=20))
    running = instance.start()
    running.ready().until_tick(5)
    instance.configure(small_config(tick_hz=40))
    os.kill(running.pid, signal.SIGHUP)
    assert _outcome(instance, 0)["accepted"] is True
    running.ready()
    assert running.status()["tick_hz"] == 40
    instance.configure(small_config(seed=7))
    os.kill(running.pid, signal.SIGHUP)
    refused = _outcome(instance, 1)
    assert refused["accepted"] is False
    assert "seed" in str(refused["reason"])
    assert running.ready().status()["tick_hz"] == 40
    running.stop()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_what_is_set_while_a_reload_is_made_is_done_behind_it(make: Make) -> None:
    """While the file is read, and while it is taken over: it was told as done, and was not."""
    config = small_config(tick_hz=50)
    one = make(config)
    run = one.start().ready().until_tick(5)
    broker, before = run.pid_of("broker"), set(children_of(run.pid))
    one.config_path.unlink()
    os.mkfifo(one.config_path)
    os.kill(broker, signal.SIGSTOP)
    try:
        run.signal(signal.SIGHUP)
        wait_until(lambda: set(children_of(run.pid)) - before, "the file is read", 60.0)
        reader = set(children_of(run.pid)) - before
        run.ask("set", path="checkpoint.every_seconds", value=900)
        changes = {"streams": {"batch_ms": 3}, "persist": {"every_ticks": 4}}  # workers rest for it
        one.config_path.write_text(json.dumps(config | changes))
        wait_until(lambda: not reader & set(children_of(run.pid)), "it has been read", 60.0)
        run.answered("set", path="persist.spool_max_mb", value=100)  # its nucleus may leave first
    finally:
        with suppress(ProcessLookupError):  # the supervisor has it killed in the end
            os.kill(broker, signal.SIGCONT)
    wanted = ["checkpoint.every_seconds", "persist.spool_max_mb"]  # by one wish, or by one each
    wait_until(lambda: sorted(_changed(run, "set")) == wanted, "both are done", 120.0)
    assert sorted(_changed(run, "reload")) == ["persist.every_ticks", "streams.batch_ms"]
    run.ready(120.0)
    assert run.stop().code == 0


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_who_reloads_while_a_reload_is_made_hears_of_its_own(make: Make) -> None:
    config = small_config(tick_hz=50)
    one = make(config)
    run = one.start().ready().until_tick(5)
    folder, pipe = run.instance.folder, one.config_path.with_name("pipe")
    one.config_path.unlink()
    os.mkfifo(one.config_path)
    first = asked_behind(folder)
    run.signal(signal.SIGHUP)
    wait_until(lambda: doing(folder) == "reload", "the first is at it", 60.0)
    wait_until(lambda: _opened(run, one.config_path), "it waits for the file", 60.0)
    one.config_path.rename(pipe)
    one.config_path.write_text("{")
    second = asked_behind(folder)
    run.signal(signal.SIGHUP)
    pipe.write_text(json.dumps(config | {"streams": {"batch_ms": 3}}))
    told = [await_change(folder, before, "reload", lambda: True) for before in (first, second)]
    assert [one["accepted"] for one in told] == [True, False]
    assert "no valid JSON" in told[1]["reason"]
    run.ready(120.0)
    assert run.stop().code == 0


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_reload_takes_over_umbral_and_repair_and_names_what_a_bloque_keeps(make: Make) -> None:
    instance = make(_with_sensors())
    running = instance.start()
    running.ready().until_tick(5)
    instance.configure(_with_sensors(umbral="nunca", autoreparacion={"max_errores": 1.0}))
    os.kill(running.pid, signal.SIGHUP)
    assert _outcome(instance, 0)["accepted"] is True
    before = _sensors(running.ready())
    running.until_tick(before.tick + 20)
    assert _sensors(running).mensajes == before.mensajes
    instance.configure(_with_sensors(umbral="siempre", canal=9))
    os.kill(running.pid, signal.SIGHUP)
    refused = _outcome(instance, 1)
    assert refused["accepted"] is False
    assert "bloques[0].canal" in str(refused["reason"])
    running.stop()
    instance.configure(_with_sensors(umbral="siempre"))
    running = instance.start()  # the same world goes on
    before = _sensors(running.ready())
    assert before.tick > 20
    running.until_tick(before.tick + 20)
    assert _sensors(running).mensajes >= before.mensajes + 10 * 290
    assert running.ask("blocks")["blocks"][0]["umbral"] is None  # JSON has no −∞
    running.stop()


class _Sensors(NamedTuple):
    tick: int
    mensajes: int


def _sensors(running: Running) -> _Sensors:
    """The last committed tick and what the sensors had sent then, or a little later."""
    tick = int(running.status()["tick"])
    blocks = running.ask("blocks")["blocks"]
    return _Sensors(tick, sum(int(b["mensajes"]) for b in blocks if b["canal"] == 1))


def _with_sensors(**bloque: Any) -> dict[str, Any]:
    config = small_config(tick_hz=40)
    config["bloques"][0].update(bloque)
    return config


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_upgrade_keeps_pid_and_world(make: Make) -> None:
    instance = make(small_config(tick_hz=20))
    running = instance.start()
    running.ready().until_tick(5)
    children = {row["pid"] for row in running.status()["processes"]}
    os.kill(running.pid, signal.SIGUSR2)
    assert _outcome(instance, 0)["accepted"] is True
    status = running.ready().status()
    assert status["pid"] == running.pid
    assert not children & {row["pid"] for row in status["processes"]}
    tick = int(status["tick"])
    assert tick > 5
    running.until_tick(tick + 5)
    running.stop()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_upgrade_starts_servers_of_its_own_again(make_embedded: Make) -> None:
    instance = make_embedded(small_config(tick_hz=20))
    running = instance.start()
    running.ready().until_tick(5)
    os.kill(running.pid, signal.SIGUSR2)
    assert _outcome(instance, 0)["accepted"] is True
    running.ready()
    running.until_tick(running.status()["tick"] + 20)
    summary = running.stop().summary
    assert summary["rows_persisted"] == summary["bloques"] * (summary["tick"] // 10)
    assert summary["restarts"] == 0


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_what_processes_read_at_their_start_is_set_by_the_supervisor(
    make: Make, pg_dsn: str
) -> None:
    """``persist.*``, ``streams.*``, ``log.level``: taken over as at a reload, without the file."""
    instance = make(small_config(tick_hz=40))
    running = instance.start("--workers", "2")
    running.ready().until_tick(5)
    instance.configure(small_config(tick_hz=40, seed=7))  # not read: that would be refused
    done = instance.ctl("set", "persist.every_ticks", "3", "--json")
    assert done.code == 0, done.err
    after = int(json.loads(done.out)["after_tick"])
    assert "after_change" not in done.out
    for path, value in (("streams.maxlen", "500"), ("log.level", "warning")):
        assert instance.ctl("set", path, value).code == 0
    assert "allowed an integer" in instance.ctl("set", "persist.every_ticks", "0").err
    assert "by reload" in instance.ctl("set", "log.format", "json").err
    running.ready().until_tick(int(running.status()["tick"]) + 12)
    running.stop()
    instance.configure(small_config(tick_hz=40))
    running = instance.start()  # goes on with it
    running.ready().until_tick(int(running.status()["tick"]) + 12)
    running.stop()
    said = [json.loads(line) for line in running.texts()[1].splitlines() if line.startswith("{")]
    assert not [one for one in said if one["level"] == "info" and "http" in one["event"]]
    ticks = sorted({row["tick"] for row in rows_of(pg_dsn, "corec1") if row["tick"] > after + 30})
    assert len(ticks) > 3
    assert all(tick % 3 == 0 for tick in ticks)
    told = [e["detalle"]["path"] for e in events_of(pg_dsn, "corec1")
            if e["tipo"] == "setting_changed"]  # fmt: skip
    assert told == ["persist.every_ticks", "streams.maxlen", "log.level"]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_who_looks_after_alerts_goes_by_what_was_set(make: Make) -> None:
    """How long they stay: a longer ``retention`` that it has not read has it delete them."""
    instance = make(small_config(tick_hz=20, alertas={}, persist={"retention": "1h"}))
    running = instance.start("--workers", "1").ready()
    before = {role: running.pid_of(role) for role in ("tasks", "broker", "worker")}
    assert instance.ctl("set", "persist.retention", "30d").code == 0
    running.lives()
    now = {role: running.pid_of(role) for role in before}
    assert now["tasks"] != before.pop("tasks")
    assert {role: now[role] for role in before} == before, "nobody else reads it"
    assert running.stop().code == 0
