"""The client end of the control socket, blocking: for ``corec-ctl``, scripts and tests."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from corec.control.protocol import (
    LINE_BYTES_MAX,
    ControlError,
    decode_response,
    encode_request,
)
from corec.control.unix import connected
from corec.control.waits import AT_ONCE_SECONDS

_CHUNK_BYTES = 65_536
_RESPONSE_BYTES_MAX = 64 * LINE_BYTES_MAX

UNANSWERED: Final = (
    "control socket: the instance closed the connection before it answered: a process of it was "
    "replaced, or it stops; what was asked for may have been done all the same: corec-ctl status "
    "and events say"
)


class Unreachable(Exception):
    """The socket is not there, refuses, or does not answer in time."""


class Client:
    """One connection; ``with Client(path) as client: client.ask("status")``."""

    def __init__(self, path: Path, timeout_seconds: float = AT_ONCE_SECONDS) -> None:
        self.timeout_seconds = timeout_seconds
        self._rest = b""
        try:
            self._socket: socket.socket = connected(path, timeout_seconds)
        except OSError as error:
            reason = error.strerror or "no answer in time"
            if isinstance(error, FileNotFoundError | ConnectionRefusedError):
                reason += " (the instance starts, or its nucleus does: corec-ctl status says)"
            raise Unreachable(f"control socket {path}: {reason}") from None

    def ask(
        self, op: str, args: Mapping[str, Any] | None = None, timeout_seconds: float | None = None
    ) -> Any:
        """The result of one request.

        Raises ``ControlError`` when the instance says no, ``Unreachable`` when it says nothing
        within ``timeout_seconds`` (default: the connection's).
        """
        limit = self.timeout_seconds if timeout_seconds is None else timeout_seconds
        deadline = time.monotonic() + limit
        try:
            self._socket.settimeout(limit)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                # who turns a client away says why, and need not have waited for what it asks
                self._socket.sendall(encode_request(op, args or {}))
            return decode_response(self._line(deadline))
        except ConnectionResetError:
            raise Unreachable(UNANSWERED) from None
        except OSError as error:
            late = f"no answer within {limit:g} s; what was asked for may still be done"
            reason = error.strerror or late
            raise Unreachable(f"control socket: {reason}") from None

    def _line(self, deadline: float) -> bytes:
        received = bytearray(self._rest)
        while b"\n" not in received:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
            chunk = self._socket.recv(_CHUNK_BYTES)
            if not chunk:
                raise Unreachable(UNANSWERED)
            received += chunk
            if len(received) > _RESPONSE_BYTES_MAX:
                raise ControlError("the answer is longer than any answer is")
        line, _, rest = bytes(received).partition(b"\n")
        self._rest = rest
        return line

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
