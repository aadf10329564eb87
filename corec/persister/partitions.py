"""Partitions of ``bloques`` and ``eventos``: made ahead, made on demand, dropped by retention.

Theory.  Whoever changes partitions holds the advisory lock ``LOCK_DDL`` until its commit, so two
instances never make or drop the same one; after the lock the catalogue is read again.  A partition
is made as a table by itself and then attached: ATTACH waits for nobody's rows (it takes SHARE
UPDATE EXCLUSIVE on the parent), which ``CREATE TABLE … PARTITION OF`` does not promise.  There is
no DEFAULT partition, as each ATTACH would have to look through it.  Table, index and ATTACH are one
transaction: a kill leaves all or nothing.

DETACH does lock out everybody for a moment, so it waits at most ``DROP_WAIT_MS`` for its turn and
is tried again later.  A partition that holds rows of other instances too is not dropped; this
instance's rows in it are deleted, and the last instance whose rows are too old drops it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import psycopg
from psycopg import sql

from corec.persister import periods
from corec.persister.periods import Span, Unit
from corec.persister.schema import LOCK_DDL, PARTITION_INDEX, PARTITIONED, Connection

AHEAD = 4
DROP_WAIT_MS = 2000
SET_ASIDE_MARK = "~"
"""Between an instance_id (which cannot hold it) and the time an older world was set aside."""

_EXISTING = """
    SELECT c.relname, pg_get_expr(c.relpartbound, c.oid)
      FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
     WHERE i.inhparent = format('%%I.%%I', %s::text, %s::text)::regclass
"""
_INSTANCES = sql.SQL("""
    WITH RECURSIVE one AS (
        (SELECT instance_id FROM {table} ORDER BY instance_id LIMIT 1)
        UNION ALL
        SELECT (SELECT t.instance_id FROM {table} t WHERE t.instance_id > one.instance_id
                 ORDER BY t.instance_id LIMIT 1)
          FROM one WHERE one.instance_id IS NOT NULL
    ) SELECT instance_id FROM one WHERE instance_id IS NOT NULL
""")


class Partitions:
    """The partitions of the two tables, as one connection knows them."""

    def __init__(self, connection: Connection, schema: str, unit: Unit) -> None:
        self._connection = connection
        self._schema = schema
        self._unit = unit
        self._spans: dict[str, list[Span]] = {table: [] for table in PARTITIONED}

    async def ensure(self, table: str, moments: Iterable[datetime]) -> list[str]:
        """Make sure that a row of each of ``moments`` finds a partition; names of those made.

        Asks the server only about moments that no known partition covers.  Raises psycopg.Error.
        """
        wanted = list(moments)
        if not periods.missing(self._unit, wanted, self._spans[table]):
            return []
        async with self._connection.transaction():
            await self._connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK_DDL,))
            spans = [s for _, s in await self._existing(table)]
            made = []
            for unit, span in periods.missing(self._unit, wanted, spans):
                made.append(await self._make(table, unit, span))
                spans.append(span)
        self._spans[table] = spans
        return made

    async def make_ahead(self, now: datetime) -> list[str]:
        """The partitions of ``now`` and of the next ``AHEAD`` units, for both tables."""
        moments = periods.ahead(self._unit, now, AHEAD)
        return [name for table in PARTITIONED for name in await self.ensure(table, moments)]

    async def drop_older(self, instance_id: str, keep: timedelta, now: datetime) -> list[str]:
        """Drop the partitions that end before ``now - keep``; names of those dropped.

        The earlier of ``now`` and the server's clock counts: a clock that jumped ahead by a year
        must not cost a year of rows.  Raises psycopg.Error.
        """
        cursor = await self._connection.execute("SELECT now()")
        row = await cursor.fetchone()
        assert row is not None  # SELECT of a constant gives one row
        limit = min(now, row[0].astimezone(UTC)) - keep
        dropped = []
        for table in PARTITIONED:
            for name, span in await self._existing(table):
                if periods.is_name(table, name) and span.end <= limit:
                    try:
                        gone = await self._drop(table, name, instance_id)
                    except (psycopg.errors.LockNotAvailable, psycopg.errors.UndefinedTable):
                        continue  # somebody reads it, or dropped it: the next round sees
                    if gone:
                        dropped.append(name)
            self._spans[table] = [s for _, s in await self._existing(table)]
        return dropped

    async def _existing(self, table: str) -> list[tuple[str, Span]]:
        cursor = await self._connection.execute(_EXISTING, (self._schema, table))
        found = [(name, periods.parse_bounds(bounds)) for name, bounds in await cursor.fetchall()]
        return [(name, span) for name, span in found if span is not None]

    async def _make(self, table: str, unit: Unit, span: Span) -> str:
        name = periods.name(table, unit, span.start)
        parent = sql.Identifier(self._schema, table)
        child = sql.Identifier(self._schema, name)
        index = sql.Identifier(f"{name}_key" if table == "bloques" else f"{name}_tick")
        like = sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING DEFAULTS INCLUDING STORAGE)")
        attach = sql.SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})")
        execute = self._connection.execute
        await execute(like.format(child, parent))
        await execute(PARTITION_INDEX[table].format(name=index, table=child))
        bounds = (sql.Literal(span.start.isoformat()), sql.Literal(span.end.isoformat()))
        await execute(attach.format(parent, child, *bounds))
        return name

    async def _drop(self, table: str, name: str, instance_id: str) -> bool:
        parent = sql.Identifier(self._schema, table)
        child = sql.Identifier(self._schema, name)
        execute = self._connection.execute
        async with self._connection.transaction():
            await execute("SELECT pg_advisory_xact_lock(%s)", (LOCK_DDL,))
            await execute(sql.SQL("SET LOCAL lock_timeout = {}").format(DROP_WAIT_MS))
            cursor = await execute(_INSTANCES.format(table=child))
            instances = {row[0] for row in await cursor.fetchall()}
            own = {i for i in instances if i.partition(SET_ASIDE_MARK)[0] == instance_id}
            if instances - own:
                delete = sql.SQL("DELETE FROM {} WHERE instance_id = ANY (%s)")
                await execute(delete.format(child), (sorted(own),))
                return False
            await execute(sql.SQL("ALTER TABLE {} DETACH PARTITION {}").format(parent, child))
            await execute(sql.SQL("DROP TABLE {}").format(child))
        return True
