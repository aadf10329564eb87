"""Partitions of ``bloques`` and ``eventos``: made ahead, made on demand.

::

    bloques                              by range of "timestamp"
      bloques_2026_11_22                 by list of instance_id
        m_4be1…_bloques_2026_11_22       one instance's rows of one world: a leaf
      bloques_2026_11_21                 of an older CoreC, or yours: holds rows of everybody

Theory.  A leaf holds rows of one world of one instance and of nothing else, so that a world can be
set aside (``worlds``) and old rows can go (``retention``) leaf by leaf, whatever is in them.

Whoever changes partitions holds the advisory lock ``LOCK_DDL`` until its commit, so two instances
never make or drop the same one; after the lock the catalogue is read again.  A partition is made as
a table by itself and then attached: ATTACH waits for nobody's rows (it takes SHARE UPDATE EXCLUSIVE
on the parent), which ``CREATE TABLE … PARTITION OF`` does not promise.  There is no DEFAULT
partition, as each ATTACH would have to look through it.  Table, index and ATTACH are one
transaction: a kill leaves all or nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from hashlib import blake2s
from typing import NamedTuple

from psycopg import sql
from psycopg.errors import InsufficientPrivilege, LockNotAvailable, UndefinedTable

from corec.persister import periods
from corec.persister.periods import Span, Unit
from corec.persister.schema import (
    LOCK_DDL,
    PARTITION_INDEX,
    PARTITIONED,
    ROW_INDEXES,
    Connection,
)

AHEAD = 4
LEAF_PREFIX = "m_"
_NUMBERED = re.compile(r"_\d+x$")
"""What ``free_name`` adds."""

_EXISTING = """
    SELECT c.relname::text, pg_get_expr(c.relpartbound, c.oid),
           EXISTS (SELECT 1 FROM pg_partitioned_table p
                    WHERE p.partrelid = c.oid AND p.partstrat = 'l'),
           ARRAY(SELECT l.relname::text
                   FROM pg_inherits j JOIN pg_class l ON l.oid = j.inhrelid
                  WHERE j.inhparent = c.oid
                    AND position(quote_literal(%s) IN pg_get_expr(l.relpartbound, l.oid)) > 0),
           (SELECT count(*) FROM pg_inherits j WHERE j.inhparent = c.oid)
      FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
     WHERE i.inhparent = format('%%I.%%I', %s::text, %s::text)::regclass
"""

_UNINDEXED = """
    SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = %s AND c.relname = ANY (%s) AND c.relkind = 'r'
       AND NOT EXISTS (SELECT 1 FROM pg_index x
                        WHERE x.indrelid = c.oid AND x.indisvalid
                          AND position(quote_literal(%s) IN pg_get_expr(x.indpred, x.indrelid)) > 0)
"""


class Part(NamedTuple):
    """A partition of ``bloques`` or ``eventos``."""

    name: str
    span: Span
    listed: bool
    """Made by CoreC to have leaves; else it holds rows itself."""
    leaves: list[str]
    """Those of this instance."""
    children: int
    """How many leaves it has, of all instances."""

    @property
    def serves(self) -> bool:
        """Whether a row of this instance finds its place in it."""
        return not self.listed or bool(self.leaves)


def world_key(instance_id: str, epoch: int) -> str:
    """What the names of a world's leaves begin with, after ``LEAF_PREFIX``: 16 hex digits."""
    return blake2s(f"{instance_id}\0{epoch}".encode(), digest_size=8).hexdigest()


def leaf_name(key: str, part: str) -> str:
    """The leaf of the world with ``key`` in the partition ``part``."""
    return f"{LEAF_PREFIX}{key}_{part}"


def leaf_key(leaf: str) -> str:
    """``world_key`` of the world that a leaf belongs to."""
    return leaf[len(LEAF_PREFIX) :].partition("_")[0]


def leaf_span(table: str, leaf: str) -> tuple[Unit, Span] | None:
    """The unit and times of the partition that a leaf is of; None: it is none of ``table``."""
    part = leaf[len(LEAF_PREFIX) :].partition("_")[2]
    return periods.parse_name(table, _NUMBERED.sub("", part))


