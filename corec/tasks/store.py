"""The tables of alerts: what is written in one transaction, and read when the process begins.

``corec_alertas`` holds how far a world's streams were read; the UPDATE that moves it names what was
known, so of two processes (one of them frozen, thought dead) only one can go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from psycopg.types.json import Jsonb

from corec.notices import Notice
from corec.persister.schema import LOCK_DDL, Connection
from corec.tasks.life import CLEARED, Alert, Life

CREATE: Final = (
    """
    CREATE TABLE IF NOT EXISTS alertas (
        instance_id text NOT NULL,
        id text NOT NULL,
        canal smallint NOT NULL,
        procesador text NOT NULL,
        entidad bigint NOT NULL,
        estado text NOT NULL,
        "timestamp" timestamptz NOT NULL,
        desde bigint NOT NULL,
        ultimo bigint NOT NULL,
        hasta bigint,
        veces bigint NOT NULL,
        valor double precision,
        campos jsonb NOT NULL,
        acuse text,
        epoch bigint NOT NULL,
        PRIMARY KEY (instance_id, id)
    )
    """,
    """
    CREATE INDEX IF NOT EXISTS alertas_abiertas ON alertas (instance_id, "timestamp")
     WHERE estado <> 'cleared'
    """,
    """
    CREATE TABLE IF NOT EXISTS corec_alertas (
        instance_id text NOT NULL,
        epoch bigint NOT NULL,
        entrada text NOT NULL,
        acuse text NOT NULL,
        tick bigint NOT NULL,
        aviso bigint NOT NULL,
        raised bigint NOT NULL,
        PRIMARY KEY (instance_id, epoch)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS corec_avisos (
        instance_id text NOT NULL,
        numero bigint NOT NULL,
        aviso jsonb NOT NULL,
        PRIMARY KEY (instance_id, numero)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS tareas_fallidas (
        instance_id text NOT NULL,
        entrada text NOT NULL,
        "timestamp" timestamptz NOT NULL,
        tarea text NOT NULL,
        run text NOT NULL,
        aviso jsonb NOT NULL,
        intentos integer NOT NULL,
        error text NOT NULL,
        PRIMARY KEY (instance_id, entrada)
    )
    """,
)
_ALERT: Final = """
    INSERT INTO alertas (instance_id, id, canal, procesador, entidad, estado, "timestamp", desde,
                         ultimo, hasta, veces, valor, campos, acuse, epoch)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (instance_id, id) DO UPDATE
    SET estado = excluded.estado, ultimo = excluded.ultimo, hasta = excluded.hasta,
        veces = excluded.veces, valor = excluded.valor, campos = excluded.campos,
        acuse = excluded.acuse
"""
_MOVE: Final = """
    UPDATE corec_alertas SET entrada = %s, acuse = %s, tick = %s, aviso = %s, raised = %s
     WHERE instance_id = %s AND epoch = %s AND entrada = %s AND acuse = %s AND aviso = %s
"""
_NOTICE: Final = "INSERT INTO corec_avisos VALUES (%s, %s, %s)"
_END_OTHERS: Final = """
    UPDATE alertas SET estado = %s, hasta = ultimo
     WHERE instance_id = %s AND epoch <> %s AND estado <> %s
    RETURNING id, ultimo, entidad, canal, procesador, valor, campos, veces
"""
_OPEN: Final = """
    SELECT entidad, desde, ultimo, veces, canal, procesador, valor, campos, "timestamp", acuse
      FROM alertas WHERE instance_id = %s AND epoch = %s AND estado <> %s
"""


class Moved(Exception):
    """Another process has written for this world meanwhile: begin anew."""


@dataclass(frozen=True)
class Stand:
    """How far a world's streams are read, and how many notices and alerts there were."""

    entry: str = "0-0"
    ack: str = "0-0"
    tick: int = 0
    notice: int = 0
    raised: int = 0


def signed(epoch: int) -> int:
    """A 64-bit number as PostgreSQL's bigint has it."""
    return epoch - (1 << 64) if epoch >= 1 << 63 else epoch


class Store:
    """One connection's view of the tables."""

    def __init__(self, connection: Connection, instance_id: str, epoch: int) -> None:
        self._connection, self._instance, self._epoch = connection, instance_id, epoch

    async def prepare(self) -> None:
        """Make the tables where they are missing."""
        async with self._connection.transaction():
            await self._connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK_DDL,))
            for statement in CREATE:
                await self._connection.execute(statement)

    async def load(self, clear_after: int, told: int = 0) -> tuple[Life, Stand]:
        """What is known of this world; its row is made where there is none. ``told``: the number of
        the last notice in the stream, which is larger than what a database says that is new."""
        async with self._connection.transaction():
            return await self._load(clear_after, told)

    async def _load(self, clear_after: int, told: int) -> tuple[Life, Stand]:
        key = (self._instance, signed(self._epoch))
        await self._connection.execute(
            """
            INSERT INTO corec_alertas
            SELECT %s, %s, '0-0', '0-0', 0, coalesce(max(aviso), 0), 0 FROM corec_alertas
             WHERE instance_id = %s ON CONFLICT DO NOTHING
            """,
            (*key, self._instance),
        )
        cursor = await self._connection.execute(
            """
            SELECT entrada, acuse, tick, (SELECT max(aviso) FROM corec_alertas a
                                           WHERE a.instance_id = c.instance_id), raised
              FROM corec_alertas c WHERE instance_id = %s AND epoch = %s
            """,
            key,
        )
        row = await cursor.fetchone()
        assert row is not None
        entry, ack, tick, known, raised = row
        notice = max(int(known), told)
        notice += await self._end_others(notice)
        await self._connection.execute(
            "UPDATE corec_alertas SET aviso = %s WHERE instance_id = %s AND epoch = %s",
            (notice, *key),
        )
        cursor = await self._connection.execute(_OPEN, (*key, CLEARED))
        found = {}
        async for entity, first, last, count, canal, name, valor, fields, at, who in cursor:
            ms = round(at.timestamp() * 1000)
            found[entity] = Alert(entity, first, last, count, canal, name, valor, fields, ms, who)
        stand = Stand(entry, ack, tick, notice, raised)
        return Life(self._epoch, clear_after, found, tick), stand

    async def _end_others(self, notice: int) -> int:
        """Clear what is open of other worlds: nothing will be heard of it. How many; ``notice``:
        the number of the last notice so far."""
        cursor = await self._connection.execute(
            _END_OTHERS, (CLEARED, self._instance, signed(self._epoch), CLEARED)
        )
        told: list[tuple[str, int, str]] = []
        async for name, tick, entity, canal, procesador, valor, fields, count in cursor:
            one = Notice(name, CLEARED, tick, entity, canal, procesador, valor, fields, count)
            said = orjson.dumps(one.as_dict()).decode()
            told.append((self._instance, notice + len(told) + 1, said))
        if told:
            async with self._connection.cursor() as cursor:
                await cursor.executemany(_NOTICE, told)
        return len(told)

    async def write(self, life: Life, before: Stand, after: Stand) -> None:
        """What ``life`` gathered, and how far that is, at once. Raises Moved."""
        alerts = [self._row(life, alert) for alert in life.changed.values()]
        notices = [
            (self._instance, before.notice + k, orjson.dumps(one.as_dict()).decode())
            for k, one in enumerate(life.notices, 1)
        ]
        async with self._connection.transaction(), self._connection.cursor() as cursor:
            await cursor.execute(
                _MOVE,
                (after.entry, after.ack, after.tick, after.notice, after.raised, self._instance,
                 signed(self._epoch), before.entry, before.ack, before.notice),
            )  # fmt: skip
            if cursor.rowcount != 1:
                raise Moved
            if alerts:
                await cursor.executemany(_ALERT, alerts)
            if notices:
                await cursor.executemany(_NOTICE, notices)

    def _row(self, life: Life, one: Alert) -> tuple[Any, ...]:
        at = datetime.fromtimestamp(one.raised_ms / 1000, UTC)
        return (
            self._instance, life.alert_id(one), one.canal, one.procesador, one.entity, one.state,
            at, one.first, one.last, one.cleared, one.count, one.valor, Jsonb(dict(one.fields)),
            one.acknowledged, signed(self._epoch),
        )  # fmt: skip

    async def notices(self, most: int) -> list[tuple[int, Notice]]:
        """Those that are not in the stream for sure, with their numbers, in order."""
        cursor = await self._connection.execute(
            "SELECT numero, aviso FROM corec_avisos WHERE instance_id = %s ORDER BY 1 LIMIT %s",
            (self._instance, most),
        )
        return [(number, Notice.from_dict(said)) async for number, said in cursor]

    async def known(self, last: int) -> int:
        """Up to which number notices were in the stream once; ``last``: of the last one of all."""
        cursor = await self._connection.execute(
            "SELECT coalesce(min(numero) - 1, %s) FROM corec_avisos WHERE instance_id = %s",
            (last, self._instance),
        )
        row = await cursor.fetchone()
        assert row is not None
        return int(row[0])

    async def sent(self, number: int) -> None:
        """The notices up to this number are in the stream."""
        await self._connection.execute(
            "DELETE FROM corec_avisos WHERE instance_id = %s AND numero <= %s",
            (self._instance, number),
        )

    async def failed(self, letters: Sequence[tuple[Any, ...]]) -> None:
        """Letters of failure; those that are there already stay."""
        async with self._connection.cursor() as cursor:
            await cursor.executemany(
                "INSERT INTO tareas_fallidas VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"
                " ON CONFLICT DO NOTHING",
                [(self._instance, *letter) for letter in letters],
            )

    async def forget(self, seconds: int) -> None:
        """Cleared alerts and failures older than ``persist.retention`` go."""
        old = (self._instance, seconds)
        past = '"timestamp" < now() - make_interval(secs => %s)'
        await self._connection.execute(
            f"DELETE FROM alertas WHERE instance_id = %s AND estado = 'cleared' AND {past}", old
        )
        await self._connection.execute(
            f"DELETE FROM tareas_fallidas WHERE instance_id = %s AND {past}", old
        )
