"""The persister process: lanes in, PostgreSQL out.

Theory.  It alone consumes the rows and event lanes and alone writes the words of its slot.  One
task does the work: connect, take over, then again and again look at the lanes, write one
transaction, release what became durable.  Another (``_watch``) beats, sees the stop word and a dead
parent, and never waits for the database.  Nothing is released before its COMMIT is known, so a kill
anywhere only makes the successor read ``corec_offsets`` (``offsets``, ``writer``).  While the
database is away the frames stay in the lanes; when those are full the workers wait.

``S_TICK`` = T says that every row and repair of ticks <= T is committed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from datetime import UTC, datetime, timedelta

import orjson
import psycopg
import uvloop

from corec import layout as L
from corec.log import get_logger
from corec.persister.batch import (
    Batch,
    LaneView,
    durable_tick,
    shares,
    take,
    worth_writing,
)
from corec.persister.encode import Encoder, Event, parse_event
from corec.persister.faults import Backoff, ForeignSchema, reason_of, text_of
from corec.persister.offsets import ROWS_PREFIX, Fenced, PositionMoved
from corec.persister.schema import Connection
from corec.persister.source import Source, lane_sources
from corec.persister.writer import World, Writer, Written, abandon, connect
from corec.runtime import Runtime
from shm.killpoint import kill_point
from shm.lane import LaneCorrupt

BATCH_BYTES = 8 << 20
"""Of lanes, per transaction; the COPY stream is about as long."""
ENOUGH_BYTES = 1 << 20
"""So much is written at once; less waits up to ``LINGER_S`` for more."""
LINGER_S = 0.2
IDLE_S = 0.2
BEAT_S = 0.1
SILENCE_S = 3.0
"""A database operation of this age shows as waiting."""
MAINTAIN_S = 60.0

log = get_logger("corec.persister")


def run(rt: Runtime) -> int:
    """Serve until told to stop; the process's exit code: 0 stopped, 1 cannot go on."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(Persister(rt).main())


