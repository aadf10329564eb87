"""The one connection that writes, and the position hash as it is known from it.

Who writes: the sender (messages, alerts, positions) and the reader (dead letters), one at a time
under ``lock``. ``ensure`` is called first: it connects when needed, takes over with the fence
(``link``), looks who holds the lease (``owner``), and loads the hash; from then on ``state`` is
what the hash says, moved on by each confirmed MULTI. Any failure closes the connection, so the next
``ensure`` reads the hash instead of guessing.

What is loaded is compared with what is known to have been there (``loss``): a server that came back
without its last writes is told, and the world goes on from what it has. A hash of another world is
``worlds``' matter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from corec.broker.groups import Groups
from corec.broker.link import Command, Link, PartlyExecuted, SinkAway
from corec.broker.loss import Known, Loss, compare, is_older, known_of
from corec.broker.owner import (
    TakenOver,
    claim_commands,
    holder,
    is_another,
    release_commands,
)
from corec.broker.positions import Keys
from corec.broker.state import SinkState, format_state, parse_state
from corec.broker.streams import entries_added
from corec.broker.worlds import Fields, WorldChange
from corec.log import get_logger
from corec.process.runtime import Owner
from shm.killpoint import kill_point

log = get_logger(__name__)


class Writer:
    """Commits to Redis for one world."""

    def __init__(
        self, link: Link, keys: Keys, epoch: int, canales: Iterable[int],
        on_load: Callable[[SinkState, Loss | None], None], *, known: Known | None = None,
        begun: bool = False, fresh: bool = False, owner: Owner | None = None,
        maxlen: int = 1, groups: Groups | None = None,
    ) -> None:  # fmt: skip
        """``on_load`` is told the state each time it was read from the hash, and what is missing
        of what was there.

        ``known``: what this world is known to have in Redis; None: nothing, it is new.
        ``begun``: this group of processes has written for it. ``fresh``: made by ``--fresh``.
        ``maxlen``: entries that an out-stream keeps. ``groups``: those that are there before
        anything is sent.
        """
        self.link = link
        self.keys = keys
        self.epoch = epoch
        self.lock = asyncio.Lock()
        self.loaded = asyncio.Event()
        self.state = SinkState()
        self.went_back = False
        """Whether the server was found without its last writes when it was loaded last."""
        self._known = known
        self._begun = begun
        self._fresh = fresh
        self._owner = owner
        self._maxlen, self._groups = maxlen, groups
        self._canales = list(canales)
        self._on_load = on_load

    async def ensure(self) -> None:
        """Connect and load unless that is done. With ``lock`` held. Raises SinkAway, TakenOver."""
        if self.link.connected:
            return
        await self.link.connect()
        try:
            await self._load()
        except TakenOver:
            await self.link.close()
            raise

    async def _load(self) -> None:
        fields = await self.link.take_over()
        found = parse_state(fields)
        await self._keep_lease()
        if found.faults:
            log.warning("fields of the position hash cannot be read", fields=found.faults[:20])
        known = known_of(self.state) if self.loaded.is_set() else self._known
        if found.epoch != self.epoch:
            found = await self._other_epoch(found, fields)
        loss = None
        self.went_back = known is not None and is_older(known, found)
        if known is not None:
            added = await entries_added(self.link, self.keys, found.total_out)
            loss = compare(known, found, added, self._maxlen)
            found.total_dropped = max(found.total_dropped, known.dropped)
        if loss is not None:
            await self._note_loss(found, loss)
        if self._groups is not None:
            await self._groups.make(self.link)
        self.state = found
        self._begun = True
        self._on_load(found, loss)
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

    async def probe(self) -> None:
        """Make sure that ``state`` is what the server has now. Raises SinkAway, TakenOver."""
        async with self.lock:
            await self.ensure()
            await self.link.checked([("EXISTS", self.keys.pos)])

    async def renew(self) -> None:
        """Renew the lease on a connection that is there. Raises SinkAway."""
        if self._owner is None:
            return
        async with self.lock:
            if self.link.connected:
                await self.link.transact((), claim_commands(self.keys, self._owner))

    async def release(self) -> None:
        """Give the lease back, if that can be done at once: behind a renewal that is on its way."""
        if self._owner is None:
            return
        async with self.lock:
            if not self.link.connected:
                return
            try:
                await self.link.transact((), release_commands(self.keys))
            except SinkAway as error:
                log.debug("the lease is left to expire", reason=str(error))

    async def _keep_lease(self) -> None:
        if self._owner is None:
            return
        (fields,) = await self.link.checked([("HGETALL", self.keys.owner)])
        if is_another(dict(fields), self._owner):
            raise TakenOver(
                f"another instance has taken {self.keys.instance} over: {holder(dict(fields))}"
            )
        await self.link.transact((), claim_commands(self.keys, self._owner))

    async def _other_epoch(self, found: SinkState, fields: Fields) -> SinkState:
        if found.epoch is not None and self._begun:
            raise TakenOver(
                f"the streams of {self.keys.instance} belong to another world now "
                f"(epoch {found.epoch:016x}, ours is {self.epoch:016x})"
            )
        if found.epoch is not None or (self._known is None and not self._begun):
            new = self._known is None and (found.epoch is not None or self._fresh)
            change = WorldChange(self.link, self.keys, self._canales, self.epoch)
            return await change.run(found, fields, new=new)
        log.error("redis has lost the position hash; it is written again as last known")
        state = self.state if self.loaded.is_set() else SinkState(epoch=self.epoch)
        known = [part for pair in format_state(state).items() for part in pair]
        await self.link.transact((), [("HSET", self.keys.pos, *known)])
        return state

    async def _note_loss(self, found: SinkState, loss: Loss) -> None:
        """Make ``found`` say what was lost, so that it is told once; counts never go back."""
        found.total_dropped += loss.at_least
        found.total_missing += loss.entries
        found.total_out |= loss.total_out
        found.total_dead |= loss.total_dead
        fields: list[Any] = ["total_dropped", found.total_dropped]
        fields += ["total_missing", found.total_missing]
        for canal, count in loss.total_out.items():
            fields += [f"total_out:{canal}", count]
        for canal, count in loss.total_dead.items():
            fields += [f"total_dead:{canal}", count]
        kill_point("broker.before_loss")
        await self.link.transact((), [("HSET", self.keys.pos, *fields)])
        kill_point("broker.after_loss")
