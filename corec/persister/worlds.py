"""One instance's worlds in the tables: the one that writes, and those that were set aside.

Theory.  ``bloques`` and ``eventos`` show the rows of each instance's world of now.  When another
world begins, the leaves of the one before (``partitions``) are detached, get the column ``mundo``,
whose value is the catalogue's and costs no byte in any row, and become children of
``mundos_bloques`` and ``mundos_eventos``.  No row is read or written, so that takes as long for a
thousand rows as for a thousand million.  An empty leaf is dropped.  When the older world comes back
(``corec checkpoint restore``) its leaves and its rows of ``corec_offsets`` come back likewise; the
server then looks once through the rows.

``corec_mundos`` has a row per (instance_id, epoch): ``clave`` is in the names of the world's
leaves; ``mundo`` is null for the world of now, else ``<instance_id>~<time it was set aside>``, and
its rows of ``corec_offsets`` have that as their instance_id.

Order, each step a transaction under the instance's advisory lock, and what a kill leaves:

    plain partitions set aside                 the older world is there, but for these (an older
                                               CoreC made them); the next start goes on
    corec_offsets, corec_mundos changed over   whoever wrote before is fenced out from here on
    leaves moved, ``CHUNK`` at a time          the next take-over finds leaves of another world (or
      [K persist.aside, persist.back]          of its own, aside) and goes on

and only then the new world's first row.

Rejected: an UPDATE of instance_id (as long as there are rows, and the tables twice as large); a
column in each row and a view of the world of now under the name ``bloques`` (nobody's partitions,
privileges, COPY and ATTACH would be where they look for them).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, NamedTuple

import psycopg
from psycopg import sql

from corec.log import get_logger
from corec.persister import periods
from corec.persister.offsets import PositionMoved
from corec.persister.partitions import (
    Part,
    Partitions,
    leaf_key,
    leaf_name,
    leaf_span,
    world_key,
)
from corec.persister.schema import ASIDE, PARTITIONED, Connection
from shm.killpoint import kill_point

ASIDE_MARK: Final = "~"
"""Between an instance_id (which cannot hold it) and the time a world was set aside."""
CHUNK: Final = 16
"""So many tables in a transaction: each takes several places of the server's lock table."""
LOCK_WAIT: Final = "5s"

log = get_logger(__name__)

INSTANCES: Final = sql.SQL("""
    WITH RECURSIVE one AS (
        (SELECT instance_id FROM {table} ORDER BY instance_id LIMIT 1)
        UNION ALL
        SELECT (SELECT t.instance_id FROM {table} t WHERE t.instance_id > one.instance_id
                 ORDER BY t.instance_id LIMIT 1)
          FROM one WHERE one.instance_id IS NOT NULL
    ) SELECT instance_id FROM one WHERE instance_id IS NOT NULL
""")
_ASIDE_LEAVES: Final = """
    SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
     WHERE i.inhparent = format('%%I.%%I', %s::text, %s::text)::regclass
       AND starts_with(c.relname::text, %s)
     ORDER BY 1
"""
_FOREIGN: Final = """
    SELECT DISTINCT epoch FROM corec_offsets WHERE instance_id = %s AND epoch <> %s
"""
_CURRENT: Final = """
    INSERT INTO corec_mundos (instance_id, epoch, clave, mundo) VALUES (%s, %s, %s, NULL)
    ON CONFLICT (instance_id, epoch) DO UPDATE SET mundo = NULL
"""
_LABEL: Final = """
    INSERT INTO corec_mundos (instance_id, epoch, clave, mundo) VALUES (%s, %s, %s, %s)
    ON CONFLICT (instance_id, epoch) DO UPDATE SET mundo = excluded.mundo
"""
_MOVE: Final = """
    UPDATE corec_offsets SET instance_id = %s WHERE instance_id = %s AND epoch = %s
"""


class Changed(NamedTuple):
    """What a change of worlds moved."""

    aside: int
    """Tables that were set aside."""
    back: int
    """Tables of a world that came back."""
    stuck: list[str]
    """Those that could not be moved, with the reason."""


async def instances_in(connection: Connection, table: sql.Identifier) -> set[str]:
    """The different instance_ids in a table with an index that begins with it."""
    cursor = await connection.execute(INSTANCES.format(table=table))
    return {row[0] for row in await cursor.fetchall()}


def family(instances: set[str], instance_id: str) -> set[str]:
    """Of ``instances``, this one and its worlds that an older CoreC set aside."""
    return {i for i in instances if i.partition(ASIDE_MARK)[0] == instance_id}


