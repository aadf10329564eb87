"""Holding the world still between two ticks.

Theory. ``C_HOLD_REQUEST`` and ``C_HOLD_RELEASE`` are written by the nucleus, ``C_HOLD_ACK`` by the
leader (worker 0). The world is wanted still while REQUEST > RELEASE.

    H1  nucleus   REQUEST = r + 1           then rings the leader
    H2  leader    sees REQUEST > RELEASE where it would start a tick; every worker has committed
                  the last one, so nobody writes to a block; stores ACK = REQUEST, starts nothing
    H3  nucleus   sees ACK >= r + 1 and reads the world
    H4  nucleus   RELEASE = r + 1           then rings the leader
    H5  leader    sees RELEASE >= REQUEST and goes on

Nucleus killed after H1..H3: the leader would wait for ever, so a starting nucleus stores
RELEASE = REQUEST (``release_leftover``). Leader killed after H2: its successor finds REQUEST >
RELEASE, starts nothing and acknowledges again. Leader killed before H2, or frozen: the nucleus
gives up at its deadline with H4, and an acknowledgement that comes later holds nothing.

When the workers are gone (``C_STOP`` >= STOP_SINKS) nobody writes and nothing needs to be held.
One hold at a time: callers queue for a lock of the nucleus' event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from corec import layout as L
from corec.log import get_logger
from corec.process.backoff import Backoff
from corec.process.runtime import Runtime

log = get_logger(__name__)
HOLD_SECONDS_MAX = 10.0
_POLL_SECONDS_MIN = 0.0002
_POLL_SECONDS_MAX = 0.005


class HoldTimeout(Exception):
    """The workers did not come to rest in time; the world runs on."""


class Holder:
    """Makes holds for one nucleus."""

    def __init__(self, rt: Runtime) -> None:
        self.rt = rt
        self._lock = asyncio.Lock()

    def release_leftover(self) -> bool:
        """Let go what a killed predecessor held; true when there was something."""
        request = self.rt.get(L.C_HOLD_REQUEST)
        if self.rt.get(L.C_HOLD_RELEASE) >= request:
            return False
        self._release(request)
        return True

    def ring_leader(self) -> None:
        """Wake the leader, whether it says it sleeps or not."""
        self.rt.doorbells[L.SLOT_WORKER0].wake()

    @contextlib.asynccontextmanager
    async def held(self, timeout_seconds: float = HOLD_SECONDS_MAX) -> AsyncIterator[None]:
        """The world stands still inside; raises ``HoldTimeout`` when it would not in time."""
        deadline = time.monotonic() + timeout_seconds
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._lock.acquire()
        except TimeoutError:
            raise HoldTimeout(f"another request held the world for {timeout_seconds:g} s") from None
        try:
            # Above every number of any predecessor, so that no old acknowledgement fits it.
            number = 1 + max(self.rt.get(L.C_HOLD_REQUEST), self.rt.get(L.C_HOLD_ACK))
            self.rt.set(L.C_HOLD_REQUEST, number)
            try:
                self.ring_leader()
                await self._still(number, deadline, timeout_seconds)
                yield
            finally:
                self._release(number)
        finally:
            self._lock.release()

    @contextlib.asynccontextmanager
    async def held_at_last(self) -> AsyncIterator[None]:
        """``held``, however long that takes: for what nobody asks for again. Raises HoldTimeout
        when the instance stops."""
        async with contextlib.AsyncExitStack() as holding:
            while True:
                try:
                    await holding.enter_async_context(self.held())
                    break
                except HoldTimeout as error:
                    if self.rt.get(L.C_STOP):
                        raise
                    log.warning("what is to be done between two ticks waits", reason=str(error))
            yield

    async def _still(self, number: int, deadline: float, timeout_seconds: float) -> None:
        pause = Backoff(most_seconds=_POLL_SECONDS_MAX, first_seconds=_POLL_SECONDS_MIN)
        while self.rt.get(L.C_HOLD_ACK) < number:
            if self.rt.get(L.C_STOP) >= L.STOP_SINKS:
                return
            if time.monotonic() >= deadline:
                raise HoldTimeout(
                    f"the workers did not finish their tick within {timeout_seconds:g} s; "
                    "see: corec-ctl status"
                )
            await asyncio.sleep(pause.next_seconds())

    def _release(self, number: int) -> None:
        self.rt.set(L.C_HOLD_RELEASE, number)
        self.ring_leader()
