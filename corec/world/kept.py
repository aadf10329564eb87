"""The checkpoints of a folder: which of its files are some, in which order, and which may go.

A folder may hold more than CoreC put there: a file put back by hand, one of another world, a
damaged one, a folder, a FIFO or a link of such a name. Nothing is believed of a name. A file counts
for a world when it is a plain file, all its checksums are right and its head names the world's
epoch; whatever does not count is left where it is, and told.

Order of age is the order in which they were *made*, not that of ticks: a world that was put back to
an earlier tick makes its new checkpoints behind the old ones. ``made`` in the head grows with each
one made, whatever the clock does (``next_made``).

``prune`` runs after the new file has its name and is synced: it removes the oldest of this world's
sound ones, never the new one, never anything else. A kill anywhere leaves more files than wanted.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from corec.world.checkpoint import (
    Checkpoint,
    CheckpointRefused,
    checkpoint_files,
    read_head,
    set_aside_bad,
)
from corec.world.restore import check_parts

_Identity = tuple[int, int, int, int, int]
_KINDS: Final = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
)


ASIDE: Final = "aside-"
"""How folders begin that hold what was set aside: in state_dir, and of worlds in memory."""
ODD: Final = "no plain file"
UNREADABLE: Final = "unreadable"
DAMAGED: Final = "damaged"
FOREIGN: Final = "of another world"


@dataclass(frozen=True)
class PassedOver:
    """A name that looks like a checkpoint's and is none that counts."""

    path: Path
    kind: str
    """ODD, UNREADABLE, DAMAGED or FOREIGN."""
    why: str


class _NoFile(Exception):
    """Something else than a plain file; the text says what."""


def made_of(head: dict[str, Any]) -> tuple[int, int]:
    """Sorts checkpoints by when they were made; heads of older versions say so by the clock."""
    return int(head.get("made") or head.get("unix_ns") or 0), int(head["tick"])


def _identity_of(path: Path) -> _Identity:
    """What changes when a plain file changes. Raises OSError, _NoFile."""
    found = os.lstat(path)
    if not stat.S_ISREG(found.st_mode):
        what = next((name for is_it, name in _KINDS if is_it(found.st_mode)), "a device")
        raise _NoFile(f"{path}: found {what}, expected a plain file")
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def look(path: Path, check: Callable[[Path], Checkpoint]) -> Checkpoint | PassedOver:
    """The checkpoint in ``path`` by ``check`` (``read_head``, ``check_parts``), or why it is none.

    Raises:
        FileNotFoundError: it is gone.
    """
    try:
        _identity_of(path)
        found = check(path)
        made_of(found.head)
        return found
    except FileNotFoundError:
        raise
    except _NoFile as error:
        return PassedOver(path, ODD, str(error))
    except CheckpointRefused as error:
        return PassedOver(path, DAMAGED, str(error))
    except OSError as error:
        return PassedOver(path, UNREADABLE, f"{path}: {error.strerror}")
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        return PassedOver(path, DAMAGED, f"{path}: its head makes no sense: {error!r}")


def survey(
    folder: Path, check: Callable[[Path], Checkpoint]
) -> tuple[list[Checkpoint], list[PassedOver]]:
    """The checkpoints in ``folder``, the last made first, and what is passed over, by name."""
    good: list[Checkpoint] = []
    bad: list[PassedOver] = []
    for path in checkpoint_files(folder):
        try:
            found = look(path, check)
        except FileNotFoundError:
            continue  # the instance that runs has removed it for a newer one
        if isinstance(found, Checkpoint):
            good.append(found)
        else:
            bad.append(found)
    good.sort(key=lambda one: made_of(one.head), reverse=True)
    return good, bad


def next_made(folder: Path) -> int:
    """A number above that of every checkpoint in ``folder``: the time in ns, while clocks are
    right."""
    good, _ = survey(folder, read_head)
    return max([time.time_ns(), *(1 + made_of(one.head)[0] for one in good)])


def clear_the_way(target: Path, epoch: int) -> Path | None:
    """Move what has the name of a new checkpoint and is none of its world's; its new path.

    Raises:
        OSError: it can't be moved.
    """
    try:
        found = look(target, read_head)
    except FileNotFoundError:
        return None
    if isinstance(found, Checkpoint) and found.head.get("epoch") == epoch:
        return None
    return set_aside_bad(target)


class Keeper:
    """Prunes one folder for one world; remembers which files it has read, so that each is read
    once and not with every checkpoint."""

    def __init__(self, folder: Path, epoch: int) -> None:
        self.folder, self.epoch = folder, epoch
        self.passed_over: list[PassedOver] = []
        """What the last ``prune`` left alone."""
        self.epochs: set[int] | None = None
        """The worlds of which it found checkpoints; None: of some file it can't be said."""
        self._sound: dict[Path, tuple[_Identity, Checkpoint]] = {}

    def made(self, checkpoint: Checkpoint) -> None:
        """``checkpoint`` was just made and read back. Raises OSError."""
        self._sound[checkpoint.path] = _identity_of(checkpoint.path), checkpoint

    def first_tick(self, newest: Checkpoint) -> int:
        """The tick of the earliest of this world's checkpoints that the last ``prune`` left."""
        kept = [one.tick for _, one in self._sound.values()]
        return min([newest.tick, *kept])

    def _check(self, path: Path) -> Checkpoint:
        identity = _identity_of(path)
        known = self._sound.get(path)
        if known is not None and known[0] == identity:
            return known[1]
        found = read_head(path)
        if found.head.get("epoch") == self.epoch:
            found = check_parts(path)
            self._sound[path] = identity, found
        return found

    def prune(self, newest: Path, keep: int) -> None:
        """Remove this world's sound checkpoints but ``newest`` and the last ``keep − 1`` others.

        What does not count or can't be removed is in ``passed_over`` afterwards.
        """
        good, bad = survey(self.folder, self._check)
        unknown = any(one.kind in (UNREADABLE, DAMAGED) for one in bad)
        self.epochs = None if unknown else {int(one.head.get("epoch", 0)) for one in good}
        others = []
        for one in good:
            epoch = one.head.get("epoch")
            if epoch != self.epoch:
                why = f"{one.path}: found epoch {epoch}, expected {self.epoch}, this world's"
                bad.append(PassedOver(one.path, FOREIGN, why))
            elif one.path != newest:
                others.append(one.path)
        for old in others[max(0, keep - 1) :]:
            try:
                old.unlink(missing_ok=True)
            except OSError as error:
                bad.append(PassedOver(old, UNREADABLE, f"{old}: not removed: {error.strerror}"))
            self._sound.pop(old, None)
        self.passed_over = bad


def aside_folders(folder: Path) -> list[tuple[Path, int]]:
    """What was set aside in ``folder`` (``aside-…``), with the bytes that each takes."""
    found = []
    for place in sorted(folder.glob(f"{ASIDE}*")):
        if place.is_dir() and not place.is_symlink():
            sizes = (os.lstat(path) for path in place.rglob("*") if not path.is_symlink())
            found.append((place, sum(512 * one.st_blocks for one in sizes)))
    return found
