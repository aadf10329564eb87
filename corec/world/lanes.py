"""How large the lanes must be that one process's blocks write their frames to.

A frame has a quarter of its lane at most (``shm.ring.max_payload``), so a lane takes the largest
frame that a plan can ask for, whatever fails, emits and is born in one step, or the world stops.

::

    lane   frame        at most
    out    messages     of a Micro block one of each entity, of a Celu block one of each reading of
                        a step; each with the fields of its alert
    rows   row          ROW, a repair of each entity, a full log
           generation   the genes of the best, a record with genes of each entity
           fusion       FRAME
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from corec import layout as L
from corec.kernels.desc import STEP_INPUTS_MAX
from corec.layout.frames import generation_bytes, messages_bytes, row_payload_bytes
from corec.plan import Plan
from corec.world.fusion import FRAME
from shm.lane import Lane, capacity_for, lane_region_bytes

OUT_LANE_BYTES_MIN: Final = 8 * L.MIB
ROWS_LANE_BYTES_MIN: Final = 8 * L.MIB


def out_payloads(plan: Plan) -> Iterator[int]:
    """Bytes of the largest payload of every kind of frame in an out lane."""
    for s in plan.swarms:
        most = s.cap if s.processor.kind == "micro" else STEP_INPUTS_MAX
        yield messages_bytes(most, len(s.processor.alert_fields))


def rows_payloads(plan: Plan) -> Iterator[int]:
    """Bytes of the largest payload of every kind of frame in a rows lane."""
    yield FRAME.size
    for s in plan.swarms:
        yield row_payload_bytes(1, s.cap, int(plan.blocks["log_cap"][s.first_block]))
        if s.processor.genes:
            yield generation_bytes(len(s.processor.genes), s.cap)


def out_lane_bytes(plan: Plan, least: int = OUT_LANE_BYTES_MIN) -> int:
    """Capacity of an out lane of ``plan``, ``least`` at least."""
    return max(least, capacity_for(max(out_payloads(plan))))


def rows_lane_bytes(plan: Plan, least: int = ROWS_LANE_BYTES_MIN) -> int:
    """Capacity of a rows lane of ``plan``, ``least`` at least."""
    return max(least, capacity_for(max(rows_payloads(plan))))


def own_lanes(plan: Plan, least: int = OUT_LANE_BYTES_MIN) -> tuple[Lane, Lane]:
    """The out lane and the rows lane of a world in this process, ``least`` bytes each at least."""
    capacities = out_lane_bytes(plan, least), rows_lane_bytes(plan, least)
    out, rows = (np.zeros(lane_region_bytes(size) // 8, np.uint64) for size in capacities)
    return Lane.create(out.view(np.uint8)), Lane.create(rows.view(np.uint8))
