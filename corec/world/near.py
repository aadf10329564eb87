"""What says who is near, as tables for the kernels: a graph's links, a plane's cells.

Memory of this process: links are read only, and shared with those forked from it; the cells of a
plane are written by each process for itself (``corec.kernels.plane``), never before a fork.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corec.entities.fields import VIVO
from corec.entities.meeting import Plane, cells_of, reach_of
from corec.kernels import desc as K
from corec.kernels import plane as P
from corec.plan import Plan, Swarm


class Planes:
    """The cells of all swarms on planes: ``swarms``: indices, as rows of int64."""

    def __init__(self) -> None:
        from corec.kernels.cells import index_swarm  # compiled, where a world has a plane

        self._index_swarm = index_swarm
        self.rows: dict[int, NDArray[np.int64]] = {}
        self.keep: list[NDArray[Any]] = []
        self.tick = -1

    def ready(self, targs: NDArray[np.int64]) -> None:
        """Sort what the tick before that of ``targs`` left, once."""
        tick = int(targs[K.T_TICK])
        if self.tick != tick:
            for row in self.rows.values():
                self._index_swarm(row.ctypes.data, tick)
            self.tick = tick

    def zeros(self, size: int, dtype: Any) -> NDArray[Any]:
        """Memory that lives as long as this."""
        found = np.zeros(size, dtype)
        self.keep.append(found)
        return found


def fill_near(plan: Plan, swarms: NDArray[np.int64]) -> Planes | None:
    """Write ``W_NEAR`` of swarms in graphs and on planes; what is to be sorted before each tick.

    Raises ConfigError: the links of a graph can't be read.
    """
    planes = None
    for s in plan.swarms:
        if s.source is not None:
            swarms[s.index, K.W_NEAR] = s.source.links.memory.ctypes.data
        elif s.meeting is not None and s.meeting.plane is not None:
            planes = planes or Planes()
            planes.rows[s.index] = _index_row(s, s.meeting.plane, swarms[s.index], planes)
    by_id = {s.id: s for s in plan.swarms}
    for index in planes.rows if planes else ():
        swarm = plan.swarms[index]
        assert planes is not None
        assert swarm.meeting is not None
        assert swarm.meeting.plane is not None
        seen = [swarm, *(by_id[one.name] for one in swarm.meeting.plane.shown[1:])]
        table = planes.zeros(P.V_COLUMNS * len(seen), np.int64)
        for k, other in enumerate(seen):
            row = table[P.V_COLUMNS * k : P.V_COLUMNS * (k + 1)]
            _fill_view(row, swarm, other, planes)
        swarms[index, K.W_NEAR] = table.ctypes.data
    return planes


def _bits(number: float) -> int:
    return int(np.float64(np.float32(number)).view(np.int64))


def _index_row(s: Swarm, plane: Plane, row: NDArray[np.int64], planes: Planes) -> NDArray[np.int64]:
    meeting, own = s.meeting, plane.shown[0]
    assert meeting is not None
    assert s.space is not None
    cells = cells_of(s.space, s.entidades)
    x: NDArray[np.int64] = planes.zeros(P.X_COLUMNS, np.int64)
    x[P.X_PUBLIC], x[P.X_PUBLIC_BYTES] = row[K.W_PUBLIC], row[K.W_PUBLIC_BYTES]
    x[P.X_N], x[P.X_AXES] = s.entidades, len(cells)
    x[P.X_CELLS : P.X_CELLS + 3] = (*cells, 1)[:3]
    for axis, (count, side) in enumerate(zip(cells, plane.size, strict=True)):
        x[P.X_INVERSE + axis] = _bits(float(np.float32(count) / np.float32(side)))
    stride, place = own.places[-1], own.places[len(own.fields)]
    alive = meeting.index(VIVO)
    x[P.X_STRIDE], x[P.X_PLACE] = stride, place
    x[P.X_ALIVE] = -1 if alive is None else meeting.offsets[alive]
    x[P.X_RECORDS] = planes.zeros(s.entidades * stride + 8, np.uint8).ctypes.data
    x[P.X_STARTS] = planes.zeros(math.prod(cells) + 3, np.uint32).ctypes.data
    x[P.X_WHERE] = planes.zeros(s.entidades, np.uint32).ctypes.data
    fields = [*own.position, *(k for k in range(len(own.fields)) if k not in own.position)]
    x[P.X_FIELDS] = len(fields)
    for k, field in enumerate(fields):
        x[P.X_FROM + k], x[P.X_TO + k] = meeting.offsets[field], own.places[field]
        x[P.X_SIZE + k] = meeting.sizes[field]
    return x


def _fill_view(row: NDArray[np.int64], swarm: Swarm, other: Swarm, planes: Planes) -> None:
    assert swarm.space is not None
    index = planes.rows[other.index]
    radius = float(np.float32(swarm.space.radius))
    row[P.V_INDEX], row[P.V_RECORDS] = index.ctypes.data, index[P.X_RECORDS]
    row[P.V_RADIUS] = _bits(radius)
    for axis, side in enumerate(swarm.space.sizes):
        row[P.V_REACH + axis] = reach_of(radius, side, int(index[P.X_CELLS + axis]))
    room = other.entidades + 1
    row[P.V_WHO] = planes.zeros(room, np.uint32).ctypes.data
    for axis in range(len(swarm.space.sizes)):
        row[P.V_DELTA + axis] = planes.zeros(room, np.float32).ctypes.data
    row[P.V_DISTANCE2] = planes.zeros(room, np.float32).ctypes.data
    row[P.V_ORIGIN] = other.first_id
