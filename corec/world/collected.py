"""Whole columns of a bloque at one tick, on their way into a Parquet file.

``collect`` with ``columns`` has them kept behind tick T, in the phase before T + 1 that tells of
statistics, too. Who does what, and what a kill leaves:

    worker    writes what its blocks hold of a bloque into a part, a file beside the world in
              memory, whole or not at all; none that is there is written again    [K collect.part]
    nucleus   once every worker has done T + 1: makes ``collect/<bloque>/<tick>.parquet`` in the
              state folder out of the parts, synced, under another name           [K collect.made]
              renames it, syncs the folder                                        [K collect.named]
              removes the parts, one after the other                           [K collect.removed]

A worker that is killed finds its part or writes it anew, from the same copies: it is asked again
only while T + 1 is not done by all, so nobody makes anything of its parts yet, and a later phase,
which changes the blocks, begins behind its part; if the memory took no part, it finds the blocks
gone on, and says that they are lost. A nucleus that is killed makes the same file again; one that
finds some of the parts and the file, made after them, removes the rest. Parts live and go with the
world in memory: with the machine lost, the ticks run again from a checkpoint, and none counts while
there is a part of an earlier tick (``corec.nucleus.checkpoints``). So each file is of the world as
it was, once, whatever was killed.

At most ``TICKS_MAX`` ticks of parts wait; then the ticks do, as for a lane that is full.

A part: its header's length (u8), the header (JSON: ``bloque``, ``tick``, ``first_id``,
``entidades``, ``of``: how many all parts hold, ``columns``: name, dtype, offset), the columns.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from corec.plan import Plan, Swarm
from corec.world.columns import Apart, read_columns
from corec.world.read import place_of
from shm.killpoint import kill_point, register
from shm.layout import align_up

FOLDER: Final = "collect"
"""In the state folder of an instance."""
TICKS_MAX: Final = 8
SUFFIX: Final = ".part"
_NAME: Final = re.compile(r"collected-(\d{20})-(\d{10})-(\d{10})\.part", re.ASCII)
_ALIGN: Final = 64
_PAGE: Final = 4096
register("collect.part")


class Part(NamedTuple):
    """A part that waits."""

    tick: int
    bloque: int
    """Its index in the configuration."""
    first_id: int
    path: Path


class Held(NamedTuple):
    """What a part holds."""

    tick: int
    bloque: str
    first_id: int
    entidades: int
    of: int
    """How many entities all parts of this tick and bloque hold."""
    columns: dict[str, NDArray[Any]]
    """Mapped, not read."""


def parts_in(folder: Path) -> list[Part]:
    """Those that wait in an instance's runtime folder, by tick, bloque and first entity."""
    found = ((_NAME.fullmatch(path.name), path) for path in folder.glob(f"collected-*{SUFFIX}"))
    return sorted(
        Part(int(name[1]), int(name[2]), int(name[3]), path) for name, path in found if name
    )


def parts_bytes(plan: Plan, workers: int) -> int:
    """What the parts of ``workers`` may take in the runtime folder: those of all columns, of as
    many ticks as may wait."""
    found = 0
    for swarm in plan.swarms:
        names = {name for one in swarm.collect for name in one.columns}
        if names:
            sizes = (np.dtype(place_of(swarm, name).dtype).itemsize for name in names)
            found += swarm.entidades * sum(sizes)
            found += min(workers, swarm.blocks) * (_head_bytes(len(names)) + _PAGE)
    return TICKS_MAX * found


def held_parts(folder: Path) -> int:
    """The bytes of the parts that wait in an instance's runtime folder."""
    found = 0
    for one in parts_in(folder):
        with contextlib.suppress(FileNotFoundError):  # its file is made
            found += one.path.stat().st_size
    return found


def waits(folder: Path, tick: int) -> bool:
    """Whether a part of a tick before ``tick`` is in the runtime folder."""
    return any(one.tick < tick for one in parts_in(folder))


def hold(path: Path) -> Held:
    """What the part in ``path`` holds. Raises ValueError: it is damaged. OSError."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        text = file.read(size)
    try:
        head = orjson.loads(text)
        columns: dict[str, NDArray[Any]] = {
            name: np.memmap(path, dtype, "r", offset, (head["entidades"],))
            for name, dtype, offset in head["columns"]
        }
        first_id, count, of = (int(head[name]) for name in ("first_id", "entidades", "of"))
        return Held(int(head["tick"]), str(head["bloque"]), first_id, count, of, columns)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: found a damaged part: {error}") from None


class Parts:
    """Where one worker leaves the columns of its blocks ``lo … hi−1``."""

    def __init__(
        self, folder: Path, plan: Plan, words: NDArray[np.uint64], lo: int, hi: int
    ) -> None:  # fmt: skip
        self._folder, self._plan, self._words = folder, plan, words
        self._lo, self._hi = lo, hi

    def room(self, tick: int) -> bool:
        """Whether another tick's may wait."""
        return len({one.tick for one in parts_in(self._folder)} - {tick}) < TICKS_MAX

    def keep(self, swarm: Swarm, names: list[str], tick: int) -> None:
        """The columns ``names`` of what is here of ``swarm``, as ``tick`` left them.

        Raises:
            OSError: the memory is full. Apart: the blocks have gone on, and no part is there.
        """
        lo, hi = max(self._lo, swarm.first_block), min(self._hi, swarm.first_block + swarm.blocks)
        if lo >= hi:
            return
        first_id = int(self._plan.blocks["first_id"][lo])
        path = self._folder / f"collected-{tick:020d}-{swarm.bloque:010d}-{first_id:010d}{SUFFIX}"
        if path.exists():
            return
        blocks = np.arange(lo, hi) - swarm.first_block
        found, columns = read_columns(self._plan, self._words, swarm, names, blocks)
        if found != tick:
            raise Apart
        of = sum(one.entidades for one in self._plan.swarms if one.bloque == swarm.bloque)
        half = path.with_suffix(".half")
        try:
            with half.open("wb") as file:
                for piece in _packed(swarm.id, tick, first_id, of, columns):
                    file.write(piece)
        except OSError:
            half.unlink(missing_ok=True)
            raise
        kill_point("collect.part")
        os.replace(half, path)


def _head_bytes(columns: int) -> int:
    return align_up(512 + 128 * columns, _ALIGN)


def _packed(
    bloque: str, tick: int, first_id: int, of: int, columns: dict[str, NDArray[Any]]
) -> Iterator[Any]:
    count = len(next(iter(columns.values())))
    head: dict[str, Any] = {
        "bloque": bloque, "tick": tick, "first_id": first_id, "entidades": count, "of": of,
    }  # fmt: skip
    room = _head_bytes(len(columns))
    at, said = room, []
    for name, values in columns.items():
        said.append([name, values.dtype.str, at])
        at = align_up(at + values.nbytes, _ALIGN)
    text = orjson.dumps({**head, "columns": said})
    size = room - 8
    yield size.to_bytes(8, "little") + text.ljust(size)
    at = room
    for values in columns.values():
        yield values.data
        at += values.nbytes
        yield bytes(-at % _ALIGN)
        at = align_up(at, _ALIGN)
