"""Unix sockets by path, however long the path is.

A socket address holds 107 bytes; a path may have 4095. A longer one is reached through its
folder's descriptor, ``/proc/self/fd/<n>/<name>``, which is always short.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

_ADDRESS_BYTES_MAX = 100


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    if len(os.fsencode(path)) <= _ADDRESS_BYTES_MAX:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def listening(path: Path, backlog: int = 64) -> socket.socket:
    """A listening socket at ``path``, mode 0600, that replaces what a predecessor left there.

    It is made under another name and renamed, so a client finds the old socket or the new one,
    never none and never one with another mode.
    """
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.fchmod(listener.fileno(), 0o600)  # on Linux the file gets the socket's own mode
        with _short(fresh) as address:
            listener.bind(address)
        listener.listen(backlog)
        listener.setblocking(False)
        fresh.replace(path)
    except BaseException:
        listener.close()
        fresh.unlink(missing_ok=True)
        raise
    return listener


def connected(path: Path, timeout_seconds: float) -> socket.socket:
    """A socket connected to ``path``; raises ``OSError`` (``TimeoutError`` included)."""
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        client.settimeout(timeout_seconds)
        with _short(path) as address:
            client.connect(address)
    except BaseException:
        client.close()
        raise
    return client
