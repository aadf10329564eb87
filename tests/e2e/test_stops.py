"""Stops, rests and pauses while something is away: soon, told, and nothing lost or twice."""

from __future__ import annotations

import json
import os
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg
import pytest
import redis

from corec import layout as L
from corec.control.client import Unreachable
from corec.control.outcome import last_change
from corec.lab.chaos.proxy import Proxy
from corec.supervisor.drain import STILL_SECONDS
from tests.e2e.conftest import Make
from tests.e2e.test_life import checkpoints
from tests.support.instance import Instance, Running, small_config
from tests.support.ledger import assert_rows_once, messages_of, rows_of
from tests.support.processes import children_of, command_of, is_running, wait_until
from tests.support.proxied import Proxied

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.usefixtures("no_leaks")]

BLOCKS = 8


@pytest.fixture
def redis_proxy(valkey_url: str) -> Iterator[Proxy]:
    """The session's Valkey behind a proxy that can be closed and frozen."""
    parts = urlsplit(valkey_url)
    target = unquote(parts.path) if parts.scheme == "unix" else f"{parts.hostname}:{parts.port}"
    with Proxy(target) as proxy:
        yield proxy


def behind(tmp_path: Path, shm_dir: Path, dsn: str, url: str, **changes: object) -> Instance:
    """An instance on these addresses."""
    config = small_config(tick_hz=100, **changes)
    return Instance(tmp_path / "home", shm_dir / "run", config, db_url=dsn, redis_url=url)


@pytest.mark.parametrize("how", ["closed", "frozen"])
def test_a_stop_without_redis(
    tmp_path: Path, shm_dir: Path, pg_dsn: str, valkey_url: str, redis_proxy: Proxy, compiled: None,
    how: str,
) -> None:  # fmt: skip
    one = behind(tmp_path, shm_dir, pg_dsn, f"redis://127.0.0.1:{redis_proxy.port}/0")
    try:
        run = one.start().ready().until_tick(20)
        redis_proxy.tell("refuse" if how == "closed" else "hold")
        run.until_tick(run.status()["tick"] + 60)
        asked = time.monotonic()
        told = one.ctl("stop", "--json")
        first = run.wait()
        assert time.monotonic() - asked < STILL_SECONDS + 22
        assert (told.summary["stopped"], told.summary["in_memory"]) == (True, True)
        assert "not everything was delivered, and waits" in told.err
        summary = first.summary
        assert summary["undelivered_bytes"]["redis"] > 0
        assert summary["undelivered_bytes"]["postgresql"] == 0
        assert "not everything was delivered" in first.err
        assert summary["digest_tick"] == summary["tick"]
        assert len(checkpoints(run)) == 1
        assert any(name.endswith("control.seg") for name in one.runtime_files())
        redis_proxy.tell("pass")
        second = one.run("--ticks", "20").summary
        assert second["tick"] == summary["tick"] + 20, "it went on where it was"
        assert second["undelivered_bytes"] == {"postgresql": 0, "redis": 0}
        assert_rows_once(rows_of(pg_dsn), BLOCKS, second["tick"])
        out = messages_of(valkey_url, 1)
        assert len(out) == len(set(out)) == second["messages_out"]
        one.assert_clean()
    finally:
        one.kill()


def test_a_stop_whose_rows_wait_in_the_spool(make: Make, pg_dsn: str) -> None:
    """A table that is gone: the stop is clean, and says what the database has not got."""
    one = make(small_config(tick_hz=100))
    run = one.start().ready().until_tick(20)
    with psycopg.connect(pg_dsn, autocommit=True) as connection:
        connection.execute("ALTER TABLE bloques RENAME TO elsewhere")
        run.until_tick(run.status()["tick"] + 60)
        summary = run.stop().summary
        assert summary["undelivered_bytes"]["postgresql"] > 0
        connection.execute("ALTER TABLE elsewhere RENAME TO bloques")
    second = one.run("--ticks", "20").summary
    assert second["undelivered_bytes"] == {"postgresql": 0, "redis": 0}
    assert_rows_once(rows_of(pg_dsn), BLOCKS, second["tick"])


def test_a_stop_within_a_tick(
    tmp_path: Path, shm_dir: Path, proxied: Proxied, valkey_url: str, compiled: None
) -> None:
    """Lanes and spool are full, so the tick can't be finished: the next start does that, and each
    row comes once."""
    config = {"persist": {"every_ticks": 1, "spool_max_mb": 1}}
    one = behind(tmp_path, shm_dir, proxied.url, valkey_url, **config)
    one.configure(one.config | {"tick_hz": 0})
    try:
        run = one.start().ready().until_tick(20)
        proxied.proxy.tell("hold")
        _stands_still(run)
        asked = time.monotonic()
        told = one.ctl("stop", "--json")
        ended = run.wait()
        assert time.monotonic() - asked < STILL_SECONDS + 22
        assert (told.code, json.loads(told.out)["in_memory"]) == (1, True)
        assert "no checkpoint was made: its world stays in memory" in told.err
        assert ended.code == 1
        assert "stopped within a tick" in ended.err
        proxied.proxy.tell("pass")
        again = one.run("--ticks", "5").summary
        assert_rows_once(rows_of(proxied.direct), BLOCKS, again["tick"], every=1)
        one.assert_clean()
    finally:
        one.kill()


