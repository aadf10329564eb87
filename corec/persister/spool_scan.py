"""What a persister does with the files it finds in the spool's folder at its start.

Each is renamed, cut or deleted by itself, and looked at again at the next start: a kill between two
of them costs nothing.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final, NamedTuple

from corec.log import get_logger
from corec.persister.generation import Generation, SpoolFile
from corec.persister.spool_format import Head, Scan, SpoolDamaged, scan

log = get_logger(__name__)
_NAME: Final = re.compile(r"^spool-(\d{12})\.log$")
_ASIDE_NAME: Final = re.compile(r"^spool-(\d{12})(?:\.\d+)?\.aside$")
_ANY_NAME: Final = re.compile(r"^spool-(\d{12})\.")


class Loaded(NamedTuple):
    """What the folder held."""

    older: list[Generation]
    """Generations before the current one, oldest first; not empty ones."""
    number: int
    """The highest file number ever used."""
    sequence: int
    """The highest sequence number."""
    aside: int
    """Files set aside now: another world's."""


def load(folder: Path, mine: Head, current: Generation) -> Loaded:
    """Index the spool's files: torn ends are cut off, foreign and damaged files renamed.

    ``current`` gets the files of its lanes.  Raises OSError.
    """
    _bring_back(folder, mine)
    names = sorted(os.listdir(folder))
    number = max((int(m[1]) for name in names if (m := _ANY_NAME.match(name))), default=0)
    for name in names:
        if name.startswith("spool-") and name.endswith(".tmp"):
            (folder / name).unlink()
    paths = [folder / name for name in names if _NAME.match(name)]
    scans: list[tuple[Path, Scan]] = []
    aside = 0
    for path in paths:
        found = _scanned(path, last=path == paths[-1])
        if found is None:
            continue
        if (found.head.instance, found.head.epoch) != (mine.instance, mine.epoch):
            os.rename(path, _free_name(path, ".aside"))
            aside += 1
            continue
        scans.append((path, found))
    older: list[Generation] = []
    sequence = 0
    for path, found in scans:
        if any(s.head.covers <= found.head.number < s.head.number for _, s in scans):
            path.unlink()  # a stub took its place; the kill came before it was deleted
            continue
        sequence = max([sequence, *(record.sequence for record in found.records)])
        _index(path, found, older, current)
    return Loaded(older, number, sequence, aside)


def _bring_back(folder: Path, mine: Head) -> None:
    """Files that were set aside while another world was here, and are this one's."""
    for name in sorted(os.listdir(folder)):
        match = _ASIDE_NAME.match(name)
        if match is None:
            continue
        path = folder / name
        try:
            head = scan(path, last=False).head
        except (SpoolDamaged, EOFError, ValueError, TypeError, KeyError):
            continue
        back = folder / f"spool-{match[1]}.log"
        if (head.instance, head.epoch) == (mine.instance, mine.epoch) and not back.exists():
            path.rename(back)
            log.info("the spool of this world is back", file=back.name)


def _scanned(path: Path, *, last: bool) -> Scan | None:
    try:
        found = scan(path, last=last)
    except EOFError:
        path.unlink()  # torn while it was made: nothing in it was ever said to be durable
        return None
    except (SpoolDamaged, ValueError, TypeError, KeyError) as error:
        bad = _free_name(path, ".bad")
        os.rename(path, bad)
        log.error("a file of the spool cannot be read", kept_as=bad.name, reason=str(error))
        return None
    if last and found.good_bytes < path.stat().st_size and not found.damaged:
        os.truncate(path, found.good_bytes)
        log.info("cut off the torn end of the spool", file=path.name, bytes=found.good_bytes)
    return found


def _index(path: Path, found: Scan, older: list[Generation], current: Generation) -> None:
    head = found.head
    size = path.stat().st_size
    stub = bool(found.records) and not any(record.length for record in found.records)
    file = SpoolFile(path, head.number, head.covers, size, stub, found.damaged)
    if found.damaged:
        log.error("a file of the spool is damaged", file=path.name)
    used = {record.extent.lane for record in found.records}
    made = {name: when for name, when in head.lanes if name in used}
    if current.holds(made):
        generation = current
    elif older and older[-1].made == dict(head.lanes):
        generation = older[-1]
    else:
        generation = Generation(dict(head.lanes))
        older.append(generation)
    generation.files.append(file)
    for record in found.records:
        generation.add(file, record)


def remove(file: SpoolFile) -> None:
    """Delete a file whose frames are durable; a damaged one is kept under another name."""
    if file.damaged:
        os.rename(file.path, _free_name(file.path, ".bad"))
    else:
        file.path.unlink(missing_ok=True)


def _free_name(path: Path, suffix: str) -> Path:
    """``path`` with another suffix, numbered if there is such a file."""
    wanted = path.with_suffix(suffix)
    n = 1
    while wanted.exists():
        n += 1
        wanted = path.with_suffix(f".{n}{suffix}")
    return wanted
