"""A whole instance while its database is away: what the operator sees, and what is there after."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.instance import Instance, Running, small_config
from tests.support.processes import wait_until
from tests.support.proxied import Proxied

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_leaks")]


@pytest.fixture
def running(
    tmp_path: Path, shm_dir: Path, proxied: Proxied, valkey_url: str, compiled: None
) -> Iterator[Running]:
    """An instance that writes a row per block and tick, 50 ticks a second."""
    config = small_config(tick_hz=50, persist={"every_ticks": 1}, workers=2)
    one = Instance(
        tmp_path / "home", shm_dir / "run", config, db_url=proxied.url, redis_url=valkey_url
    )
    try:
        yield one.start().ready()
        one.assert_clean()
    finally:
        one.kill()


def metrics(running: Running) -> dict[str, float]:
    """The metrics without labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{running.http_port}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    pairs = [line.split(" ") for line in lines if not line.startswith("#") and "{" not in line]
    return {name: float(value) for name, value in pairs}


def persister(running: Running) -> dict[str, Any]:
    """The persister's line of ``status``."""
    rows = running.status()["processes"]
    found: dict[str, Any] = next(row for row in rows if row["role"] == "persister")
    return found


def test_status_and_metrics_show_the_spool(running: Running, proxied: Proxied) -> None:
    running.until_tick(50)
    assert running.status()["spool_bytes"] == 0
    proxied.proxy.tell("refuse")
    wait_until(lambda: running.status()["spool_bytes"] > 10_000, "rows are spooled", 20.0)
    assert persister(running)["state"] == "waiting"
    assert persister(running)["error"] == "its server cannot be reached"
    assert metrics(running)["corec_spool_bytes"] > 10_000
    tick = running.status()["tick"]
    running.until_tick(tick + 50)
    proxied.proxy.tell("pass")
    wait_until(lambda: running.status()["spool_bytes"] == 0, "the spool is written", 20.0)
    assert metrics(running)["corec_spool_bytes"] == 0
    ended = running.stop().summary
    with psycopg.connect(proxied.direct) as connection:
        rows = connection.execute(
            "SELECT count(*), count(DISTINCT (id, tick)), max(tick) FROM bloques"
        ).fetchone()
    blocks = ended["bloques"]
    assert rows == (ended["ticks"] * blocks, ended["ticks"] * blocks, ended["ticks"])
    assert ended["rows_persisted"] == ended["ticks"] * blocks


def test_stopped_while_the_database_is_away(running: Running, proxied: Proxied) -> None:
    """It stops in its own time, exits 0, and the next start writes what it left."""
    running.until_tick(20)
    proxied.proxy.tell("refuse")
    running.until_tick(running.status()["tick"] + 50)
    first = running.stop().summary
    spool = running.instance.home / "var" / "state" / "corec1" / "spool"
    assert list(spool.glob("*.log"))
    proxied.proxy.tell("pass")
    second = running.instance.run("--ticks", "20").summary
    total = first["ticks"] + second["ticks"]
    with psycopg.connect(proxied.direct) as connection:
        rows = connection.execute(
            "SELECT count(*), count(DISTINCT (id, tick)), max(tick) FROM bloques"
        ).fetchone()
    assert rows == (total * first["bloques"], total * first["bloques"], total)
    assert list(spool.iterdir()) == []
