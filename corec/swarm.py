"""What a plan is: swarms, each of equal blocks of one bloque with ids in a row."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple

from numpy.typing import NDArray

from corec import layout as L
from corec.config.collecting import Collect
from corec.config.evolucion import Evolucion
from corec.config.space import Space
from corec.config.umbral import Limits, Umbral
from corec.digits import whole_number
from corec.entities.meeting import Meeting, Shown, meeting_of
from corec.entities.processor import Processor
from corec.graph.source import Source

DEFAULT_LIMITS = Umbral().limits
_DIGITS_MAX: Final = 10
"""Of a block's number in an id."""


@dataclass(frozen=True)
class Swarm:
    """One bloque of the config, or what it grew by at once: equal blocks, ids in a row. A bloque
    that has grown is several, each with its own ``index``, all with its ``id`` and ``bloque``."""

    index: int
    id: str
    canal: int
    entidades: int
    cap: int
    block_bytes: int
    first_block: int
    blocks: int
    first_id: int
    processor: Processor
    params: tuple[float, ...]
    max_errores: float
    min_fitness: float
    umbral: Limits = DEFAULT_LIMITS
    space: Space | None = None
    evolucion: Evolucion | None = None
    source: Source | None = None
    """Where a graph's links come from; ``seen``: what is seen of other swarms on its plane."""
    seen: tuple[Shown, ...] = ()
    first_living: int | None = None
    """How many live at first, of ``entidades`` places; None: all."""
    public_off: int = 0
    """Byte offset of copy 0 of its public columns in the world's segment, behind all blocks."""
    bloque: int = 0
    """Its place in the configuration's ``bloques``."""
    first_number: int = 0
    """Number of its first block among those of its bloque."""
    symbiosis: str = "ninguna"
    """How its weak blocks take over the state of strong ones (``corec.world.fusion``)."""
    collect: tuple[Collect, ...] = ()
    """Which statistics of its blocks are told (``corec.world.collecting``)."""
    everyone: tuple[tuple[str, str], ...] | None = None
    """What is asked of any entity by its id, ``entities.meeting.Meeting.everyone``."""

    @property
    def end_id(self) -> int:
        """The id behind its last."""
        return self.first_id + self.entidades

    @property
    def living(self) -> int:
        """How many live at first."""
        return self.entidades if self.first_living is None else self.first_living

    @property
    def settles(self) -> bool:
        """Whether entities may come to another block of it (``corec.kernels.settlement``)."""
        return self.processor.mortal and (self.blocks > 1 or self.processor.moves)

    @cached_property
    def meeting(self) -> Meeting | None:
        """How its entities see each other; None: they don't."""
        if not self.processor.public and self.space is None and self.everyone is None:
            return None
        shown = self.processor.shown
        return meeting_of(self.entidades, shown, self.space, self.seen, self.everyone)


class Part(NamedTuple):
    """Entities of a bloque that came at once: all it had at first, or those it grew by."""

    bloque: str
    entidades: int
    cap: int


@dataclass(frozen=True)
class Plan:
    """All blocks, in order of their ids. ``blocks`` has one row per block (BLOCK_ROW)."""

    swarms: tuple[Swarm, ...]
    blocks: NDArray[Any]
    world_bytes: int

    @property
    def parts(self) -> tuple[Part, ...]:
        """What ``make_plan`` takes to make the same again."""
        return tuple(Part(s.id, s.entidades, s.cap) for s in self.swarms)

    @property
    def blocks_bytes(self) -> int:
        """Bytes of all blocks, which come first in the world's segment."""
        last = self.swarms[-1]
        return int(self.blocks["offset"][-1]) + last.block_bytes

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return int(self.blocks.shape[0])

    @property
    def entidades(self) -> int:
        """Number of entities."""
        return sum(s.entidades for s in self.swarms)

    @property
    def width(self) -> int:
        """The most numbers in a reading."""
        return max(s.processor.width for s in self.swarms)

    def swarm_of(self, entity: int) -> Swarm | None:
        """Where an entity is; None: there is no such entity."""
        place = bisect_right(self.swarms, entity, key=lambda swarm: swarm.first_id) - 1
        found = self.swarms[place]
        return found if place >= 0 and entity < found.end_id else None

    def block_id(self, index: int) -> str:
        """``<swarm>:<00000>`` of block ``index``."""
        swarm = self.swarms[int(self.blocks["swarm"][index])]
        return f"{swarm.id}:{swarm.first_number + index - swarm.first_block:05d}"

    def block_index(self, block_id: str) -> int | None:
        """The index of ``<swarm>:<00000>``, None when there is no such block."""
        name, _, number = block_id.rpartition(":")
        found = whole_number(number, _DIGITS_MAX)
        if found is None:
            return None
        for swarm in self.swarms:
            place = found - swarm.first_number
            if swarm.id == name and 0 <= place < swarm.blocks:
                return swarm.first_block + place
        return None

    def block_of(self, entity: int) -> int | None:
        """The index of the block that holds entity ``entity``, None for an unknown id."""
        for swarm in self.swarms:
            if swarm.first_id <= entity < swarm.first_id + swarm.entidades:
                return swarm.first_block + (entity - swarm.first_id) // swarm.cap
        return None

    def fingerprint(self, seed: int) -> int:
        """64 bits over what must be equal for a world to go on under a config."""
        parts = [f"{L.LAYOUT_VERSION} {seed}"]
        for s in self.swarms:
            p = s.processor
            parts.append(f"{s.id} {s.canal} {s.entidades} {s.cap} {s.block_bytes}")
            parts.append(f"{p.name} {p.kind} {p.columns} {p.history} {p.means}")
            if p.values or p.alert_fields:
                parts.append(f"{p.values} {p.alert_fields}")
            if p.genes:
                parts.append(f"{p.genes} {p.fitness}")
            if p.mortal:
                parts.append("mortal")
            if p.sends:
                parts.append(f"sends {p.sends}")
            if s.meeting is not None:
                parts.append(f"{p.public} {s.space} {p.see}")
            if s.source is not None:
                parts.append(s.source.mark)
        digest = hashlib.blake2b("\n".join(parts).encode(), digest_size=8).digest()
        return int.from_bytes(digest, "little")
