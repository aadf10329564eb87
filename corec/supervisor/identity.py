"""Who this instance is to the servers: the id of its state folder.

``state_dir/<instance>/owner.id`` holds a random word, made once. The id is that word with the
file's inode, so a copy of the folder is another instance, and a restart or a rename is not.

Writer: the supervisor, holding the instance's lock. A kill before the rename leaves a file beside
it that the next start replaces; nobody has heard of its word.
"""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path
from typing import Final

from corec.config import Config
from corec.durable import give_name, sync_file
from corec.process.runtime import Owner

FILE_NAME: Final = "owner.id"
_WORD_BYTES: Final = 12


def identity(config: Config) -> Owner:
    """The owner that this instance is; its file is made when it is missing. Raises OSError."""
    folder = config.state_folder
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / FILE_NAME
    word = _read(path)
    if word is None:
        word = secrets.token_hex(_WORD_BYTES)
        _write(path, word)
    who = f"pid {os.getpid()} on {socket.gethostname()}, state in {folder}"
    return Owner(f"{word}-{path.stat().st_ino}", who)


def _read(path: Path) -> str | None:
    try:
        word = path.read_text(encoding="ascii").strip()
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    return word if len(word) == 2 * _WORD_BYTES and word.isalnum() else None


def _write(path: Path, word: str) -> None:
    half = path.with_name(f".{path.name}.new")
    half.unlink(missing_ok=True)
    descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(f"{word}\n")
        sync_file(file)
    give_name(half, path)
