"""Rows of ticks that run again after a machine was lost are those that were written then.

How often blocks write one and with which payload was set and reloaded meanwhile. A row at a tick
that had none would tell once more of messages that another row has told of.
"""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from corec.persister.read import decode_payload
from tests.e2e.conftest import Make
from tests.support.instance import Instance, Running, machine_is_lost
from tests.support.processes import wait_until

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.slow, pytest.mark.timeout(300)]

ENTITIES = 10
EVERY = 10


def config(**persist: Any) -> dict[str, Any]:
    """Each entity emits in each tick."""
    town = {"id": "town", "canal": 1, "entidades": 2 * ENTITIES, "entidades_por_bloque": ENTITIES,
            "umbral": "siempre"}  # fmt: skip
    return {
        "instance_id": "corec1", "http": {"port": 0}, "streams": {"batch_ms": 2}, "tick_hz": 25,
        "checkpoint": {"every_seconds": 0}, "persist": {"every_ticks": EVERY, **persist},
        "bloques": [town],
    }  # fmt: skip


def rows(dsn: str) -> dict[tuple[str, int], tuple[int, int, int]]:
    """Of each block and tick: how many messages its row counts, has, and had no room for."""
    found = {}
    with psycopg.connect(dsn) as connection:
        for block, tick, count, payload in connection.execute(
            "SELECT id, tick, mensajes, payload FROM bloques"
        ):
            told = decode_payload(payload)
            found[block, tick] = (count, len(told["mensajes"]["id"]), told["omitidos"])
    return found


def tick_of(run: Running, more: int = 0) -> int:
    """That it has come to, when it has run so many more."""
    if more:
        run.until_tick(tick_of(run) + more)
    return int(run.answered("status")["tick"])


def changed(one: Instance, run: Running) -> list[int]:
    """Behind which ticks: what is written was set, and reloaded; the last is in the sinks."""
    found = [tick_of(run, 2 * EVERY)]
    assert one.ctl("set", "persist.every_ticks", "3").code == 0
    found.append(tick_of(run.ready(), EVERY))
    one.configure(config(payload="histogram"))
    assert one.ctl("reload").code == 0
    found.append(tick_of(run.ready(), EVERY))
    wait_until(lambda: run.answered("status")["persist_lag_ticks"] < EVERY, "its rows", 60)
    return found


def test_they_are_those_that_were_written(make: Make, pg_dsn: str) -> None:
    one = make(config())
    run = one.start("--workers", "1").ready().until_tick(EVERY + 3)
    run.ask("snapshot")
    ticks = changed(one, run)
    machine_is_lost(one, run)
    before = rows(pg_dsn)
    run = one.start("--workers", "1").ready().until_tick(ticks[-1] + 3 * EVERY)
    assert run.stop().code == 0
    after = rows(pg_dsn)
    assert before.items() <= after.items()
    steps = set()
    for name in ("town:00000", "town:00001"):
        last = 0
        for block, tick in sorted(after):
            if block == name:
                count, has, lacks = after[block, tick]
                assert count == has + lacks == ENTITIES * (tick - last), (block, tick)
                steps.add(tick - last)
                last = tick
    assert {3, EVERY} <= steps
    assert "may not be the same" not in run.texts()[1]
