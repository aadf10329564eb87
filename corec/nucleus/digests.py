"""Digests that are asked for, one after the other; who asks meanwhile shares the next one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from corec import layout as L
from corec.nucleus.hold import Holder
from corec.process.runtime import Runtime
from corec.world.digest_copy import DigestCopy

Aside = Callable[[Callable[[], Any]], Awaitable[Any]]


class Digester:
    """Takes the digests of one nucleus; ``aside`` runs long steps beside its loop."""

    def __init__(self, rt: Runtime, holder: Holder, aside: Aside) -> None:
        self.rt, self.holder, self._aside = rt, holder, aside
        self._running: asyncio.Task[dict[str, Any]] | None = None
        self._next: asyncio.Task[dict[str, Any]] | None = None

    async def ask(self) -> dict[str, Any]:
        """tick, digest and held_seconds of a tick that is not older than this call.

        Raises:
            OSError: there is no room for the copy. Abandoned: the instance stops. HoldTimeout,
            WorldMoved, CheckpointRefused: as they say.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._after(self._running))
        return await asyncio.shield(self._next)

    async def _after(self, before: asyncio.Task[dict[str, Any]] | None) -> dict[str, Any]:
        if before is not None:
            await asyncio.wait([before])
        self._running, self._next = self._next, None
        return await self._one()

    async def _one(self) -> dict[str, Any]:
        folder = self.rt.config.state_folder
        copy = await self._aside(
            lambda: DigestCopy(self.rt, folder, lambda: self.rt.get(L.C_STOP) != L.STOP_NO)
        )
        try:
            await self._aside(copy.prepare)
            async with self.holder.held():
                started = time.monotonic()
                copy.take()
                held = time.monotonic() - started
            tick, digest = await self._aside(copy.digest)
        finally:
            copy.abandon()
        return {"tick": tick, "digest": digest, "held_seconds": round(held, 6)}
