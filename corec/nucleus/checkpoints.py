"""Periodic and asked-for checkpoints: when they are made, when they count, what is shown of them.

One task makes them, one after the other; the long steps run on a thread of low priority, the hold
on the event loop itself, so that nothing of the nucleus delays the release.

When a checkpoint counts.  Rows and messages of the last ticks are in the lanes, which a crash of
the machine takes along; a world restored from tick T runs no tick up to T again. So a file gets
its name only when the persister and the broker have made everything up to T durable (``S_TICK``).
While a server is away the file waits; the periodic ones after it are left out. On a stop it is
dropped: the checkpoint of the stop is newer.

Who asks for one gets one that began after it was asked for: while another is in the making, the
next one, which all who ask meanwhile share. Nothing that is asked for takes the place of another.

Periods count from the start of the instance (CLOCK_MONOTONIC), so a new nucleus keeps the schedule
and a jump of the wall clock changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any, Final, TypeVar

from corec import layout as L
from corec.journal.file import trim_journal
from corec.log import get_logger
from corec.modules.base import ModuloBase, Nucleus
from corec.nucleus.disk import Disk
from corec.nucleus.events import EventWriter
from corec.nucleus.hold import Holder, HoldTimeout
from corec.nucleus.journaled import Asked
from corec.process.events import REASON
from corec.process.roles import sink_troubles, sinks
from corec.process.runtime import Runtime
from corec.world.checkpoint import Checkpoint, CheckpointRefused
from corec.world.collected import waits
from corec.world.digest import WorldMoved
from corec.world.kept import Keeper
from corec.world.snapshot import Abandoned, Snapshot, remove_halves
from corec.world.writes import trim_writes
from shm.killpoint import kill_point, register

log = get_logger(__name__)

NICE: Final = 5
POLL_SECONDS: Final = 0.05
WAIT_TOLD_SECONDS: Final = 5.0
LONG_HOLD_SECONDS: Final = 0.1
FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_T = TypeVar("_T")
CALLED_OFF: Final = "called off: the instance stops, or its processes are replaced"
register("checkpoint.held")
register("checkpoint.waiting")


class CheckpointFailed(Exception):
    """No checkpoint was made; the text says why. The world goes on."""


class CalledOff(CheckpointFailed):
    """The instance stops, or its processes are replaced: the next nucleus may be asked again."""


@dataclass
class Shown:
    """What ``status`` says under ``checkpoint``."""

    state: str = "idle"
    """idle, copying, holding, writing, waiting (for a server), failed"""
    progress: float = 0.0
    tick: int | None = None
    """Of the one in the making."""
    error: str | None = None
    """Why the last one failed; None once one succeeded."""
    last: dict[str, Any] | None = None
    """tick, path, bytes, seconds, hold_seconds, unix_ns, digest of the last one that counts."""
    made: int = 0
    failed: int = 0
    left_out: int = 0
    next_in_seconds: float | None = None
    passed_over: list[str] = field(default_factory=list)
    """Files with a checkpoint's name that do not count, and why; nothing is done to them."""


