"""What ``--fresh`` sets aside: the checkpoints of the world that it ends, and that world itself.

Writer: the supervisor, before it forks, holding the instance's lock. Order, and what a kill leaves:

    files of the world copied into ``aside-<time>/.memory``, synced   [K fresh.copied] the world is
                                                                      where it was, and adopted
    renamed ``memory``, the folders synced                            [K fresh.kept] likewise
    files removed from the tmpfs (``segments.remove``)                [K fresh.removed] the copy; on
                                                                      from the last checkpoint
    ``aside-<time>/.moving``, synced                                  from here on the next start
                                                                      does the rest (``finish``)
    each checkpoint renamed into ``aside-<time>``                     some there, some here
                                                                      [K fresh.checkpoints]
    the files of columns, a folder, into it                           there or here
    the journal's files into its ``journal``                          likewise
    ``.moving`` removed                                               all is there

A world that this configuration could not go on with is evidence, or somebody's: it is not copied
but moved within the tmpfs, every byte of it (``segments.set_aside``).
"""

from __future__ import annotations

import itertools
import os
import shutil
import time
from pathlib import Path

import numpy as np

from corec.config import Config
from corec.durable import sync_file, sync_folder
from corec.exits import EXIT_FAILED, StartFailed
from corec.journal.file import FOLDER as JOURNAL
from corec.journal.file import journal_files
from corec.plan import Plan
from corec.supervisor import segments
from corec.world.checkpoint import checkpoint_files
from corec.world.collected import FOLDER as COLLECTED
from corec.world.writes import write_files
from shm.killpoint import kill_point, register
from shm.layout import PAGE_BYTES

MEMORY = "memory"
MOVING = ".moving"
CHUNK_BYTES = 1 << 20

for _name in ("copied", "kept", "removed", "checkpoints"):
    register(f"fresh.{_name}")


def must_be_moved(config: Config, plan: Plan, folder: Path) -> bool:
    """Whether there is a world in memory that this configuration could not go on with: damaged,
    of an older layout, or another one's."""
    return segments.adoptable(folder) and not segments.fits(config, folder, plan)


def new_folder(config: Config) -> Path:
    """The name of a folder beside the checkpoints that is not there yet."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    name = config.state_folder / f"aside-{stamp}"
    tries = (name.with_name(f"{name.name}-{k}") for k in itertools.count(2))
    return next(place for place in itertools.chain([name], tries) if not place.exists())


def keep_memory(folder: Path, aside: Path) -> Path:
    """Copy the world in ``folder`` to ``aside``/memory on disk, without its empty pages.

    Copied back into the runtime folder, the files are the world again; the database and the
    streams will have gone over to the new one, so it needs others to go on with.

    Raises:
        StartFailed: it could not be written; nothing was changed.
    """
    target = aside / MEMORY
    half = aside / f".{MEMORY}"
    try:
        half.mkdir(mode=0o700, parents=True)
        for path in segments.world_files(folder):
            _copy_sparse(path, half / path.name)
        sync_folder(half)
        kill_point("fresh.copied")
        half.rename(target)
        sync_folder(aside)
        sync_folder(aside.parent)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        reason = f"the world in memory could not be set aside in {aside}: {error.strerror}"
        raise StartFailed(EXIT_FAILED, f"{reason}; nothing was changed") from None
    kill_point("fresh.kept")
    return target


def _copy_sparse(source: Path, target: Path) -> None:
    """Copy a file, leaving holes where whole pages are zero; synced."""
    with source.open("rb") as reader, target.open("xb") as writer:
        os.fchmod(writer.fileno(), 0o600)
        size = os.fstat(reader.fileno()).st_size
        writer.truncate(size)
        chunk = bytearray(CHUNK_BYTES)
        for start in range(0, size, CHUNK_BYTES):
            count = reader.readinto(chunk)
            held = np.frombuffer(chunk, np.uint8, count)
            if not held.any():
                continue
            for at in range(0, count, PAGE_BYTES):
                page = held[at : at + PAGE_BYTES]
                if page.any():
                    os.pwrite(writer.fileno(), page.tobytes(), start + at)
        sync_file(writer)


def set_checkpoints_aside(config: Config, aside: Path) -> None:
    """Move the checkpoints of the world that ``--fresh`` ends to ``aside``, and what its journal
    says of the ticks behind them; the memory is free."""
    kill_point("fresh.removed")
    state = config.state_folder
    written = [*journal_files(state), *write_files(state)]
    if checkpoint_files(state) or (state / COLLECTED).is_dir() or written:
        aside.mkdir(exist_ok=True)
        (aside / MOVING).touch(mode=0o600)
        sync_folder(aside)
        sync_folder(state)
        _move(state, aside)


def finish(state: Path) -> None:
    """Move what a killed supervisor had begun to: part of a world is none to go on with."""
    for mark in sorted(state.glob(f"aside-*/{MOVING}")):
        _move(state, mark.parent)


def _move(state: Path, aside: Path) -> None:
    for path in checkpoint_files(state):
        path.rename(aside / path.name)
    kill_point("fresh.checkpoints")
    collected = state / COLLECTED
    if collected.is_dir():
        collected.rename(aside / COLLECTED)
    for path in (*journal_files(state), *write_files(state)):
        place = aside / JOURNAL
        place.mkdir(exist_ok=True)
        path.rename(place / path.name)
    sync_folder(state)
    (aside / MOVING).unlink()
