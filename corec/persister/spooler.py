"""When frames leave their lanes for the disk, and what happens at the spool's limit.

The task ``Spooler.run`` looks every ``LOOK_S``.  It moves frames while the database does not take
them: no connection for ``AWAY_S``, an operation without an answer for ``SILENT_S``, or a paced
world (``tick_hz`` > 0) whose lanes are three quarters full.  A world that ticks flat out and has a
database that works is slowed by its lanes instead: it would fill any disk.

One pass copies what the lanes hold, a bounded number of bytes, waits for the journal, appends it,
syncs, releases the lanes.  Less than ``ENOUGH_BYTES`` wait up to ``LINGER_S`` for more, unless a
lane is half full.

At the limit (``persist.spool_max_mb``) ``persist.on_full`` decides:

    block        nothing is moved; the lanes fill and the workers wait
    drop_oldest  the oldest file becomes a gap; but no file whose rows are on their way to the
                 database, perhaps committed: then as ``block`` until that is known.  What is larger
                 than the whole spool becomes a gap itself
    drop_new     what comes is a gap, until a file was written to the database

An error of the disk is ``block`` under every policy, and is tried again every ``RETRY_S``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from corec import layout as L
from corec.log import get_logger
from corec.persister.batch import shares
from corec.persister.gaps import count_frames
from corec.persister.linger import ENOUGH_BYTES, Linger
from corec.persister.reach import Reach
from corec.persister.source import LaneSource, ring_producer, written_down
from corec.persister.spool import Chunk, Spool
from corec.persister.spool_format import WHY_DROP_NEW, WHY_DROP_OLDEST, Extent
from corec.persister.status import Status
from corec.persister.stopping import Stop
from corec.process.runtime import Runtime, word_to_float
from shm.killpoint import kill_point
from shm.lane import Frame

LOOK_S: Final = 0.05
AWAY_S: Final = 1.0
RETRY_S: Final = 1.0
CALM_S: Final = 5.0
PASS_BYTES: Final = 8 << 20
CHUNK_BYTES: Final = 512 << 10

log = get_logger(__name__)
Key = tuple[int, int, int]


class Spooler:
    """Moves frames from lanes to the spool."""

    def __init__(
        self, spool: Spool, sources: Sequence[LaneSource], on_full: str, rt: Runtime,
        status: Status, stop: Stop, reach: Reach,
    ) -> None:  # fmt: skip
        """``reach``: whether the database takes anything; ``status`` hears what moved."""
        self._rt, self._status, self._stop, self._reach = rt, status, stop, reach
        self._spool = spool
        self._sources = list(sources)
        self._on_full = on_full
        self._linger = Linger()
        self._keys: dict[str, Key] = {}
        self._leaving = False

    async def open(self) -> None:
        """Wait for the spool's lock; go on without it if its folder cannot be made now."""
        while True:
            try:
                if await asyncio.to_thread(self._spool.open):
                    break
            except OSError as error:
                self._tell(f"{self._spool.folder}: {error.strerror}")
                if not self._spool.folder.exists():
                    return
                await asyncio.sleep(RETRY_S)
            await asyncio.sleep(LOOK_S)
        self._tell(None)
        if self._spool.aside:
            log.warning("set the spool of another world aside", files=self._spool.aside)

    async def run(self) -> None:
        """Look again and again until ``leave``. A trouble is over when a pass went well, or there
        was nothing to move for ``CALM_S``: a database that comes and goes makes no room."""
        due_at = 0.0
        while not self._leaving:
            pause = LOOK_S
            if self._due():
                due_at = time.monotonic()
                try:
                    if await self.move():
                        pause = 0.0
                except OSError as error:
                    self._tell(f"{error.strerror or error}")
                    pause = RETRY_S
            elif time.monotonic() - due_at > CALM_S:
                self._tell(None)
            await asyncio.sleep(pause)

    def leave(self) -> None:
        """End ``run`` after the pass that is going on."""
        self._leaving = True

    def empty(self) -> bool:
        """Whether every lane's frames are released."""
        return all(source.lane.used == 0 for source in self._sources)

    def _due(self) -> bool:
        waiting = [source.lane.head - source.to_spool() for source in self._sources]
        if not any(waiting):
            self._linger.reset()
            return False
        used = max(source.lane.used / source.capacity for source in self._sources)
        return is_due(
            sum(waiting), used, self._reach.away_seconds(), lingered=self._linger.over(),
            stopping=self._stop.wanted(), paced=word_to_float(self._rt.get(L.C_TICK_HZ)) > 0,
        )  # fmt: skip

    async def move(self) -> bool:
        """One pass; true when there is more to move at once.  Raises OSError."""
        self._linger.reset()
        async with self._spool.lock:
            waiting = [source.lane.head - source.to_spool() for source in self._sources]
            chunks: list[Chunk] = []
            for source, limit in zip(self._sources, shares(waiting, PASS_BYTES), strict=True):
                if limit:
                    chunks += self._chunks(source, limit)
            await written_down(self._rt)
            kept, rest = await self._fit(chunks)
            if kept:
                kill_point("spool.before_append")
                await self._spool.append(kept)
                self._spool.collect(self._spool.current)
                self._moved(kept)
            if rest and self._on_full == "drop_new":
                await self._drop(rest, WHY_DROP_NEW)
                rest = []
            elif rest and self._on_full == "drop_oldest":
                rest = await self._drop_too_large(rest)
            self._tell("its limit is reached" if rest else None)
        return not rest and sum(waiting) > PASS_BYTES

    def _tell(self, trouble: str | None) -> None:
        """The spool takes nothing because of ``trouble``; None: it does."""
        self._status.spool(self._spool.disk_bytes, trouble)

    async def _fit(self, chunks: list[Chunk]) -> tuple[list[Chunk], list[Chunk]]:
        """What can be spooled now, and what cannot; makes room first if it may."""
        spool, size_of = self._spool, self._spool.size_of
        wanted = sum(map(size_of, chunks))
        if self._on_full == "drop_oldest":
            wanted = min(wanted, spool.cap_bytes // 2)
            while spool.room() < wanted:
                lost = await spool.drop_oldest()
                if lost is None:
                    break
                self._status.lost(lost)
        room = spool.room()
        if self._on_full == "drop_new" and spool.dropping and room < spool.file_bytes:
            room = 0
        kept: list[Chunk] = []
        full: set[str] = set()
        rest: list[Chunk] = []
        for chunk in chunks:
            if size_of(chunk) <= room and chunk.extent.lane not in full:
                kept.append(chunk)
                room -= size_of(chunk)
            else:
                full.add(chunk.extent.lane)
                rest.append(chunk)
        return kept, rest

    async def _drop_too_large(self, rest: list[Chunk]) -> list[Chunk]:
        """Drop what no file that goes would make room for; what is left.

        It is first of its lane in ``rest``: what came before it is in the spool, or too large, too.
        """
        seen: set[str] = set()
        hopeless: list[Chunk] = []
        for chunk in rest:
            if chunk.extent.lane not in seen and self._spool.size_of(chunk) > self._spool.room_max:
                hopeless.append(chunk)
            else:
                seen.add(chunk.extent.lane)
        if hopeless:
            await self._drop(hopeless, WHY_DROP_OLDEST)
        return [chunk for chunk in rest if chunk not in hopeless]

    async def _drop(self, rest: list[Chunk], why: int) -> None:
        lost = [chunk.extent._replace(why=why) for chunk in rest]
        await self._spool.put_gaps(lost)
        self._moved(rest)
        self._status.lost(lost)

    def _moved(self, chunks: list[Chunk]) -> None:
        """``chunks`` are durable, or their gaps are: give their room back."""
        ends = {chunk.extent.lane: chunk.extent for chunk in chunks}
        for source in self._sources:
            extent = ends.get(source.name)
            if extent is None:
                continue
            if extent.last_block >= 0:
                self._keys[source.name] = (extent.last_tick, extent.last_block, extent.last_step)
            kill_point("spool.before_release")
            if source.release(extent.end):
                ring_producer(self._rt, source)
            kill_point("spool.after_release")

    def _chunks(self, source: LaneSource, limit: int) -> list[Chunk]:
        begin = source.to_spool()
        frames = list(source.lane.frames(begin, limit))
        key = self._keys.get(source.name) or source.spooled.last_key(source.name)
        mark = source.spooled.marks.get(source.name)
        if mark is not None:
            key = max(key, (mark.tick, mark.block, mark.step))
        return cut(source, frames, begin, key)


def is_due(
    waiting_bytes: int, used: float, away_s: float, *, lingered: bool, stopping: bool, paced: bool
) -> bool:
    """Whether what waits is moved now; ``used``: the share of its lane that the fullest has used,
    ``away_s``: since when the database takes nothing, 0: it does, ``paced``: ticks have a rate."""
    if not away_s:
        return paced and used >= 0.75
    if away_s < AWAY_S and used < 0.5 and not stopping:
        return False
    return lingered or waiting_bytes >= ENOUGH_BYTES or used >= 0.5 or stopping


def cut(source: LaneSource, frames: Sequence[Frame], begin: int, key: Key) -> list[Chunk]:
    """Chunks of ``frames``, which follow each other in the lane from position ``begin`` on.

    ``key`` is (tick, block, step) of the row frame before.  A chunk ends at the lane's wrap (which
    has no padding when a frame ends there), or at ``CHUNK_BYTES``.
    """
    chunks: list[Chunk] = []
    now = time.time_ns()
    start = 0
    for k in range(1, len(frames) + 1):
        whole = k == len(frames)
        if not whole and (
            frames[k].position == frames[k - 1].next_position
            and frames[k].position % source.capacity
            and frames[k].next_position - frames[start].position <= CHUNK_BYTES
        ):
            continue
        part = frames[start:k]
        end = part[-1].next_position if whole else frames[k].position
        before = key
        rows, events, key = count_frames(part, key)
        tick, block, step = key if key != before else (part[-1].tick, -1, -1)
        extent = Extent(source.name, begin, end, now, part[0].tick, tick, block, step, rows, events)
        origin = part[0].position
        chunks.append(Chunk(extent, origin, source.raw(origin, part[-1].next_position)))
        begin, start = end, k
    return chunks
