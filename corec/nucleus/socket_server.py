"""The control socket's server: many clients, one answer line per request line.

Everything a client can do wrong is its own problem: a line that is not a request gets an error
line; a line that is too long, an answer nobody reads, a client too many and a client that says
nothing for ten minutes end that one connection.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from corec.command_line import refused_by_the_system
from corec.control.folders import CONTROL_SOCKET
from corec.control.protocol import (
    CLIENTS_MAX,
    LINE_BYTES_MAX,
    ControlError,
    Request,
    decode_request,
    encode_error,
    encode_result,
)
from corec.control.unix import listening
from corec.log import get_logger

log = get_logger(__name__)

_IDLE_SECONDS = 600.0
_WRITE_SECONDS = 10.0


class SocketServer:
    """Serves ``handle`` on ``folder/control.sock``."""

    def __init__(self, folder: Path, handle: Callable[[Request], Awaitable[Any]]) -> None:
        self.path = folder / CONTROL_SOCKET
        self._handle = handle
        self._clients: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen; replaces the socket of a killed predecessor."""
        self._server = await asyncio.start_unix_server(
            self._connected, sock=listening(self.path), limit=LINE_BYTES_MAX
        )

    async def stop(self) -> None:
        """Stop listening, end every connection, remove the socket."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close()
        self.path.unlink(missing_ok=True)
        for task in list(self._clients):
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            if len(self._clients) > CLIENTS_MAX:
                refusal = ControlError(f"more than {CLIENTS_MAX} clients are connected", "busy")
                await self._write(writer, encode_error(refusal))
            else:
                await self._serve(reader, writer)
        except (OSError, TimeoutError):
            pass  # the client went away, or does not read what it asked for
        except asyncio.CancelledError:
            pass  # the server stops; asyncio would log a cancelled connection as an error
        finally:
            self._clients.discard(task)
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                async with asyncio.timeout(_IDLE_SECONDS):
                    line = await reader.readuntil(b"\n")
            except asyncio.IncompleteReadError as error:
                if error.partial.strip():
                    cut = ControlError("found a line without its newline", "bad_request")
                    await self._write(writer, encode_error(cut))
                return
            except asyncio.LimitOverrunError:
                found = f"found a line longer than {LINE_BYTES_MAX} bytes"
                await self._write(writer, encode_error(ControlError(found, "bad_request")))
                return
            if line.strip():
                await self._write(writer, await self._answer(line))

    async def _answer(self, line: bytes) -> bytes:
        try:
            return encode_result(await self._handle(decode_request(line)))
        except ControlError as error:
            return encode_error(error)
        except Exception as error:
            log.exception("a control request failed")
            refused = refused_by_the_system(error)
            return encode_error(ControlError(refused or f"failed inside: {error!r}"))

    async def _write(self, writer: asyncio.StreamWriter, line: bytes) -> None:
        writer.write(line)
        async with asyncio.timeout(_WRITE_SECONDS):
            await writer.drain()
