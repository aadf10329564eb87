"""What a world in this process sends out: the two ends of its lanes, of which some is kept.

The messages of the last tick, and the latest repairs and alerts, as the frames they came in; they
are taken apart when somebody asks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from corec import layout as L
from corec.layout.frames import alert_columns, repairs_at
from corec.persister.gaps import OF_PHASES
from corec.persister.generations import told_of
from corec.plan import Plan
from corec.process.events import REPAIR_HOW
from corec.view.alert import Alert, Alerts
from corec.world.lanes import own_lanes
from shm.lane import Frame

KEPT_MAX: Final = 1_000_000
"""Repairs that are kept, and alerts; the oldest go first, frame by frame."""
GENERATIONS_MAX: Final = 10_000
"""Of blocks, that are kept; the oldest go first."""
MESSAGE: Final = np.dtype([("id", "u4"), ("canal", "i1"), ("valor", "f4"), ("activo", "?")])


class _Piece(NamedTuple):
    """Part of a frame: the number of the first thing in it and of the one behind, tick, block."""

    begin: int
    end: int
    tick: int
    block: int
    data: bytes


class _Kept:
    """The last KEPT_MAX things, numbered from the world's first one on."""

    def __init__(self) -> None:
        self.pieces: deque[_Piece] = deque()
        self.total = 0

    def add(self, count: int, tick: int, block: int, data: bytes) -> None:
        self.pieces.append(_Piece(self.total, self.total + count, tick, block, data))
        self.total += count
        while self.total - self.pieces[0].end >= KEPT_MAX:
            self.pieces.popleft()


class Emitted:
    """The lanes of a world, and what of them is kept."""

    def __init__(self, plan: Plan) -> None:
        self.grown(plan)
        self._sent: list[bytes] = []
        self._repairs, self._alerts = _Kept(), _Kept()
        self._generations: deque[Frame] = deque(maxlen=GENERATIONS_MAX)
        self._positions: dict[str, int] = {}

    def grown(self, plan: Plan) -> None:
        """The world has what ``plan`` has; what is kept of it is kept."""
        self._plan = plan
        self.out, self.rows = own_lanes(plan)
        self._alerting = {s.index for s in plan.swarms if s.processor.alerts}
        self._swarm_of = plan.blocks["swarm"].tolist()

    def begin(self) -> None:
        """A tick begins: the messages of the one before go."""
        self._sent.clear()

    def take(self, *, messages: bool) -> None:
        """Empty the lanes; ``messages``: they are kept, until the next tick."""
        self.take_frames(self.out.frames(), self.rows.frames(), messages=messages)
        self.out.release(self.out.head)
        self.rows.release(self.rows.head)

    def take_frames(
        self, out: Iterable[Frame], rows: Iterable[Frame], *, messages: bool
    ) -> None:  # fmt: skip
        """Keep what is to be kept of them."""
        for frame in out if messages or self._alerting else ():
            data = bytes(frame.payload)
            if messages:
                self._sent.append(data[: frame.b * L.MESSAGE.itemsize])
            if self._swarm_of[frame.a] in self._alerting:
                self._alerts.add(frame.b, frame.tick, frame.a, data)
        for frame in rows:
            if frame.kind in OF_PHASES:
                kept = frame._replace(payload=memoryview(bytes(frame.payload)))
                self._generations.append(kept)
            elif frame.b:
                at = repairs_at(frame.flags & L.ROW_HAS_ROW)
                data = bytes(frame.payload[at : at + frame.b * L.REPAIR.itemsize])
                self._repairs.add(frame.b, frame.tick, frame.a, data)

    def messages(self) -> NDArray[Any]:
        """Of the last tick: MESSAGE[n]."""
        wire = np.frombuffer(b"".join(self._sent), L.MESSAGE)
        found = np.empty(len(wire), MESSAGE)
        for name in ("id", "canal", "valor", "activo"):
            found[name] = wire[name]
        return found

    def events(self) -> list[dict[str, Any]]:
        """The repairs that are kept, oldest first, with the columns of ``eventos``."""
        return [
            {"tick": piece.tick, "tipo": "repair", "bloque": self._plan.block_id(piece.block),
             "entidad": entity, "detalle": {"how": REPAIR_HOW[how], "donor": donor}}
            for piece in self._repairs.pieces
            for entity, donor, how, _ in np.frombuffer(piece.data, L.REPAIR).tolist()
        ]  # fmt: skip

    def generations(self) -> list[dict[str, Any]]:
        """The generations and births that are kept, oldest first, as ``events``."""
        return [
            {"tick": one.tick, "tipo": one.tipo, "bloque": one.bloque, "entidad": one.entidad,
             "detalle": orjson.loads(one.detalle)}
            for frame in self._generations
            for one in told_of(frame, self._plan)
        ]  # fmt: skip

    def alerts(self, group: str, *, from_now: bool = False) -> Alerts:
        """Those kept that ``group`` has not had: it has had what it asked to go on from.
        ``from_now``: one that is new gets none of what is there."""
        self._positions.setdefault(group, self._alerts.total if from_now else 0)
        return self._not_had(group)

    def _not_had(self, group: str) -> Alerts:
        for piece in list(self._alerts.pieces):
            first = max(piece.begin, self._positions[group])
            processor = self._plan.swarms[self._swarm_of[piece.block]].processor
            count = piece.end - piece.begin
            found = np.frombuffer(piece.data, L.MESSAGE, count)
            named = alert_columns(piece.data, count, processor.alert_columns)
            for number in range(first, piece.end):
                place = number - piece.begin
                one = found[place]
                fields = {name: values[place].item() for name, values in named.items()}
                yield Alert(
                    piece.tick, int(one["id"]), float(one["valor"]), int(one["canal"]),
                    processor.name, f"{piece.tick}-{number}", 0, fields,
                )  # fmt: skip
                self._positions[group] = number + 1
