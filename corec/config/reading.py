"""A file that a user names, whole. A pipe does as well; its end, or its writer, is waited for so
long, and not for ever: who starts an instance would sit before nothing."""

from __future__ import annotations

import errno
import os
import select
import stat
import time
from pathlib import Path

PIPE_SECONDS = 20.0


def content_of(path: Path, most: int) -> bytes:
    """The content of a file, one byte more than ``most`` of it at the most.

    Raises OSError as the system says, or for a pipe that does not end; ValueError: no such path.
    """
    with open(path, "rb", 0, opener=_unblocked) as file:
        plain = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
        waits, until = select.poll(), time.monotonic() + PIPE_SECONDS
        waits.register(file, select.POLLIN)
        content = bytearray()
        while len(content) <= most:
            if not plain and not waits.poll(1000 * max(0.0, until - time.monotonic())):
                raise OSError(
                    errno.ETIMEDOUT, f"a pipe whose writer has not ended in {PIPE_SECONDS:.0f} s"
                )
            found = file.read(most + 1 - len(content))
            if found == b"":
                break
            content += found or b""
    return bytes(content)


def _unblocked(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
