"""The persister process: lanes in, PostgreSQL out.

Theory.  It alone consumes the rows and event lanes and alone writes the words of its slot.  One
task does the work: connect, then whatever the connection does (``session``), then again.  Another
(``_watch``) beats, sees the stop word and a dead parent, and never waits for anything.  A third
(``spooler``) moves frames to the disk while the database does not take them (``reach``).  Threads
make events, and COPY streams one batch ahead (``ahead``).  When the disk is full too, the workers
wait.  How far the lanes are written is in the tables and the spool alone (``offsets``, ``writer``,
``spool``), so this process may die at any moment.
"""

from __future__ import annotations

import asyncio
import contextlib

import psycopg
import uvloop

from corec import layout as L
from corec.log import get_logger
from corec.persister.offsets import Fenced, PositionMoved
from corec.persister.reach import SILENT_S, Reach
from corec.persister.reasons import ForeignSchema, reason_of, text_of
from corec.persister.session import Session, make_parts
from corec.persister.source import lane_sources
from corec.persister.spool import Spool
from corec.persister.spooler import Spooler
from corec.persister.status import Status
from corec.persister.stopping import STOP_PATIENCE_S, STOP_SILENCE_S, Stop
from corec.persister.writer import connect
from corec.process.life import TAKEN_OVER, Life
from corec.process.runtime import Runtime
from shm.lane import LaneCorrupt

BEAT_S = 0.1

log = get_logger("corec.persister")


def run(rt: Runtime) -> int:
    """Serve until told to stop; the exit code: 0 stopped, 1 cannot go on, or TAKEN_OVER."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(Persister(rt).main())


class Persister:
    """The process from its first moment to its last: what it tries, and when it gives up."""

    def __init__(self, rt: Runtime) -> None:
        self._rt = rt
        self._life = Life(rt, L.SLOT_PERSISTER)
        self._status, self._stop, self._reach = Status(rt), Stop(rt), Reach()
        lanes = lane_sources(rt)
        persist = rt.config.persist
        self._spool = Spool(
            rt.config.state_folder / "spool", rt.config.instance_id, rt.epoch,
            {lane.name: lane.made for lane in lanes}, persist.spool_max_mb << 20,
        )  # fmt: skip
        for lane in lanes:
            lane.spooled = self._spool.current
        self._spooler = Spooler(
            self._spool, lanes, persist.on_full, rt, self._status, self._stop, self._reach
        )
        self._parts = make_parts(rt, lanes, self._spool, self._status, self._stop, self._reach)
        self._leaving = False

    async def main(self) -> int:
        """Work until drained, told to stop at once, orphaned, or unable to go on."""
        self._parts.rings.open()
        self._life.begin()
        watch = asyncio.create_task(self._watch())
        work = asyncio.create_task(self._work())
        try:
            await asyncio.wait({watch, work}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                self._leaving = True
                self._reach.abandon()
                await asyncio.wait({work}, timeout=0.2)
                work.cancel()
            try:
                return await work
            except asyncio.CancelledError:
                return 0
        finally:
            self._parts.rings.close()
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch

    async def _watch(self) -> None:
        """Beat; return when the work must end at once."""
        while True:
            self._life.beat()
            if self._life.ending() is not None:
                return
            self._stop.look()
            silent = self._reach.silent_seconds()
            if silent > SILENT_S:
                self._status.waiting(L.REASON_UNREACHABLE, f"no answer for {SILENT_S:.0f} s")
            if silent > STOP_SILENCE_S and self._stop.wanted():
                self._reach.abandon()
            await asyncio.sleep(BEAT_S)

    async def _work(self) -> int:
        await self._spooler.open()
        spooling = asyncio.create_task(self._spooler.run())
        try:
            while True:
                code = await self._try()
                if code is None and spooling.done():
                    spooling.result()
                if code is not None:
                    return code
        finally:
            self._spooler.leave()
            await asyncio.wait({spooling}, timeout=1.0)
            if spooling.done():
                self._spool.close()

    async def _try(self) -> int | None:
        """One connection and what comes of it; the exit code, None to try again."""
        conninfo, patience_s = self._rt.db_conninfo, STOP_PATIENCE_S
        try:
            await self._connected()
            self._status.drained()
            return 0
        except (Fenced, LaneCorrupt, ValueError) as error:
            self._status.failed(text_of(error, conninfo))
            return TAKEN_OVER if isinstance(error, Fenced) else 1
        except PositionMoved as error:
            log.warning("somebody else wrote: reading the positions again", error=str(error))
        except psycopg.errors.UniqueViolation as error:
            self._parts.suspect_tick = self._rt.get(L.C_GO_TICK)
            self._status.waiting(reason_of(error), text_of(error, conninfo))
        except (psycopg.Error, OSError, ForeignSchema) as error:
            if self._leaving:
                return 0
            reason = reason_of(error)
            self._status.waiting(reason, text_of(error, conninfo))
            # what the server refuses does not pass by waiting; one that is away is given a moment
            patience_s = STOP_PATIENCE_S if reason == L.REASON_UNREACHABLE else 0.0
        if self._stop.longer_than(patience_s) and self._spooler.empty():
            log.warning(
                "the database is away: the rows in the spool are written at the next start",
                bytes=self._spool.disk_bytes,
            )
            self._status.drained()
            return 0
        await self._stop.pause(self._parts.backoff.next_seconds())
        return None

    async def _connected(self) -> None:
        """One connection's life; returns when all is written, raises what ended it before."""
        rt = self._rt
        self._reach.asked()
        try:
            connection = await connect(rt.db_conninfo, embedded=rt.config.db.embedded)
        except BaseException:
            self._reach.gone()  # it has its answer, which says more than that there is none
            raise
        self._reach.connected(connection)
        try:
            session = await Session.prepare(self._parts, connection)
            await session.run()
        finally:
            self._reach.gone()
            await connection.close()
