"""The lanes of an instance as files of its runtime folder: which, how large, made, opened.

Nobody else says what the files are called or what they must be to be opened; what a lane takes of
a worker is ``corec.world.lanes``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from corec import layout as L
from corec.plan import Plan
from corec.process.roles import EVENT_LANES
from corec.world.checkpoint import Checkpoint
from corec.world.lanes import out_lane_bytes, rows_lane_bytes
from shm.lane import Lane, lane_region_bytes
from shm.segment import Segment, SegmentRefused

IN_LANE_BYTES: Final = 16 * L.MIB
EVENT_LANE_BYTES: Final = L.MIB // 4
JOURNAL_LANE_BYTES: Final = 2 * L.MIB  # twice what may wait: ``leader.JOURNAL_WAITS_BYTES``
IN_FILE: Final = "in.lane"
JOURNAL_FILE: Final = "journal.lane"
OUT_FILES: Final = "out-*.lane"
ROWS_FILES: Final = "rows-*.lane"
_KIND: Final = "corec lane"


def out_file(k: int) -> str:
    """The lane of worker ``k``'s messages."""
    return OUT_FILES.replace("*", str(k))


def rows_file(k: int) -> str:
    """The lane of worker ``k``'s rows."""
    return ROWS_FILES.replace("*", str(k))


def events_file(role: str) -> str:
    """The lane of what ``role`` tells."""
    return f"events-{role}.lane"


def worker_files(plan: Plan, k: int) -> dict[str, int]:
    """File name → capacity of the lanes that worker ``k`` writes."""
    return {out_file(k): out_lane_bytes(plan), rows_file(k): rows_lane_bytes(plan)}


def lane_files(plan: Plan, lanes: int) -> dict[str, int]:
    """File name → capacity of every lane of an instance with ``lanes`` worker lanes."""
    files = {IN_FILE: IN_LANE_BYTES, JOURNAL_FILE: JOURNAL_LANE_BYTES}
    for k in range(lanes):
        files |= worker_files(plan, k)
    return files | {events_file(role): EVENT_LANE_BYTES for role in EVENT_LANES}


def lane_starts(checkpoint: Checkpoint | None) -> dict[str, int]:
    """Where lanes of a restored world go on counting, so that sink positions keep growing."""
    if checkpoint is None:
        return {}
    lanes = checkpoint.head["lanes"]
    starts = {out_file(k): int(at) for k, at in enumerate(lanes["out"])}
    starts |= {rows_file(k): int(at) for k, at in enumerate(lanes["rows"])}
    starts |= {events_file(role): int(at) for role, at in lanes["events"].items()}
    return starts | {IN_FILE: int(lanes["in"])}


def create_lane(folder: Path, name: str, capacity: int, epoch: int, start: int = 0) -> Segment:
    """Make one, empty, that counts from ``start``. Raises SegmentNoSpace, OSError."""
    segment = Segment.create(
        folder / name, kind=_KIND, layout_hash=L.LANE_LAYOUT_HASH,
        payload_bytes=lane_region_bytes(capacity), epoch=epoch,
    )  # fmt: skip
    Lane.create(segment.payload, start=start)
    return segment


def open_lane(path: Path, *, writable: bool = True) -> Segment:
    """One that is there. Raises SegmentRefused, OSError."""
    return Segment.attach(path, kind=_KIND, layout_hash=L.LANE_LAYOUT_HASH, writable=writable)


def check_capacity(path: Path, lane: Segment, capacity: int) -> None:
    """Refuse a lane (made by an older version) that the largest frame would not fit into."""
    if lane.payload.size < lane_region_bytes(capacity):
        found = f"a lane of {lane.payload.size / L.MIB:.1f} MiB"
        raise SegmentRefused(path, found, f"{capacity / L.MIB:.0f} MiB, for the largest frame")
