"""The segment that a world's blocks and public columns lie in: made, and opened, by its plan.

Another plan's world, or one of another version, is refused: its fingerprint is in the layout hash.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from corec.plan import Plan
from shm.layout import layout_hash
from shm.segment import Segment

WORLD_FILE: Final = "world.seg"
_KIND: Final = "corec world"


def _layout(fingerprint: int) -> int:
    return layout_hash(f"{_KIND} {fingerprint}")


def create_segment(path: Path, plan: Plan, seed: int, epoch: int) -> Segment:
    """Room for a world of ``plan``, every word 0. Raises SegmentNoSpace, OSError."""
    return Segment.create(
        path, kind=_KIND, layout_hash=_layout(plan.fingerprint(seed)),
        payload_bytes=plan.world_bytes, epoch=epoch,
    )  # fmt: skip


def open_segment(path: Path, fingerprint: int, *, writable: bool = False) -> Segment:
    """That of a world whose plan has this ``fingerprint``. Raises SegmentRefused, OSError."""
    return Segment.attach(path, kind=_KIND, layout_hash=_layout(fingerprint), writable=writable)
