"""What the modelled world consists of; see ``world`` for what happens in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeVar

Item = TypeVar("Item")
Life = tuple[tuple[int, ...], ...]
"""For each tick a block lived through, the readings applied in it."""


class Frame(NamedTuple):
    """One frame of a lane: what a block says at a tick."""

    tick: int
    block: int
    life: Life


class Block(NamedTuple):
    """A block: what its commit word says, and the two copies."""

    tick: int
    which: int
    copies: tuple[Life, Life]

    @property
    def life(self) -> Life:
        """The committed state."""
        return self.copies[self.which]


class Lane(NamedTuple):
    """Frames between tail and head, and how many of them the sink's stored position is past."""

    frames: tuple[Frame, ...]
    durable: int


class Sink(NamedTuple):
    """One sink. ``rows``, ``last`` and ``out_tick`` are durable, the rest dies with the process."""

    rows: tuple[tuple[Life, ...], ...]
    """By block: the frames written, in order."""
    last: tuple[tuple[int, int], ...]
    """By lane: (tick, block) of the last frame written."""
    out_tick: int
    """Every frame of this tick and of all before it is written (as the broker stores it)."""
    pc: str
    taken: tuple[tuple[Frame, ...], ...]
    complete: int


class State(NamedTuple):
    """Everything. Shared memory and databases survive kills; ``workers``, ``reader`` and the last
    three fields of a sink do not."""

    go: int
    cuts: tuple[int, ...]
    tables: tuple[int, ...]
    flip: int
    inbox: tuple[int, ...]
    """Every entry ever published, those before ``inbox_tail`` given back."""
    inbox_tail: int
    done: tuple[int, ...]
    blocks: tuple[Block, ...]
    lanes: tuple[tuple[Lane, ...], ...]
    """By kind of lane, then by worker."""
    sinks: tuple[Sink, ...]
    workers: tuple[tuple[str, int], ...]
    reader: tuple[str, int]
    harm: str
    public: tuple[tuple[int, ...], ...] = ()
    """Two copies; by block, the tick whose public columns stand in it."""


@dataclass(frozen=True)
class Size:
    """How large the world is.

    ``owners``: by block, the worker that ticks it. ``kinds``: one lane per worker and kind, each
    kind with a sink that tells repeats ``by_lane`` (the persister) or ``by_tick`` (the broker).
    """

    ticks: int
    owners: tuple[int, ...]
    entries: int
    kinds: tuple[str, ...]
    lane_frames_max: int = 2
    inbox_frames_max: int = 2
    public: bool = False
    """Whether each block shows what a tick left, and looks at all others' in the next."""

    @property
    def workers(self) -> int:
        """Number of workers."""
        return max(self.owners) + 1


def put(items: tuple[Item, ...], index: int, item: Item) -> tuple[Item, ...]:
    """``items`` with one of them replaced."""
    return (*items[:index], item, *items[index + 1 :])


def position_after(entries: tuple[int, ...]) -> int:
    """Where the stream goes on after the last of these."""
    return entries[-1] + 1 if entries else 0


def released(lane: Lane) -> Lane:
    """The lane with everything before the stored position given back to the worker."""
    return Lane(lane.frames[lane.durable :], 0)
