"""State written into a living instance (``write`` of ``corec.attach``), so that it is part of its
world: the same after any kill, a restore, and in a replay.

A write is an ``Entry`` of what was set (``corec.world.settings``) under a path of its own,
``write.<revision>``, and a file of the journal's folder, which has the values. It counts between
two ticks, T and T + 1. Order of the stores, and what a kill leaves after each:

    nucleus   the file, durable, without its name             nothing: the next nucleus removes it
              holds the world after T
              the file gets its name, durably   [K write.named]    nothing: it goes when trimmed
              the entry, from T + 1 on                        it was written: T + 1 does the rest
              its values, block by block        [K write.block]        likewise
              lets the world go on, tells the event           told by the next nucleus
    leader    the revision and PHASE_COLLECT of T + 1         as of everything that was set
    workers   before T + 1, before any other phase: the       done again: the same values
              values once more, as they are after the last
              write, into each block that is at T still and
              has committed no step of T + 1: a reading of
              T + 1 comes behind what is written
                                                [K write.block]

So who asks, a digest, a checkpoint sees it at once; and whether a nucleus was killed over it, the
world comes from a checkpoint of T or before, or its journal is replayed, T + 1 begins with the same
state. A world whose fields have changed since leaves out what does not fit them, and what its
blocks came with. A file stays as long as a checkpoint is from before it, and, where there is not
too much of them, the journal; those of another world as long as a checkpoint is of it. Who reads a
block between the stores of its values sees some of them; frames wait for the end of a hold
(``corec.view.attached``).
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from corec import layout as L
from corec.durable import give_name, sync_file
from corec.journal.file import FOLDER, begins_at
from corec.log import get_logger
from corec.plan import Plan
from corec.process.runtime import Runtime
from corec.world import settings
from corec.world.edits import Edit, checked, summary, within
from corec.world.settings import WRITE, Entries, Entry, is_write
from shm.killpoint import kill_point, register

log = get_logger(__name__)
BYTES_MAX: Final = 1 << 30
"""So much the files of all writes may take together, until a checkpoint makes some needless."""
KEPT_BYTES_MAX: Final = 256 << 20
"""So much is kept for replays from before the oldest checkpoint, as long as the journal is."""
_NAME: Final = re.compile(r"write-([0-9a-f]{16})-(\d{20})-(\d+)\.npz", re.ASCII)
HALF: Final = ".write-"
_FIELD: Final = "field."
_EVER: Final = 1 << 64
register("write.named")


class Unreadable(Exception):
    """A file of a write is not whole, no longer there, or does not fit the world; the text says
    which and why."""


def packed(edit: Edit) -> bytes:
    """``edit`` as the bytes of a file: an ``.npz``, with a checksum of each column."""
    columns: dict[str, Any] = {_FIELD + name: values for name, values in edit.values.items()}
    file = io.BytesIO()
    np.savez(file, swarm=np.array(edit.swarm), ids=edit.entities, **columns)
    return file.getvalue()


def unpacked(path: Path) -> Edit:
    """What ``packed`` made. Raises Unreadable."""
    try:
        with open(path, "rb") as whole, np.load(whole, allow_pickle=False) as file:
            values = {
                name.removeprefix(_FIELD): file[name] for name in file.files
                if name.startswith(_FIELD)
            }  # fmt: skip
            return Edit(str(file["swarm"]), file["ids"].astype(np.int64), values)
    except Exception as error:  # noqa: BLE001 - whatever a damaged file makes the reader raise
        raise Unreadable(f"{path}: {error}") from None


def save(folder: Path, edit: Edit, token: str) -> Path:
    """Write it down durably, as ``name`` finds it. ``folder``: the instance's state folder.

    Raises:
        OSError: the disk is full, or ``BYTES_MAX`` is reached.
    """
    place, data = folder / FOLDER, packed(edit)
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    taken = _bytes_of(write_files(folder))
    if taken + len(data) > BYTES_MAX:
        raise OSError(
            f"what was written since the oldest checkpoint takes {taken:,} bytes, and this "
            f"{len(data):,}; expected at most {BYTES_MAX:,}: make a checkpoint (corec-ctl snapshot)"
        )
    half = place / f"{HALF}{token}"
    descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            sync_file(file)
    except BaseException:
        half.unlink(missing_ok=True)
        raise
    return half


def name(half: Path, epoch: int, first_tick: int, revision: int) -> str:
    """Give the file of ``save`` its name, durably; that name. Raises OSError."""
    found = f"write-{epoch:016x}-{first_tick:020d}-{revision}.npz"
    give_name(half, half.with_name(found))
    kill_point("write.named")
    return found


def entry_of(edit: Edit, file: str, first_tick: int, revision: int) -> tuple[str, Entry]:
    """What of it is set: its path and its entry."""
    path = f"{WRITE}{revision}"
    return path, Entry({**summary(edit), "file": file}, None, first_tick, revision, path, None)


def without_past(entries: Mapping[str, Entry], committed: int, told: int) -> Entries:
    """``entries`` without the writes that every worker is behind, and whose events are told."""
    return {
        path: one for path, one in entries.items()
        if not is_write(path) or one.tick > committed or one.revision > told
    }  # fmt: skip


def due(entries: Mapping[str, Entry], tick: int) -> list[str]:
    """The files of what is written before ``tick``, in their order."""
    found = [one for path, one in entries.items() if is_write(path) and one.tick == tick]
    return [str(one.value["file"]) for one in sorted(found, key=lambda one: one.revision)]


class Coming:
    """Before which ticks of an instance something is written: for its leader, tick by tick."""

    def __init__(self, rt: Runtime) -> None:
        self._rt, self._revision = rt, -1
        self._ticks: set[int] = set()

    def before(self, tick: int) -> bool:
        """Whether something is, before ``tick``, which the leader is about to let go."""
        rt = self._rt
        if tick <= rt.get(L.C_FOLLOW):
            return bool(_followed(rt, tick))
        revision = rt.get(L.C_SETTINGS)
        if revision != self._revision:
            entries = settings.read(rt, revision)
            self._ticks = {one.tick for path, one in entries.items() if is_write(path)}
            self._revision = revision
        return tick in self._ticks


def _followed(rt: Runtime, tick: int) -> list[str]:
    if rt.past is None:
        return []
    said = rt.past.state(tick).entries
    return due({path: Entry(*one) for path, one in said.items()}, tick)


def edits_before(rt: Runtime, tick: int, first_id: int, end_id: int) -> Iterator[Edit]:
    """What a worker writes into its entities before ``tick``, which went."""
    if tick <= rt.get(L.C_FOLLOW):
        files = _followed(rt, tick)
    else:
        files = due(settings.read(rt, rt.get(L.C_CUT_SETTINGS + (tick & 3))), tick)
    for edit in edits_in(rt.config.state_folder, rt.plan, files, tick):
        yield within(edit, first_id, end_id)


def edits_in(folder: Path, plan: Plan, files: list[str], tick: int) -> Iterator[Edit]:
    """The writes of these files in an instance's state folder, each read when it is asked for; one
    that is gone, or does not fit ``plan`` any more, is told, and left out: the world goes on."""
    for file in files:
        try:
            found = edit_in(folder, plan, file)
        except Unreadable as error:
            log.error("a write is left out: it can't be read", tick=tick, reason=str(error))
            continue
        yield found


def edit_in(folder: Path, plan: Plan, file: str) -> Edit:
    """The write of that file in an instance's state folder, checked again: since it was written,
    the fields may have changed. Raises Unreadable."""
    path = folder / FOLDER / file
    found = unpacked(path)
    try:
        return checked(plan, found.swarm, found.entities, found.values)
    except ValueError as error:
        raise Unreadable(f"{path}: {error}") from None


def write_files(folder: Path) -> list[Path]:
    """All of them in an instance's state folder."""
    return sorted((folder / FOLDER).glob("write-*.npz"))


def _bytes_of(paths: list[Path]) -> int:
    return sum(path.stat().st_size for path in paths)


def trim_writes(
    folder: Path, epoch: int, first_tick: int, others: Collection[int] | None = None
) -> None:  # fmt: skip
    """Remove the files of the world ``epoch`` from before its journal and ``first_tick``, that of
    its oldest checkpoint; from before the latter alone where there is much of them. Likewise those
    of worlds without a checkpoint. ``others``: those that have one; None: it is not known which.
    Raises OSError.
    """
    files = write_files(folder)
    much = _bytes_of(files) > KEPT_BYTES_MAX
    last: dict[int, int] = {}
    for path in files:
        found = _NAME.fullmatch(path.name)
        if found is None:
            continue
        world = int(found[1], 16)
        if world not in last:
            kept = others is None or world in others
            end = first_tick if world == epoch else 0 if kept else _EVER
            last[world] = end if much else min(end, begins_at(folder, world, end))
        if int(found[2]) <= last[world]:
            path.unlink(missing_ok=True)


def remove_halves(folder: Path) -> None:
    """Remove what a nucleus that was killed had begun to write down."""
    for path in (folder / FOLDER).glob(f"{HALF}*"):
        path.unlink(missing_ok=True)
