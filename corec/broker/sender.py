"""The task that sends: lanes → batches → MULTI → release, and about once a second the positions.

One batch, and what a kill after each step leaves:

    1  S_TICK of every worker, then the lanes are read:    nothing happened
       of ticks whose records the journal has
    2  WATCH, MULTI, XADD …, HSET pos, EXEC                all of it is in Redis, or nothing
    3  EXEC is confirmed (lost reply: read the hash)       the successor drops what the hash has
    4  lanes are released, workers rung                    the bytes are the workers' again

When a batch is sent: ``streams.batch_ms`` after its first frame was seen, or sooner when half a
batch waits or a lane is half full. Frames of a tick that is still running wait for its end, unless
a lane is half full or they have waited for a second.

``streams.on_full`` = drop_oldest: a lane that is three quarters full, or half full while its worker
waits for room, for Redis is away or slow, loses its oldest frames at once (``_keep_room``). Those
of them that are in a batch without an answer are counted only when it is known that the batch did
not arrive.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from corec import layout as L
from corec.broker import frames as F
from corec.broker.applied import applied_by_complete
from corec.broker.bounds import Bounds
from corec.broker.events import Events
from corec.broker.journaling import Journaling
from corec.broker.link import Command, SinkAway
from corec.broker.loss import Loss
from corec.broker.outgoing import BATCH_BYTES, Batch, Outgoing, Skipped, signed_canal
from corec.broker.positions import InPosition, format_in_position
from corec.broker.state import SinkState
from corec.broker.status import Status
from corec.broker.writer import Writer
from corec.log import get_logger
from corec.process.backoff import Backoff
from corec.process.events import REASON
from corec.process.life import Rings
from corec.process.runtime import Runtime
from shm.killpoint import kill_point

log = get_logger(__name__)
IDLE_SECONDS: Final = 0.25
STOPPING_SECONDS: Final = 0.01
SYNC_SECONDS: Final = 1.0
KEEP_ROOM_SECONDS: Final = 0.02
RUNNING_TICK_WAIT_SECONDS: Final = 1.0

Fields = Callable[[], list[Any]]


class Sender:
    """Sends until the lanes are empty and nothing more will come."""

    def __init__(
        self, rt: Runtime, writer: Writer, outgoing: Outgoing, status: Status, events: Events,
        bounds: Bounds, journaling: Journaling, input_fields: Fields,
        input_done: Callable[[], bool],
    ) -> None:  # fmt: skip
        """``input_fields``: names and values for the position hash that the reader keeps."""
        self._journaling = journaling
        self._rt = rt
        self._writer = writer
        self._outgoing = outgoing
        self._status = status
        self._events = events
        self._input_fields = input_fields
        self._input_done = input_done
        self._rings = Rings(rt.doorbells[L.SLOT_BROKER])
        self._linger_seconds = rt.config.streams.batch_ms / 1000
        self._bounds = bounds
        self._drop_oldest = rt.config.streams.on_full == "drop_oldest"
        self._open: dict[int, int] = {}  # lane → end of what was sent and is not confirmed
        self._doubtful: dict[int, list[Skipped]] = {}  # of that, what the lane no longer holds
        self._backoff = Backoff()
        self._waiting_since = 0.0
        self._synced_at = 0.0
        self._synced: list[Any] = []

    async def run(self) -> None:
        """Returns once everything is sent after ``C_STOP`` asked for it. Raises TakenOver."""
        self._rings.open()
        keeping_room = asyncio.ensure_future(self._keep_room())
        try:
            while True:
                try:
                    if self._ending() and await self._finish():
                        return
                    more = await self._step(sync=False)
                    self._status.fine("out")
                    self._backoff.reset()
                except SinkAway as error:
                    self._status.trouble("out", error)
                    await asyncio.sleep(self._backoff.next_seconds())
                    continue
                if not more:
                    await self._wait()
        finally:
            keeping_room.cancel()
            self._rings.close()

    def wake(self) -> None:
        """``C_STOP`` changed: look at it now."""
        self._rings.wake()

    def loaded(self, state: SinkState, loss: Loss | None) -> None:
        """The position hash was read: start again from the lanes' tails."""
        self._outgoing.restore(state)
        self._settle(lambda k, end: k in state.lanes and state.lanes[k].position >= end)
        self._status.raise_count(L.B_DROPPED, state.total_dropped)
        if loss is not None:
            self._tell_loss(loss)
        self._show_counts()

    async def _step(self, sync: bool) -> bool:
        """Send one batch if there is one, and the positions if they are due; true for more."""
        await self._journaling.durable()  # a full disk keeps nobody else from the connection
        async with self._writer.lock:
            await self._writer.ensure()
            complete, applied = applied_by_complete(self._rt)
            until = self._journaling.written_until()
            tick_max = min(until, self._tick_max(complete))
            # nothing is awaited from here to what ``_commit`` says of it: it may be dropped
            batch = self._outgoing.take(min(until, complete), tick_max)
            now = time.monotonic()
            extra: list[Any] = []
            if sync or now - self._synced_at >= SYNC_SECONDS:
                extra = [*self._input_fields(), "total_dropped", self._status.count(L.B_DROPPED)]
                self._synced_at = now
            fields = [*extra, batch.out_tick]
            if not batch.empty or (extra and fields != self._synced) or sync:
                moved = self._moved(applied) if batch.out_tick == complete else {}
                await self._commit(batch, [*extra, *_applied_fields(moved)])
                self._writer.state.done.update(moved)
                self._writer.state.applied.update((c, p.done_before()) for c, p in moved.items())
                self._synced = fields if extra else self._synced
            self._finish_batch(batch)
        if batch.messages or batch.duplicates:
            self._waiting_since = 0.0
        return batch.more

    async def _commit(self, batch: Batch, extra: list[Any]) -> None:
        keys, state = self._writer.keys, self._writer.state
        streams = {keys.out(signed_canal(int(c))) for c in set(batch.regions[:, F.REGION_CANAL])}
        if batch.alerts:
            streams.add(keys.alerts)
        commands: list[Command] = batch.entries(keys, self._bounds)
        commands += batch.bookkeeping(keys, state)
        if extra:
            commands.append(("HSET", keys.pos, *extra))
        kill_point("broker.before_multi")
        self._open = {k: position.position for k, position in batch.lanes.items()}
        await self._writer.commit(streams, commands)
        self._settle(lambda _lane, _end: True)
        kill_point("broker.after_multi")
        self._outgoing.sent(batch, state)

    def _finish_batch(self, batch: Batch) -> None:
        """What was sent, now or before, is durable: give the room back."""
        kill_point("broker.before_release")
        released = self._outgoing.release(batch)
        kill_point("broker.after_release")
        for lane in released:
            self._rt.doorbells[L.SLOT_WORKER0 + lane].ring()
        if batch.duplicates:
            before = self._status.count(L.B_DUPLICATES)
            self._status.set_count(L.B_DUPLICATES, before + batch.duplicates)
        self._show_counts()

    async def _finish(self) -> bool:
        """Send what is left and the last positions; false when more turned up meanwhile."""
        if await self._step(sync=True) or any(lane.used for lane in self._outgoing.lanes):
            return False
        self._status.drained()
        return True

    def _ending(self) -> bool:
        return self._rt.get(L.C_STOP) >= L.STOP_SINKS and self._input_done()

    def _moved(self, applied: Mapping[int, InPosition]) -> dict[int, InPosition]:
        """What of the input is applied with ``out_tick`` and not in the hash yet."""
        known = self._writer.state.done
        return {canal: place for canal, place in applied.items() if known.get(canal) != place}

    def _tick_max(self, complete: int) -> int:
        """The last tick to take: the complete one, or the running one if it must not wait."""
        waited = time.monotonic() - self._waiting_since if self._waiting_since else 0.0
        stopping = self._rt.get(L.C_STOP) >= L.STOP_SINKS
        if stopping or waited > RUNNING_TICK_WAIT_SECONDS or self._outgoing.pressed():
            upcoming = self._outgoing.next_tick()
            return max(complete + 1, upcoming if upcoming != F.NO_TICK else 0)
        return complete

    async def _wait(self) -> None:
        """Until a batch is due: a linger behind its first frame, or it is large."""
        if not self._outgoing.waiting_bytes():
            stopping = self._rt.get(L.C_STOP) >= L.STOP_TICKS
            await self._rings.wait(
                STOPPING_SECONDS if stopping else IDLE_SECONDS,
                lambda: bool(self._outgoing.waiting_bytes()) or self._ending(),
            )
        if not self._outgoing.waiting_bytes():
            return
        now = time.monotonic()
        self._waiting_since = self._waiting_since or now
        deadline = now + self._linger_seconds
        pause = min(0.002, self._linger_seconds)
        while time.monotonic() < deadline and self._rt.get(L.C_STOP) < L.STOP_SINKS:
            if self._outgoing.waiting_bytes() >= BATCH_BYTES // 2 or self._outgoing.pressed():
                break
            await asyncio.sleep(pause)

    def _show_counts(self) -> None:
        state, status = self._writer.state, self._status
        status.raise_count(L.B_MESSAGES_OUT, sum(state.total_out.values()))
        status.raise_count(L.B_MESSAGES_IN, sum(state.total_in.values()))
        status.raise_count(L.B_ENTRIES_OUT, state.total_entries)
        status.raise_count(L.B_ALERTS, state.total_alerts)
        status.raise_count(L.B_DEAD, sum(state.total_dead.values()))
        status.raise_count(L.B_UNREAD_LOST, state.total_unread)
        self._rt.slot(L.SLOT_BROKER).set(L.S_TICK, max(0, self._outgoing.out_tick))

    async def _keep_room(self) -> None:
        """``on_full`` = drop_oldest: lanes that are nearly full lose frames, until cancelled."""
        while self._drop_oldest:
            for k, lane in enumerate(self._outgoing.lanes):
                if lane.used * 4 >= lane.capacity * 3 or self._stuck(k):
                    doubtful, lost = self._outgoing.skip_oldest(k, self._open.get(k, 0))
                    self._doubtful.setdefault(k, []).append(doubtful)
                    self._dropped(k, lost)
                    self._rt.doorbells[L.SLOT_WORKER0 + k].ring()
            await asyncio.sleep(KEEP_ROOM_SECONDS)

    def _stuck(self, lane_index: int) -> bool:
        """Whether the lane's worker waits for room: the largest frame takes a quarter of a lane,
        and as much again where it has to begin at the lane's start, so half of it can be too little
        long before the lane is nearly full."""
        lane = self._outgoing.lanes[lane_index]
        worker = self._rt.slot(L.SLOT_WORKER0 + lane_index)
        return worker.get(L.S_STATE) == L.PROC_WAITING_SINK and lane.used * 2 > lane.capacity

    def _settle(self, arrived: Callable[[int, int], bool]) -> None:
        """It is known now what became of the last batch: ``arrived(lane, position)``."""
        doubtful, self._doubtful = self._doubtful, {}
        sent, self._open = self._open, {}
        for k, parts in doubtful.items():
            for part in parts:
                if k not in sent or not arrived(k, sent[k]):
                    self._dropped(k, part)

    def _dropped(self, lane: int, lost: Skipped) -> None:
        """Count messages that are lost for good, and make an event of the gap."""
        if not lost.messages:
            return
        total = self._status.count(L.B_DROPPED) + lost.messages
        self._status.set_count(L.B_DROPPED, total)
        self._writer.state.total_dropped = total
        log.warning("messages dropped: redis does not keep up", lane=lane, messages=lost.messages)
        self._events.emit(
            "mensajes_perdidos", lost.last_tick,
            {
                "lane": f"out-{lane}", "mensajes": lost.messages, "desde": lost.first_tick,
                "hasta": lost.last_tick, REASON: "drop_oldest",
            },
        )  # fmt: skip

    def _tell_loss(self, loss: Loss) -> None:
        """The server came back without what it had confirmed."""
        detail = {
            "lane": None, "mensajes": loss.messages, "entradas": loss.entries,
            "cartas": loss.letters, "desde": loss.first_tick, "hasta": loss.last_tick,
            REASON: "redis_lost_writes",
        }  # fmt: skip
        log.error("redis lost what it had confirmed; the world goes on", **detail)
        self._events.emit("mensajes_perdidos", loss.last_tick, detail)


def _applied_fields(moved: Mapping[int, InPosition]) -> list[Any]:
    fields: list[Any] = []
    for canal, place in moved.items():
        fields += [f"done:{canal}", format_in_position(place)]
        fields += [f"in:{canal}", str(place.done_before())]
    return fields