class Persister:
    """The state of the process."""

    def __init__(self, rt: Runtime) -> None:
        self.rt = rt
        self.slot = rt.slot(L.SLOT_PERSISTER)
        self.bell = rt.doorbells[L.SLOT_PERSISTER]
        self.sources: list[Source] = lane_sources(rt)
        persist = rt.config.persist
        self.world = World(rt.config.instance_id, rt.epoch, persist.partition)
        self.encoder = Encoder(rt.plan, rt.config.instance_id, persist.payload)
        seconds = persist.retention_seconds
        self.retention = None if seconds is None else timedelta(seconds=seconds)
        self.parent = os.getppid()
        self.connection: Connection | None = None
        self.backoff = Backoff()
        self.rows_elsewhere = 0
        self.suspect_tick = -1
        self.busy_since: float | None = None
        self.silent = False
        self.leaving = False

    async def main(self) -> int:
        """Work until drained, told to stop at once, orphaned, or unable to go on."""
        self.slot.set(L.S_PID, os.getpid())
        self.slot.set(L.S_STATE, L.PROC_STARTING)
        watch = asyncio.create_task(self._watch())
        work = asyncio.create_task(self._work())
        try:
            await asyncio.wait({watch, work}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                self.leaving = True
                if self.connection is not None:
                    abandon(self.connection)
                await asyncio.wait({work}, timeout=0.2)
                work.cancel()
            try:
                return await work
            except asyncio.CancelledError:
                return 0
        finally:
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch

    async def _watch(self) -> None:
        """Beat; return when the work must end at once."""
        while True:
            self.slot.set(L.S_BEAT_NS, time.monotonic_ns())
            if self.rt.get(L.C_STOP) >= L.STOP_NOW or os.getppid() != self.parent:
                return
            since = self.busy_since
            if since is not None and time.monotonic() - since > SILENCE_S and not self.silent:
                self.silent = True
                self._waiting(L.REASON_UNREACHABLE, f"no answer for {SILENCE_S:.0f} s")
            await asyncio.sleep(BEAT_S)

    async def _work(self) -> int:
        while True:
            try:
                return await self._connected()
            except (Fenced, ForeignSchema, LaneCorrupt, ValueError) as error:
                self._failed(error)
                return 1
            except PositionMoved as error:
                log.warning("somebody else wrote: reading the positions again", error=str(error))
            except psycopg.errors.UniqueViolation as error:
                self.suspect_tick = self._last_tick()
                self._waiting(reason_of(error), text_of(error, self.rt.db_conninfo))
            except (psycopg.Error, OSError) as error:
                if self.leaving:
                    return 0
                self._waiting(reason_of(error), text_of(error, self.rt.db_conninfo))
            self.busy_since = None
            await asyncio.sleep(self.backoff.next_s())

    async def _connected(self) -> int:
        """One connection's life; returns the exit code, raises what ended the connection."""
        self.busy_since = time.monotonic()
        self.connection = await connect(self.rt.db_conninfo)
        try:
            writer = await Writer.prepare(self.connection, self.world, self.encoder)
            await self._take_over(writer)
            try:
                return await self._serve(writer)
            except (LaneCorrupt, ValueError, psycopg.errors.UniqueViolation) as error:
                if not self._overtaken(writer):
                    raise
                raise PositionMoved("frames were released meanwhile") from error
        finally:
            self.busy_since = None
            connection, self.connection = self.connection, None
            await connection.close()

    async def _take_over(self, writer: Writer) -> None:
        lanes = [source.now() for source in self.sources]
        first = self.slot.get(L.S_COUNT0 + L.P_TRANSACTIONS) == 0
        taken = await writer.take_over(
            lanes, datetime.now(UTC), first=first, suspect_tick=self.suspect_tick
        )
        self._count(L.P_TRANSACTIONS, 1)
        self.rows_elsewhere = taken.plan.rows_elsewhere
        if any(taken.set_aside.values()):
            log.warning("set an older world's rows aside", **taken.set_aside)
        for lane, lost in taken.plan.behind.items():
            log.error("the database went back in time: rows are missing", lane=lane, bytes=lost)
        self._release(writer)
        self._show_rows(writer)

    async def _serve(self, writer: Writer) -> int:
        first_seen: float | None = None
        maintain_at = 0.0
        while True:
            self.busy_since, self.silent = None, False
            stopping = self.rt.get(L.C_STOP) >= L.STOP_SINKS
            if time.monotonic() >= maintain_at:
                maintain_at = time.monotonic() + MAINTAIN_S
                await self._maintain(writer)
            self._show_tick(writer)
            waiting = self._bytes_waiting(writer)
            if not any(waiting):
                self._ready()
                first_seen = None
                if stopping:
                    self.slot.set(L.S_STATE, L.PROC_DRAINED)
                    return 0
                await self._sleep(writer)
                continue
            now = time.monotonic()
            first_seen = now if first_seen is None else first_seen
            capacities = [source.capacity for source in self.sources]
            if not (
                stopping
                or now - first_seen >= LINGER_S
                or worth_writing(waiting, capacities, ENOUGH_BYTES)
            ):
                await asyncio.sleep(LINGER_S / 10)
                continue
            first_seen = None
            await self._write(writer, waiting)
            self._ready()

    async def _write(self, writer: Writer, waiting: list[int]) -> None:
        pieces = []
        for source, limit in zip(self.sources, shares(waiting, BATCH_BYTES), strict=True):
            mark = writer.mark(source.name)
            if source.waiting(mark.position):
                pieces.append(take(source.name, source.frames(mark.position, limit), mark))
        batch = Batch(pieces)
        events, bad = self._parsed(batch)
        self.busy_since = time.monotonic()
        written = await writer.write(batch, events, time.time_ns())
        kill_point("persist.before_release")
        self._release(writer)
        self._account(writer, written, bad)
        kill_point("persist.after_release")

    def _parsed(self, batch: Batch) -> tuple[list[Event], int]:
        events: list[Event] = []
        bad = 0
        for frame in batch.event_frames:
            try:
                events.append(parse_event(frame.payload))
            except (ValueError, KeyError, TypeError, orjson.JSONEncodeError) as error:
                bad += 1
                log.error("an event makes no sense and is dropped", error=str(error))
        return events, bad

    def _overtaken(self, writer: Writer) -> bool:
        """Whether another consumer released frames that were still to be written here.

        Then what was read may have been overwritten.  It cannot have been committed: the other one
        committed first, so the positions in the table are not those this one knows.
        """
        return any(s.now().tail > writer.mark(s.name).position for s in self.sources)

    def _release(self, writer: Writer) -> None:
        for k, source in enumerate(self.sources):
            freed = source.release(writer.mark(source.name).position)
            if freed and source.name.startswith(ROWS_PREFIX):
                self.rt.doorbells[L.SLOT_WORKER0 + k].ring()

    def _account(self, writer: Writer, written: Written, bad_events: int) -> None:
        self.backoff.reset()
        self._count(L.P_TRANSACTIONS, 1)
        self._count(L.P_EVENTS, written.events)
        self._count(L.P_DUPLICATES, written.duplicates)
        self._count(L.P_BYTES, written.copied_bytes)
        self._count(L.P_DROPPED, bad_events)
        self._show_rows(writer)

    def _count(self, word: int, more: int) -> None:
        if more:
            self.slot.set(L.S_COUNT0 + word, self.slot.get(L.S_COUNT0 + word) + more)

    def _show_rows(self, writer: Writer) -> None:
        rows = self.rows_elsewhere + sum(
            writer.mark(s.name).rows for s in self.sources if s.name.startswith(ROWS_PREFIX)
        )
        self.slot.set(L.S_COUNT0 + L.P_ROWS, rows)

    def _show_tick(self, writer: Writer) -> None:
        """Publish S_TICK; it never goes down."""
        views = []
        workers = self.rt.get(L.C_WORKERS) or self.rt.lanes
        for k in range(self.rt.lanes):
            source = self.sources[k]
            # the worker's word before the lane: see LaneView
            done = self.rt.slot(L.SLOT_WORKER0 + k).get(L.S_TICK)
            first = next(source.frames(writer.mark(source.name).position), None)
            if k < workers:
                views.append(LaneView(done, None if first is None else first.tick))
            elif first is not None:  # a lane whose worker was taken away, not empty yet
                views.append(LaneView(first.tick, first.tick))
        tick = durable_tick(views)
        if tick is not None and tick > self.slot.get(L.S_TICK):
            self.slot.set(L.S_TICK, tick)

    def _bytes_waiting(self, writer: Writer) -> list[int]:
        return [source.waiting(writer.mark(source.name).position) for source in self.sources]

    def _last_tick(self) -> int:
        """The highest tick that any worker has begun."""
        return self.rt.get(L.C_GO_TICK)

    async def _maintain(self, writer: Writer) -> None:
        self.busy_since = time.monotonic()
        now = datetime.now(UTC)
        made = await writer.partitions.make_ahead(now)
        if made:
            log.info("made partitions", partitions=" ".join(made))
        if self.retention is not None:
            dropped = await writer.partitions.drop_older(
                self.world.instance_id, self.retention, now
            )
            if dropped:
                log.info("dropped partitions", partitions=" ".join(dropped))
        self.busy_since = None

    async def _sleep(self, writer: Writer) -> None:
        """Until the doorbell rings, at most ``IDLE_S`` (see ``shm.wake`` for the order)."""
        self.bell.prepare_sleep()
        if any(self._bytes_waiting(writer)):
            self.bell.cancel_sleep()
            return
        loop = asyncio.get_running_loop()
        rang = asyncio.Event()
        loop.add_reader(self.bell.fileno(), rang.set)
        try:
            await asyncio.wait_for(rang.wait(), IDLE_S)
        except TimeoutError:
            pass  # look for work all the same
        finally:
            loop.remove_reader(self.bell.fileno())
            self.bell.cancel_sleep()
            self.bell.drain()

    def _ready(self) -> None:
        if self.slot.get(L.S_STATE) == L.PROC_READY:
            return
        if self.slot.get(L.S_STATE) == L.PROC_WAITING_SINK:
            log.info("the database takes rows again")
        self.backoff.reset()
        self.slot.set(L.S_ERROR, L.REASON_NONE)
        self.slot.set(L.S_STATE, L.PROC_READY)

    def _waiting(self, reason: int, text: str) -> None:
        """Show that nothing can be written; logged once per reason."""
        shown = (self.slot.get(L.S_STATE), self.slot.get(L.S_ERROR))
        self.slot.set(L.S_ERROR, reason)
        self.slot.set(L.S_STATE, L.PROC_WAITING_SINK)
        if shown != (L.PROC_WAITING_SINK, reason):
            log.warning(
                "the database takes no rows; they wait in the lanes",
                reason=L.REASON_NAMES[reason],
                error=text,
                database=self.rt.config.db.shown(),
            )

    def _failed(self, error: Exception) -> None:
        self.slot.set(L.S_ERROR, L.REASON_SERVER_ERROR)
        log.error("the persister cannot go on", error=text_of(error, self.rt.db_conninfo))
