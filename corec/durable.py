"""What a file system needs to be told before a file and its name outlive a lost machine.

A whole file that is to be there or not comes in this order, and in no other:

    it is written beside its place, under a name that no reader takes
                        a kill leaves a half, which who writes next replaces or removes
    ``sync_file``       its bytes are on disk before any name leads to them
    ``give_name``       renamed: whoever looks finds what was there before, or all of it; the folder
                        is synced then, and until it is, a lost machine may have the old one again

What must not be told, or removed, before it is durable comes behind ``give_name``. Kill points
between them are the callers', who know what each leaves.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, Any


def sync_file(file: IO[Any]) -> None:
    """Bring all that was written to ``file`` to the disk. Raises OSError."""
    file.flush()
    os.fsync(file.fileno())


def give_name(half: Path, path: Path) -> None:
    """Let ``half``, which is synced, be ``path``, whatever was there, durably.

    Raises OSError: the name is as it was, or its being new may not last.
    """
    os.replace(half, path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable: what was made, renamed and removed there.

    Raises OSError.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
