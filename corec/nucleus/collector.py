"""Parts into Parquet files: what ``collect`` with ``columns`` leaves in the state folder.

``corec.world.collected`` has the order of the stores and what a kill leaves. A thread of low
priority writes one file after the other, a row group at a time out of the parts, which are mapped:
memory holds one group, however large the swarm. What can't be written is tried again, ever more
slowly, and the ticks wait once too much does, as for rows (``persist.on_full``); with one of the
other policies it is left out, with an event. Parts that are damaged, or not all there (a worker
found no room for its own), are left out likewise, and so are those whose columns are not
the same (the configuration was changed within a tick), or of which no file can be made.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import numpy as np

from corec import layout as L
from corec.durable import give_name, sync_file, sync_folder
from corec.log import get_logger
from corec.modules.base import ModuloBase, Nucleus
from corec.nucleus.checkpoints import lower_priority
from corec.nucleus.disk import Disk
from corec.process.backoff import Backoff
from corec.process.events import REASON
from corec.process.roles import committed_tick
from corec.process.runtime import Runtime
from corec.version import __version__
from corec.world.collected import FOLDER, Held, Part, hold, parts_in
from shm.killpoint import kill_point, register

log = get_logger(__name__)
LOOK_SECONDS: Final = 0.1
RETRY_SECONDS_MIN, RETRY_SECONDS_MAX = 1.0, 60.0
ROWS_PER_GROUP: Final = 1 << 17
HALF: Final = ".half-"
Lost = tuple[int, str, str]
"""Tick, bloque, reason."""
register("collect.made")
register("collect.named")
register("collect.removed")


def file_of(folder: Path, bloque: str, tick: int) -> Path:
    """Where the columns of a bloque behind ``tick`` are, in an instance's state folder."""
    return folder / FOLDER / bloque / f"{tick:020d}.parquet"


def make_files(rt: Runtime, lost: list[Lost]) -> None:
    """Make a file of all parts whose tick is over; what is left out comes into ``lost``.

    Raises:
        OSError: one could not be written; its parts stay. ImportError: no pyarrow.
    """
    done = committed_tick(rt.get)

    def leave_out(tick: int, bloque: str, reason: str) -> None:
        log.error("collected columns are lost", bloque=bloque, tick=tick, reason=reason)
        lost.append((tick, bloque, reason))

    for (tick, _), found in groupby(parts_in(rt.folder), lambda one: (one.tick, one.bloque)):
        if tick >= done:
            break
        parts = list(found)
        bloque = rt.config.bloques[parts[0].bloque].id
        try:
            held = [hold(one.path) for one in parts]
            if not _is_made(rt, parts, held):
                _make(rt, held)
            del held
        except OSError as error:
            if rt.config.persist.on_full == "block":
                raise
            leave_out(tick, bloque, error.strerror or str(error))
        except (ValueError, KeyError, TypeError) as error:
            leave_out(tick, bloque, str(error))
        for one in parts:
            one.path.unlink(missing_ok=True)
            kill_point("collect.removed")


def _is_made(rt: Runtime, parts: list[Part], held: list[Held]) -> bool:
    """Whether parts are missing because their file is made: a predecessor was killed while it
    removed them. Raises ValueError: no file can be made of what is there."""
    there = sum(one.entidades for one in held)
    if there != held[0].of:
        path = file_of(rt.config.state_folder, held[0].bloque, held[0].tick)
        # an older one is of a world before this one
        if path.exists() and path.stat().st_mtime_ns >= max(_made_at(one) for one in parts):
            return True
        raise ValueError(f"found columns of {there:,} entities, expected {held[0].of:,}")
    first, *others = [[(name, c.dtype) for name, c in one.columns.items()] for one in held]
    if any(one != first for one in others):
        raise ValueError("found parts with other columns: the configuration was changed meanwhile")
    return False


def _made_at(part: Part) -> int:
    return part.path.stat().st_mtime_ns


