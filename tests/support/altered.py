"""Copies of this checkout with a line changed: what a test or the oracle has to object to.

A change names its line by the text that stands there, and such texts rot: ``missing`` tells which
are not found any more, and a fast test (``tests/oracle/test_anchors.py``) asks it for every table.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Change:
    """In ``file``, the only place where ``right`` stands gets ``wrong`` instead."""

    file: str
    right: str
    wrong: str


class AnchorMissing(ValueError):
    """The text that a change replaces is not found in its file just once; the text says which."""


def changed(change: Change, text: str) -> str:
    """``text`` with the change made.

    Raises:
        AnchorMissing: its place is not found, or several are.
    """
    count = text.count(change.right)
    if count != 1 or change.right == change.wrong:
        line = change.right.strip().splitlines()[0]
        raise AnchorMissing(f"{change.file}: found {count} places of {line!r}, expected one")
    return text.replace(change.right, change.wrong)


def missing(changes: Iterable[Change]) -> list[str]:
    """Which of these can't be made in this checkout, and why."""
    found = []
    for change in changes:
        path = ROOT / change.file
        if not path.is_file():
            found.append(f"{change.file}: no such file")
            continue
        try:
            changed(change, path.read_text("utf-8"))
        except AnchorMissing as error:
            found.append(str(error))
    return found


def copy_into(folder: Path, changes: Iterable[Change] = ()) -> None:
    """The files git knows, as they lie in the checkout, with ``changes`` made one after the other.

    Raises:
        AnchorMissing: one can't be made.
    """
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)
    for change in changes:
        path = folder / change.file
        path.write_text(changed(change, path.read_text("utf-8")), "utf-8")
