"""``persist.retention``: what is older goes, table by table; what cannot go is told and left.

A leaf of this instance (``partitions``) that ended before the limit is detached and dropped, and
its partition with the last leaf.  So are leaves of worlds that were set aside, and the last of them
takes its world's row of ``corec_mundos`` along.  A partition of an older CoreC holds rows of
everybody: if others have rows in it, this instance's are deleted and the last one drops it.

DETACH locks out everybody for a moment, so it waits at most ``DROP_WAIT`` for its turn and is tried
again a minute later.  Each table is a transaction of its own: one that cannot be dropped (a view
needs it, it is another role's, somebody reads it for hours) costs no other, and no row.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, NamedTuple

import psycopg
from psycopg import sql

from corec.persister import periods
from corec.persister.partitions import Part, Partitions, leaf_span
from corec.persister.schema import ASIDE, PARTITIONED, Connection
from corec.persister.worlds import family, instances_in

DROP_WAIT: Final = "2s"
_ASIDE_LEAVES: Final = """
    SELECT c.relname::text, m.mundo
      FROM corec_mundos m
      JOIN pg_class c ON starts_with(c.relname::text, 'm_' || m.clave || '_')
      JOIN pg_inherits i ON i.inhrelid = c.oid
     WHERE m.instance_id = %s AND m.mundo IS NOT NULL
       AND i.inhparent = format('%%I.%%I', %s::text, %s::text)::regclass
"""
_FORGET: Final = (
    """
    DELETE FROM corec_offsets o USING corec_mundos m
     WHERE m.instance_id = %(instance)s AND m.mundo = ANY (%(mundos)s) AND o.instance_id = m.mundo
       AND NOT EXISTS (SELECT 1 FROM pg_class c
                        WHERE starts_with(c.relname::text, 'm_' || m.clave || '_'))
    """,
    """
    DELETE FROM corec_mundos m
     WHERE m.instance_id = %(instance)s AND m.mundo = ANY (%(mundos)s)
       AND NOT EXISTS (SELECT 1 FROM pg_class c
                        WHERE starts_with(c.relname::text, 'm_' || m.clave || '_'))
    """,
)


class Dropped(NamedTuple):
    """What one round did."""

    names: list[str]
    """Tables that are gone."""
    kept: dict[str, str]
    """Tables that should be, and why they are not."""
    locked: set[str]
    """Those of them that somebody only holds a lock on."""


class Retention:
    """Drops what is old, over one connection."""

    def __init__(
        self, connection: Connection, partitions: Partitions, instance_id: str, keep: timedelta
    ) -> None:
        self._connection = connection
        self._partitions = partitions
        self._instance_id = instance_id
        self._keep = keep

    async def round(self, now: datetime) -> Dropped:
        """Drop what ended before ``now`` less what is to be kept.

        The earlier of ``now`` and the server's clock counts: a clock that jumped ahead by a year
        must not cost a year of rows.  Raises psycopg.Error when the connection is gone.
        """
        cursor = await self._connection.execute("SELECT now()")
        row = await cursor.fetchone()
        assert row is not None  # SELECT of a constant gives one row
        limit = min(now, row[0].astimezone(UTC)) - self._keep
        done = Dropped([], {}, set())
        for table in PARTITIONED:
            before = len(done.names)
            for part in await self._partitions.existing(table):
                if periods.is_name(table, part.name) and part.span.end <= limit:
                    await self._part(table, part, done)
            if len(done.names) > before:
                self._partitions.forget(table)
            await self._aside(table, limit, done)
        return done

    async def _part(self, table: str, part: Part, done: Dropped) -> None:
        if not part.listed:
            await self._try(part.name, done, partial(self._plain, table, part.name))
            return
        for leaf in part.leaves:
            await self._try(leaf, done, self._detached(part.name, leaf))
        if part.children == sum(leaf in done.names for leaf in part.leaves):
            await self._try(part.name, done, partial(self._without_leaf, table, part.name))

    async def _aside(self, table: str, limit: datetime, done: Dropped) -> None:
        """The same for worlds of this instance that were set aside."""
        values = (self._instance_id, self._partitions.schema, ASIDE[table])
        cursor = await self._connection.execute(_ASIDE_LEAVES, values)
        gone: set[str] = set()
        for leaf, mundo in await cursor.fetchall():
            found = leaf_span(table, leaf)
            if found is not None and found[1].end <= limit:
                await self._try(leaf, done, [self._drop(leaf)])
                gone.add(mundo)
        if gone:
            for statement in _FORGET:
                await self._connection.execute(
                    statement, {"instance": self._instance_id, "mundos": sorted(gone)}
                )

    async def _plain(self, table: str, name: str) -> list[sql.Composed]:
        """What to do with a partition that holds rows itself."""
        there = await instances_in(self._connection, self._partitions.named(name))
        own = family(there, self._instance_id)
        if there == own:
            return self._detached(table, name)
        delete = sql.SQL("DELETE FROM {} WHERE instance_id = ANY ({})")
        ids = sql.Literal(sorted(own))
        return [delete.format(self._partitions.named(name), ids)] if own else []

    async def _without_leaf(self, table: str, name: str) -> list[sql.Composed]:
        """Drop a partition, if nobody has made a leaf in it meanwhile (late rows of another)."""
        parts = await self._partitions.existing(table)
        gone = any(part.name == name and not part.children for part in parts)
        return self._detached(table, name) if gone else []

    def _detached(self, parent: str, child: str) -> list[sql.Composed]:
        named = self._partitions.named
        detach = sql.SQL("ALTER TABLE {} DETACH PARTITION {}")
        return [detach.format(named(parent), named(child)), self._drop(child)]

    def _drop(self, name: str) -> sql.Composed:
        return sql.SQL("DROP TABLE {}").format(self._partitions.named(name))

    async def _try(
        self,
        name: str,
        done: Dropped,
        statements: Sequence[sql.Composed] | Callable[[], Awaitable[Sequence[sql.Composed]]],
    ) -> None:
        """Run all of ``statements`` (found under the lock if they are to be asked for), or none.

        What the server refuses is noted.  Raises psycopg.OperationalError for a lost connection.
        """
        execute = self._connection.execute
        try:
            async with self._connection.transaction():
                await execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(DROP_WAIT)))
                await self._partitions.lock()
                wanted = await statements() if callable(statements) else statements
                for statement in wanted:
                    await execute(statement)
        except psycopg.errors.UndefinedTable:
            return  # somebody else dropped it
        except psycopg.Error as error:
            if self._connection.broken:
                raise
            done.kept[name] = " ".join(str(error).split())
            if isinstance(error, psycopg.errors.LockNotAvailable):
                done.locked.add(name)
            return
        if not await self._partitions.there(name):
            done.names.append(name)
