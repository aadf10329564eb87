"""One connection to PostgreSQL that takes the lanes over and writes batches, each in one go.

A transaction is: COPY of the rows, COPY of the events, compare-and-swap of the lanes' rows in
``corec_offsets`` (theory in ``offsets``).  What a kill or a lost connection leaves:

    before the server has COMMIT        nothing of the batch; its frames are still in the lanes
    COMMIT sent, its reply not seen     either; the next take-over reads which
    after COMMIT, before the release    all of it; the next take-over starts past it and releases

A ``Writer`` that raised is used up, and its connection with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
import time
from collections import Counter
from collections.abc import AsyncIterable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from corec.libpq import shielded
from corec.persister.batch import Batch, Mark, Piece, There, without
from corec.persister.bulk import Bulk
from corec.persister.encode import EVENT_COLUMNS, ROW_COLUMNS, Encoder, Event
from corec.persister.gaps import KEYED, row_key
from corec.persister.offsets import LaneNow, PositionMoved, Stored, Takeover, plan_takeover
from corec.persister.partitions import Partitions, world_key
from corec.persister.periods import Unit
from corec.persister.schema import Connection, ensure_schema
from corec.persister.worlds import Changed, Worlds
from corec.process.events import GENERATION, LINEAGE, OF_PHASES, REPAIR
from shm.killpoint import kill_point

CONNECT_TIMEOUT_S = 5
SEND_BUFFER_BYTES = 2 << 20
"""As much as the kernel allows of it: the server goes on reading while this process encodes."""
_CONNECT = {
    "application_name": "corec persister",
    "connect_timeout": CONNECT_TIMEOUT_S,
    # what is sent is UTF-8, whatever the database or its role sets
    "client_encoding": "UTF8",
    # a server that vanished without a word is noticed after about 20 s
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 20_000,
}
LOCK_WAIT: Final = "10s"
"""So long a row waits for somebody's lock; then the reason is shown, and it is tried again."""
_SESSION: Final = (
    # first, and all at once: what a role, a database or a server may limit, and what a COPY of rows
    # need not survive; transaction_timeout is there from PostgreSQL 17 on
    """SELECT set_config(name, '0', false) FROM pg_settings
        WHERE name IN ('statement_timeout', 'idle_in_transaction_session_timeout',
                       'idle_session_timeout', 'transaction_timeout')""",
    f"SET lock_timeout = '{LOCK_WAIT}'",
    "SET TIME ZONE 'UTC'",
    "SET datestyle = 'ISO, YMD'",
    "SET default_transaction_isolation = 'read committed'",
    # a commit that is said to be durable frees the frames in the lanes
    """SELECT set_config('synchronous_commit', 'on', false)
        WHERE current_setting('synchronous_commit') = 'off'""",
)
_HOUR_NS = 3_600_000_000_000

