"""The persister process: lanes in, PostgreSQL out.

Theory.  It alone consumes the rows and event lanes and alone writes the words of its slot.  One
task does the work: connect, take over, then again and again look at the lanes, write one
transaction, release what became durable.  Another (``_watch``) beats, sees the stop word and a dead
parent, and never waits for anything.  A third (``spooler``) moves frames to the disk while the
database does not take them.  Threads make events, and COPY streams one batch ahead (``ahead``).
Nothing is written before the journal has what it comes of (``written_down``), or released before it
is known to be durable, by its COMMIT or on disk, so a kill anywhere only makes the successor read
``corec_offsets`` and the spool's files (``offsets``, ``writer``, ``spool``).  When it is full too,
the workers wait.  The order is: what older lanes left in the spool, the spool, the lanes.

``S_TICK`` = T says that every row and repair of ticks <= T is committed (or in a gap that is).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import psycopg
import uvloop

from corec import layout as L
from corec.log import get_logger
from corec.persister.ahead import Batches
from corec.persister.batch import worth_writing
from corec.persister.encode import Encoder
from corec.persister.faults import ForeignSchema, reason_of, text_of
from corec.persister.gaps import newly_lost
from corec.persister.generation import Generation
from corec.persister.generations import parse_frames
from corec.persister.offsets import ROWS_PREFIX, Fenced, PositionMoved
from corec.persister.owner import Lease
from corec.persister.shown import Shown, broker_left
from corec.persister.source import (
    LaneSource,
    OldSource,
    Source,
    at_rest,
    covered_tick,
    lane_sources,
    written_down,
)
from corec.persister.spool import Spool
from corec.persister.spool_format import Extent
from corec.persister.spooler import SILENT_S, Spooler
from corec.persister.upkeep import Upkeep
from corec.persister.writer import Listening, World, Writer, abandon, connect, silent_seconds
from corec.process.backoff import Backoff
from corec.process.life import TAKEN_OVER, Life, Rings
from corec.process.runtime import Runtime, word_to_float
from shm.killpoint import kill_point
from shm.lane import LaneCorrupt

BATCH_BYTES = 8 << 20
"""Of lanes, per transaction, and half of what they hold at most: the workers fill the other half
meanwhile.  The COPY stream is about as long."""
ENOUGH_BYTES = 1 << 20
"""So much is written at once; less waits up to ``LINGER_S`` for more."""
LINGER_S = IDLE_S = 0.2
BEAT_S = 0.1
MAINTAIN_S = 60.0
STOP_PATIENCE_S = 5.0
"""So long a stop tries to reach a database that is away, then leaves the rest in the spool."""
STOP_SILENCE_S = 15.0
"""A database operation of this age is given up when stopping."""

log = get_logger("corec.persister")


def run(rt: Runtime) -> int:
    """Serve until told to stop; the exit code: 0 stopped, 1 cannot go on, or TAKEN_OVER."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(Persister(rt).main())