class Worlds:
    """The worlds of one instance, over one connection."""

    def __init__(
        self, connection: Connection, partitions: Partitions, instance_id: str, epoch: int, key: str
    ) -> None:
        self._connection = connection
        self._partitions = partitions
        self._instance_id = instance_id
        self._epoch = epoch
        self._key = key

    async def lock(self) -> None:
        """Until the commit no other persister of this instance takes over."""
        await self._connection.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (self._instance_id,)
        )

    async def change_offsets(self, now: datetime) -> bool:
        """Put another world's rows of ``corec_offsets`` aside, and take one's own back.

        In the take-over's transaction, under ``lock``; true when another world was there.
        """
        execute = self._connection.execute
        instance = self._instance_id
        cursor = await execute(_FOREIGN, (instance, self._epoch))
        foreign = [row[0] for row in await cursor.fetchall()]
        for n, epoch in enumerate(foreign):
            label = self._label(now) + (f".{n}" if n else "")
            key = (await self._known(epoch))[0]
            await execute(_LABEL, (instance, epoch, key, label))
            await execute(_MOVE, (label, instance, epoch))
        label_of_mine = (await self._known(self._epoch))[1]
        if label_of_mine is not None:
            await execute(_MOVE, (instance, label_of_mine, self._epoch))
        await execute(_CURRENT, (instance, self._epoch, self._key))
        return bool(foreign)

    async def plain_aside(self, now: datetime) -> int:
        """Set aside what an older CoreC's partitions hold of this instance; tables touched.

        Only for a world that has no row yet: nobody can tell whose rows those are.
        """
        touched = 0
        cursor = await self._connection.execute(_FOREIGN, (self._instance_id, self._epoch))
        foreign = await cursor.fetchone()
        key = world_key(self._instance_id, foreign[0] if foreign else 0)
        for table in PARTITIONED:
            for part in await self._partitions.existing(table):
                if part.listed:
                    continue
                async with self._connection.transaction():
                    await self._begin()
                    touched += await self._plain_aside(table, part, self._label(now), key)
        return touched

    async def settle(self, now: datetime) -> Changed:
        """Move leaves until ``bloques`` and ``eventos`` show this world, all of it and no other."""
        aside = back = 0
        stuck: list[str] = []
        for table in PARTITIONED:
            others = await self._others(table)
            for k in range(0, len(others), CHUNK):
                async with self._connection.transaction():
                    await self._begin()
                    await self._still_mine()
                    labels = await self._labels()
                    for part, leaf in others[k : k + CHUNK]:
                        label = labels.get(leaf_key(leaf)) or self._label(now)
                        aside += await self._leaf_aside(table, part, leaf, label)
                kill_point("persist.aside")
            for name in await self._mine_aside(table):
                reason = await self._leaf_back(table, name)
                back += reason is None
                if reason is not None:
                    stuck.append(f"{name}: {reason}")
                kill_point("persist.back")
        return Changed(aside, back, stuck)

    def _label(self, now: datetime) -> str:
        return f"{self._instance_id}{ASIDE_MARK}{now.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}"

    async def _begin(self) -> None:
        await self._connection.execute(
            sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(LOCK_WAIT))
        )
        await self.lock()
        await self._partitions.lock()

    async def _still_mine(self) -> None:
        """Raises PositionMoved when another world took over since this one did."""
        cursor = await self._connection.execute(_FOREIGN, (self._instance_id, self._epoch))
        if await cursor.fetchone() is not None:
            raise PositionMoved("another world of this instance took the tables over")

    async def _known(self, epoch: int) -> tuple[str, str | None]:
        """``clave`` and ``mundo`` of a world."""
        cursor = await self._connection.execute(
            "SELECT clave, mundo FROM corec_mundos WHERE instance_id = %s AND epoch = %s",
            (self._instance_id, epoch),
        )
        row = await cursor.fetchone()
        return (world_key(self._instance_id, epoch), None) if row is None else (row[0], row[1])

    async def _labels(self) -> dict[str, str]:
        cursor = await self._connection.execute(
            "SELECT clave, mundo FROM corec_mundos WHERE instance_id = %s AND mundo IS NOT NULL",
            (self._instance_id,),
        )
        return dict(await cursor.fetchall())

    async def _others(self, table: str) -> list[tuple[str, str]]:
        """(partition, leaf) of this instance's other worlds."""
        return [
            (part.name, leaf)
            for part in await self._partitions.existing(table)
            for leaf in part.leaves
            if leaf_key(leaf) != self._key
        ]

    async def _mine_aside(self, table: str) -> list[str]:
        values = (self._partitions.schema, ASIDE[table], leaf_name(self._key, ""))
        cursor = await self._connection.execute(_ASIDE_LEAVES, values)
        return [row[0] for row in await cursor.fetchall()]

    async def _detach(self, parent: str, child: str) -> None:
        statement = sql.SQL("ALTER TABLE {} DETACH PARTITION {}")
        named = self._partitions.named
        await self._connection.execute(statement.format(named(parent), named(child)))

    async def _leaf_aside(self, table: str, part: str, leaf: str, label: str) -> bool:
        named = self._partitions.named(leaf)
        execute = self._connection.execute
        await self._detach(part, leaf)
        cursor = await execute(sql.SQL("SELECT 1 FROM {} LIMIT 1").format(named))
        try:
            async with self._connection.transaction():
                if await cursor.fetchone() is None:
                    await execute(sql.SQL("DROP TABLE {}").format(named))
                    return False
        except psycopg.errors.DependentObjectsStillExist:
            pass  # somebody's view: kept like one with rows
        await self._to_aside(table, leaf, label)
        return True

    async def _to_aside(self, table: str, name: str, label: str) -> None:
        """Make a detached table a child of ``mundos_…``; left by itself if that is refused."""
        child, parent = self._partitions.named(name), self._partitions.named(ASIDE[table])
        add = sql.SQL("ALTER TABLE {} ADD COLUMN mundo text NOT NULL DEFAULT {}")
        try:
            async with self._connection.transaction():
                await self._connection.execute(add.format(child, sql.Literal(label)))
                await self._connection.execute(
                    sql.SQL("ALTER TABLE {} INHERIT {}").format(child, parent)
                )
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.WrongObjectType) as error:
            log.warning("a table of an older world is not in any other now", table=name,
                        reason=str(error).splitlines()[0])  # fmt: skip

    async def _leaf_back(self, table: str, leaf: str) -> str | None:
        """Attach one of this world's leaves again; the reason if that is not possible."""
        found = leaf_span(table, leaf)
        if found is None:
            return "its name tells no time"
        execute, partitions = self._connection.execute, self._partitions
        child = partitions.named(leaf)
        try:
            async with self._connection.transaction():
                await self._begin()
                await self._still_mine()
                part = await self._place(table, *found)
                if part is None:
                    return "another partition is in its place"
                parent = partitions.named(ASIDE[table])
                await execute(sql.SQL("ALTER TABLE {} NO INHERIT {}").format(child, parent))
                await execute(sql.SQL("ALTER TABLE {} DROP COLUMN mundo").format(child))
                await partitions.attach_leaf(part, leaf)
        except (
            psycopg.errors.IntegrityError,
            psycopg.errors.DependentObjectsStillExist,
            psycopg.errors.InsufficientPrivilege,
            psycopg.errors.InvalidObjectDefinition,
        ) as error:
            return str(error).splitlines()[0]
        return None

    async def _place(self, table: str, unit: periods.Unit, span: periods.Span) -> str | None:
        """The partition for a leaf of ``span``, made if need be; None: it has no place."""
        for part in await self._partitions.existing(table):
            if part.span.start <= span.start and span.end <= part.span.end:
                return part.name if part.listed and not part.leaves else None
            if part.span.start < span.end and span.start < part.span.end:
                return None
        return await self._partitions.make(table, unit, span, leaf=False)

    async def _plain_aside(self, table: str, part: Part, label: str, key: str) -> bool:
        """An older CoreC's partition: the whole of it if nobody else has rows there."""
        execute = self._connection.execute
        named = self._partitions.named(part.name)
        there = await instances_in(self._connection, named)
        if self._instance_id not in there:
            return False
        if there - family(there, self._instance_id) or not periods.is_name(table, part.name):
            update = sql.SQL("UPDATE {} SET instance_id = %s WHERE instance_id = %s")
            await execute(update.format(named), (label, self._instance_id))
            return True
        await self._detach(table, part.name)
        name = await self._partitions.free_name(leaf_name(key, part.name))
        rename = sql.SQL("ALTER TABLE {} RENAME TO {}")
        await execute(rename.format(named, sql.Identifier(name)))
        await self._free_indexes(name, part.name)
        await self._to_aside(table, name, label)
        return True

    async def _free_indexes(self, table: str, part: str) -> None:
        """The names of a partition's indexes are wanted for the one that takes its place."""
        for suffix in ("key", "tick"):
            statement = sql.SQL("ALTER INDEX IF EXISTS {} RENAME TO {}")
            fresh = sql.Identifier(f"{table}_{suffix}")
            await self._connection.execute(
                statement.format(self._partitions.named(f"{part}_{suffix}"), fresh)
            )
