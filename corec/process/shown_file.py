"""A small file in the instance's folder by which a process shows others what no word can hold.

One writer each: the process that it is named after. Whole or not at all, under another name first,
and only when it changed. A tmpfs that is full keeps the old one, and that is told once.
"""

from __future__ import annotations

import os
from pathlib import Path

from corec.log import get_logger

log = get_logger(__name__)


class ShownFile:
    """The writer's end."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / name
        self._half = folder / f".{name}.new"
        self._written = b""
        self._refused = False

    def write(self, data: bytes) -> None:
        """Let the file be ``data``."""
        if data == self._written:
            return
        try:
            self._half.touch(0o600)
            self._half.write_bytes(data)
            os.replace(self._half, self.path)
        except OSError as error:
            if not self._refused:
                log.warning("a file cannot be written; others see what it said before",
                            file=self.path.name, reason=error.strerror)  # fmt: skip
            self._refused = True
            return
        if self._refused:
            log.info("a file can be written again", file=self.path.name)
        self._written, self._refused = data, False
