"""Where compiled code is kept between runs.

Chosen before Numba is imported (``corec/__init__.py``), since the compiled functions of ``shm`` are
loaded from there at import. Numba unpickles what it finds, so the folder must belong to this user
and to nobody else.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path


def _own(folder: Path) -> bool:
    """Make ``folder`` (0700) and tell whether it is this user's alone and writable."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = folder.stat()
    except OSError:
        return False
    mine = found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return mine and os.access(folder, os.W_OK)


def _candidates() -> list[Path]:
    home = os.environ.get("COREC_HOME")
    places = [Path(home) / "var" / "cache" / f"{os.geteuid()}"] if home else []
    user = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    places.append(Path(user) / "corec")
    places.append(Path(tempfile.gettempdir()) / f"corec-cache-{os.geteuid()}")
    return places


def cache_folder() -> Path:
    """The folder for compiled code: ``NUMBA_CACHE_DIR``, else the first usable of the checkout's
    ``var/cache``, the user's cache folder, the temporary folder."""
    given = os.environ.get("NUMBA_CACHE_DIR")
    if given:
        return Path(given)
    for folder in _candidates():
        if _own(folder):
            return folder
    return Path(tempfile.mkdtemp(prefix="corec-cache-"))


def prepare() -> None:
    """Fix the choice for this process and its children."""
    os.environ["NUMBA_CACHE_DIR"] = str(cache_folder())
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
