"""A loopback port beside a server's Unix socket: only when the configuration names one, and only
with a password, which lies in a file of ours (0600) in the server's data folder.

The password is made once and kept, so a client's settings stay true over restarts.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable
from pathlib import Path

from corec.embedded.errors import EmbeddedServerError
from corec.embedded.home import write_file
from corec.private import private_file

HOST = "127.0.0.1"
PASSWORD_FILE = "password"
_PASSWORD_BYTES = 32
_FILE_BYTES_MAX = 1024


def port_to_open(port: int | None, *, needed: bool, tell: Callable[[str], None]) -> int | None:
    """``port`` if a server can listen on it now; None when none is wanted.

    A port that is taken is an error when ``needed`` (at the first start), and else told: the server
    then comes back on its socket alone, which is all that CoreC uses.
    """
    if port is None or bindable(port):
        return port
    if needed:
        raise EmbeddedServerError(
            f"{HOST}:{port} is in use; give another port beside embedded: true, or none: "
            "the server's Unix socket needs none"
        )
    tell(f"{HOST}:{port} is in use: the server goes on with its Unix socket alone")
    return None


def bindable(port: int) -> bool:
    """Whether a server can listen on this port of 127.0.0.1 now."""
    with socket.socket() as probe:
        # as the server does it: connections of the last run that linger do not count
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def password_in(folder: Path) -> str:
    """The password kept in ``folder``, made now if there is none.

    Raises EmbeddedServerError when the file is not ours or can't be read or written.
    """
    path = folder / PASSWORD_FILE
    try:
        if not os.path.lexists(path):
            write_file(path, secrets.token_urlsafe(_PASSWORD_BYTES) + "\n")
        return read_password(path)
    except OSError as error:
        raise EmbeddedServerError(f"{path}: {error.strerror}") from None


def read_password(path: Path, owner: int | None = None) -> str:
    """The one line of ``path``, a file of ``owner``'s (default: ours). Raises OSError when it is
    not, can't be read, or is empty."""
    descriptor = private_file(path, owner)
    with os.fdopen(descriptor, "rb") as file:
        text = file.read(_FILE_BYTES_MAX).decode("ascii", "replace").strip()
    if not text:
        raise OSError(0, "is empty; remove it, and the next start makes another")
    return text