class Partitions:
    """The partitions of the two tables, as one connection knows them."""

    def __init__(
        self, connection: Connection, schema: str, unit: Unit, instance_id: str, key: str
    ) -> None:
        """``key``: ``world_key`` of the world that writes."""
        self._connection = connection
        self.schema = schema
        self._unit = unit
        self._instance_id = instance_id
        self._key = key
        self._spans: dict[str, list[Span]] = {table: [] for table in PARTITIONED}

    async def ensure(self, table: str, moments: Iterable[datetime]) -> list[str]:
        """Make sure that a row of each of ``moments`` finds its place; partitions of those made.

        Asks the server only about moments that no known partition covers.  Raises psycopg.Error.
        """
        wanted = list(moments)
        if not periods.missing(self._unit, wanted, self._spans[table]):
            return []
        async with self._connection.transaction():
            await self.lock()
            parts = await self.existing(table)
            made = []
            for unit, span in periods.missing(self._unit, wanted, [p.span for p in parts]):
                made.append(await self.make(table, unit, span))
            for part in parts:
                inside = any(part.span.start <= m < part.span.end for m in wanted)
                if inside and not part.serves:
                    await self._make_leaf(table, part.name)
                    made.append(part.name)
        self._spans[table] = [p.span for p in await self.existing(table) if p.serves]
        return made

    async def make_ahead(self, now: datetime) -> list[str]:
        """The partitions of ``now`` and of the next ``AHEAD`` units, for both tables."""
        moments = periods.ahead(self._unit, now, AHEAD)
        return [name for table in PARTITIONED for name in await self.ensure(table, moments)]

    def forget(self, table: str) -> None:
        """Partitions went: look at the catalogue before the next row."""
        self._spans[table] = []

    async def lock(self) -> None:
        """Until the commit nobody else changes partitions."""
        await self._connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK_DDL,))

    async def existing(self, table: str) -> list[Part]:
        """The partitions of ``table``, but for one whose bounds are no two times."""
        values = (self._instance_id, self.schema, table)
        cursor = await self._connection.execute(_EXISTING, values)
        found = []
        for name, bounds, listed, leaves, children in await cursor.fetchall():
            span = periods.parse_bounds(bounds)
            if span is not None:
                ours = listed and periods.is_name(table, name)
                found.append(Part(name, span, ours, leaves if ours else [], children))
        return found

    async def make(self, table: str, unit: Unit, span: Span, *, leaf: bool = True) -> str:
        """A partition, with the leaf of this world unless told not to; hold ``lock``."""
        name = periods.name(table, unit, span.start)
        parent, child = self.named(table), self.named(name)
        index = sql.Identifier(f"{name}_key" if table == "bloques" else f"{name}_tick")
        execute = self._connection.execute
        make = sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING DEFAULTS INCLUDING STORAGE)"
                       " PARTITION BY LIST (instance_id)")  # fmt: skip
        await execute(make.format(child, parent))
        await execute(PARTITION_INDEX[table].format(name=index, table=child))
        if leaf:
            await self._make_leaf(table, name)
        attach = sql.SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})")
        bounds = (sql.Literal(span.start.isoformat()), sql.Literal(span.end.isoformat()))
        await execute(attach.format(parent, child, *bounds))
        return name

    async def _make_leaf(self, table: str, part: str) -> None:
        leaf = await self.free_name(leaf_name(self._key, part))
        like = sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING DEFAULTS INCLUDING STORAGE)")
        await self._connection.execute(like.format(self.named(leaf), self.named(table)))
        for index in ROW_INDEXES.values() if table == "eventos" else ():
            await self._connection.execute(index.format(self.named(leaf)))
        await self.attach_leaf(part, leaf)

    async def index_rows(self) -> list[str]:
        """Make the ``ROW_INDEXES`` of this instance's leaves, and of what holds everybody's rows,
        where an older CoreC made none; the tables that have got one.

        One whose writers do not leave it alone for a moment waits for the next call. Raises
        psycopg.Error.
        """
        parts = await self.existing("eventos")
        names = [name for p in parts for name in (p.leaves if p.listed else [p.name])]
        made = []
        for kind, index in ROW_INDEXES.items():
            for name in await self._unindexed(names, kind):
                try:
                    async with self._connection.transaction():
                        await self._connection.execute("SET LOCAL lock_timeout = '1s'")
                        await self.lock()
                        if await self._unindexed([name], kind):
                            await self._connection.execute(index.format(self.named(name)))
                            made.append(name)
                except (LockNotAvailable, InsufficientPrivilege, UndefinedTable):
                    continue
        return made

    async def _unindexed(self, names: list[str], kind: str) -> list[str]:
        """Those tables without the index that is of this kind of event."""
        cursor = await self._connection.execute(_UNINDEXED, (self.schema, names, kind))
        return [name for (name,) in await cursor.fetchall()]

    async def attach_leaf(self, part: str, leaf: str) -> None:
        """Make ``leaf`` this instance's in ``part``.  Raises psycopg.Error."""
        attach = sql.SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES IN ({})")
        await self._connection.execute(
            attach.format(self.named(part), self.named(leaf), sql.Literal(self._instance_id))
        )

    async def free_name(self, wanted: str) -> str:
        """``wanted``, or with a number if there is something of that name."""
        name, n = wanted, 1
        while await self.there(name):
            n += 1
            name = f"{wanted}_{n}x"
        return name

    async def there(self, name: str) -> bool:
        """Whether CoreC's schema has something of that name."""
        cursor = await self._connection.execute(
            "SELECT to_regclass(format('%%I.%%I', %s::text, %s::text)) IS NOT NULL",
            (self.schema, name),
        )
        row = await cursor.fetchone()
        return row is not None and bool(row[0])

    def named(self, name: str) -> sql.Identifier:
        """A table of CoreC's schema."""
        return sql.Identifier(self.schema, name)
