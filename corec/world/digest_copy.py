"""The digest of a world that ticks: of a copy that is made beside the ticks and thrown away.

The copy is a snapshot's (``corec.world.snapshot``), so the world is held for no longer than for a
checkpoint, and the digest is the one that a checkpoint of that tick would have. Histories may be
most of a world; they go to a file without a name in the instance's folder of ``state_dir``, or,
when there is little of them, to memory. Nothing of either is left, whatever is killed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from corec.process.runtime import Runtime
from corec.world.packing import history_bytes_max
from corec.world.read import BlockView
from corec.world.snapshot import STAGING_BYTES_MAX, Snapshot, open_half


class DigestCopy(Snapshot):
    """``prepare``, ``take`` while the world is held, ``digest``, ``abandon``: in this order."""

    def __init__(self, rt: Runtime, folder: Path, called_off: Callable[[], bool]) -> None:
        super().__init__(rt, folder, called_off, pack=False)

    def _open(self) -> BinaryIO:
        rings = sum(history_bytes_max(self.rt.plan, b) for b in range(self.rt.plan.n_blocks))
        if rings <= STAGING_BYTES_MAX:
            descriptor = os.memfd_create("corec digest", os.MFD_CLOEXEC)
            file: BinaryIO = open(descriptor, "wb", buffering=1 << 20)  # noqa: SIM115 - abandon's
        else:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = open_half(self._half)
            self._half.unlink()
        self._half = Path(f"/proc/self/fd/{file.fileno()}")
        return file

    def _tick_held(self) -> int:
        return BlockView(self.rt.plan, self.rt.world.words, 0).tick  # no file will speak of lanes

    def digest(self) -> tuple[int, str]:
        """(tick, hex digest) of the world as ``take`` found it.

        Raises:
            OSError: the disk is full. Abandoned: called off. WorldMoved: it does not read back.
        """
        self._write_copied()
        return int(self._head["tick"]), self._read_back()

    def abandon(self) -> None:
        """The file goes with its descriptor."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
        self._forget()
