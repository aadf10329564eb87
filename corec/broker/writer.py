"""The one connection that writes, and the position hash as it is known from it.

Who writes: the sender (messages, alerts, positions) and the reader (dead letters), one at a time
under ``lock``. ``ensure`` is called first: it connects when needed, takes over with the fence
(``link``), and loads the hash; from then on ``state`` is what the hash says, moved on by each
confirmed MULTI. Any failure closes the connection, so the next ``ensure`` reads the hash instead of
guessing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from corec.broker.link import Command, Link, PartlyExecuted
from corec.broker.positions import Keys, SinkState, format_state, new_world, parse_state
from corec.log import get_logger

log = get_logger(__name__)
ASIDE_SECONDS: Final = 86_400


class TakenOver(Exception):
    """Another world writes this instance's streams now; this process must leave them alone."""


class Writer:
    """Commits to Redis for one world."""

    def __init__(
        self, link: Link, keys: Keys, epoch: int, canales: Iterable[int],
        on_load: Callable[[SinkState], None],
    ) -> None:  # fmt: skip
        """``on_load`` is told the state each time it was read from the hash."""
        self.link = link
        self.keys = keys
        self.epoch = epoch
        self.lock = asyncio.Lock()
        self.loaded = asyncio.Event()
        self.state = SinkState()
        self._canales = list(canales)
        self._on_load = on_load

    async def ensure(self) -> None:
        """Connect and load unless that is done. With ``lock`` held. Raises SinkAway, TakenOver."""
        if self.link.connected:
            return
        await self.link.connect()
        found = parse_state(await self.link.take_over())
        if found.faults:
            log.warning("fields of the position hash cannot be read", fields=found.faults[:20])
        if found.epoch != self.epoch:
            found = await self._take_over(found)
        self.state = found
        self._on_load(found)
        self.loaded.set()

    async def commit(self, streams: Iterable[str], commands: Sequence[Command]) -> None:
        """Run ``commands`` in one MULTI, with ``lock`` held and after ``ensure``.

        ``streams`` are the keys they XADD to. Raises SinkAway; then nothing is known until the
        next ``ensure``.
        """
        try:
            await self.link.transact(streams, commands)
        except PartlyExecuted as error:
            log.error("messages lost: a stream refused an entry", reason=str(error))
            raise

    async def _take_over(self, found: SinkState) -> SinkState:
        if not self.loaded.is_set():
            return await self._begin_world(found)
        if found.epoch is not None:
            raise TakenOver(
                f"the streams of {self.keys.instance} belong to another world now "
                f"(epoch {found.epoch:016x}, ours is {self.epoch:016x})"
            )
        log.error("redis has lost the position hash; writing it again as last known")
        fields = [part for pair in format_state(self.state).items() for part in pair]
        await self.link.transact((), [("HSET", self.keys.pos, *fields)])
        return self.state

    async def _begin_world(self, old: SinkState) -> SinkState:
        """Set an older world's streams aside and make the hash this world's, in one MULTI."""
        keys = self.keys
        canales = sorted({*self._canales, *old.total_out})
        streams = [*(keys.out(canal) for canal in canales), keys.alerts, keys.dead]
        there = await self.link.checked([("EXISTS", key) for key in streams])
        now = datetime.now(UTC)
        fresh, drop, write = new_world(old, self.epoch)
        commands: list[Command] = []
        aside = [key for key, exists in zip(streams, there, strict=True) if exists]
        for key in aside:
            kept = keys.aside(key, now)
            commands += [("RENAME", key, kept), ("EXPIRE", kept, ASIDE_SECONDS)]
        if drop:
            commands.append(("HDEL", keys.pos, *drop))
        commands.append(("HSET", keys.pos, *(part for pair in write.items() for part in pair)))
        await self.link.transact((), commands)
        log.info("a new world begins on the streams", set_aside=aside)
        return fresh
