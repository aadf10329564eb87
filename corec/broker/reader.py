"""The task that reads: XREAD → judge → dead letters → inbox lane.

One reader per instance needs no consumer group: its position is kept in the world itself (the last
frame of each canal in the inbox lane, else the table the leader fixes with each tick), so what a
tick applies and how far the stream was read can never disagree, and a checkpoint takes both.

The connection only reads; a blocked XREAD stands in nobody's way. Dead letters go over the
writer's. Input stops while the inbox is full; unread entries stay in their streams.

Now and then, and at each connection, the streams themselves are looked at (``continuity``). A world
that runs ticks again whose output is out already takes in nothing new meanwhile (``held_back``).
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from corec import layout as L
from corec.broker import readings as R
from corec.broker.applied import applied_positions
from corec.broker.bounds import Bounds
from corec.broker.dead import DeadLetter
from corec.broker.held_back import HeldBack
from corec.broker.incoming import Incoming, Work
from corec.broker.link import Command, Link, SinkAway, sort_error
from corec.broker.outgoing import BATCH_BYTES
from corec.broker.positions import (
    ZERO,
    EntryId,
    InPosition,
    after,
    choose_start,
    format_in_position,
    parse_id,
)
from corec.broker.status import Status
from corec.broker.watcher import Watcher
from corec.broker.writer import Writer
from corec.process.backoff import Backoff
from corec.process.runtime import Runtime
from shm.killpoint import kill_point

BLOCK_MS: Final = 100
REPLY_SECONDS: Final = 30.0
COUNT_FIRST: Final = 16
COUNT_MAX: Final = 256
REPLY_BYTES_LOW: Final = 1 << 20
REPLY_BYTES_HIGH: Final = 8 << 20
DEAD_ENTRIES_MAX: Final = 2000
FULL_POLL_SECONDS: Final = 0.002
WRONG_TYPE_SECONDS: Final = 5.0
INBOX_FULL_SHOWN_SECONDS: Final = 1.0

Raw = list[tuple[bytes, list[bytes]]]


class Reader:
    """Reads every canal of the configuration until ``C_STOP`` says that ticks end."""

    def __init__(
        self, rt: Runtime, writer: Writer, incoming: Incoming, status: Status, link: Link,
        watcher: Watcher, held: HeldBack, bounds: Bounds,
    ) -> None:  # fmt: skip
        self._rt = rt
        self._writer = writer
        self._incoming = incoming
        self._status = status
        self._link = link
        self._watcher = watcher
        self._held = held
        self._bounds = bounds
        self._backoff = Backoff()
        self._count = COUNT_FIRST
        self._wrong_type: dict[int, float] = {}
        self.done = False

    async def run(self) -> None:
        """Returns when input ends. Raises TakenOver."""
        loaded = asyncio.ensure_future(self._writer.loaded.wait())
        try:
            while not self._stopping() and not loaded.done():
                await asyncio.wait([loaded], timeout=BLOCK_MS / 1000)
            if loaded.done():
                self._open()
            while not self._stopping():
                try:
                    await self._step()
                    self._status.fine("in")
                    self._backoff.reset()
                except SinkAway as error:
                    self._status.trouble("in", error)
                    await self._pause(self._backoff.next_seconds())
        finally:
            loaded.cancel()
            self.done = True
            await self._link.close()

    def hash_fields(self) -> list[Any]:
        """Names and values of this reader's fields of the position hash, as of now."""
        fields: list[Any] = []
        for canal, cursor in self._incoming.cursors.items():
            fields += [f"read:{canal}", format_in_position(cursor.counted)]
            fields += [f"total_in:{canal}", cursor.total]
        return fields + self._watcher.hash_fields()

    def totals(self) -> dict[int, int]:
        """Messages taken in by canal, this world."""
        cursors = {canal: cursor.total for canal, cursor in self._incoming.cursors.items()}
        return {**self._writer.state.total_in, **cursors}

    def _open(self) -> None:
        """Find every canal's position. The lane's tail is read before the table: what the leader
        has released since is in the table already."""
        state = self._writer.state
        in_lane = R.last_positions(self._rt.inbox)
        in_table = applied_positions(self._rt)
        for canal in self._incoming.canales:
            start = state.start.get(canal)
            published = choose_start(in_lane.get(canal), in_table.get(canal), start)
            counted = state.read.get(canal, choose_start(None, None, start))
            rewound = state.rewound.get(canal)
            if rewound is not None and published.done_before() == rewound.at:
                published = after(rewound.to)
            self._incoming.open(canal, published, counted, state.total_in.get(canal, 0))
        self._held.begin(state)
        self._status.ready()

    async def _step(self) -> None:
        """One XREAD and all that follows from it."""
        if not self._link.connected:
            await self._writer.probe()
            await self._link.connect()
            self._watcher.wanted()
        await self._watcher.look(self._link)
        keys = self._writer.keys
        now = time.monotonic()
        self._wrong_type = {c: until for c, until in self._wrong_type.items() if until > now}
        canales = [c for c in self._incoming.canales if c not in self._wrong_type]
        feeding = self._held.feed.active
        if feeding and not self._held.feed.turn():
            await self._pause(FULL_POLL_SECONDS)
            return
        canales = self._held.readable(canales)
        if not canales:
            await self._pause(BLOCK_MS / 1000)
            return
        names = [keys.incoming(canal) for canal in canales]
        behind = [str(self._incoming.cursors[canal].read) for canal in canales]
        count = max(1, self._count // len(names))
        command: Command = (
            "XREAD", "COUNT", count, "BLOCK", BLOCK_MS, "STREAMS", *names, *behind
        )  # fmt: skip
        before = {canal: self._where(canal) for canal in canales}
        (reply,) = await self._link.call([command], REPLY_SECONDS)
        if isinstance(reply, Exception):
            await self._refused(reply, canales)
            return
        self._status.streams(names)
        if reply:
            await self._take(reply, dict(zip(map(str.encode, names), canales, strict=True)))
        if feeding and not self._stopping():
            for canal in canales:
                if self._where(canal) == before[canal]:
                    self._held.feed.gone(canal)

    def _where(self, canal: int) -> tuple[EntryId, InPosition]:
        """Up to where ``canal`` was read, and taken in: a successor reads again what it counts."""
        cursor = self._incoming.cursors[canal]
        return cursor.read, cursor.published

    async def _take(self, reply: dict[bytes, Raw], canal_of: dict[bytes, int]) -> None:
        size = 0
        entries_most = 0
        for name, found in reply.items():
            canal = canal_of[name]
            entries = self._status.count(L.B_ENTRIES_IN) + len(found)
            self._status.set_count(L.B_ENTRIES_IN, entries)
            entries_most = max(entries_most, len(found) * len(canal_of))
            raw = self._held.cut(canal, self._watcher.unknown(canal, found))
            if not raw:
                self._passed(canal, found)
                continue
            work = self._incoming.judge(canal, raw, self._writer.state.dead.get(canal, ZERO))
            size += work.raw_bytes
            await self._bury(work.canal, work.dead)
            if not await self._publish(work, self._held.limit(work)):
                return
        if size > REPLY_BYTES_HIGH:
            self._count = max(1, self._count // 2)
        elif entries_most >= self._count and size < REPLY_BYTES_LOW:
            self._count = min(COUNT_MAX, self._count * 2)

    def _passed(self, canal: int, found: Raw) -> None:
        """Nothing of ``found`` is to be taken: all is known, or all of it is held back."""
        if self._held.holds(canal):
            return
        last = parse_id(found[-1][0])
        cursor = self._incoming.cursors[canal]
        cursor.read = max(cursor.read, last)

    async def _bury(self, canal: int, letters: list[DeadLetter]) -> None:
        """Write dead letters, as many MULTIs as it takes; each says how far it came."""
        writer, keys = self._writer, self._writer.keys
        stream = keys.incoming(canal)
        while letters:
            async with writer.lock:
                await writer.ensure()
                state = writer.state
                # a MULTI whose reply was lost may have been executed
                letters = [one for one in letters if one.source > state.dead.get(canal, ZERO)]
                batch = _first_letters(letters)
                if not batch:
                    return
                total = state.total_dead.get(canal, 0) + sum(one.messages for one in batch)
                commands: list[Command] = [
                    one.command(keys, stream, self._bounds.maxlen(keys.dead, one.size))
                    for one in batch
                ]
                mark = batch[-1].source
                commands.append(
                    ("HSET", keys.pos, f"dead:{canal}", str(mark), f"total_dead:{canal}", total)
                )
                kill_point("broker.before_dead")
                await writer.commit([keys.dead], commands)
                kill_point("broker.after_dead")
                state.dead[canal] = mark
                state.total_dead[canal] = total
                self._status.raise_count(L.B_DEAD, sum(state.total_dead.values()))
            letters = letters[len(batch) :]

    async def _publish(self, work: Work, limit: int) -> bool:
        """Put the good messages up to index ``limit`` into the inbox, waiting for room; false when
        input ends first."""
        begin = min(work.begin, limit)
        if work.count_from < begin:
            self._progress(work, work.count_from, begin)
        if not work.moves or (limit < work.count and begin >= limit):
            self._progress(work, limit, limit)
            return True
        inbox = self._rt.inbox
        entries, verdict = work.entries(), work.verdict[:limit]
        at = begin
        full_since = 0.0
        while True:
            kill_point("broker.before_inbox_publish")
            came_to = R.publish(
                inbox.ctl, inbox.data, work.packed, work.width, verdict, at, work.canal,
                work.starts, entries, self._rt.config.streams.readings_per_tick,
            )  # fmt: skip
            kill_point("broker.after_inbox_publish")
            if came_to > at or came_to == limit:
                self._progress(work, at, came_to)
                at = came_to
                full_since = 0.0
            if came_to == limit:
                self._status.inbox_full(False)
                return True
            if self._stopping():
                return False
            full_since = full_since or time.monotonic()
            if time.monotonic() - full_since > INBOX_FULL_SHOWN_SECONDS:
                self._status.inbox_full(True)
            await asyncio.sleep(FULL_POLL_SECONDS)

    def _progress(self, work: Work, begin: int, end: int) -> None:
        before = self._incoming.cursors[work.canal].done
        self._incoming.progress(work, begin, end)
        # here, since a successor counts what its predecessor had published without publishing it
        self._status.raise_count(L.B_MESSAGES_IN, sum(self.totals().values()))
        done = self._incoming.cursors[work.canal].done
        if done > before:
            self._watcher.took(work.canal, [entry for entry in work.ids if before < entry <= done])

    async def _refused(self, error: Exception, canales: list[int]) -> None:
        """XREAD failed as a whole: leave out the keys that hold no stream, if that is it."""
        keys = self._writer.keys
        kinds = await self._link.checked([("TYPE", keys.incoming(canal)) for canal in canales])
        wrong = {
            canal: kind.decode("ascii", "replace")
            for canal, kind in zip(canales, kinds, strict=True)
            if kind not in (b"stream", b"none")
        }
        if not wrong:
            await self._link.close()
            raise sort_error(error)
        for canal, kind in wrong.items():
            self._status.no_stream(keys.incoming(canal), kind)
            self._wrong_type[canal] = time.monotonic() + WRONG_TYPE_SECONDS

    async def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        # C_STOP is a word of shared memory: nothing on this loop tells when it changes
        while not self._stopping() and (left := until - time.monotonic()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(min(left, BLOCK_MS / 1000))

    def _stopping(self) -> bool:
        return self._rt.get(L.C_STOP) >= L.STOP_TICKS


def _first_letters(letters: list[DeadLetter]) -> list[DeadLetter]:
    size = 0
    for k, letter in enumerate(letters[:DEAD_ENTRIES_MAX]):
        size += letter.size
        if size > BATCH_BYTES and k:
            return letters[:k]
    return letters[:DEAD_ENTRIES_MAX]
