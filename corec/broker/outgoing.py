"""What goes out: batches of stream entries made from the out lanes, and what they leave behind.

No I/O here. ``Outgoing.take`` reads frames into one buffer (``frames.collect``); ``Batch.commands``
are the commands of one MULTI; ``Outgoing.sent`` is called once EXEC was confirmed, and only then
may the lanes be released. After anything else than a confirmation, ``restore`` starts again from
the lanes' tails with what the hash says: the frames are still there.

Whole ticks.  A tick is complete once every worker has stored it (``S_TICK``, read before the
lanes). Normally a batch ends with a complete tick, so ``out_tick`` alone says what is in the
streams. A tick that is larger than the buffer, or that waits for room in a lane while it runs, goes
out in parts; then ``out_part`` names the blocks and steps that went.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from corec import layout as L
from corec.broker import frames as F
from corec.broker.bounds import Bounds
from corec.broker.positions import PART, Keys, LanePosition, Part, format_part
from corec.broker.state import SinkState
from corec.layout.frames import field_values
from shm.lane import Lane

BATCH_BYTES: Final = 4 << 20
ENTRY_BYTES_MAX: Final = 640_000
FRAMES_PER_TICK_MAX: Final = 1 << 16
REGIONS_MAX: Final = 1 << 12
ALERTS_MAX: Final = 512

Command = tuple[Any, ...]


@dataclass(frozen=True)
class AlertGroup:
    """Entities whose messages make one alert per tick: one processor on one canal."""

    canal: int
    processor: str
    fields: tuple[tuple[str, str], ...] = ()
    """(name, dtype) of what its alerts name of an entity beside valor."""


class Skipped(NamedTuple):
    """Frames that were dropped."""

    messages: int
    first_tick: int
    """-1 = nothing was dropped."""
    last_tick: int


@dataclass
class Batch:
    """Messages of some ticks, ready to be sent. ``payload`` is valid until the next ``take``."""

    payload: memoryview
    regions: NDArray[np.int64]
    """int64[regions, REGION_COLUMNS], in tick order."""
    alerts: list[tuple[int, bytes]]
    """(tick, JSON) in tick order."""
    lanes: dict[int, LanePosition]
    """Lanes frames were taken from; ``position`` is where to release to."""
    positions: NDArray[np.int64]
    out_tick: int
    part: Part | None
    messages: int
    duplicates: int
    more: bool
    """The buffer was full: there is more to take at once."""

    @property
    def empty(self) -> bool:
        """Nothing new in it; its positions may still have passed over duplicates."""
        return not len(self.regions)

    def counted(self) -> dict[int, int]:
        """Messages by canal."""
        totals: dict[int, int] = {}
        for _, index, _, size in self.regions.tolist():
            canal = signed_canal(index)
            totals[canal] = totals.get(canal, 0) + size // F.MESSAGE_BYTES
        return totals

    def entries(self, keys: Keys, bounds: Bounds) -> list[Command]:
        """One XADD per tick and canal, more when that is over ENTRY_BYTES_MAX; then the alerts."""
        commands: list[Command] = []
        for tick, index, start, size in self.regions.tolist():
            key = keys.out(signed_canal(index))
            for at in range(start, start + size, ENTRY_BYTES_MAX):
                piece = self.payload[at : min(at + ENTRY_BYTES_MAX, start + size)]
                count = len(piece) // F.MESSAGE_BYTES
                maxlen = bounds.maxlen(key, len(piece))
                commands.append(
                    ("XADD", key, "MAXLEN", "~", maxlen, "*", "m", piece, "n", count, "t", tick)
                )
        commands += [
            (
                "XADD",
                keys.alerts,
                "MAXLEN",
                "~",
                bounds.maxlen(keys.alerts, len(text)),
                "*",
                "alerta",
                text,
            )
            for _, text in self.alerts
        ]
        return commands

    @property
    def entry_count(self) -> int:
        """Entries it makes in the out streams."""
        sizes = self.regions[:, F.REGION_BYTES]
        return int((-(-sizes // ENTRY_BYTES_MAX)).sum())

    def bookkeeping(self, keys: Keys, state: SinkState) -> list[Command]:
        """HSET (and HDEL) of what the hash says once this batch is in; ``state`` is from before."""
        fields: list[Any] = ["out_tick", self.out_tick]
        for lane, position in self.lanes.items():
            fields += [f"out:{lane}", str(position)]
        for canal, count in self.counted().items():
            fields += [f"total_out:{canal}", state.total_out.get(canal, 0) + count]
        fields += ["total_entries", state.total_entries + self.entry_count]
        fields += ["total_alerts", state.total_alerts + len(self.alerts)]
        if self.part is not None:
            fields += ["out_part", format_part(self.part)]
        commands: list[Command] = [("HSET", keys.pos, *fields)]
        if self.part is None and state.part is not None:
            commands.append(("HDEL", keys.pos, "out_part"))
        return commands


class Outgoing:
    """The consuming end of all out lanes."""

    def __init__(
        self,
        lanes: Sequence[Lane],
        epoch: int,
        groups: Sequence[AlertGroup],
        group_of_block: NDArray[np.int32],
        batch_bytes: int = BATCH_BYTES,
    ) -> None:
        """``group_of_block`` int32[blocks]: index into ``groups``, -1 for blocks without alerts."""
        self.lanes = list(lanes)
        self.epoch = epoch
        self.groups = list(groups)
        self._group_of_block = np.ascontiguousarray(group_of_block, np.int32)
        blocks = self._group_of_block.size
        largest = max((lane.max_payload for lane in self.lanes), default=0)
        self._out = np.zeros(max(batch_bytes, largest), np.uint8)
        self._limit = batch_bytes
        self._table = np.zeros((len(self.lanes), F.LANE_COLUMNS), np.int64)
        for k, lane in enumerate(self.lanes):
            self._table[k, F.LANE_CTL] = lane.ctl.ctypes.data
            self._table[k, F.LANE_DATA] = lane.data.ctypes.data
            self._table[k, F.LANE_CAPACITY] = lane.capacity
        self._sent_tick = np.full(blocks, -1, np.int64)
        self._sent_step = np.full(blocks, -1, np.int64)
        alerts = max(ALERTS_MAX, len(self.groups)) if self.groups else 1
        self._rows = np.zeros((FRAMES_PER_TICK_MAX, F.ROW_COLUMNS), np.int64)
        self._regions = np.zeros((REGIONS_MAX, F.REGION_COLUMNS), np.int64)
        self._slots = np.zeros(len(self.groups), np.int64)
        self._alerts = np.zeros((alerts, F.ALERT_COLUMNS), np.int64)
        self._ids = np.zeros((alerts, F.ALERT_KEEP), np.uint32)
        self._values = np.zeros((alerts, F.ALERT_KEEP), np.uint32)
        named = max((len(group.fields) for group in self.groups), default=0)
        self._named = np.zeros((alerts, F.ALERT_KEEP, named), np.uint64)
        self._counts = np.zeros(L.CANALES, np.int64)
        self._results = np.zeros(F.RESULTS, np.int64)
        self.out_tick = -1
        self._part_tick = -1
        self.restore(SinkState())

    def restore(self, state: SinkState) -> None:
        """Go back to the lanes' tails; ``state`` says what of it is in the streams already."""
        self.out_tick = state.out_tick
        self._sent_tick[:] = -1
        self._sent_step[:] = -1
        self._part_tick = -1 if state.part is None else state.part.tick
        if state.part is not None:
            known = state.part.steps[state.part.steps["block"] < self._sent_tick.size]
            self._sent_tick[known["block"]] = state.part.tick
            self._sent_step[known["block"]] = known["step"]
        for k, lane in enumerate(self.lanes):
            self._table[k, F.LANE_POS] = lane.tail

    def waiting_bytes(self) -> int:
        """Bytes of ring that are published and not yet taken, in all lanes."""
        return sum(lane.head - int(self._table[k, F.LANE_POS]) for k, lane in enumerate(self.lanes))

    def pressed(self) -> bool:
        """Whether a lane is so full that its worker may soon wait for room."""
        return any(lane.used * 2 >= lane.capacity for lane in self.lanes)

    def next_tick(self) -> int:
        """The smallest tick that waited when the last ``take`` ended (NO_TICK = none seen)."""
        return int(self._results[F.R_NEXT_TICK])

    def take(self, complete_tick: int, tick_max: int) -> Batch:
        """Take frames of ticks up to ``tick_max``; all ticks to ``complete_tick`` are complete.

        ``complete_tick`` must have been read before this call.
        """
        self._table[:, F.LANE_LAST_TICK] = -1
        F.collect(
            self._table, tick_max, self.out_tick, self._sent_tick, self._sent_step,
            self._group_of_block, self._rows, self._out, self._limit, self._regions, self._slots,
            self._alerts, self._ids, self._values, self._named, self._counts, self._results,
        )  # fmt: skip
        results = self._results.tolist()
        last = results[F.R_LAST_TICK]
        if results[F.R_CUT] == F.CUT_INSIDE:
            done = last - 1
        elif results[F.R_CUT] == F.CUT_BETWEEN:
            done = min(complete_tick, results[F.R_NEXT_TICK] - 1)
        else:
            done = complete_tick
        done = max(done, self.out_tick, last - 1)
        running = max(last, self._part_tick)
        part = self._part(running) if running > done else None
        regions = self._regions[: results[F.R_REGIONS]].copy()
        return Batch(
            payload=self._out.data[: results[F.R_BYTES]],
            regions=regions,
            alerts=self._alert_texts(results[F.R_ALERTS]),
            lanes=self._lane_positions(),
            positions=self._table[:, F.LANE_POS].copy(),
            out_tick=done,
            part=part,
            messages=results[F.R_BYTES] // F.MESSAGE_BYTES,
            duplicates=results[F.R_DUPLICATES],
            more=results[F.R_CUT] != F.CUT_NONE,
        )

    def sent(self, batch: Batch, state: SinkState) -> None:
        """``batch`` is durable: make ``state`` say so."""
        self.out_tick = state.out_tick = batch.out_tick
        state.part = batch.part
        self._part_tick = -1 if batch.part is None else batch.part.tick
        state.lanes.update(batch.lanes)
        state.total_entries += batch.entry_count
        state.total_alerts += len(batch.alerts)
        for canal, count in batch.counted().items():
            state.total_out[canal] = state.total_out.get(canal, 0) + count

    def release(self, batch: Batch) -> list[int]:
        """Give the batch's bytes back to the workers; returns the lanes that gained room."""
        moved = []
        for k, lane in enumerate(self.lanes):
            position = int(batch.positions[k])
            if position > lane.tail:
                lane.release(position)
                moved.append(k)
        return moved

    def skip_oldest(self, lane_index: int, open_until: int) -> tuple[Skipped, Skipped]:
        """Drop the oldest frames of a lane until a quarter of it is used (``drop_oldest``).

        ``open_until``: frames before this position were sent, and nobody knows yet whether they
        arrived. Returns what was dropped of those, and of the others.
        """
        lane = self.lanes[lane_index]
        until = lane.head - lane.capacity // 4
        position = lane.tail
        parts = []
        for end in (min(until, open_until), until):
            counted = np.zeros(3, np.int64)
            position = F.skip_oldest(lane.ctl, lane.data, position, end, counted)
            parts.append(Skipped(*counted.tolist()))
        lane.release(position)
        self._table[lane_index, F.LANE_POS] = max(
            position, int(self._table[lane_index, F.LANE_POS])
        )
        return parts[0], parts[1]

    def _part(self, tick: int) -> Part:
        blocks = np.flatnonzero(self._sent_tick == tick)
        steps = np.zeros(blocks.size, PART)
        steps["block"] = blocks
        steps["step"] = self._sent_step[blocks]
        return Part(tick, steps)

    def _lane_positions(self) -> dict[int, LanePosition]:
        found = {}
        for k, row in enumerate(self._table.tolist()):
            if row[F.LANE_LAST_TICK] >= 0:
                found[k] = LanePosition(
                    self.epoch, row[F.LANE_POS], row[F.LANE_LAST_TICK], row[F.LANE_LAST_BLOCK],
                    row[F.LANE_LAST_STEP], row[F.LANE_LAST_COUNT],
                )  # fmt: skip
        return found

    def _alert_texts(self, count: int) -> list[tuple[int, bytes]]:
        texts = []
        for slot, (tick, group, n) in enumerate(self._alerts[:count].tolist()):
            kept = min(n, F.ALERT_KEEP)
            about = self.groups[group]
            ids = self._ids[slot, :kept]
            values = self._values[slot, :kept].view(np.float32)
            texts.append((tick, alert_text(tick, about, n, ids, values, self._named[slot, :kept])))
        return texts


