"""The nucleus: control plane of an instance. It never touches an entity's memory.

Writes: its own slot, line 2 of the control segment (limit, rate, pause, hold, carga, step), the
final digest's words through ``corec.world.finish``, its event lane. Everything else it reads.

Killed at any point: the world goes on (ticks need no nucleus); its successor finds line 2 as it
was, releases a hold that was left, replaces the control socket and inherits the listening HTTP
socket, so clients reconnect to the same addresses. A tick that was held for at most the time it
takes to start a successor is late, nothing is lost.

It stops when ``C_STOP`` says so and not for a signal: a terminal's Ctrl-C reaches the whole process
group, and the order in which the processes leave is the supervisor's.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import signal
import time
from typing import Any

import uvloop

from corec import layout as L
from corec import log as corec_log
from corec.control.outcome import shortened
from corec.modules.base import ModuloBase
from corec.nucleus.checkpoints import Checkpointer
from corec.nucleus.collector import Collector
from corec.nucleus.commands import Commands
from corec.nucleus.errors import Errors
from corec.nucleus.events import EventWriter
from corec.nucleus.hold import Holder, HoldTimeout
from corec.nucleus.modules import load_modules
from corec.nucleus.views import Views
from corec.process.backoff import Backoff
from corec.process.life import Life, Rings
from corec.process.runtime import Runtime
from corec.version import __version__
from corec.world.finish import finish

log = corec_log.get_logger(__name__)

_WATCH_SECONDS = 0.2
_RETRY_SECONDS_MIN = 0.5
_RETRY_SECONDS_MAX = 60.0
_BLIND_TOLD_SECONDS = 60.0  # not every look needs what is missing
_FINISH_STOP_SECONDS = 3.0
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR2)


class CoreCNucleus:
    """Configuration, module registry and the loop that runs the modules beside each other."""

    def __init__(self, rt: Runtime) -> None:
        self.rt = rt
        self.config = rt.config
        self.slot = rt.slot(L.SLOT_NUCLEUS)
        self.views = Views(rt, __version__)
        self.events = EventWriter(rt)
        self.holder = Holder(rt)
        self.checkpoints = Checkpointer(rt, self.holder, self.events)
        self.views.checkpoint = self.checkpoints.shown
        self.collector = Collector(rt)
        self.errors = Errors(rt, self.events, self.views.totals.read)
        self.views.errors = self.errors
        self.commands = Commands(rt, self.holder, self.views, self.checkpoints)
        self.modules: list[ModuloBase] = []
        self.life = Life(rt, L.SLOT_NUCLEUS)
        self._blind_told = -math.inf
        self.rings = Rings(rt.doorbells[L.SLOT_NUCLEUS])

    def register(self, module: ModuloBase) -> None:
        """Add a module; those added before ``ejecutar`` run from the start."""
        self.modules.append(module)

    async def inicializar(self) -> None:
        """Take over from a predecessor and load the modules."""
        if self.holder.release_leftover():
            log.warning("a hold that a killed nucleus had left was released")
        modules = load_modules(
            self, self.commands, self.views, self.checkpoints, self.collector
        )  # fmt: skip
        for module in modules:
            self.register(module)

    async def ejecutar(self) -> int:
        """Run until the instance stops or the parent is gone; the exit code."""
        loop = asyncio.get_running_loop()
        self.rings.open()
        loop.add_signal_handler(signal.SIGUSR1, corec_log.reopen)
        running: asyncio.Future[Any] | None = None
        try:
            if (code := await self._finish_writes()) is not None:
                return code
            running = asyncio.gather(
                *(self._run(module) for module in self.modules),
                return_exceptions=True,  # else the first to leave would end the wait for the others
            )
            self.life.showing.works()
            return await self._watch()
        finally:
            self.rings.close()
            if running is not None:
                running.cancel()
                with contextlib.suppress(asyncio.CancelledError, TimeoutError):
                    async with asyncio.timeout(_FINISH_STOP_SECONDS):
                        await running

    async def _finish_writes(self) -> int | None:
        """What a killed predecessor had begun to write, before a module serves anybody, with the
        heart beating meanwhile; if the world can't be held for it, the tick that comes does it. An
        exit code: leave at once."""
        work = asyncio.create_task(self.commands.settings.finish())
        while not work.done():
            self.life.beat()
            if (code := self.life.ending()) is not None:
                work.cancel()
                return code
            await asyncio.wait([work], timeout=_WATCH_SECONDS)
        try:
            await work
        except (HoldTimeout, OSError) as error:
            log.warning("what was written counts with the next tick", reason=str(error))
        return None

    async def _watch(self) -> int:
        while True:
            self.life.beat()
            if (code := self.life.ending()) is not None:
                return code
            if self._is_to_finish():
                return await self._finish()
            self._look()
            await self.rings.wait(_WATCH_SECONDS, self._is_to_finish)

    def _look(self) -> None:
        """See what is to be shown; no descriptor or memory being left, some other time."""
        try:
            self.views.watch()
            self.errors.watch()
            self.commands.settings.look()
        except (OSError, MemoryError) as error:
            if time.monotonic() - self._blind_told > _BLIND_TOLD_SECONDS:
                self._blind_told = time.monotonic()
                log.warning("the nucleus can't look around: figures that are shown may be old",
                            reason=str(error))  # fmt: skip

    def _is_to_finish(self) -> bool:
        return self.rt.get(L.C_STOP) >= L.STOP_NUCLEUS

    async def _finish(self) -> int:
        """The last files of columns, the digest and the checkpoint, with the heart beating."""
        await self.checkpoints.close()
        work = asyncio.create_task(asyncio.to_thread(self._end))
        while not work.done():
            self.life.beat()
            if self.rt.get(L.C_STOP) == L.STOP_NOW:
                return 0
            await asyncio.wait([work], timeout=_WATCH_SECONDS)
        try:
            await work
        except Exception:
            log.exception("the final digest or checkpoint failed")
            return 1
        self.life.showing.drained()
        return 0

    def _end(self) -> None:
        if self.collector.wanted:
            self.collector.make()
        finish(self.rt, self.checkpoints.keeper)

    async def _run(self, module: ModuloBase) -> None:
        """One module's life; a failure is told and it starts again, ever more slowly."""
        again = Backoff(most_seconds=_RETRY_SECONDS_MAX, first_seconds=_RETRY_SECONDS_MIN)
        while True:
            started = time.monotonic()
            try:
                await module.inicializar()
                await module.ejecutar()
                return
            except Exception as error:
                if time.monotonic() - started > _RETRY_SECONDS_MAX:
                    again.reset()
                pause = round(again.next_seconds(), 3)
                log.exception("a module failed", module=module.nombre, again_in_seconds=pause)
                told = {"module": module.nombre, "error": shortened(repr(error))}
                self.events.emit("module_failed", told)
            finally:
                await self._stopped(module)
            await asyncio.sleep(pause)

    async def _stopped(self, module: ModuloBase) -> None:
        try:
            await module.detener()
        except Exception:
            log.exception("a module could not be stopped cleanly", module=module.nombre)


def run(rt: Runtime) -> int:
    """The nucleus process, forked by the supervisor: run until the instance stops; exit code."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    Life(rt, L.SLOT_NUCLEUS).begin()

    async def principal() -> int:
        nucleus = CoreCNucleus(rt)
        await nucleus.inicializar()
        return await nucleus.ejecutar()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(principal())
