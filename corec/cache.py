"""Where compiled code is kept between runs.

Chosen before Numba is imported (``corec/__init__.py``), since the compiled functions of ``shm`` are
loaded from there at import. Numba unpickles what it finds, so the folder must belong to this user
and to nobody else.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from corec.private import make_private
from corec.project import CHECKOUT, HOME, default_config, named_config, project_of

KEPT: Final = 4
KEPT_MAX: Final = 32
UNUSED_SECONDS: Final = 14 * 86400.0
ALONE_SECONDS: Final = 120.0
"""No compilation takes longer; who holds on for longer is frozen."""
_PREFIX: Final = "k-"
_COMPLETE: Final = "complete"
_WHOLE: Final = ("entities", "graph", "kernels", "layout")
_OTHERS: Final = (
    "broker/frames.py", "broker/readings.py", "persister/digits.py", "persister/text.py",
    "persister/walk.py", "worker/steps.py",
)  # fmt: skip
"""All sources elsewhere in the package that compile: each start would look through some hundred
files for them."""


def _own(folder: Path) -> bool:
    """Make ``folder`` (0700) and tell whether it is this user's alone and writable."""
    try:
        make_private(folder)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def _checkout() -> str | None:
    """The checkout whose ``run.sh`` was asked, unless for a project that lies elsewhere: nothing
    of that one goes into the checkout."""
    checkout = os.environ.get(CHECKOUT)
    if not checkout:
        return None
    config = named_config(sys.argv[1:]) or default_config()
    return checkout if project_of(config).resolve() == Path(checkout).resolve() else None


def _candidates() -> list[Path]:
    home = os.environ.get(HOME) or _checkout()
    places = [Path(home) / "var" / "cache" / f"{os.geteuid()}"] if home else []
    user = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    places.append(Path(user) / "corec")
    places.append(Path(tempfile.gettempdir()) / f"corec-cache-{os.geteuid()}")
    return places


def sources() -> list[Path]:
    """Every source that compiled code may contain: Numba looks at the cached function's file only,
    not at what was inlined from others, and stale offsets in compiled code corrupt memory. So of
    some folders all: their constants are in it, too. None of the laboratory's: nothing that an
    instance runs contains any of it."""
    corec = Path(__file__).parent
    whole = [source for name in _WHOLE for source in (corec / name).glob("*.py")]
    others = [corec / name for name in _OTHERS]
    return sorted((corec.parent / "shm").glob("*.py")) + sorted(whole + others)


def _key() -> str:
    """``k-`` and 16 hexadecimal digits over all those sources."""
    digest = hashlib.blake2b(digest_size=8)
    for source in sources():
        content = source.read_bytes()
        digest.update(f"{source.name} {len(content)} ".encode() + content)
    return f"{_PREFIX}{digest.hexdigest()}"


def _base() -> Path:
    given = os.environ.get("NUMBA_CACHE_DIR")
    if given:
        folder = Path(given)
        return folder.parent if folder.name.startswith(_PREFIX) else folder
    for folder in _candidates():
        if _own(folder):
            return folder
    return Path(tempfile.mkdtemp(prefix="corec-cache-"))


def prepare() -> None:
    """Choose the folder for this process and its children: ``NUMBA_CACHE_DIR``, else the first
    usable of ``var/cache`` of the checkout (for its own project), the user's cache folder, the
    temporary folder; in it, one subfolder per state of the sources. Several checkouts, versions and
    projects share that place: what was used in the last two weeks stays, and a few in any case."""
    base = _base()
    folder = base / _key()
    fresh = not folder.is_dir()
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if fresh:
            folder.chmod(0o700)  # umask 0777 would have closed it to us, for good
        os.utime(folder)  # when it was last used
    os.environ["NUMBA_CACHE_DIR"] = str(folder)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if fresh:
        _prune(base)


def _prune(base: Path) -> None:
    with contextlib.suppress(OSError):
        used = sorted((path.stat().st_mtime, path) for path in base.glob(f"{_PREFIX}*"))
        for number, (at, old) in enumerate(reversed(used)):
            if number >= KEPT_MAX or (number >= KEPT and time.time() - at > UNUSED_SECONDS):
                shutil.rmtree(old, ignore_errors=True)


def cache_folder() -> Path:
    """The folder for compiled code that ``prepare`` chose."""
    return Path(os.environ["NUMBA_CACHE_DIR"])


def is_cold() -> bool:
    """Whether what is compiled at import is not all there yet: a start will take its time."""
    return not (cache_folder() / _COMPLETE).exists()


def is_complete() -> None:
    """What is compiled at import was compiled to its end: say so to those who come."""
    (cache_folder() / _COMPLETE).touch(mode=0o600)


@contextlib.contextmanager
def alone(what: str, seconds: float = ALONE_SECONDS) -> Iterator[None]:
    """Entered by one process at a time: what the first one compiles, the others then load.

    After so many seconds, and where no file can be made or locked, it is entered all the same: to
    compile something twice costs time and nothing else. A process that dies lets go.
    """
    until = time.monotonic() + seconds
    try:
        descriptor = os.open(
            cache_folder() / f"{what}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
    except OSError:
        yield
        return
    try:
        while not _held(descriptor) and time.monotonic() < until:
            time.sleep(0.05)
        yield
    finally:
        with contextlib.suppress(OSError):  # a fork of another thread's has the descriptor, too
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _held(descriptor: int) -> bool:
    """Whether nobody else holds it; a file system without locks knows of nobody."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
