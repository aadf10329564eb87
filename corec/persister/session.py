"""What one connection does, from the take-over of the lanes to its end: transaction after
transaction, each followed by the release of what it made durable.

Theory.  Nothing is written before the journal has what it comes of (``written_down``), or released
before it is known to be durable, so a kill anywhere only makes the successor read
``corec_offsets`` and the spool's files.  A session knows nothing of the one before but ``Parts``:
how far the lanes are written it reads anew.  The order is: what older lanes left in the spool, the
spool, the lanes.

``S_TICK`` = T says that every row and repair of ticks <= T is committed (or in a gap that is).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import psycopg

from corec import layout as L
from corec.persister.ahead import Batches
from corec.persister.batch import Batch, worth_writing
from corec.persister.encode import Encoder
from corec.persister.gaps import newly_lost
from corec.persister.generation import Generation
from corec.persister.generations import parse_frames
from corec.persister.linger import ENOUGH_BYTES, LINGER_S, Linger
from corec.persister.offsets import ROWS_PREFIX, PositionMoved
from corec.persister.owner import Lease
from corec.persister.reach import Reach
from corec.persister.source import (
    LaneSource,
    OldSource,
    Source,
    at_rest,
    covered_tick,
    ring_producer,
    written_down,
)
from corec.persister.spool import Spool
from corec.persister.status import Status
from corec.persister.stopping import Stop
from corec.persister.upkeep import Upkeep
from corec.persister.writer import Listening, World, Writer, Written
from corec.process.backoff import Backoff
from corec.process.life import Rings
from corec.process.runtime import Runtime
from shm.killpoint import kill_point
from shm.lane import LaneCorrupt

BATCH_BYTES: Final = 8 << 20
"""Of lanes, per transaction, and half of what they hold at most: the workers fill the other half
meanwhile.  The COPY stream is about as long."""
IDLE_S: Final = 0.2
LOOK_S: Final = LINGER_S / 10
MAINTAIN_S: Final = 60.0


@dataclass
class Parts:
    """What outlives a connection."""

    rt: Runtime
    rings: Rings
    status: Status
    stop: Stop
    reach: Reach
    backoff: Backoff
    lanes: Sequence[LaneSource]
    spool: Spool
    encoder: Encoder
    batches: Batches
    world: World
    lease: Lease
    upkeep: Upkeep
    suspect_tick: int = -1
    """Rows up to it are looked up before they are written: somebody has written some of them."""


def make_parts(
    rt: Runtime, lanes: Sequence[LaneSource], spool: Spool, status: Status, stop: Stop, reach: Reach
) -> Parts:
    """The parts of a process that writes ``lanes``, as the configuration says."""
    persist, instance = rt.config.persist, rt.config.instance_id
    encoder = Encoder(rt.whole_plan, instance, persist.payload)
    room = sum(lane.capacity for lane in lanes if lane.worker is not None)
    most = min(BATCH_BYTES, (persist.spool_max_mb << 20) // 4, room // 2)
    seconds = persist.retention_seconds
    keep = None if seconds is None else timedelta(seconds=seconds)
    return Parts(
        rt, Rings(rt.doorbells[L.SLOT_PERSISTER]), status, stop, reach, Backoff(), lanes, spool,
        encoder, Batches(lanes, encoder, most, ENOUGH_BYTES),
        World(instance, rt.epoch, persist.partition), Lease(instance, rt.owner),
        Upkeep(rt.folder, instance, keep),
    )  # fmt: skip


class Session:
    """A connection at work."""

    def __init__(self, parts: Parts, writer: Writer) -> None:
        self._parts, self._writer = parts, writer
        self._status, self._spool = parts.status, parts.spool
        self._generation: Generation = parts.spool.current
        self._sources: Sequence[Source] = parts.lanes
        self._rows_elsewhere = 0

    @classmethod
    async def prepare(cls, parts: Parts, connection: Listening) -> Session:
        """Set ``connection`` up, with the tables and this instance's claim on them.

        Raises psycopg.Error, ForeignSchema, Fenced, ValueError.
        """
        parts.upkeep.connected(connection.info.server_version)
        writer = await Writer.prepare(connection, parts.world, parts.encoder)
        await parts.lease.begin(connection)
        return cls(parts, writer)

    async def run(self) -> None:
        """Write until the instance stops and all is written; raises what ended the connection."""
        try:
            for older in list(self._spool.older):
                await self._take_over(older)
                await self._write_older()
            await self._take_over(self._spool.current)
            await self._serve()
        except (LaneCorrupt, ValueError, psycopg.errors.UniqueViolation) as error:
            if not self._overtaken():
                raise
            raise PositionMoved("frames were released meanwhile") from error

    async def _take_over(self, generation: Generation) -> None:
        parts = self._parts
        self._generation = generation
        parts.batches.forget()
        self._sources = parts.lanes
        if generation is not self._spool.current:
            self._sources = [OldSource(name, generation) for name in generation.lanes]
        lanes = [source.now() for source in self._sources]
        first = self._status.get(L.P_OVERLAP) == 0
        taken = await self._writer.take_over(
            lanes, datetime.now(UTC), first=first, suspect_tick=parts.suspect_tick
        )
        self._status.count(L.P_TRANSACTIONS, 1)
        self._rows_elsewhere = taken.plan.rows_elsewhere
        self._status.taken_over(taken, last=generation is self._spool.current)
        await self._release()
        self._show_rows()

    async def _write_older(self) -> None:
        """Write what older lanes left in the spool, all of it."""
        while any(waiting := self._bytes_waiting()):
            self._parts.reach.takes()
            await self._write(waiting)
        self._parts.reach.answered()

    async def _serve(self) -> None:
        """Write what comes into the lanes; return when the instance stops and nothing more does."""
        parts, linger = self._parts, Linger()
        maintain_at = 0.0
        while True:
            parts.reach.answered()
            parts.reach.takes()
            stopping = parts.stop.wanted()
            if time.monotonic() >= maintain_at:
                maintain_at = time.monotonic() + MAINTAIN_S
                parts.reach.asked()
                await parts.upkeep.round(self._writer)
                parts.reach.answered()
            self._show_tick()
            await parts.lease.keep()
            waiting = self._bytes_waiting()
            if not any(waiting):
                self._ready()
                linger.reset()
                if stopping and parts.stop.broker_left():
                    await parts.lease.release()
                    return
                # nobody rings when the broker has left
                patience = LOOK_S if stopping else IDLE_S
                await parts.rings.wait(patience, lambda: any(self._bytes_waiting()))
                continue
            if not (
                linger.over()
                or stopping
                or at_rest(parts.rt)
                or worth_writing(waiting, [s.capacity for s in self._sources], ENOUGH_BYTES)
            ):
                await asyncio.sleep(LOOK_S)
                continue
            linger.reset()
            await self._write(waiting)
            self._ready()

    async def _write(self, waiting: list[int]) -> None:
        parts = self._parts
        async with self._spool.lock:
            batch = parts.batches.take(self._sources, self._writer, waiting)
            self._generation.on_the_way = {p.lane: p.mark.position for p in batch.pieces}
        await written_down(parts.rt)
        events, bad = await asyncio.to_thread(parse_frames, batch.event_frames, parts.rt.whole_plan)
        parts.reach.asked()
        written = await self._writer.write(batch, events)
        kill_point("persist.before_release")
        await self._release()
        parts.backoff.reset()
        self._show(batch, written, bad)
        kill_point("persist.after_release")

    def _overtaken(self) -> bool:
        """Whether another consumer released frames that were still to be written here.

        Then what was read may have been overwritten.  It cannot have been committed: the other one
        committed first, so the positions in the table are not those this one knows.
        """
        mark = self._writer.mark
        return any(source.now().tail > mark(source.name).position for source in self._sources)

    async def _release(self) -> None:
        """What the database has may go from lanes and spool."""
        generation, mark = self._generation, self._writer.mark
        generation.marks = {source.name: mark(source.name) for source in self._sources}
        generation.on_the_way = {}
        for source in self._sources:
            if source.release(mark(source.name).position):
                ring_producer(self._parts.rt, source)
        if generation.files:
            async with self._spool.lock:
                self._spool.collect(generation)
            self._status.set(L.P_SPOOL_BYTES, self._spool.disk_bytes)

    def _bytes_waiting(self) -> list[int]:
        mark = self._writer.mark
        return [source.waiting(mark(source.name).position) for source in self._sources]

    def _show(self, batch: Batch, written: Written, bad: int) -> None:
        self._status.count(L.P_TRANSACTIONS, 1)
        self._status.count(L.P_EVENTS, written.events)
        self._status.count(L.P_DUPLICATES, written.duplicates)
        self._status.count(L.P_BYTES, written.copied_bytes)
        self._status.count(L.P_DROPPED, bad + newly_lost(batch.event_frames))
        self._show_rows()

    def _show_rows(self) -> None:
        rows = self._rows_elsewhere + sum(
            self._writer.mark(source.name).rows
            for source in self._sources
            if source.name.startswith(ROWS_PREFIX)
        )
        self._status.set(L.P_ROWS, rows)

    def _show_tick(self) -> None:
        lanes = self._parts.lanes
        positions = [self._writer.mark(source.name).position for source in lanes]
        tick = covered_tick(self._parts.rt, lanes, positions)
        if tick is not None and tick >= 0:
            self._status.tick(tick)

    def _ready(self) -> None:
        self._parts.backoff.reset()
        self._status.ready()