def lower_priority() -> None:
    """Let this thread, and not its process, give way to everybody else."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


class Checkpointer:
    """Makes the checkpoints of one nucleus."""

    def __init__(self, rt: Runtime, holder: Holder, events: EventWriter) -> None:
        self.rt, self.holder, self.events = rt, holder, events
        self.folder = rt.config.state_folder
        self.keeper, self.disk = Keeper(self.folder, rt.epoch), Disk(rt)
        self._shown = Shown()
        self._snapshot: Snapshot | None = None
        self._missing = ""
        self._asked: list[asyncio.Future[dict[str, Any]]] = []
        self._wake = asyncio.Event()
        self._closing = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._thread: ThreadPoolExecutor | None = None

    def shown(self) -> dict[str, Any]:
        """JSON data for ``status``."""
        snapshot, shown = self._snapshot, self._shown
        shown.progress = round(snapshot.progress, 3) if snapshot is not None else 0.0
        shown.next_in_seconds = self._seconds_left()
        return asdict(shown)

    def waits_for(self) -> str:
        """What the one that is made waits for, and why that does not come; empty: for nothing."""
        return "; ".join([self._missing, *sink_troubles(self.rt.get)]) if self._missing else ""

    async def ask(self, timeout_seconds: float) -> dict[str, Any]:
        """Make one now and wait until it counts; what ``Shown.last`` says of it.

        Raises:
            CheckpointFailed: it could not be made. TimeoutError: it is still waiting, or in the
            making; it goes on.
        """
        if self._stopping():
            raise CalledOff("the instance is stopping, which makes a checkpoint by itself")
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._asked.append(future)
        self._wake.set()
        try:
            async with asyncio.timeout(timeout_seconds):
                return await asyncio.shield(future)
        finally:
            # nobody may be left to hear of a failure; without this, asyncio would log it
            future.add_done_callback(lambda done: None if done.cancelled() else done.exception())

    async def run(self) -> None:
        """Make checkpoints when they are due or asked for, until cancelled or closed."""
        remove_halves(self.folder)
        try:
            period = self._period()
            if self.rt.refitted and not self._called_off():
                await self._one()  # what is before it, only the old code could run again
            while not self._closing:
                self._wake.clear()
                left = self._seconds_left()
                if not self._asked:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(left):
                            await self._wake.wait()
                if self._called_off():
                    break
                if self._asked or self._period() != period:
                    await self._one()
                    period = self._period()
        finally:
            unanswered, self._asked = self._asked, []
            for future in unanswered:
                if not future.done():
                    future.set_exception(CalledOff(CALLED_OFF))
            if self._thread is not None:
                self._thread.shutdown(wait=False)
            self._thread = None

    async def close(self) -> None:
        """Call off what is in the making and wait for its end: the stop makes its own."""
        self._closing = True
        self._wake.set()
        await self._idle.wait()

    def _period(self) -> int:
        """The number of the period that now is in; 0 for ever without periods."""
        every = self.rt.config.checkpoint.every_seconds
        return int(self._age() / every) if every > 0 else 0

    def _seconds_left(self) -> float | None:
        every = self.rt.config.checkpoint.every_seconds
        return round(every - self._age() % every, 3) + 0.001 if every > 0 else None

    def _age(self) -> float:
        return max(0.0, (time.monotonic_ns() - self.rt.get(L.C_START_MONO_NS)) / 1e9)

    def _stopping(self) -> bool:
        return self.rt.get(L.C_STOP) != L.STOP_NO

    def _called_off(self) -> bool:
        return self._closing or self._stopping()

    async def _one(self) -> None:
        """One checkpoint, whatever comes of it, told to whoever asked."""
        waiting, self._asked = self._asked, []
        self._idle.clear()
        error: Exception
        try:
            found = await self._make()
        except Abandoned:
            error = CalledOff(CALLED_OFF)
            log.info("a checkpoint was called off", reason=str(error))
        except (OSError, MemoryError, WorldMoved, CheckpointRefused, HoldTimeout) as reason:
            error = CheckpointFailed(self._failed(reason))
        except Exception as reason:  # whoever asked must hear of it, and the next one be tried
            log.exception("a checkpoint failed for a reason that was not foreseen")
            error = CheckpointFailed(self._failed(reason))
        else:
            for future in waiting:
                if not future.done():
                    future.set_result(found)
            return
        finally:
            if self._snapshot is not None:
                self._snapshot.abandon()
            self._snapshot = None
            self._missing = ""
            self._shown.tick = None
            if self._shown.state != "failed":
                self._shown.state = "idle"
            self._idle.set()
        for future in waiting:
            if not future.done():
                future.set_exception(error)

    async def _make(self) -> dict[str, Any]:
        shown = self._shown
        started = time.monotonic()
        shown.state, shown.tick = "copying", None
        # beside the loop: it looks at every block of the plan
        snapshot = await self.aside(lambda: Snapshot(self.rt, self.folder, self._called_off))
        self._snapshot = snapshot
        await self.aside(snapshot.prepare)
        shown.state = "holding"
        async with self.holder.held():
            held = time.monotonic()
            kill_point("checkpoint.held")
            # on this thread: handing it over would take longer than a small world does
            shown.tick = snapshot.take()
        hold_seconds = time.monotonic() - held
        if hold_seconds > LONG_HOLD_SECONDS:
            log.warning("the world was held long for a checkpoint", seconds=round(hold_seconds, 4),
                        histories_outran_it=snapshot.outrun)  # fmt: skip
        shown.state = "writing"
        head = await self.aside(snapshot.write)
        shown.state = "waiting"
        await self._until_durable(int(head["tick"]))
        keep = self.rt.config.checkpoint.keep
        made = await self.aside(lambda: self._publish(snapshot, keep))
        return self._done(made, time.monotonic() - started, hold_seconds)

    def _publish(self, snapshot: Snapshot, keep: int) -> Checkpoint:
        """Give the file its name; what of the journal no checkpoint needs any more goes."""
        made = snapshot.publish(self.keeper, keep)
        try:
            first = self.keeper.first_tick(made)
            trim_journal(self.folder, self.rt.epoch, first)
            trim_writes(self.folder, self.rt.epoch, first, self.keeper.epochs)
        except OSError as error:
            log.warning("the journal is not trimmed", reason=error.strerror)
        return made

    async def aside(self, work: Callable[[], _T]) -> _T:
        """Run ``work`` on the one thread for what takes long, behind what it does already."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "checkpoint", lower_priority)
        try:
            future = asyncio.get_running_loop().run_in_executor(self._thread, work)
        except RuntimeError as error:
            raise MemoryError(f"no memory or process for another thread: {error}") from None
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            self._closing = True  # the thread sees it between two chunks
            with contextlib.suppress(Exception):
                await future
            raise

    async def _until_durable(self, tick: int) -> None:
        """Wait until the sinks have everything up to ``tick``; raises Abandoned."""
        kill_point("checkpoint.waiting")
        started = time.monotonic()
        told = left_out = False
        period, said = self._period(), Asked(self.rt, self.rt.get(L.C_WRITE_DOWN))
        while missing := self._not_durable(tick, said):
            self._missing = missing
            if self._called_off():
                raise Abandoned
            if not told and time.monotonic() - started > WAIT_TOLD_SECONDS:
                told = True
                log.warning(
                    "a checkpoint waits: it counts once everything before it is in the sinks",
                    tick=tick, missing=missing,
                )  # fmt: skip
            if self._period() != period:
                period = self._period()
                self._shown.left_out += 1
                if not left_out:
                    left_out = True
                    log.warning("checkpoints are left out while one waits", tick=tick,
                                missing=missing)  # fmt: skip
            await asyncio.sleep(POLL_SECONDS)

    def _not_durable(self, tick: int, said: Asked) -> str:
        """What is missing. ``said``: of what is set by now the journal must have a record, for one
        of before it would count as later than this checkpoint; within a stop none comes."""
        found = []
        if not (self.rt.get(L.C_STOP) or said.on_disk()):
            found.append("what was set is not in the journal yet")
        for role, sink in sinks(self.rt.get):
            reached = self.rt.slot(role.slot).get(L.S_TICK)
            if reached < tick:
                found.append(f"{sink.title} has everything up to tick {reached}")
        if waits(self.rt.folder, tick):
            found.append("columns that were collected before it are not in their file yet")
        return "; ".join(found)

    def _done(self, made: Checkpoint, seconds: float, hold_seconds: float) -> dict[str, Any]:
        shown = self._shown
        shown.made += 1
        shown.state, shown.error = "idle", None
        shown.last = {
            "tick": made.tick,
            "path": str(made.path),
            "bytes": made.path.stat().st_size,
            "seconds": round(seconds, 3),
            "hold_seconds": round(hold_seconds, 6),
            "unix_ns": made.head["unix_ns"],
            "digest": made.head["digest"],
        }
        self._show_full(False)
        log.info("checkpoint made", **shown.last)
        self._tell_passed_over()
        return shown.last

    def _tell_passed_over(self) -> None:
        """Names like a checkpoint's that count for nothing: each is told once."""
        found = [one.why for one in self.keeper.passed_over]
        for why in found:
            if why not in self._shown.passed_over:
                log.warning("a file that looks like a checkpoint does not count", found=why)
        self._shown.passed_over = found

    def _failed(self, reason: Exception) -> str:
        shown = self._shown
        shown.failed += 1
        shown.state = "failed"
        shown.error = f"{reason.strerror}: {self.folder}" if isinstance(reason, OSError) else ""
        shown.error = shown.error or str(reason) or "no memory is left for it"
        self._show_full(isinstance(reason, OSError) and reason.errno in FULL)
        log.error("no checkpoint was made; the world goes on", reason=shown.error)
        self.events.emit("checkpoint_fallido", {REASON: shown.error})
        return shown.error

    def _show_full(self, full: bool) -> None:
        """A full disk degrades the instance until a checkpoint succeeds."""
        self.disk.show("checkpoint", full=full)


class ModuloCheckpoint(ModuloBase):
    """Runs the nucleus' ``Checkpointer``."""

    nombre = "checkpoint"

    def __init__(self, nucleus: Nucleus, checkpoints: Checkpointer) -> None:
        super().__init__(nucleus)
        self._checkpoints = checkpoints

    async def ejecutar(self) -> None:
        await self._checkpoints.run()