def _stands_still(run: Running) -> None:
    """Until its ticks wait for room, and none can come any more.

    Full lanes alone say too little: a database that does not answer has ``SILENT_S`` until rows go
    to the spool instead, and with the spool's room the tick that waited ends at its boundary.
    """

    def waits() -> bool:
        status = run.status()
        rows = {(r["role"], r["state"], r["error"]) for r in status["processes"]}
        if seen["tick"] != status["tick"] or ("persister", "waiting", full) not in rows:
            seen.update(tick=status["tick"], since=time.monotonic())
        waiting = any((role, state) == ("worker", "waiting") for role, state, _error in rows)
        return waiting and time.monotonic() - seen["since"] > 2.0

    full = L.REASON_NAMES[L.REASON_FULL]

    seen = {"tick": -1, "since": 0.0}
    wait_until(waits, "ticks wait", 120.0)


def test_a_reload_frees_ticks_that_wait(
    tmp_path: Path, shm_dir: Path, proxied: Proxied, valkey_url: str, compiled: None
) -> None:
    config = {"persist": {"every_ticks": 1, "spool_max_mb": 1}}
    one = behind(tmp_path, shm_dir, proxied.url, valkey_url, **config)
    one.configure(one.config | {"tick_hz": 0})
    try:
        run = one.start().ready().until_tick(20)
        proxied.proxy.tell("hold")
        _stands_still(run)
        stood = run.status()["tick"]
        # with a pace: what ticks leave behind meanwhile, a stop on a busy machine has time for
        more = {"every_ticks": 1, "spool_max_mb": 64}
        one.configure(one.config | {"tick_hz": 50, "persist": more})
        run.signal(signal.SIGHUP)
        wait_until(lambda: last_change(one.folder)["number"] == 1, "the outcome", 60.0)
        assert last_change(one.folder)["accepted"] is True
        wait_until(lambda: _tick(run) > stood + 20, "ticks go on", 60.0)
        proxied.proxy.tell("pass")
        ended = run.stop().summary
        assert not any(ended["undelivered_bytes"].values()), ended
        assert_rows_once(rows_of(proxied.direct), BLOCKS, ended["tick"], every=1)
        one.assert_clean()
    finally:
        one.kill()


def _tick(run: Running) -> int:
    try:
        return int(run.status()["tick"])
    except Unreachable:
        return -1  # the nucleus is being replaced


def test_a_rest_that_does_not_come_changes_nothing(make: Make, valkey_url: str) -> None:
    """A worker that is frozen before it can be told so: refused, or done once it was replaced."""
    one = make(small_config(tick_hz=50, workers=2))
    run = one.start().ready().until_tick(10)
    frozen = run.pid_of("worker", 1)
    os.kill(frozen, signal.SIGSTOP)
    run.signal(signal.SIGTTOU)
    wait_until(lambda: last_change(one.folder)["number"] == 1, "the outcome", 60.0)
    assert not is_running(frozen)
    run.ready()
    with redis.Redis.from_url(valkey_url) as client:
        client.xadd("corec:{corec1}:in:3", {"id": "300", "datos": '{"valor": 2.5}'})
    wait_until(lambda: run.status()["messages_in"] == 1, "input goes on", 20.0)
    assert run.ask("snapshot", 60.0)["tick"] > 10
    assert run.stop().summary["digest"]


def test_a_tree_that_was_stopped_goes_on(make_embedded: Make) -> None:
    """As ``docker pause``, or a closed lid, for longer than a process may be silent."""
    one = make_embedded(small_config(tick_hz=50))
    run = one.start().ready().until_tick(10)
    tree = [run.pid, *children_of(run.pid)]
    for pid in tree:
        os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        wait_until(lambda: time.monotonic() - began > 12.0, "twelve seconds", 20.0)
    finally:
        for pid in tree:
            os.kill(pid, signal.SIGCONT)
    run.ready().until_tick(run.status()["tick"] + 20)
    assert run.stop().summary["restarts"] == 0


def test_a_server_that_hangs_blinds_nobody(make_embedded: Make) -> None:
    """The Valkey that comes back hangs; a worker is killed; a reload is asked for; all is done."""
    one = make_embedded(small_config(tick_hz=50))
    run = one.start().ready().until_tick(10)

    def valkeys() -> set[int]:
        return {pid for pid in children_of(run.pid) if "valkey-server" in command_of(pid)}

    old = valkeys()
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: valkeys() - old, "another is started", 20.0)
    fresh = valkeys() - old
    for pid in fresh:
        os.kill(pid, signal.SIGSTOP)
    try:
        os.kill(run.pid_of("worker"), signal.SIGKILL)
        tick = run.status()["tick"]
        run.until_tick(tick + 20)
        one.configure(one.config | {"tick_hz": 60})
        run.signal(signal.SIGHUP)
        wait_until(lambda: last_change(one.folder)["number"] == 1, "the outcome", 30.0)
        assert last_change(one.folder)["accepted"] is True
    finally:
        for pid in fresh:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    run.ready().until_tick(run.status()["tick"] + 10)
    assert run.stop().summary["undelivered_bytes"] == {"postgresql": 0, "redis": 0}


def test_a_stop_without_a_free_descriptor(make: Make) -> None:
    """To look how far it is takes one: without it the other figures say, and the stop goes on."""
    one = make(small_config(tick_hz=100))
    run = one.start().ready().until_tick(20)
    taken = {int(name) for name in os.listdir(f"/proc/{run.process.pid}/fd")}
    lowest = min(set(range(len(taken) + 1)) - taken)
    _, hard = resource.prlimit(run.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(run.process.pid, resource.RLIMIT_NOFILE, (lowest, hard))
    ended = run.stop()
    assert ended.code == 0, ended.err[-3000:]
    assert len(checkpoints(run)) == 1