_READ: Final = """
    SELECT lane, epoch, made, position, tick, block, step, count, overlap_tick
      FROM corec_offsets WHERE instance_id = %s FOR UPDATE
"""
_NOTE: Final = """
    INSERT INTO eventos (instance_id, "timestamp", tick, tipo, bloque, entidad, detalle)
    SELECT %s, %s, coalesce((SELECT max(tick) FROM corec_offsets WHERE instance_id = %s), 0),
           %s, NULL, NULL, %s
     WHERE NOT EXISTS (SELECT 1 FROM eventos
                        WHERE instance_id = %s AND tipo = %s
                          AND "timestamp" > now() - interval '30 days'
                          AND detalle->'partition' = %s->'partition')
"""
_OWN: Final = "SELECT 1 FROM corec_offsets WHERE instance_id = %s AND epoch = %s"
_ROWS_THERE: Final = """
    SELECT id, tick FROM bloques
     WHERE instance_id = %s AND id = ANY (%s) AND tick BETWEEN %s AND %s
"""
_REPAIRS_THERE: Final = """
    SELECT bloque, tick, entidad, count(*) FROM eventos
     WHERE instance_id = %s AND bloque = ANY (%s) AND tick BETWEEN %s AND %s AND tipo = %s
     GROUP BY 1, 2, 3
"""
_PHASES_THERE: Final = """
    SELECT bloque, tick, tipo FROM eventos
     WHERE instance_id = %s AND bloque = ANY (%s) AND tick BETWEEN %s AND %s AND tipo = ANY (%s)
"""
_REPLACE: Final = """
    INSERT INTO corec_offsets (instance_id, lane, epoch, made, position, tick, block, step, count,
                               overlap_tick)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (instance_id, lane) DO UPDATE
    SET epoch = excluded.epoch, made = excluded.made, position = excluded.position,
        tick = excluded.tick, block = excluded.block, step = excluded.step,
        count = excluded.count, overlap_tick = excluded.overlap_tick
"""
_SWAP: Final = """
    UPDATE corec_offsets o
       SET position = n.position, tick = n.tick, block = n.block, step = n.step, count = n.count
      FROM unnest(%s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
                  %s::bigint[], %s::bigint[], %s::bigint[])
        AS n (lane, made, was, position, tick, block, step, count)
     WHERE o.instance_id = %s AND o.epoch = %s
       AND o.lane = n.lane AND o.made = n.made AND o.position = n.was
"""


class World(NamedTuple):
    """Who writes."""

    instance_id: str
    epoch: int
    partition: Unit


class Taken(NamedTuple):
    """What a take-over found and did."""

    plan: Takeover
    other_world: bool
    """Whether another world of this instance wrote before."""
    changed: Changed


class Written(NamedTuple):
    """What one committed transaction wrote."""

    pieces: list[Piece]
    rows: int
    events: int
    duplicates: int
    copied_bytes: int


class Listening(psycopg.AsyncConnection[Any]):
    """A connection that knows when the server last answered, or took more of what is sent to it:
    a transaction of many steps may be long without being stuck."""

    heard = 0.0
    """CLOCK_MONOTONIC."""
    ours = False
    """Whether the server is CoreC's alone."""

    async def wait(self, *args: Any, **kwargs: Any) -> Any:
        """Psycopg's one way to wait for the server."""
        try:
            return await super().wait(*args, **kwargs)
        finally:
            self.heard = time.monotonic()


async def connect(conninfo: str, *, embedded: bool = True) -> Listening:
    """A connection in autocommit mode; ``embedded``: to CoreC's own server.

    Raises psycopg.Error, OSError.
    """
    options: dict[str, Any] = dict(_CONNECT)
    with shielded(embedded=embedded):
        connection = await Listening.connect(
            conninfo, autocommit=True, prepare_threshold=None, **options
        )
    connection.ours = embedded
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as copy:
        copy.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    return connection


def abandon(connection: Connection) -> None:
    """End a connection at once, whatever it waits for: that wait then fails.

    Cancelling instead would ask the server to cancel, which takes seconds when it is frozen.
    """
    try:
        with socket.socket(fileno=os.dup(connection.fileno())) as copy:
            copy.shutdown(socket.SHUT_RDWR)
    except (OSError, psycopg.OperationalError):
        pass  # it is closed already


