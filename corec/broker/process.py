"""The broker's process: one event loop, a task that sends, one that reads, one that writes the
journal, one that shows life.

The tasks share the loop's one thread, so nothing they share needs a lock but the connection that
writes. Compiled passes run on the loop; each is bounded by a batch (a few milliseconds). redis-py's
asyncio client on uvloop was chosen by measurement: beside the synchronous one it sends large
entries as fast or faster for less CPU time (``docs/streams.md``), and reading and writing overlap
without threads.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Final

import uvloop

from corec import layout as L
from corec.broker.bounds import Bounds
from corec.broker.events import Events
from corec.broker.groups import Groups
from corec.broker.held_back import HeldBack
from corec.broker.incoming import Incoming
from corec.broker.journaling import Journaling
from corec.broker.link import Link, SinkAway
from corec.broker.loss import Known, Loss
from corec.broker.outgoing import Outgoing, alert_groups
from corec.broker.owner import TakenOver
from corec.broker.positions import Keys
from corec.broker.reader import Reader
from corec.broker.sender import Sender
from corec.broker.state import SinkState
from corec.broker.status import Status
from corec.broker.watcher import Watcher
from corec.broker.writer import Writer
from corec.log import get_logger
from corec.process.life import TAKEN_OVER, Life
from corec.process.runtime import RENEW_SECONDS, Runtime

log = get_logger(__name__)
BEAT_SECONDS: Final = 0.05
TOTALS_SECONDS: Final = 1.0
CANCEL_SECONDS: Final = 1.0


class _Leave(Exception):
    """The process must go at once; ``code`` is its exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def run(rt: Runtime) -> int:
    """Run the broker until ``C_STOP`` or the supervisor's death; returns the exit code.

    0: drained, or told to leave at once. 1: the supervisor died. TAKEN_OVER: another instance, or
    another world, has taken over this instance's streams. To be called in a forked child, without a
    running event loop.
    """
    loop = uvloop.new_event_loop()
    try:
        return loop.run_until_complete(_Broker(rt).main())
    finally:
        loop.close()


async def _cancelled(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel ``tasks`` until all have ended: one cancellation may be lost on its way, in a library
    that takes it for a timeout of its own."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        ended, left = await asyncio.wait(left, timeout=CANCEL_SECONDS)
        await asyncio.gather(*ended, return_exceptions=True)  # or each complains to the log


class _Broker:
    def __init__(self, rt: Runtime) -> None:
        self._rt = rt
        self._life = Life(rt, L.SLOT_BROKER)
        self._slot = rt.slot(L.SLOT_BROKER)
        self._life.begin()
        keys = Keys(rt.config.instance_id)
        cluster = rt.config.redis.cluster
        self.status = Status(rt)
        self.incoming = Incoming(rt.plan)
        groups, group_of_block = alert_groups(rt.whole_plan)
        self.outgoing = Outgoing(rt.out, rt.epoch, groups, group_of_block)
        known = self._known()
        self.writer = Writer(
            Link(rt.redis_url, keys.pos, cluster), keys, rt.epoch, self.incoming.canales,
            self._loaded, known=known, begun=self.status.count(L.B_BEGUN) != 0,
            fresh=rt.get(L.C_FRESH) != 0, owner=rt.owner, maxlen=rt.config.streams.maxlen,
            groups=Groups(keys, rt.config, rt.whole_plan, rt.group_tick),
        )  # fmt: skip
        events = Events(rt)
        bounds = Bounds(rt.config.streams.maxlen, rt.config.streams.max_mb << 20)
        self.journaling = Journaling(rt, self.status, events)
        self.watcher = Watcher(self.writer, self.incoming, self.status, events)
        self.reader = Reader(
            rt, self.writer, self.incoming, self.status, Link(rt.redis_url, keys.pos, cluster),
            self.watcher, self._held_back(events, known is not None), bounds,
        )  # fmt: skip
        self.sender = Sender(
            rt, self.writer, self.outgoing, self.status, events, bounds, self.journaling,
            self.reader.hash_fields, lambda: self.reader.done,
        )  # fmt: skip

    def _held_back(self, events: Events, lived: bool) -> HeldBack:
        first = self.status.count(L.B_BEGUN) == 0
        return HeldBack(self._rt, self.incoming, events, lived=lived, first=first)

    def _known(self) -> Known | None:
        """What this world has in Redis by the words that outlive a broker; None: it is new."""
        tick, messages = self._slot.get(L.S_TICK), self.status.count(L.B_MESSAGES_OUT)
        if not tick and not messages and not self.status.count(L.B_BEGUN):
            return None
        left = self.status.read_totals()
        dropped = self.status.count(L.B_DROPPED)
        return Known(tick, messages or None, left.get("out", {}), left.get("dead", {}), dropped)

    def _loaded(self, state: SinkState, loss: Loss | None) -> None:
        self.status.set_count(L.B_BEGUN, 1)
        self.sender.loaded(state, loss)
        self.watcher.reloaded()

    async def main(self) -> int:
        tasks = {
            "sender": asyncio.ensure_future(self.sender.run()),
            "reader": asyncio.ensure_future(self.reader.run()),
            "watch": asyncio.ensure_future(self._watch()),
            "lease": asyncio.ensure_future(self._renew()),
            "journal": asyncio.ensure_future(self.journaling.run()),
        }
        pending = set(tasks.values())
        try:
            while not tasks["sender"].done():
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            await self.journaling.durable()
            await self.writer.release()
            return 0
        except _Leave as leave:
            return leave.code
        except TakenOver as error:
            log.error("the broker leaves", reason=str(error))
            return TAKEN_OVER
        finally:
            await _cancelled(tasks.values())
            await self.writer.link.close()
            self.journaling.close()
            self._write_totals()

    async def _watch(self) -> None:
        """Show life, keep ``broker.json`` fresh, and leave at once when that is asked for."""
        totals_at = 0.0
        stop = L.STOP_NO
        while True:
            self._life.beat()
            before, stop = stop, self._rt.get(L.C_STOP)
            if (code := self._life.ending()) is not None:
                raise _Leave(code)
            if stop != before:
                self.sender.wake()
            if time.monotonic() - totals_at >= TOTALS_SECONDS and self.writer.loaded.is_set():
                totals_at = time.monotonic()
                self._write_totals()
            await asyncio.sleep(BEAT_SECONDS)

    async def _renew(self) -> None:
        """Keep the lease, whatever else waits for the server."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                await self.writer.renew()
            except SinkAway as error:
                log.debug("the lease was not renewed", reason=str(error))

    def _write_totals(self) -> None:
        state = self.writer.state
        self.status.write_totals(state.total_out, self.reader.totals(), state.total_dead)
