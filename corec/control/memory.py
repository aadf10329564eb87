"""control.seg of an instance: made by its supervisor, opened by whoever looks or takes over.

The segment's kind and layout are said here alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from corec import layout as L
from corec.control.folders import CONTROL_FILE
from shm.segment import Segment

_IS: Final[dict[str, Any]] = {
    "kind": L.KIND_CONTROL_SEGMENT, "layout_hash": L.CONTROL_LAYOUT_HASH,
}  # fmt: skip


def create_control(path: Path, workers: int, epoch: int) -> Segment:
    """One with slots for so many workers, every word 0. Raises SegmentNoSpace, OSError."""
    return Segment.create(path, payload_bytes=L.control_bytes(workers), epoch=epoch, **_IS)


def open_control(folder: Path, *, writable: bool = False) -> Segment:
    """That of the instance in ``folder``. Raises SegmentRefused, OSError."""
    return Segment.attach(folder / CONTROL_FILE, writable=writable, **_IS)