class Persister:
    """The state of the process; the spooler's ``Host``."""

    def __init__(self, rt: Runtime) -> None:
        self.rt = rt
        self.slot = rt.slot(L.SLOT_PERSISTER)
        self.rings = Rings(rt.doorbells[L.SLOT_PERSISTER])
        self.life = Life(rt, L.SLOT_PERSISTER)
        self.shown = Shown(rt)
        self.lanes: list[LaneSource] = lane_sources(rt)
        persist, instance = rt.config.persist, rt.config.instance_id
        self.lease = Lease(instance, rt.owner)
        cap_bytes = persist.spool_max_mb << 20
        self.spool = Spool(
            rt.config.state_folder / "spool", instance, rt.epoch,
            {lane.name: lane.made for lane in self.lanes}, cap_bytes,
        )  # fmt: skip
        for lane in self.lanes:
            lane.spooled = self.spool.current
        self.spooler = Spooler(self, self.spool, self.lanes, persist.on_full, rt)
        self.generation: Generation = self.spool.current
        self.sources: Sequence[Source] = self.lanes
        self.world = World(instance, rt.epoch, persist.partition)
        self.encoder = Encoder(rt.plan, instance, persist.payload)
        room = sum(lane.capacity for lane in self.lanes if lane.worker is not None)
        self.batches = Batches(
            self.lanes, self.encoder, min(BATCH_BYTES, cap_bytes // 4, room // 2), ENOUGH_BYTES
        )
        seconds = persist.retention_seconds
        keep = None if seconds is None else timedelta(seconds=seconds)
        self.upkeep = Upkeep(rt.folder, instance, keep)
        self.connection: Listening | None = None
        self.backoff = Backoff()
        self.rows_elsewhere = 0
        self.suspect_tick = -1
        self.busy_since: float | None = None
        self.away_since: float | None = time.monotonic()
        self.stop_since: float | None = None
        self.stop_seen = asyncio.Event()
        self.leaving = False

    async def main(self) -> int:
        """Work until drained, told to stop at once, orphaned, or unable to go on."""
        self.rings.open()
        self.life.begin()
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
            self.rings.close()
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch

    async def _watch(self) -> None:
        """Beat; return when the work must end at once."""
        while True:
            now = time.monotonic()
            self.life.beat()
            if self.life.ending() is not None:
                return
            if self.stop_since is None and self.stopping():
                self.stop_since = now
                self.stop_seen.set()
            silent = silent_seconds(self.busy_since, self.connection)
            if silent > SILENT_S:
                self.shown.waiting(L.REASON_UNREACHABLE, f"no answer for {SILENT_S:.0f} s")
            if self.stopping() and silent > STOP_SILENCE_S and self.connection is not None:
                abandon(self.connection)
            await asyncio.sleep(BEAT_S)

    async def _work(self) -> int:
        await self.spooler.open()
        spooling = asyncio.create_task(self.spooler.run())
        try:
            while True:
                code = await self._try()
                if code is None and spooling.done():
                    spooling.result()
                if code is not None:
                    return code
        finally:
            self.spooler.leave()
            await asyncio.wait({spooling}, timeout=1.0)
            if spooling.done():
                self.spool.close()

    async def _try(self) -> int | None:
        """One connection and what comes of it; the exit code, None to try again."""
        patience_s = STOP_PATIENCE_S
        try:
            return await self._connected()
        except (Fenced, LaneCorrupt, ValueError) as error:
            self.shown.failed(text_of(error, self.rt.db_conninfo))
            return TAKEN_OVER if isinstance(error, Fenced) else 1
        except PositionMoved as error:
            log.warning("somebody else wrote: reading the positions again", error=str(error))
        except psycopg.errors.UniqueViolation as error:
            self.suspect_tick = self.rt.get(L.C_GO_TICK)
            self.shown.waiting(reason_of(error), text_of(error, self.rt.db_conninfo))
        except (psycopg.Error, OSError, ForeignSchema) as error:
            if self.leaving:
                return 0
            reason = reason_of(error)
            self.shown.waiting(reason, text_of(error, self.rt.db_conninfo))
            patience_s = STOP_PATIENCE_S if reason == L.REASON_UNREACHABLE else 0.0
        if self._may_leave_the_rest(patience_s):
            return 0
        await self._pause(self.backoff.next_seconds())
        return None

    async def _pause(self, seconds: float) -> None:
        """Wait until the next attempt; a stop that begins meanwhile wants an answer at once."""
        if self.stop_seen.is_set():
            await asyncio.sleep(min(seconds, LINGER_S))
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.stop_seen.wait()

    def _may_leave_the_rest(self, patience_s: float) -> bool:
        """Whether to stop without the database: everything is on disk, and it does not come.

        What the server refuses does not pass by waiting; one that is away is given a moment.
        """
        since = self.stop_since
        if since is None or time.monotonic() - since < patience_s or not self.spooler.empty():
            return False
        log.warning(
            "the database is away: the rows in the spool are written at the next start",
            bytes=self.spool.disk_bytes,
        )
        self.shown.drained()
        return True

    async def _connected(self) -> int:
        """One connection's life; returns the exit code, raises what ended the connection."""
        self.busy_since = time.monotonic()
        rt = self.rt
        self.connection = await connect(rt.db_conninfo, embedded=rt.config.db.embedded)
        try:
            self.upkeep.connected(self.connection.info.server_version)
            writer = await Writer.prepare(self.connection, self.world, self.encoder)
            await self.lease.begin(self.connection)
            try:
                for older in list(self.spool.older):
                    await self._take_over(writer, older)
                    await self._write_older(writer)
                await self._take_over(writer, self.spool.current)
                return await self._serve(writer)
            except (LaneCorrupt, ValueError, psycopg.errors.UniqueViolation) as error:
                if not self._overtaken(writer):
                    raise
                raise PositionMoved("frames were released meanwhile") from error
        finally:
            self.busy_since = None
            self.away_since = self.away_since or time.monotonic()
            connection, self.connection = self.connection, None
            await connection.close()

    async def _take_over(self, writer: Writer, generation: Generation) -> None:
        self.generation = generation
        self.batches.forget()
        self.sources = self.lanes
        if generation is not self.spool.current:
            self.sources = [OldSource(name, generation) for name in generation.lanes]
        lanes = [source.now() for source in self.sources]
        first = self.shown.get(L.P_OVERLAP) == 0
        taken = await writer.take_over(
            lanes, datetime.now(UTC), first=first, suspect_tick=self.suspect_tick
        )
        self.shown.count(L.P_TRANSACTIONS, 1)
        self.rows_elsewhere = taken.plan.rows_elsewhere
        self.shown.taken_over(taken, last=generation is self.spool.current)
        await self._release(writer)
        self._show_rows(writer)

    async def _write_older(self, writer: Writer) -> None:
        """Write what older lanes left in the spool, all of it."""
        while any(waiting := self._bytes_waiting(writer)):
            self.away_since = None
            await self._write(writer, waiting)
        self.busy_since = None

    async def _serve(self, writer: Writer) -> int:
        first_seen: float | None = None
        maintain_at = 0.0
        while True:
            self.busy_since = self.away_since = None
            stopping = self.stopping()
            if time.monotonic() >= maintain_at:
                maintain_at = time.monotonic() + MAINTAIN_S
                self.busy_since = time.monotonic()
                await self.upkeep.round(writer)
                self.busy_since = None
            self._show_tick(writer)
            await self.lease.keep()
            waiting = self._bytes_waiting(writer)
            if not any(waiting):
                self._ready()
                first_seen = None
                if stopping and broker_left(self.rt, self.stop_since):
                    await self.lease.release()
                    self.shown.drained()
                    return 0
                await self.rings.wait(IDLE_S, lambda: any(self._bytes_waiting(writer)))
                continue
            now = time.monotonic()
            first_seen = now if first_seen is None else first_seen
            if not (
                stopping
                or now - first_seen >= LINGER_S
                or at_rest(self.rt)
                or worth_writing(waiting, [s.capacity for s in self.sources], ENOUGH_BYTES)
            ):
                await asyncio.sleep(LINGER_S / 10)
                continue
            first_seen = None
            await self._write(writer, waiting)
            self._ready()

    async def _write(self, writer: Writer, waiting: list[int]) -> None:
        async with self.spool.lock:
            batch = self.batches.take(self.sources, writer, waiting)
            self.generation.on_the_way = {p.lane: p.mark.position for p in batch.pieces}
        await written_down(self.rt)
        events, bad = await asyncio.to_thread(parse_frames, batch.event_frames, self.rt.plan)
        self.busy_since = time.monotonic()
        written = await writer.write(batch, events)
        kill_point("persist.before_release")
        await self._release(writer)
        self.backoff.reset()
        self.shown.count(L.P_TRANSACTIONS, 1)
        self.shown.count(L.P_EVENTS, written.events)
        self.shown.count(L.P_DUPLICATES, written.duplicates)
        self.shown.count(L.P_BYTES, written.copied_bytes)
        self.shown.count(L.P_DROPPED, bad + newly_lost(batch.event_frames))
        self._show_rows(writer)
        kill_point("persist.after_release")

    def _overtaken(self, writer: Writer) -> bool:
        """Whether another consumer released frames that were still to be written here.

        Then what was read may have been overwritten.  It cannot have been committed: the other one
        committed first, so the positions in the table are not those this one knows.
        """
        return any(s.now().tail > writer.mark(s.name).position for s in self.sources)

    async def _release(self, writer: Writer) -> None:
        """What the database has may go from lanes and spool."""
        generation = self.generation
        generation.marks = {source.name: writer.mark(source.name) for source in self.sources}
        generation.on_the_way = {}
        for source in self.sources:
            if source.release(writer.mark(source.name).position):
                self.released(source)
        if generation.files:
            async with self.spool.lock:
                self.spool.collect(generation)
            self.shown.set(L.P_SPOOL_BYTES, self.spool.disk_bytes)

    def _show_rows(self, writer: Writer) -> None:
        rows = self.rows_elsewhere + sum(
            writer.mark(s.name).rows for s in self.sources if s.name.startswith(ROWS_PREFIX)
        )
        self.shown.set(L.P_ROWS, rows)

    def _show_tick(self, writer: Writer) -> None:
        positions = [writer.mark(source.name).position for source in self.lanes]
        tick = covered_tick(self.rt, self.lanes, positions)
        if tick is not None and tick >= 0:
            self.shown.tick(tick)

    def _bytes_waiting(self, writer: Writer) -> list[int]:
        return [source.waiting(writer.mark(source.name).position) for source in self.sources]

    def _ready(self) -> None:
        self.backoff.reset()
        self.shown.ready()

    def away_seconds(self) -> float:
        """Since when the database takes nothing; 0 while it does."""
        now = time.monotonic()
        if self.away_since is not None:
            return max(1e-9, now - self.away_since)
        silent = silent_seconds(self.busy_since, self.connection)
        return silent if silent > SILENT_S else 0.0

    def paced(self) -> bool:
        """Whether ticks have a rate."""
        return word_to_float(self.rt.get(L.C_TICK_HZ)) > 0

    def stopping(self) -> bool:
        """Whether the lanes are to be emptied now."""
        return self.rt.get(L.C_STOP) >= L.STOP_SINKS

    def released(self, source: Source) -> None:
        """A lane has room again."""
        if source.worker is not None:
            self.rt.doorbells[L.SLOT_WORKER0 + source.worker].ring()

    def lost(self, extents: Sequence[Extent]) -> None:
        """Rows and events were dropped."""
        self.shown.lost(extents)

    def spool_state(self, trouble: str | None) -> None:
        """The spool has changed; ``trouble``: why it takes nothing."""
        self.shown.spool(self.spool.disk_bytes, trouble)