def make_folder(folder: Path) -> None:
    """Make ``folder`` and its missing parents (0700), with durable names. Raises OSError."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True, mode=0o700)
        sync_folder(folder.parent)


def _make(rt: Runtime, held: list[Held]) -> None:
    """One file of the parts of a tick. Raises OSError, ImportError; ValueError, KeyError,
    TypeError: pyarrow makes none of them."""
    path = file_of(rt.config.state_folder, held[0].bloque, held[0].tick)
    make_folder(path.parent)
    half = path.with_name(f"{HALF}{path.name}")
    try:
        _write(rt, half, held)
        kill_point("collect.made")
        give_name(half, path)
    finally:
        half.unlink(missing_ok=True)
    kill_point("collect.named")
    _forget(rt, held[0].bloque, path.parent)


def _write(rt: Runtime, path: Path, held: list[Held]) -> None:
    arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    fields = [("tick", "int64"), ("id", "uint32")]
    fields += [(name, _type(name, column.dtype)) for name, column in held[0].columns.items()]
    schema = arrow.schema(
        [(name, arrow.type_for_alias(alias)) for name, alias in fields],
        {"instance_id": rt.config.instance_id, "bloque": held[0].bloque,
         "tick": str(held[0].tick), "epoch": f"{rt.epoch:016x}", "corec": __version__},
    )  # fmt: skip
    with path.open("wb") as file:
        with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
            for columns in _groups(held):
                arrays = [
                    arrow.array(columns[field.name], field.type) for field in schema
                ]  # fmt: skip
                writer.write_table(arrow.Table.from_arrays(arrays, schema=schema))
        sync_file(file)


def _type(name: str, dtype: Any) -> str:
    return "bool" if name == "activo" else np.dtype(dtype).name


def _groups(held: list[Held]) -> Iterator[dict[str, Any]]:
    """The rows of all parts, some at a time, by column."""
    for part in held:
        for at in range(0, part.entidades, ROWS_PER_GROUP):
            end = min(at + ROWS_PER_GROUP, part.entidades)
            ids = np.arange(part.first_id + at, part.first_id + end, dtype=np.uint32)
            columns = {name: column[at:end] for name, column in part.columns.items()}
            if "activo" in columns:
                columns["activo"] = columns["activo"].astype(np.bool_)
            yield {"tick": np.full(end - at, part.tick, np.int64), "id": ids, **columns}


def _forget(rt: Runtime, bloque: str, folder: Path) -> None:
    """Remove the oldest files of a bloque, if no more than so many are to be kept."""
    index = next(k for k, one in enumerate(rt.config.bloques) if one.id == bloque)
    keeps = [one.keep for one in rt.config.collected(index) if one.columns]
    if keeps and None not in keeps:
        most = max(keep for keep in keeps if keep is not None)
        for old in sorted(folder.glob("[0-9]*.parquet"))[:-most]:
            old.unlink(missing_ok=True)


def remove_halves(folder: Path) -> None:
    """Remove what a nucleus that was killed had begun to write, in an instance's state folder."""
    for path in (folder / FOLDER).glob(f"*/{HALF}*"):
        path.unlink(missing_ok=True)


class Collector:
    """The files of one nucleus; made by one thread at a time."""

    def __init__(self, rt: Runtime) -> None:
        self.rt = rt
        self._one = threading.Lock()
        self._lost: list[Lost] = []

    @property
    def wanted(self) -> bool:
        """Whether the configuration asks for files, or did, and parts are left, or may come of
        ticks that run again."""
        rt = self.rt
        asked = any(one.columns for swarm in rt.plan.swarms for one in swarm.collect)
        return asked or rt.past is not None or rt.half is not None or bool(parts_in(rt.folder))

    def make(self) -> None:
        """Make what can be made; raises as ``make_files``."""
        with self._one:
            make_files(self.rt, self._lost)

    def lost(self) -> list[Lost]:
        """What was left out since the last call."""
        with self._one:
            found = list(self._lost)
            self._lost.clear()
        return found


class ModuloCollect(ModuloBase):
    """Has a ``Collector`` make its files while the world lives."""

    nombre = "collect"

    def __init__(self, nucleus: Nucleus, collector: Collector, disk: Disk) -> None:
        super().__init__(nucleus)
        self._collector, self._disk = collector, disk
        self._thread: ThreadPoolExecutor | None = None
        self._again = Backoff(most_seconds=RETRY_SECONDS_MAX, first_seconds=RETRY_SECONDS_MIN)

    async def inicializar(self) -> None:
        remove_halves(self.nucleus.rt.config.state_folder)
        self._thread = ThreadPoolExecutor(1, "collect", lower_priority)

    async def ejecutar(self) -> None:
        rt, loop = self.nucleus.rt, asyncio.get_running_loop()
        while rt.get(L.C_STOP) < L.STOP_NUCLEUS:  # the rest is the stop's own
            error: Exception | None = None
            try:
                await loop.run_in_executor(self._thread, self._collector.make)
            except (OSError, ImportError) as reason:
                error = reason
                log.error("collected columns can't be written, and wait in memory",
                          folder=str(rt.config.state_folder), reason=str(error))  # fmt: skip
            for tick, bloque, why in self._collector.lost():
                self.nucleus.events.emit(
                    "columns_lost", {"swarm": bloque, REASON: why}, tick=tick
                )  # fmt: skip
            self._show(error)
            if error is None:
                self._again.reset()
            await asyncio.sleep(LOOK_SECONDS if error is None else self._again.next_seconds())

    def _show(self, error: Exception | None) -> None:
        """A folder that takes no files degrades the instance until it takes them, whether it is
        full, read-only or somebody else's: the ticks come to wait for it."""
        self._disk.show("columns", full=error is not None)

    async def detener(self) -> None:
        if self._thread is not None:
            self._thread.shutdown(wait=False)
            self._thread = None
