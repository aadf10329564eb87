"""How large the lanes must be that one process's blocks write their frames to."""

from __future__ import annotations

from typing import Final

from corec import layout as L
from corec.frames import generation_bytes, row_payload_bytes
from corec.plan import Plan
from shm.lane import capacity_for

OUT_LANE_BYTES: Final = 8 * L.MIB
ROWS_LANE_BYTES_MIN: Final = 8 * L.MIB


def rows_lane_bytes(plan: Plan) -> int:
    """Capacity of a rows lane: the largest row frame of ``plan`` fits, whatever fails and emits."""
    frames = [
        row_payload_bytes(1, s.cap, int(plan.blocks["log_cap"][s.first_block])) for s in plan.swarms
    ]
    frames += [
        generation_bytes(len(s.processor.genes), s.cap) for s in plan.swarms if s.processor.genes
    ]
    return max(ROWS_LANE_BYTES_MIN, capacity_for(max(frames)))
