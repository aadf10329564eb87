"""The control socket's server: many clients, one answer line per request line.

Everything a client can do wrong is its own problem: a line that is not a request gets an error
line; a line that is too long, an answer nobody reads, a client too many and a client that says
nothing for ten minutes end that one connection.

Without a descriptor for another client, it is turned away with a line that says so: one descriptor
is kept back for that. Who is told nothing waits, or asks again and again.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import math
import os
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from corec.command_line import refused_by_the_system, text_of
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
_REST_SECONDS = 0.1
_TOLD_SECONDS = 60.0
_TAKEN_AT_ONCE = 64
_NONE_LEFT = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class SocketServer:
    """Serves ``handle`` on ``folder/control.sock``."""

    def __init__(self, folder: Path, handle: Callable[[Request], Awaitable[Any]]) -> None:
        self.path = folder / CONTROL_SOCKET
        self._handle = handle
        self._clients: set[asyncio.Task[None]] = set()
        self._listener: socket.socket | None = None
        self._spare: int | None = None
        self._rests: asyncio.TimerHandle | None = None
        self._told = -math.inf

    async def start(self) -> None:
        """Listen; replaces the socket of a killed predecessor."""
        self._listener = listening(self.path)
        self._keep_back()
        self._watch()

    async def stop(self) -> None:
        """Stop listening, end every connection, remove the socket."""
        if self._listener is None:
            return
        listener, self._listener = self._listener, None
        if self._rests is not None:
            self._rests.cancel()
        asyncio.get_running_loop().remove_reader(listener.fileno())
        listener.close()
        if self._spare is not None:
            os.close(self._spare)
        self._spare = None
        self.path.unlink(missing_ok=True)
        for task in list(self._clients):
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    def _watch(self) -> None:
        self._rests = None
        if self._listener is not None:
            asyncio.get_running_loop().add_reader(self._listener.fileno(), self._take)

    def _keep_back(self) -> None:
        with contextlib.suppress(OSError):
            self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def _take(self) -> None:
        """Those who wait to be connected."""
        assert self._listener is not None  # watched
        for _ in range(_TAKEN_AT_ONCE):
            try:
                connection, _address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _NONE_LEFT or not self._turn_away(error):
                    self._rest(error)
                    return
                continue
            task = asyncio.ensure_future(self._begun(connection))
            self._clients.add(task)
            task.add_done_callback(self._clients.discard)

    def _turn_away(self, why: OSError) -> bool:
        """Tell the next one that it can't be served; whether that could be done."""
        assert self._listener is not None
        if self._spare is None:
            return False
        os.close(self._spare)
        self._spare = None
        try:
            connection, _address = self._listener.accept()
            with connection:
                connection.setblocking(False)
                told = f"the nucleus can't take another client: {text_of(why)}"
                connection.send(encode_error(ControlError(told)))
        except BlockingIOError:
            pass  # it has gone
        except OSError:
            return False
        finally:
            self._keep_back()
        return True

    def _rest(self, error: OSError) -> None:
        """Look again in a while: what waits to be connected would be told of at once, for ever."""
        assert self._listener is not None
        self._tell(error)
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._listener.fileno())
        self._rests = loop.call_later(_REST_SECONDS, self._watch)

    def _tell(self, error: OSError) -> None:
        if time.monotonic() - self._told > _TOLD_SECONDS:
            self._told = time.monotonic()
            log.warning("clients of the control socket can't be taken", reason=text_of(error))

    async def _begun(self, connection: socket.socket) -> None:
        try:
            reader, writer = await asyncio.open_unix_connection(
                sock=connection, limit=LINE_BYTES_MAX
            )
        except BaseException as error:
            connection.close()
            if isinstance(error, OSError):
                self._tell(error)
                return
            raise
        await self._connected(reader, writer)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
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