class Writer:
    """A connection that has the tables; ``take_over`` comes first, then ``write``."""

    def __init__(self, connection: Connection, schema: str, world: World, encoder: Encoder) -> None:
        self.connection = self._connection = connection
        self._world = world
        self._encoder = encoder
        self._lanes: dict[str, Stored] = {}
        key = world_key(world.instance_id, world.epoch)
        self.partitions = Partitions(connection, schema, world.partition, world.instance_id, key)
        self._worlds = Worlds(connection, self.partitions, world.instance_id, world.epoch, key)

    @classmethod
    async def prepare(cls, connection: Listening, world: World, encoder: Encoder) -> Writer:
        """Set the session up and make the tables.

        Raises psycopg.Error, ForeignSchema, ValueError for an epoch that is no positive int64.
        """
        if not 0 < world.epoch < 2**63:
            raise ValueError(f"world epoch: found {world.epoch}, expected 1 to 2**63 - 1")
        for statement in _SESSION:
            await connection.execute(statement)
        schema = await ensure_schema(connection, ours=connection.ours)
        return cls(connection, schema, world, encoder)

    async def take_over(
        self, lanes: list[LaneNow], now: datetime, *, first: bool, suspect_tick: int = -1
    ) -> Taken:
        """Read (and lock) the lanes' rows, set an older world aside, note where each goes on.

        Rows up to ``suspect_tick`` are looked up before they are written, whatever the table says.
        Raises Fenced (``plan_takeover``), psycopg.Error.
        """
        instance, epoch = self._world.instance_id, self._world.epoch
        execute = self._connection.execute
        if first and not await self._writes_already():
            await self._worlds.plain_aside(now)
        async with self._connection.transaction():
            await self._worlds.lock()
            other = first and await self._worlds.change_offsets(now)
            cursor = await execute(_READ, (instance,))
            stored = [
                Stored(lane, its_epoch, made, Mark(*mark), overlap)
                for lane, its_epoch, made, *mark, overlap in await cursor.fetchall()
            ]
            plan = plan_takeover(stored, lanes, epoch, first=first, suspect_tick=suspect_tick)
            for row in plan.lanes.values():
                values = (row.lane, epoch, row.made, *row.mark, row.overlap_tick)
                await execute(_REPLACE, (instance, *values))
        self._lanes = dict(plan.lanes)
        return Taken(plan, other, await self._worlds.settle(now))

    async def _writes_already(self) -> bool:
        """Whether this world has written before."""
        values = (self._world.instance_id, self._world.epoch)
        cursor = await self._connection.execute(_OWN, values)
        return await cursor.fetchone() is not None

    @property
    def broken(self) -> bool:
        """Whether the connection is gone."""
        return self._connection.closed

    async def note_once(self, tipo: str, detalle: dict[str, Any]) -> None:
        """An event of now about the tables themselves, unless there is such a one this month.

        Raises psycopg.Error when the connection is gone; an event that is refused is not written.
        """
        now = datetime.now(UTC)
        try:
            async with self._connection.transaction():
                await self.partitions.ensure("eventos", [now])
                instance, body = self._world.instance_id, Jsonb(detalle)
                await self._connection.execute(
                    _NOTE, (instance, now, instance, tipo, body, instance, tipo, body)
                )
        except psycopg.Error:
            if self.broken:
                raise

    def mark(self, lane: str) -> Mark:
        """How far ``lane`` is durable."""
        return self._lanes[lane].mark

    def overlap_tick(self, lane: str) -> int:
        """Frames of ``lane`` up to this tick may be in the tables already; -1: none."""
        return self._lanes[lane].overlap_tick

    async def write(self, batch: Batch, events: list[Event]) -> Written:
        """Write a batch and ``events`` (the parsed ones of its event frames) in one transaction.

        Raises PositionMoved when somebody else wrote meanwhile, psycopg.Error; nothing is written
        then, unless the connection was lost at COMMIT: see the theory above.
        """
        pieces = batch.pieces
        bulks = [piece.columns() for piece in pieces]
        await self._make_partitions(bulks, events)
        execute = self._connection.execute
        async with self._connection.transaction():
            there = await self._looked_up(pieces)
            if there is not None:
                pieces = [without(p, there, self._lanes[p.lane].overlap_tick) for p in pieces]
                bulks = [piece.columns() for piece in pieces]
                events = [event for event in events if not _told(event, there)]
            repairs = await asyncio.to_thread(lambda: [*map(self._encoder.repairs, bulks)])
            written = [*itertools.chain(*repairs), *events]
            rows = sum(len(bulk.rows) for bulk in bulks)
            kill_point("persist.before_copy")
            copied = 0
            if rows:
                stream = batch.stream or self._encoder.stream(bulks)
                copied += await self._copy("bloques", ROW_COLUMNS, stream.sent())
            if written:
                copied += await self._copy(
                    "eventos", EVENT_COLUMNS, self._encoder.event_stream(written).sent()
                )
            kill_point("persist.after_copy")
            cursor = await execute(_SWAP, self._swap_values(pieces))
            if cursor.rowcount != len(pieces):
                raise PositionMoved(
                    f"corec_offsets: found {cursor.rowcount} of {len(pieces)} lanes where this "
                    "persister left them"
                )
            kill_point("persist.before_commit")
        kill_point("persist.after_commit")
        for piece in pieces:
            self._lanes[piece.lane] = self._lanes[piece.lane]._replace(mark=piece.mark)
        duplicates = sum(p.duplicates for p in pieces)
        return Written(pieces, rows, len(written), duplicates, copied)

    async def _copy(self, table: str, columns: Iterable[str], pieces: AsyncIterable[bytes]) -> int:
        statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(
            sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
        )
        copied = 0
        async with self._connection.cursor() as cursor, cursor.copy(statement) as copy:
            async for piece in pieces:
                await copy.write(piece)
                copied += len(piece)
                # psycopg does not give way while the socket takes everything; heartbeats must go on
                await asyncio.sleep(0)
        return copied

    def _swap_values(self, pieces: list[Piece]) -> tuple[Any, ...]:
        rows = [
            (p.lane, self._lanes[p.lane].made, self._lanes[p.lane].mark.position, *p.mark)
            for p in pieces
        ]
        columns = [list(column) for column in zip(*rows, strict=True)] if rows else [[]] * 8
        return (*columns, self._world.instance_id, self._world.epoch)

    async def _make_partitions(self, bulks: list[Bulk], events: list[Event]) -> None:
        """What the rows and events need; usually it was all made ahead."""
        times = [bulk.rows["unix_ns"] for bulk in bulks]
        await self.partitions.ensure("bloques", hours(np.concatenate(times)))
        times = [bulk.fix_times.view(np.uint64) for bulk in bulks]
        times.append(np.array([event.unix_ns for event in events], np.uint64))
        await self.partitions.ensure("eventos", hours(np.concatenate(times)))

    async def _looked_up(self, pieces: list[Piece]) -> There | None:
        """What the tables have of the batch's rows and repairs; None: nothing was to be asked.

        See ``offsets``.
        """
        suspects = [
            frame
            for piece in pieces
            for frame in piece.frames
            if frame.kind in KEYED and row_key(frame)[0] <= self._lanes[piece.lane].overlap_tick
        ]
        if not suspects:
            return None
        blocks = {self._encoder.block_id(frame.a): frame.a for frame in suspects}
        ticks = [frame.tick for frame in suspects]
        values = (self._world.instance_id, list(blocks), min(ticks), max(ticks))
        execute = self._connection.execute
        cursor = await execute(_ROWS_THERE, values)
        rows = {(blocks[name], tick) for name, tick in await cursor.fetchall()}
        cursor = await execute(_REPAIRS_THERE, (*values, REPAIR))
        repairs = {
            (blocks[name], tick, entity): n for name, tick, entity, n in await cursor.fetchall()
        }
        told = (values[0], values[1], values[2] - 1, values[3], [*OF_PHASES])
        cursor = await execute(_PHASES_THERE, told)
        return There(rows, Counter(repairs), set(await cursor.fetchall()))


def _told(event: Event, there: There) -> bool:
    """Whether an event is of a phase of its block that the tables have already."""
    kind = GENERATION if event.tipo == LINEAGE else event.tipo
    return (event.bloque, event.tick, kind) in there.phases


def hours(unix_ns: npt.NDArray[np.uint64]) -> list[datetime]:
    """The different hours that times (ns since 1970) are in."""
    start = datetime(1970, 1, 1, tzinfo=UTC)
    return [start + timedelta(hours=int(h)) for h in np.unique(unix_ns // np.uint64(_HOUR_NS))]
