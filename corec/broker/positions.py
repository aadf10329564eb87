"""What the broker keeps in Redis beside the streams: keys, and the fields of the position hash.

Everything lives in one hash slot (``{instance}``), so one MULTI covers it on a Cluster too. The
hash ``corec:{<instance>}:pos``::

    epoch              u64 of the world the fields below belong to
    writer             token of the last connection that took over (the fence, see ``link``)
    out_tick           every message of this tick and of all before it is in the streams
    out_part           "tick:" + (block u32, step u32) little endian, of the tick after out_tick
                       that a batch has sent in part; absent when there is none
    out:<lane>         "epoch position tick block step messages" of the last frame sent
    in:<canal>         last input entry the world has applied
    start:<canal>      ``in:<canal>`` when this world began
    read:<canal>       "id next_msg last": how far ``total_in`` has counted
    dead:<canal>       last input entry that was judged and whose dead letters are written
    total_out:<canal>, total_in:<canal>, total_dead:<canal>     messages, this world
    total_entries, total_alerts                                 entries, this world

A field that cannot be read counts as absent and is reported in ``SinkState.faults``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

V = TypeVar("V")
PART: np.dtype[np.void] = np.dtype([("block", "<u4"), ("step", "<u4")])
U64_MAX = 2**64 - 1
_ID = re.compile(rb"(\d{1,20})-(\d{1,20})")


class EntryId(NamedTuple):
    """The id of a stream entry; tuples compare as Redis compares ids."""

    ms: int
    seq: int

    def __str__(self) -> str:
        return f"{self.ms}-{self.seq}"

    def before(self) -> EntryId:
        """The largest id below this one (0-0 stays)."""
        if self.seq:
            return EntryId(self.ms, self.seq - 1)
        return EntryId(self.ms - 1, U64_MAX) if self.ms else self


ZERO = EntryId(0, 0)


def parse_id(text: bytes) -> EntryId:
    """``b"1700000000000-3"`` as an id; raises ValueError for anything else."""
    found = _ID.fullmatch(text)
    if not found:
        raise ValueError(f"stream entry id: found {text[:64]!r}, expected <ms>-<seq>")
    return EntryId(int(found[1]), int(found[2]))


class InPosition(NamedTuple):
    """How far one canal's stream was read: up to message ``next_msg`` of the entry ``ms-seq``.

    ``last`` = 1: the entry is through, the next one follows. All zero: nothing was read.
    """

    ms: int
    seq: int
    next_msg: int
    last: int

    @property
    def id(self) -> EntryId:
        """The entry it stands in."""
        return EntryId(self.ms, self.seq)

    def done_before(self) -> EntryId:
        """The last entry that is through."""
        return self.id if self.last else self.id.before()

    def skip(self, entry: EntryId, count: int) -> int:
        """How many of the ``count`` messages of ``entry`` lie before this position."""
        if entry > self.id:
            return 0
        if entry < self.id or self.last:
            return count
        return min(self.next_msg, count)


NOWHERE = InPosition(0, 0, 0, 1)


def after(entry: EntryId) -> InPosition:
    """The position behind a whole entry."""
    return InPosition(entry.ms, entry.seq, 0, 1)


def parse_in_position(text: bytes) -> InPosition:
    """``b"<id> <next_msg> <last>"``; raises ValueError for anything else."""
    identifier, next_msg, last = text.split(b" ")
    return InPosition(*parse_id(identifier), int(next_msg), int(last))


def format_in_position(position: InPosition) -> str:
    """The text ``parse_in_position`` reads."""
    return f"{position.id} {position.next_msg} {position.last}"


class LanePosition(NamedTuple):
    """The last frame of one out lane that is in the streams."""

    epoch: int
    position: int
    tick: int
    block: int
    step: int
    messages: int

    def __str__(self) -> str:
        return " ".join(map(str, self))


def parse_lane(text: bytes) -> LanePosition:
    """Six whole numbers; raises ValueError for anything else."""
    numbers = [int(part) for part in text.split(b" ")]
    if len(numbers) != len(LanePosition._fields):
        raise ValueError(f"lane position: found {text[:64]!r}, expected six numbers")
    return LanePosition(*numbers)


class Part(NamedTuple):
    """A tick that is in the streams in part: the last step sent of each of its blocks."""

    tick: int
    steps: NDArray[np.void]
    """PART[n], a block at most once."""


def parse_part(text: bytes) -> Part:
    """The value of ``out_part``; raises ValueError when it is torn."""
    tick, colon, packed = text.partition(b":")
    if not colon or len(packed) % PART.itemsize:
        raise ValueError("out_part: expected tick:(u32, u32)…")
    return Part(int(tick), np.frombuffer(packed, PART))


def format_part(part: Part) -> bytes:
    """The value ``parse_part`` reads."""
    return b"%d:" % part.tick + part.steps.tobytes()


@dataclass(frozen=True)
class Keys:
    """The names of one instance's keys."""

    instance: str

    @property
    def prefix(self) -> str:
        """What all of them begin with; the braces make it the Cluster's hash tag."""
        return f"corec:{{{self.instance}}}:"

    @property
    def pos(self) -> str:
        """The position hash."""
        return self.prefix + "pos"

    @property
    def alerts(self) -> str:
        """The alerts stream."""
        return self.prefix + "alertas"

    @property
    def dead(self) -> str:
        """The dead-letter stream."""
        return self.prefix + "dead"

    def out(self, canal: int) -> str:
        """The stream a canal's messages go to."""
        return f"{self.prefix}out:{canal}"

    def incoming(self, canal: int) -> str:
        """The stream a canal's readings come from."""
        return f"{self.prefix}in:{canal}"

    def aside(self, key: str, when: datetime) -> str:
        """The name under which an older world's stream is kept for a day."""
        stamp = when.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        return f"{self.prefix}aside:{stamp}:{key.removeprefix(self.prefix)}"


