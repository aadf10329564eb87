"""A world on disk: one file, compressed, checksummed, made whole or not at all.

::

    8 bytes magic | u32 length, u32 CRC32C | JSON head
    per chunk of blocks: u32 length, u32 CRC32C | Zstandard frame of the blocks' used regions
    8 bytes end magic

Written to a temporary name, synced, renamed, the folder synced: a kill at any point leaves the old
set of checkpoints, or that and the new one. The caller guarantees that nobody ticks.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import google_crc32c
import numpy as np
import zstandard
from numpy.typing import NDArray

from corec import layout as L
from corec.plan import Plan, cold_bytes
from shm.killpoint import kill_point

MAGIC: Final = b"CORECHK1"
END: Final = b"CORECEND"
CHUNK_BLOCKS: Final = 32
_PART: Final = struct.Struct("<II")
PREFIX: Final = "checkpoint-"
SUFFIX: Final = ".corec"


class CheckpointRefused(Exception):
    """A checkpoint is damaged or of another world; the text says what was found."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint file and what its head says."""

    path: Path
    head: dict[str, Any]

    @property
    def tick(self) -> int:
        """The tick it holds."""
        return int(self.head["tick"])


def regions(plan: Plan, index: int) -> Iterator[tuple[int, int]]:
    """(start, length) of the used parts of block ``index`` in the world segment."""
    place = plan.blocks[index]
    swarm = plan.swarms[int(place["swarm"])]
    start = int(place["offset"])
    yield start, L.BLOCK_HOT_BASE
    hot = 2 * swarm.processor.copy_bytes(swarm.cap) + cold_bytes(swarm.cap)
    yield start + int(place["hot"]), hot
    yield start + int(place["log"]), int(place["log_cap"]) * L.LOG_DTYPE.itemsize
    history = swarm.processor.history_bytes(swarm.cap)
    if history:
        yield start + int(place["hist"]), history


def write_checkpoint(
    folder: Path, plan: Plan, world: NDArray[np.uint8], head: dict[str, Any], keep: int
) -> Checkpoint:
    """Write the world (u8[plan.world_bytes]) with ``head`` and drop all but the last ``keep``.

    Raises:
        OSError: the disk is full or the folder can't be written; older checkpoints stay.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"{PREFIX}{int(head['tick']):020d}{SUFFIX}"
    half = folder / f".{path.name}.{os.getpid()}"
    packer = zstandard.ZstdCompressor(level=1)
    try:
        with open(half, "wb") as file:
            os.chmod(half, 0o600)
            file.write(MAGIC)
            _write_part(file, json.dumps(head).encode())
            for lo in range(0, plan.n_blocks, CHUNK_BLOCKS):
                hi = min(lo + CHUNK_BLOCKS, plan.n_blocks)
                parts = [
                    world[at : at + size].tobytes()
                    for index in range(lo, hi)
                    for at, size in regions(plan, index)
                ]
                _write_part(file, packer.compress(b"".join(parts)))
            file.write(END)
            file.flush()
            kill_point("checkpoint.before_sync")
            os.fsync(file.fileno())
        kill_point("checkpoint.before_rename")
        os.replace(half, path)
    except BaseException:
        half.unlink(missing_ok=True)
        raise
    _sync_folder(folder)
    kill_point("checkpoint.after_rename")
    for old in sorted(folder.glob(f"{PREFIX}*{SUFFIX}"))[:-keep]:
        old.unlink(missing_ok=True)
    for left in folder.glob(f".{PREFIX}*"):
        left.unlink(missing_ok=True)
    return Checkpoint(path, head)


def _write_part(file: BinaryIO, data: bytes) -> None:
    file.write(_PART.pack(len(data), google_crc32c.value(data)))
    file.write(data)


def _read_part(file: BinaryIO, path: Path, what: str) -> bytes:
    head = file.read(_PART.size)
    if len(head) != _PART.size:
        raise CheckpointRefused(f"{path}: ends before {what}")
    length, checksum = _PART.unpack(head)
    data = file.read(length)
    if len(data) != length or google_crc32c.value(data) != checksum:
        raise CheckpointRefused(f"{path}: {what} is cut short or does not match its checksum")
    return data


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_head(path: Path) -> Checkpoint:
    """The head of a checkpoint file.

    Raises:
        CheckpointRefused: not a checkpoint, or its head is damaged.
    """
    with open(path, "rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise CheckpointRefused(f"{path}: is not a checkpoint of CoreC")
        return Checkpoint(path, json.loads(_read_part(file, path, "its head")))


def latest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint whose head is sound; None when there is none."""
    for path in sorted(folder.glob(f"{PREFIX}*{SUFFIX}"), reverse=True):
        try:
            return read_head(path)
        except CheckpointRefused:
            continue
    return None


def load_checkpoint(checkpoint: Checkpoint, plan: Plan, world: NDArray[np.uint8]) -> None:
    """Fill a zeroed world segment from ``checkpoint``.

    Raises:
        CheckpointRefused: damaged, or made for another plan. The world may be half filled then.
    """
    path = checkpoint.path
    unpacker = zstandard.ZstdDecompressor()
    with open(path, "rb") as file:
        file.seek(len(MAGIC))
        _read_part(file, path, "its head")
        for lo in range(0, plan.n_blocks, CHUNK_BLOCKS):
            hi = min(lo + CHUNK_BLOCKS, plan.n_blocks)
            data = unpacker.decompress(_read_part(file, path, f"block {lo}"))
            at = 0
            for index in range(lo, hi):
                for start, size in regions(plan, index):
                    if at + size > len(data):
                        raise CheckpointRefused(f"{path}: block {index} has another size")
                    world[start : start + size] = np.frombuffer(data, np.uint8, size, at)
                    at += size
            if at != len(data):
                raise CheckpointRefused(f"{path}: blocks {lo}–{hi - 1} have another size")
        if file.read() != END:
            raise CheckpointRefused(f"{path}: does not end where it should")
