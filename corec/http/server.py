"""uvicorn on the nucleus' own loop, on a socket that somebody else made, without its signals."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

_GRACE_SECONDS = 1
_CONNECTIONS_MAX = 128


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The nucleus decides when to stop."""
        yield


class HttpServer:
    """Serves ``app`` on a duplicate of ``listener``, so that a restarted one finds it open."""

    def __init__(self, app: ASGIApp, listener: socket.socket) -> None:
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="warning",
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

    async def serve(self) -> None:
        """Answer requests until ``stop``."""
        self._task = asyncio.create_task(self._server.serve(sockets=[self._listener.dup()]))
        # a cancelled caller must not tear the server down half way: ``stop`` does that
        await asyncio.shield(self._task)

    async def stop(self) -> None:
        """Finish the requests in flight, for at most a second, and close."""
        self._server.should_exit = True
        if self._task is None:
            return
        await asyncio.wait([self._task], timeout=_GRACE_SECONDS + 1)
        # uvicorn that is told to leave while it starts leaves its servers open
        for server in getattr(self._server, "servers", []):
            server.close()
