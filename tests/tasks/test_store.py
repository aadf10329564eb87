"""The tables of alerts, in a database without an instance."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Coroutine
from typing import Any

import psycopg

from corec.persister.writer import connect
from corec.tasks.life import Life, Message
from corec.tasks.store import Stand, Store

CLEAR = 5


def within(dsn: str, work: Callable[[Callable[[int], Store]], Coroutine[Any, Any, None]]) -> None:
    """Do ``work`` with stores of whatever epoch."""

    async def connected() -> None:
        connection = await connect(dsn)
        try:
            await Store(connection, "one", 0).prepare()
            await work(lambda epoch: Store(connection, "one", epoch))
        finally:
            await connection.close()

    asyncio.run(connected())


async def raised(store: Store, ticks: dict[int, int]) -> tuple[Life, Stand]:
    """Alerts of these entities, raised in these ticks, are in the table."""
    life, stand = await store.load(CLEAR)
    for entity, tick in ticks.items():
        life.message(Message(tick, entity, 1, "p", 0.5, {"t": 1.5}))
    after = dataclasses.replace(stand, tick=life.tick, notice=stand.notice + len(life.notices))
    await store.write(life, stand, after)
    life.written()
    return life, after


def test_what_is_open_when_another_world_begins_is_cleared_once(pg_dsn: str) -> None:
    """Nothing more is heard of it: it would be open, and could not be acknowledged, for ever."""

    async def work(store_of: Callable[[int], Store]) -> None:
        old, _ = await raised(store_of(2**64 - 1), {3: 7, 4: 9})
        name = old.alert_id(old.open[4])
        assert old.acknowledge(name, "me")
        again, stand = await store_of(2**64 - 1).load(CLEAR)
        assert sorted(again.open) == [3, 4], "its own are not over"
        assert stand.notice == 2
        for _ in range(2):
            life, stand = await store_of(5).load(CLEAR)
            assert (life.open, stand.notice) == ({}, 4)
        told = await store_of(5).notices(10)
        assert [number for number, _ in told] == [1, 2, 3, 4]
        cleared = {one.id: one for _, one in told[2:]}
        assert {one.event for one in cleared.values()} == {"cleared"}
        assert (cleared[name].tick, cleared[name].fields) == (9, {"t": 1.5})
        await raised(store_of(5), {3: 1})
        assert (await store_of(2**64 - 1).load(CLEAR))[0].open == {}, "nor when that comes back"

    within(pg_dsn, work)
    with psycopg.connect(pg_dsn) as connection:
        found = connection.execute("SELECT entidad, desde, estado, hasta FROM alertas").fetchall()
    assert sorted(found) == [(3, 1, "cleared", 1), (3, 7, "cleared", 7), (4, 9, "cleared", 9)]
