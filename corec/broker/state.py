"""What the broker keeps in Redis beside the streams: the fields of ``corec:{<instance>}:pos``.

::

    epoch              u64 of the world the fields below belong to
    writer             token of the last connection that took over (the fence, see ``link``)
    out_tick           every message of this tick and of all before it is in the streams
    out_part           "tick:" + PART records, of the tick after out_tick that a batch has sent in
                       part; absent when there is none
    out:<lane>         "epoch position tick block step messages" of the last frame sent
    done:<canal>       "id next_msg last": what the ticks up to out_tick have applied
    in:<canal>         the last entry of which all is applied by then
    start:<canal>      where this world began to read
    read:<canal>       "id next_msg last": how far ``total_in`` has counted
    dead:<canal>       last input entry that was judged and whose dead letters are written
    added:<canal>      "id entries": entries the stream had ever got, up to and with this one
    rewound:<canal>    "id to": the stream was written anew below ``id``; read on behind ``to``
    total_out:<canal>, total_in:<canal>, total_dead:<canal>     messages, this world
    total_entries, total_alerts                                 entries, this world
    total_dropped      messages lost by on_full = drop_oldest, or because Redis lost them
    total_missing      entries of ``total_entries`` that are known to be lost
    total_unread       input entries that went away unread
    aside:<epoch>      stamp of the names under which that older world is kept

A field that cannot be read counts as absent and is reported in ``SinkState.faults``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from corec.broker.positions import (
    EntryId,
    InPosition,
    LanePosition,
    Part,
    format_in_position,
    format_part,
    parse_id,
    parse_in_position,
    parse_lane,
    parse_part,
)


class Added(NamedTuple):
    """How many entries a stream had ever got when ``id`` was its last one."""

    id: EntryId
    entries: int

    def __str__(self) -> str:
        return f"{self.id} {self.entries}"


class Rewound(NamedTuple):
    """A stream that was written anew: who stands at ``at`` reads on behind ``to``."""

    at: EntryId
    to: EntryId

    def __str__(self) -> str:
        return f"{self.at} {self.to}"


def _parse_added(text: bytes) -> Added:
    identifier, count = text.split(b" ")
    return Added(parse_id(identifier), int(count))


def _parse_rewound(text: bytes) -> Rewound:
    at, to = text.split(b" ")
    return Rewound(parse_id(at), parse_id(to))


@dataclass
class SinkState:
    """The position hash, parsed. The fields are named as in the module's table."""

    epoch: int | None = None
    out_tick: int = -1
    part: Part | None = None
    lanes: dict[int, LanePosition] = field(default_factory=dict)
    applied: dict[int, EntryId] = field(default_factory=dict)
    done: dict[int, InPosition] = field(default_factory=dict)
    start: dict[int, EntryId] = field(default_factory=dict)
    read: dict[int, InPosition] = field(default_factory=dict)
    dead: dict[int, EntryId] = field(default_factory=dict)
    added: dict[int, Added] = field(default_factory=dict)
    rewound: dict[int, Rewound] = field(default_factory=dict)
    total_out: dict[int, int] = field(default_factory=dict)
    total_in: dict[int, int] = field(default_factory=dict)
    total_dead: dict[int, int] = field(default_factory=dict)
    total_entries: int = 0
    total_alerts: int = 0
    total_dropped: int = 0
    total_missing: int = 0
    total_unread: int = 0
    aside: dict[int, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


class Table(NamedTuple):
    """A family of fields ``<prefix>:<number>``."""

    prefix: str
    name: str
    """The attribute of SinkState."""
    parse: Callable[[bytes], Any]
    form: Callable[[Any], str] = str


TABLES: Final = (
    Table("out", "lanes", parse_lane),
    Table("in", "applied", parse_id),
    Table("done", "done", parse_in_position, format_in_position),
    Table("start", "start", parse_id),
    Table("read", "read", parse_in_position, format_in_position),
    Table("dead", "dead", parse_id),
    Table("added", "added", _parse_added),
    Table("rewound", "rewound", _parse_rewound),
    Table("total_out", "total_out", int),
    Table("total_in", "total_in", int),
    Table("total_dead", "total_dead", int),
    Table("aside", "aside", bytes.decode),
)
NUMBERS: Final = ("total_entries", "total_alerts", "total_dropped", "total_missing", "total_unread")
KEPT: Final = ("aside",)
"""Tables that go over to a new world as they are."""


def parse_state(fields: Mapping[bytes, bytes]) -> SinkState:
    """The state in the fields of the position hash (as HGETALL gives them)."""
    state = SinkState()

    def read(name: str, parse: Callable[[bytes], Any], default: Any) -> Any:
        text = fields.get(name.encode())
        if text is None:
            return default
        try:
            return parse(text)
        except ValueError:
            state.faults.append(name)
            return default

    state.epoch = read("epoch", int, None)
    state.out_tick = read("out_tick", int, -1)
    state.part = read("out_part", parse_part, None)
    for name in NUMBERS:
        setattr(state, name, read(name, int, 0))
    families = {table.prefix: table for table in TABLES}
    for raw, text in fields.items():
        prefix, _, number = raw.decode("ascii", "replace").partition(":")
        table = families.get(prefix)
        if table is None:
            continue
        try:
            getattr(state, table.name)[int(number)] = table.parse(text)
        except ValueError:
            state.faults.append(f"{prefix}:{number[:32]}")
    return state


def format_state(state: SinkState) -> dict[str, bytes | str]:
    """Every field of the hash that ``parse_state`` would read back as ``state``."""
    fields: dict[str, bytes | str] = {"out_tick": str(state.out_tick)}
    fields.update((name, str(getattr(state, name))) for name in NUMBERS)
    if state.epoch is not None:
        fields["epoch"] = str(state.epoch)
    if state.part is not None:
        fields["out_part"] = format_part(state.part)
    for table in TABLES:
        for number, value in getattr(state, table.name).items():
            fields[f"{table.prefix}:{number}"] = table.form(value)
    return fields


def new_world(
    old: SinkState, epoch: int, ends: Mapping[int, EntryId] | None = None
) -> tuple[SinkState, list[str], dict[str, str]]:
    """What a world that finds another one's positions does to the hash.

    ``ends``: by canal, the last entry the in-stream ever had: a new world begins behind it. None:
    a world that has lived already, which reads on behind what was applied.

    Returns its state, the fields to delete and the fields to write.
    """
    applied = {**old.applied, **(ends or {})}
    fresh = SinkState(epoch=epoch, applied=applied, start=dict(applied), aside=dict(old.aside))
    write = {f"{prefix}:{canal}": str(entry) for prefix in ("start", "in")
             for canal, entry in applied.items()}  # fmt: skip
    write["epoch"] = str(epoch)
    drop = ["out_tick", "out_part", *NUMBERS]
    for table in TABLES:
        if table.name not in KEPT:
            drop += [f"{table.prefix}:{number}" for number in getattr(old, table.name)]
    return fresh, [name for name in drop if name not in write], write