def signed_canal(index: int) -> int:
    """The canal (-128..127) whose low byte is ``index``."""
    return index - L.CANALES if index >= L.CANALES // 2 else index


def alert_text(
    tick: int,
    about: AlertGroup,
    count: int,
    ids: NDArray[np.uint32],
    values: NDArray[np.float32],
    named: NDArray[np.uint64],
) -> bytes:
    """The JSON of one alert: ``count`` entities emitted, the first of them by id, valor and the
    fields of ``about``, of which ``named`` (u8[entities, fields]) has the words of the frames."""
    columns: list[tuple[str, NDArray[Any]]] = [("id", ids), ("valor", values)]
    columns += [
        (name, field_values(named[:, k], dtype)) for k, (name, dtype) in enumerate(about.fields)
    ]
    texts = [
        orjson.dumps(np.ascontiguousarray(column), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]
        for _, column in columns
    ]
    form = b"{%b}" % b",".join(orjson.dumps(name) + b":%b" for name, _ in columns)
    cells = zip(*(text.split(b",") for text in texts), strict=True)
    entities = b",".join(form % row for row in cells if len(ids))
    return (
        b'{"tipo":"umbral","tick":%d,"canal":%d,"procesador":%b,"n":%d,"entidades":[%b],'
        b'"omitidas":%d}'
        % (tick, about.canal, orjson.dumps(about.processor), count, entities, count - len(ids))
    )


def alert_group(swarm: Any) -> AlertGroup:
    """The alert group of a ``corec.plan.Swarm`` whose processor alerts."""
    return AlertGroup(swarm.canal, swarm.processor.name, swarm.processor.alert_columns)


def alert_groups(plan: Any) -> tuple[list[AlertGroup], NDArray[np.int32]]:
    """The alert groups of a ``corec.plan.Plan``, and the group of each block (-1 = none)."""
    groups: list[AlertGroup] = []
    of_swarm = np.full(max(1, len(plan.swarms)), -1, np.int32)
    for index, swarm in enumerate(plan.swarms):
        if not swarm.processor.alerts:
            continue
        group = alert_group(swarm)
        if group not in groups:
            groups.append(group)
        of_swarm[index] = groups.index(group)
    return groups, of_swarm[np.asarray(plan.blocks["swarm"], np.int64)]