@dataclass
class SinkState:
    """The position hash, parsed. The fields are named as in the module's table."""

    epoch: int | None = None
    out_tick: int = -1
    part: Part | None = None
    lanes: dict[int, LanePosition] = field(default_factory=dict)
    applied: dict[int, EntryId] = field(default_factory=dict)
    start: dict[int, EntryId] = field(default_factory=dict)
    read: dict[int, InPosition] = field(default_factory=dict)
    dead: dict[int, EntryId] = field(default_factory=dict)
    total_out: dict[int, int] = field(default_factory=dict)
    total_in: dict[int, int] = field(default_factory=dict)
    total_dead: dict[int, int] = field(default_factory=dict)
    total_entries: int = 0
    total_alerts: int = 0
    faults: list[str] = field(default_factory=list)


def parse_state(fields: Mapping[bytes, bytes]) -> SinkState:
    """The state in the fields of the position hash (as HGETALL gives them)."""
    state = SinkState()

    def read(name: str, parse: Callable[[bytes], V], default: V) -> V:
        text = fields.get(name.encode())
        if text is None:
            return default
        try:
            return parse(text)
        except ValueError:
            state.faults.append(name)
            return default

    def table(prefix: str, parse: Callable[[bytes], V]) -> dict[int, V]:
        found: dict[int, V] = {}
        for raw, text in fields.items():
            kind, _, number = raw.decode("ascii", "replace").partition(":")
            if kind != prefix:
                continue
            try:
                found[int(number)] = parse(text)
            except ValueError:
                state.faults.append(f"{kind}:{number[:32]}")
        return found

    state.epoch = read("epoch", int, None)
    state.out_tick = read("out_tick", int, -1)
    state.part = read("out_part", parse_part, None)
    state.lanes = table("out", parse_lane)
    state.applied = table("in", parse_id)
    state.start = table("start", parse_id)
    state.read = table("read", parse_in_position)
    state.dead = table("dead", parse_id)
    state.total_out = table("total_out", int)
    state.total_in = table("total_in", int)
    state.total_dead = table("total_dead", int)
    state.total_entries = read("total_entries", int, 0)
    state.total_alerts = read("total_alerts", int, 0)
    return state


def format_state(state: SinkState) -> dict[str, bytes | str]:
    """Every field of the hash that ``parse_state`` would read back as ``state``."""
    fields: dict[str, bytes | str] = {
        "out_tick": str(state.out_tick),
        "total_entries": str(state.total_entries),
        "total_alerts": str(state.total_alerts),
    }
    if state.epoch is not None:
        fields["epoch"] = str(state.epoch)
    if state.part is not None:
        fields["out_part"] = format_part(state.part)
    tables: tuple[tuple[str, Mapping[int, object]], ...] = (
        ("out", state.lanes),
        ("in", state.applied),
        ("start", state.start),
        ("dead", state.dead),
        ("total_out", state.total_out),
        ("total_in", state.total_in),
        ("total_dead", state.total_dead),
    )
    for name, table in tables:
        fields.update((f"{name}:{number}", str(value)) for number, value in table.items())
    fields.update((f"read:{c}", format_in_position(p)) for c, p in state.read.items())
    return fields


def new_world(old: SinkState, epoch: int) -> tuple[SinkState, list[str], dict[str, str]]:
    """What a world that finds another one's positions does to the hash.

    Returns its state, the fields to delete and the fields to write. Only ``in:<canal>`` carries
    over: input that an older world has applied is not applied again.
    """
    fresh = SinkState(epoch=epoch, applied=dict(old.applied), start=dict(old.applied))
    drop = ["out_tick", "out_part", "total_entries", "total_alerts"]
    drop += [f"out:{lane}" for lane in old.lanes]
    for name, table in (
        ("start", old.start),
        ("read", old.read),
        ("dead", old.dead),
        ("total_out", old.total_out),
        ("total_in", old.total_in),
        ("total_dead", old.total_dead),
    ):
        drop += [f"{name}:{canal}" for canal in table]
    write = {f"start:{canal}": str(entry) for canal, entry in fresh.start.items()}
    write["epoch"] = str(epoch)
    return fresh, [name for name in drop if name not in write], write


def choose_start(
    in_lane: InPosition | None, in_table: InPosition | None, start: EntryId | None
) -> InPosition:
    """Where a canal's stream is read on: the lane's last frame, else the world's table, else where
    the world began (the end of what older worlds applied), else the stream's beginning."""
    if in_lane is not None:
        return in_lane
    if in_table is not None and in_table != InPosition(0, 0, 0, 0):
        return in_table
    return after(start) if start is not None else NOWHERE
