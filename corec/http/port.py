"""The listening socket, made once by the supervisor and inherited by every nucleus.

A nucleus that is killed and restarted answers on the same port, and connections made in between
wait in the listen queue instead of being refused.
"""

from __future__ import annotations

import errno
import socket
from typing import Any

_TRIES = 100
_BACKLOG = 128


class PortUnavailable(Exception):
    """The configured address cannot be listened on; the message names host, port and reason."""


def reserve(host: str, port: int, explicit: bool) -> socket.socket:
    """A bound, listening, non-inheritable-over-exec TCP socket.

    ``port`` 0 takes any free port. A port that is taken is an error when ``explicit``; else the
    next free one of the hundred above it is taken. Raises ``PortUnavailable``.
    """
    last = port if explicit or port == 0 else min(port + _TRIES, 65_535)
    family, address = _resolved(host, port)
    for candidate in range(port, last + 1):
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address[0], candidate, *address[2:]))
            listener.listen(_BACKLOG)
        except OSError as error:
            listener.close()
            if error.errno != errno.EADDRINUSE or candidate == last:
                raise PortUnavailable(_explained(host, port, last, error)) from None
        else:
            listener.setblocking(False)
            return listener
    raise AssertionError("unreachable: the last candidate returns or raises")


def url_of(listener: socket.socket) -> str:
    """``http://host:port`` of a listening socket, as somebody on this machine would type it."""
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "localhost"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _resolved(host: str, port: int) -> tuple[socket.AddressFamily, tuple[Any, ...]]:
    try:
        found = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_ADDRCONFIG
        )
    except OSError:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=0)
        except OSError as error:
            reason = error.strerror or str(error)
            found_text = f"http.host: found {host!r}, which is no address: {reason}"
            raise PortUnavailable(found_text) from None
    family, _, _, _, address = found[0]
    return family, address


def _explained(host: str, port: int, last: int, error: OSError) -> str:
    ports = str(port) if last == port else f"{port}..{last}"
    reason = error.strerror or str(error)
    advice = "choose another http.port, or 0 for any free one"
    if error.errno == errno.EADDRNOTAVAIL:
        advice = "choose an http.host of this machine"
    elif error.errno == errno.EACCES:
        advice = "choose an http.port above 1023"
    return f"http: cannot listen on {host}:{ports}: {reason}; {advice}"
