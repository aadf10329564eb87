"""A checkpoint in the making: beside the ticks, but for one short moment.

    prepare   history rounds: what is in the rings goes to the file while the world ticks; the first
              packs all of it, the others write what was pushed during the one before as it is, so
              each takes less time than that one and little is left for the hold
    take      the caller holds the world: state records and the rest of the histories are copied
              into memory, the positions noted; nothing else
    write     the world ticks on: what was copied is packed into the file, the file is read back for
              the digest, the head is added, all is synced
    publish   what has its name and is another's moved aside, renamed into place, the oldest removed
              that are too many (``corec.world.kept``)

Why the histories come out right is the theory of ``corec.kernels.histories``. Memory: the state
records of the world, and at most STAGING_BYTES_MAX of history; a world that pushes more than that
between the last round and the hold has the rest written to the file while it is held. One that
pushes faster than rounds can follow gets no rounds: all its histories are written in the hold.

A kill anywhere leaves the old set of checkpoints and perhaps a file with a leading dot that nobody
takes for one (``prepare`` removes it); after the rename, the old set and the new one.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from corec import layout as L
from corec.durable import give_name
from corec.kernels import snapshot as K
from corec.kernels.histories import save_history
from corec.log import get_logger
from corec.process.runtime import Runtime
from corec.world.checkpoint import (
    HISTORY,
    PREFIX,
    STATE,
    SUFFIX,
    Checkpoint,
    CheckpointRefused,
    Contents,
    PartWriter,
    checkpoint_name,
    read_head,
)
from corec.world.digest import WorldMoved
from corec.world.heads import checkpoint_head
from corec.world.kept import Keeper, clear_the_way, next_made
from corec.world.packing import Packing, chunks, history_bytes_max
from corec.world.restore import check_parts, digest_in
from shm.killpoint import kill_point, register

STAGING_BYTES_MAX: Final = 128 << 20
ROUNDS_MAX: Final = 8
ROUND_ENOUGH_BYTES: Final = 4 << 20

for _name in ("round", "copied", "part", "before_head", "before_sync", "before_rename",
              "after_rename", "after_prune"):  # fmt: skip
    register(f"checkpoint.{_name}")


log = get_logger(__name__)


class Abandoned(Exception):
    """The making was called off; nothing of it is left."""


class Staging:
    """Memory that records are copied to, its pages touched beforehand."""

    def __init__(self, size: int) -> None:
        self.data: NDArray[np.uint8] = np.empty(size, np.uint8)
        self.data.fill(0)  # a page fault in the hold would cost more than the copy
        self.used = 0
        self.records: list[tuple[int, int, int, int]] = []

    @property
    def address(self) -> int:
        """Where the next record goes."""
        return int(self.data.ctypes.data) + self.used

    @property
    def room(self) -> int:
        """Bytes left."""
        return int(self.data.size) - self.used

    def add(self, lo: int, hi: int, size: int) -> None:
        """Note records of the blocks ``lo … hi−1`` that were written to ``address``."""
        self.records.append((lo, hi, self.used, size))
        self.used += size

    def clear(self) -> None:
        """Begin anew."""
        self.used = 0
        self.records.clear()


class Snapshot:
    """One checkpoint of a living world; one method after the other, by one thread at a time."""

    def __init__(
        self, rt: Runtime, folder: Path, called_off: Callable[[], bool], *, pack: bool = True
    ) -> None:
        """``called_off`` is asked between two chunks; true ends ``prepare`` and ``write``.
        ``pack`` false: nothing is compressed, for a file that nobody keeps."""
        self.rt, self.folder, self._pack = rt, folder, pack
        self.progress = 0.0
        self.outrun = False
        """Values are pushed faster than rounds can follow."""
        self._called_off = called_off
        self._packing = Packing(rt.plan, rt.world.payload)
        self._chunks = chunks(rt.plan)
        self._half = folder / f".{PREFIX}{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}"
        self._file: PartWriter | None = None
        self._head: dict[str, Any] = {}
        self._seen = np.zeros(self._packing.counters, np.int64)
        self._fresh = np.zeros(self._packing.counters, np.int64)
        self._repairs = np.full(rt.plan.n_blocks, -1, np.int64)
        self._fresh_repairs = np.zeros(rt.plan.n_blocks, np.int64)
        self._result = np.zeros(2, np.int64)
        longest = [
            sum(history_bytes_max(rt.plan, b) for b in range(lo, hi)) for lo, hi in self._chunks
        ]
        self._chunk_history = max(longest)
        self._state: list[Staging] = []
        self._history = Staging(0)

    def prepare(self) -> None:
        """Open the file and write the history rounds.

        Raises:
            OSError: the disk is full or the folder can't be written. Abandoned: called off.
        """
        self._file = PartWriter(self._open())
        self._begin()
        last = self._rounds() if self._packing.counters else 0
        n = self.rt.plan.n_blocks
        K.touch_state(self._packing.blocks, self._packing.swarms, 0, n)
        size = K.measure_state(self._packing.blocks, self._packing.swarms, 0, n)
        self._state = [Staging(size + size // 4 + L.MIB)]
        if self._packing.counters:
            self._history = Staging(max(self._chunk_history, min(STAGING_BYTES_MAX, 2 * last)))

    def _open(self) -> BinaryIO:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        remove_halves(self.folder)
        return open_half(self._half)

    def _rounds(self) -> int:
        """Rounds while they become smaller; the bytes of the last one."""
        staging = Staging(self._chunk_history)
        first = before = self._round(staging, 0)
        kill_point("checkpoint.round")
        for number in range(1, ROUNDS_MAX):
            last = self._round(staging, number)
            if 2 * last > first and first > ROUND_ENOUGH_BYTES:
                self.outrun = True
                self._begin()
                return last
            if last <= ROUND_ENOUGH_BYTES or (number > 1 and 5 * last > 4 * before):
                return last
            before = last
        return before

    def _begin(self) -> None:
        """An empty file, no history in it."""
        assert self._file is not None
        self._file.begin()
        self._seen[:] = 0
        self._repairs[:] = -1

    def _round(self, staging: Staging, number: int) -> int:
        total = 0
        for k, (lo, hi) in enumerate(self._chunks):
            self._go_on()
            staging.clear()
            self._copy_history(staging, lo, hi)
            total += staging.used
            self._flush(staging, pack=self._pack and number == 0)
            if number == 0:
                self.progress = 0.5 * (k + 1) / len(self._chunks)
        return total

    def _copy_history(self, staging: Staging, lo: int, hi: int) -> bool:
        """One chunk's history since the last round; false when there is no room for it."""
        code = save_history(
            self._packing.blocks, self._packing.swarms, lo, hi, self._seen, self._repairs,
            self._fresh, self._fresh_repairs, staging.address, staging.room, self._result,
        )  # fmt: skip
        if code == K.MOVED:
            raise WorldMoved(f"a block of {lo}–{hi - 1} never held still")
        if code == 0 and self._result[1]:
            staging.add(lo, hi, int(self._result[0]))
        return bool(code == 0)

    def _flush(self, staging: Staging, *, pack: bool) -> None:
        assert self._file is not None
        for lo, hi, at, size in staging.records:
            self._file.write(HISTORY, lo, hi, staging.data[at : at + size], pack=pack)
            if pack:
                kill_point("checkpoint.part")
        staging.clear()

    def take(self) -> int:
        """Copy what can't be copied while the world ticks; returns the tick.

        Raises:
            WorldMoved: the world is not at rest at one tick. OSError: see the theory of memory.
        """
        rt, packing = self.rt, self._packing
        went = rt.get(L.C_GO_TICK)
        tick = self._tick_held()
        for lo, hi in self._chunks:
            size = self._copy_state(lo, hi, tick)
            if size == K.NO_ROOM:
                wanted = K.measure_state(packing.blocks, packing.swarms, lo, rt.plan.n_blocks)
                self._state.append(Staging(wanted + L.MIB))
                size = self._copy_state(lo, hi, tick)
            if size < 0:
                raise WorldMoved(f"blocks {lo}–{hi - 1} are not at rest at tick {tick}")
            self._state[-1].add(lo, hi, size)
            if packing.counters and not self._copy_history(self._history, lo, hi):
                self._flush(self._history, pack=False)
                if not self._copy_history(self._history, lo, hi):
                    raise WorldMoved(f"blocks {lo}–{hi - 1} hold more history than they can")
        self._head = checkpoint_head(rt, tick)
        if rt.get(L.C_GO_TICK) != went:
            raise WorldMoved(f"tick {went + 1} began while tick {tick} was copied")
        kill_point("checkpoint.copied")
        return tick

    def _tick_held(self) -> int:
        """The tick that every block must have committed."""
        return self.rt.get(L.C_GO_TICK)

    def _copy_state(self, lo: int, hi: int, tick: int) -> int:
        staging, packing = self._state[-1], self._packing
        return int(
            K.save_state(
                packing.blocks, packing.swarms, lo, hi, tick, staging.address, staging.room
            )
        )

    def write(self, digest: str | None = None) -> dict[str, Any]:
        """Finish the file; returns its head. ``digest``: known already, the file is not read back.

        Raises:
            OSError: the disk is full. Abandoned: called off.
            CheckpointRefused: what was written does not read back.
        """
        assert self._file is not None
        started = time.monotonic()
        self._write_copied()
        parts = self._file.parts
        known = digest is not None
        if digest is None:
            digest = self._read_back()
        self._head |= {
            "made": next_made(self.folder),
            "digest": digest,
            "final": known,
            "parts": parts,
            "unix_ns": time.time_ns(),
            "write_seconds": round(time.monotonic() - started, 3),
        }
        kill_point("checkpoint.before_head")
        self._file.finish(self._head)
        kill_point("checkpoint.before_sync")
        found = (check_parts if known else read_head)(self._half)
        if found.head != self._head:
            raise CheckpointRefused(f"{self._half}: its head does not read back as it was written")
        self.progress = 1.0
        return self._head

    def _write_copied(self) -> None:
        """What ``take`` copied, into the file. Raises OSError, Abandoned."""
        assert self._file is not None
        base = self.progress
        total = sum(len(staging.records) for staging in self._state)
        done = 0
        for staging in self._state:
            for lo, hi, at, size in staging.records:
                self._go_on()
                self._file.write(STATE, lo, hi, staging.data[at : at + size], pack=self._pack)
                kill_point("checkpoint.part")
                done += 1
                self.progress = base + (0.7 - base) * done / total
        self._flush(self._history, pack=self._pack)
        self._forget()

    def _read_back(self) -> str:
        assert self._file is not None
        end = self._file.end()

        def step(share: float) -> None:
            self._go_on()
            self.progress = 0.7 + 0.3 * share

        with Contents(self._half) as contents:
            parts = list(contents.parts(end))
        tick, digest = digest_in(self._half, parts, self._head["swarms"], step)
        if tick != self._head["tick"]:
            raise WorldMoved(f"found tick {tick} in the file, expected {self._head['tick']}")
        return digest

    def publish(self, keeper: Keeper, keep: int) -> Checkpoint:
        """Make the file one of the checkpoints, of which the last ``keep`` stay.

        Raises:
            OSError: it did not get its name; all others are as they were.
        """
        assert self._file is not None
        self._file.close()
        path = self.folder / checkpoint_name(int(self._head["tick"]))
        kill_point("checkpoint.before_rename")
        if (moved := clear_the_way(path, self.rt.epoch)) is not None:
            log.warning("what had the name of a new checkpoint is set aside", aside=str(moved))
        give_name(self._half, path)
        kill_point("checkpoint.after_rename")
        made = Checkpoint(path, self._head)
        keeper.made(made)
        keeper.prune(path, keep)
        kill_point("checkpoint.after_prune")
        return made

    def abandon(self) -> None:
        """Leave nothing behind that can be removed; fine after anything."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # what does not fit the disk is not wanted any more
                self._file.close()
        with contextlib.suppress(OSError):
            self._half.unlink(missing_ok=True)
        self._forget()

    def _forget(self) -> None:
        self._state, self._history = [], Staging(0)

    def _go_on(self) -> None:
        if self._called_off():
            raise Abandoned


def open_half(path: Path) -> BinaryIO:
    """A new file that only its owner may read. Raises OSError."""
    return open(path, "xb", buffering=1 << 20, opener=lambda p, f: os.open(p, f, 0o600))


def remove_halves(folder: Path) -> None:
    """Remove what makers of checkpoints that were killed have left in ``folder``."""
    for left in folder.glob(f".{PREFIX}*"):
        with contextlib.suppress(OSError):  # a folder of that name: in nobody's way
            left.unlink(missing_ok=True)
