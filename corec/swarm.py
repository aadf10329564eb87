"""A swarm of a plan: equal blocks of one bloque, ids in a row."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from corec.config.collecting import Collect
from corec.config.evolucion import Evolucion
from corec.config.space import Space
from corec.config.umbral import Limits, Umbral
from corec.entities.meeting import Meeting, Shown, meeting_of
from corec.entities.processor import Processor
from corec.graph.source import Source

DEFAULT_LIMITS = Umbral().limits


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
