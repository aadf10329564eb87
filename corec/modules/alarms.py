"""Alarms of a module on the stream ``…:alertas``, beside the alerts of entities.

An alarm waits in memory until the server has it, the latest ``WAITING_MAX`` of them: it goes to the
stream at least once (a lost answer is followed by the same entry again, with the same ``id``), or
not at all when its process ends before the server comes back. The event of the same thing is in
``eventos`` either way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

import orjson
from redis import exceptions as X
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster

from corec.keys import Keys
from corec.log import get_logger
from corec.process.backoff import Backoff
from corec.process.runtime import Runtime

log = get_logger(__name__)

WAITING_MAX: Final = 1000
ANSWER_SECONDS: Final = 5.0
FIELD: Final = "alerta"


class Alarms:
    """What waits, and the one who brings it there."""

    def __init__(self, rt: Runtime) -> None:
        self._url, self._cluster = rt.redis_url, rt.config.redis.cluster
        self._key = Keys(rt.config.instance_id).alerts
        self._maxlen = rt.config.streams.maxlen
        self._waiting: deque[bytes] = deque(maxlen=WAITING_MAX)
        self._some = asyncio.Event()

    def put(self, alarm: Mapping[str, Any]) -> None:
        """Send ``alarm``, when that is possible."""
        self._waiting.append(orjson.dumps(alarm))
        self._some.set()

    async def run(self) -> None:
        """Bring what waits to the server, for ever."""
        backoff = Backoff()
        while True:
            await self._some.wait()
            try:
                await self._bring()
                backoff.reset()
            except (X.RedisError, OSError) as error:
                log.info("alarms wait for a server", waiting=len(self._waiting),
                         reason=type(error).__name__)  # fmt: skip
                await asyncio.sleep(backoff.next_seconds())

    async def _bring(self) -> None:
        scheme, rest = self._url.split("://", 1)
        options: dict[str, Any] = {"socket_connect_timeout": ANSWER_SECONDS}
        url = f"{scheme.removesuffix('+cluster')}://{rest}"
        kind: Any = Redis
        if self._cluster or scheme.endswith("+cluster"):
            kind = RedisCluster
        client = kind.from_url(url, socket_timeout=ANSWER_SECONDS, **options)
        try:
            while self._waiting:
                one = self._waiting[0]
                await client.xadd(self._key, {FIELD: one}, maxlen=self._maxlen, approximate=True)
                if self._waiting and self._waiting[0] is one:  # it was not pushed out meanwhile
                    self._waiting.popleft()
            self._some.clear()
        finally:
            await client.aclose()
