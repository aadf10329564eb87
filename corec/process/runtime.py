"""What a process of a running instance holds in its hands.

The supervisor makes one ``Runtime`` before it forks; each child inherits it whole: mappings,
lanes, doorbells, configuration, secrets. Nothing here decides anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from corec import layout as L
from corec.config import Config
from corec.journal.past import Growth, Past
from corec.plan import Plan
from shm.atomics import read_word, write_word
from shm.lane import Lane
from shm.segment import Segment
from shm.wake import Doorbell

Words = NDArray[np.uint64]


class Slot:
    """The words of one process in the control segment (see ``corec.layout``)."""

    def __init__(self, control: Words, index: int) -> None:
        self.control = control
        self.index = index
        self.base = L.slot_base(index)

    def get(self, word: int) -> int:
        """Acquire-load of word ``word`` of this slot."""
        return int(read_word(self.control, self.base + word))

    def set(self, word: int, value: int) -> None:
        """Release-store; only the slot's owner may call it (S_RESTARTS, S_UP: the supervisor)."""
        write_word(self.control, self.base + word, value)


def float_to_word(value: float) -> int:
    """The 64 bits of ``value`` as an unsigned integer, as the control segment stores floats."""
    return int(np.float64(value).view(np.uint64))


def word_to_float(word: int) -> float:
    """The float64 whose bits are ``word``."""
    return float(np.uint64(word).view(np.float64))


LEASE_SECONDS: Final = 15
"""How long an instance that does not renew its lease on a server still counts as alive there."""
RENEW_SECONDS: Final = 3.0


class Owner(NamedTuple):
    """An instance as the servers know it, to tell two with one ``instance_id`` apart."""

    id: str
    """Of its state folder: the same after a restart, another one in a copy."""
    who: str
    """Host, pid and state folder, for people."""


@dataclass
class Runtime:
    """Handles of one instance. Lists are indexed by worker lane ``k``."""

    config: Config
    plan: Plan
    folder: Path
    control_segment: Segment
    world: Segment
    inbox: Lane
    out: list[Lane]
    rows: list[Lane]
    events: dict[str, Lane]
    doorbells: list[Doorbell]
    db_conninfo: str
    redis_url: str
    journal: Lane
    updates_before: int = 0
    group_tick: int = 0
    """The tick behind which these processes began with their configuration: at a start, an upgrade,
    a reload for which everybody rests."""
    resident_bytes: int = 0
    owner: Owner | None = None
    """Who this instance is to the servers; None: it holds no lease."""
    info: dict[str, object] = field(default_factory=dict)
    segments: list[Segment] = field(default_factory=list)
    as_written: Config | None = None
    past: Past | None = None
    """What of the journal a restored world follows; None: nothing."""
    half: Past | None = None
    """What the journal says of the one tick that an adopted world is within; None: of none."""
    growths: list[Growth] = field(default_factory=list)
    """Where it is to grow meanwhile, and behind that."""
    refitted: tuple[str, ...] = ()
    """What became of the fields of the world in memory when this code took it over, a line each."""

    @property
    def written(self) -> Config:
        """The configuration without what was set in the living world (``corec.world.settings``)."""
        return self.as_written or self.config

    @property
    def whole_plan(self) -> Plan:
        """The plan with all entities that the world is to get: of those that it gets back, what was
        told of them before is in the sinks, and in the spool."""
        return self.growths[-1].plan if self.growths else self.plan

    @property
    def control(self) -> Words:
        """u64[control_words(lanes)]: the control segment."""
        return self.control_segment.words

    @property
    def epoch(self) -> int:
        """The world's epoch: random, never 0; positions in the sinks belong to one epoch."""
        return self.get(L.C_WORLD_EPOCH)

    @property
    def lanes(self) -> int:
        """Number of worker lanes."""
        return len(self.out)

    def lanes_by_kind(self) -> dict[str, list[Lane]]:
        """Every lane that a sink empties, by what it carries."""
        return {"out": self.out, "rows": self.rows, "events": list(self.events.values())}

    def shown_lanes(self) -> list[tuple[str, str, Lane]]:
        """Every lane between processes: what it carries, whose it is (a worker's number, the
        telling role, ``all``)."""
        found = [("in", "all", self.inbox)]
        found += [("out", str(k), lane) for k, lane in enumerate(self.out)]
        found += [("rows", str(k), lane) for k, lane in enumerate(self.rows)]
        return found + [("events", role, lane) for role, lane in self.events.items()]

    def slot(self, index: int) -> Slot:
        """Process slot ``index`` (``L.SLOT_*``)."""
        return Slot(self.control, index)

    def get(self, word: int) -> int:
        """Acquire-load of a control word."""
        return int(read_word(self.control, word))

    def set(self, word: int, value: int) -> None:
        """Release-store of a control word; only for the word's writer."""
        write_word(self.control, word, value)
