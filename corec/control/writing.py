"""State for a living instance: left in its folder as a file, which its nucleus is told of.

The control socket's lines are short, a bloque's columns are not. The file's name is one that the
instance removes when it ends, if whoever left it was killed over it.
"""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path
from typing import Any, Final

from corec.control.client import Client
from corec.control.discover import Instance
from corec.control.protocol import ControlError

WRITE_SECONDS: Final = 120.0
PREFIX: Final = ".write.json."
NAME: Final = re.compile(re.escape(PREFIX) + "([0-9a-f]{32})", re.ASCII)


def ask_write(instance: Instance, data: bytes) -> dict[str, Any]:
    """Have the instance write what ``data`` has (``corec.world.writes.packed``); what it says.

    Raises:
        ValueError: it does not fit the world. ControlError, Unreachable: as ``Client.ask``.
        OSError: no room in the instance's folder.
    """
    path = instance.path / f"{PREFIX}{secrets.token_hex(16)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
            owner = instance.path.stat()
            if owner.st_uid != os.geteuid():  # root asks
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            file.write(data)
        with Client(Path(instance.socket)) as client:
            found: dict[str, Any] = client.ask("write", {"file": path.name}, WRITE_SECONDS)
            return found
    except ControlError as error:
        if error.code != "bad_request":
            raise
        raise ValueError(str(error)) from None
    finally:
        path.unlink(missing_ok=True)
