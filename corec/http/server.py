"""uvicorn on the nucleus' own loop, on a socket that somebody else made, without its signals."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn
import uvicorn.protocols.http.auto  # uvicorn itself imports it when it serves: each time anew
from starlette.types import ASGIApp

_GRACE_SECONDS = 1
_CONNECTIONS_MAX = 128
_SILENT_MAX = 64
_SILENT_SECONDS = 10.0
_SWEEP_SECONDS = 0.2


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The nucleus decides when to stop."""
        yield


def _asks_nothing(connection: Any) -> bool:
    """Whether no whole request of this connection is being answered (uvicorn's protocols)."""
    cycle = connection.cycle
    return cycle is None or bool(cycle.response_complete)


class HttpServer:
    """Serves ``app`` on a duplicate of ``listener``, so that a restarted one finds it open."""

    def __init__(self, app: ASGIApp, listener: socket.socket) -> None:
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="error",  # below: a line for each bad request, of anybody
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            limit_concurrency=_CONNECTIONS_MAX,
            timeout_keep_alive=10,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
        self._server = _Server(config)
        self._listener = listener
        self._task: asyncio.Task[None] | None = None
        self._silent: dict[Any, tuple[Any, float]] = {}
        """Connection → its last request, and since when it has asked nothing after it."""

    async def serve(self) -> None:
        """Answer requests until ``stop``."""
        self._task = asyncio.create_task(self._server.serve(sockets=[self._listener.dup()]))
        sweeping = asyncio.create_task(self._sweep())
        try:
            # a cancelled caller must not tear the server down half way: ``stop`` does that
            await asyncio.shield(self._task)
        finally:
            sweeping.cancel()

    async def _sweep(self) -> None:
        """Close connections that never finish a request, the oldest first when there are many:
        uvicorn waits for ever for the rest of one, and answers 503 to everybody else."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            now = asyncio.get_running_loop().time()
            connections: set[Any] = set(self._server.server_state.connections)
            silent = [one for one in connections if _asks_nothing(one)]
            seen = {one: self._silent.get(one, (None, now)) for one in silent}
            # one that asked between two looks, and was answered at once, is none that is silent
            self._silent = {
                one: (one.cycle, since if one.cycle is last else now)
                for one, (last, since) in seen.items()
            }
            oldest = sorted(silent, key=lambda one: self._silent[one][1])
            late = [one for one in oldest if now - self._silent[one][1] > _SILENT_SECONDS]
            for one in {*late, *oldest[: max(0, len(oldest) - _SILENT_MAX)]}:
                one.transport.close()

    async def stop(self) -> None:
        """Finish the requests in flight, for at most a second, and close."""
        self._server.should_exit = True
        if self._task is None:
            return
        await asyncio.wait([self._task], timeout=_GRACE_SECONDS + 1)
        # uvicorn that is told to leave while it starts leaves its servers open
        for server in getattr(self._server, "servers", []):
            server.close()
