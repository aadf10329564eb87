"""How entities see each other: public columns, and cells, links or a plane. Arithmetic.

The public columns of a swarm lie behind all blocks of the world, two copies of each, one after the
other; a copy has one column per public field, over all the swarm's entities in order of ids::

    copy 0: field a [entidades], field b [entidades], …    copy 1: the same

``pub[T & 1]`` holds what tick T left; ``corec.kernels.public`` says who writes it and when.

For a grid, the kernel copies the cells about a stretch of one row of cells (``STRETCH`` at most)
into scratch memory before it runs the stretch: for each public field, for each row of cells that
has neighbours, the stretch and ``radius`` cells on either side. There every neighbour of every cell
lies at a constant distance, edges included, and the loop over the entities becomes vectors.

On a graph the links (``corec.graph.links``) say who is near; on a plane the positions of the last
tick do, sorted into cells (``corec.kernels.plane``), together with all that is public: a *record*
of an entity is its position, its place in the swarm, and its other public fields::

    position f32[axes]    place u32    fields of 8 bytes, of 4, 2 and 1, each aligned
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np

from corec import layout as L
from corec.config.space import Space, neighbours_of

STRETCH: Final = 1024
"""Cells of a row that the kernel runs at once, at most."""
CELLS_PER_ENTITY: Final = 2
WIDER: Final = 1.0001
"""A cell of a plane is wider than the radius by that: no rounding puts a neighbour two away."""
Step = tuple[int, int, int]


@dataclass(frozen=True)
class Graph:
    """What of a graph decides the machine code."""

    weights: bool


@dataclass(frozen=True)
class Shown:
    """A swarm on a plane, as its entities are seen there: its public fields, and which of them
    are its position."""

    name: str
    fields: tuple[tuple[str, str], ...]
    position: tuple[int, ...]

    @cached_property
    def places(self) -> tuple[int, ...]:
        """Byte offset in a record of each public field, then of the place, then its length."""
        at = 4 * len(self.position)
        found = {field: 4 * axis for axis, field in enumerate(self.position)}
        found[len(self.fields)] = at
        at += 4
        sizes = {k: int(np.dtype(dtype).itemsize) for k, (_, dtype) in enumerate(self.fields)}
        for field in sorted(sizes, key=lambda k: -sizes[k]):
            if field not in found:
                at += -at % sizes[field]
                found[field] = at
                at += sizes[field]
        places = [found[k] for k in range(len(self.fields) + 1)]
        return (*places, at + -at % max(4, *sizes.values()))


@dataclass(frozen=True)
class Plane:
    """What of a plane decides the machine code. ``shown``: the swarms whose entities are seen,
    the own first; the radius does not: it lies in memory."""

    size: tuple[float, ...]
    wrap: bool
    shown: tuple[Shown, ...]

    @property
    def position(self) -> tuple[str, ...]:
        """The names of the fields that are the position."""
        own = self.shown[0]
        return tuple(own.fields[k][0] for k in own.position)


@dataclass(frozen=True)
class Meeting:
    """What decides the machine code of a processor whose entities see each other."""

    entidades: int
    fields: tuple[tuple[str, str], ...]
    """(name, dtype) of each public field."""
    grid: Space | None = None
    graph: Graph | None = None
    plane: Plane | None = None
    everyone: tuple[tuple[str, str], ...] | None = None
    """(name, "i8", "f4" or "f8") of what is asked of entities by their ids, in any bloque; None:
    nobody is asked for so."""

    @property
    def spatial(self) -> bool:
        """Whether entities have neighbours."""
        return not (self.grid is None and self.graph is None and self.plane is None)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Bytes of one value of each public field."""
        return tuple(int(np.dtype(dtype).itemsize) for _, dtype in self.fields)

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """Byte offset of each public column in one copy, and the bytes of a copy."""
        found = [0]
        for size in self.sizes:
            found.append(found[-1] + L.column_bytes(self.entidades, size))
        return tuple(found)

    @property
    def copy_bytes(self) -> int:
        """Bytes of one copy."""
        return self.offsets[-1]

    def index(self, name: str) -> int | None:
        """Place of the public field ``name``; None: there is none."""
        names = [field for field, _ in self.fields]
        return names.index(name) if name in names else None

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """(dz, dy, dx) to each neighbour, in the order in which they are seen."""
        if self.grid is None:
            return ()
        axes = len(self.grid.sides)
        found = neighbours_of(axes, self.radius, self.grid.neighbourhood)
        return tuple((*(0,) * (3 - axes), *step) for step in found)  # type: ignore[misc]  # three

    @property
    def radius(self) -> int:
        """Of a grid, in cells."""
        return int(self.grid.radius) if self.grid is not None else 0

    @cached_property
    def rows(self) -> tuple[tuple[int, int], ...]:
        """(dz, dy) of the rows of cells that hold neighbours."""
        return tuple(dict.fromkeys((dz, dy) for dz, dy, _ in self.steps))

    @cached_property
    def strides(self) -> tuple[int, ...]:
        """Bytes between two rows of scratch memory, per field."""
        cells = STRETCH + 2 * self.radius
        return tuple(L.column_bytes(cells, size) for size in self.sizes)

    @cached_property
    def bases(self) -> tuple[int, ...]:
        """Byte offset of each field's rows in scratch memory, and the bytes of all."""
        found = [0]
        for stride in self.strides:
            found.append(found[-1] + stride * len(self.rows))
        return tuple(found)

    def near(self, field: int, step: Step) -> int:
        """Byte offset in scratch memory of the neighbour at ``step`` of a stretch's first cell."""
        assert self.grid is not None
        dz, dy, dx = step
        row = self.rows.index((dz, dy))
        at = self.bases[field] + row * self.strides[field]
        return at + (dx + self.radius) * self.sizes[field]

    def neighbours(self, cell: int) -> list[int]:
        """The cells that are neighbours of ``cell``, in order: the reference."""
        assert self.grid is not None
        width, height, depth = (*self.grid.sides, 1, 1)[:3]
        here = (cell // (width * height), cell // width % height, cell % width)
        found = []
        for step in self.steps:
            place = [a + d for a, d in zip(here, step, strict=True)]
            if self.grid.wrap:
                place = [p % n for p, n in zip(place, (depth, height, width), strict=True)]
            elif not all(0 <= p < n for p, n in zip(place, (depth, height, width), strict=True)):
                continue
            found.append((place[0] * height + place[1]) * width + place[2])
        return found


def space_of(space: Mapping[str, Any] | Space | None) -> Space | None:
    """A ``space`` as in the config, checked."""
    return space if isinstance(space, Space) or space is None else Space.model_validate(dict(space))


def cells_of(space: Space, entidades: int) -> tuple[int, ...]:
    """How many cells there are along each axis of a plane, for so many entities."""
    most = math.ceil((CELLS_PER_ENTITY * entidades) ** (1.0 / len(space.sizes)))
    wide = float(np.float32(space.radius)) * WIDER
    return tuple(max(1, min(int(float(np.float32(side)) / wide), most)) for side in space.sizes)


def reach_of(radius: float, side: float, cells: int) -> int:
    """How many cells away neighbours may be along an axis of ``side`` that has so many."""
    return max(1, math.ceil(float(np.float32(radius)) * WIDER * cells / float(np.float32(side))))


def shown_of(name: str, fields: tuple[tuple[str, str], ...], space: Space) -> Shown:
    """A swarm on a plane. Raises ValueError: a field of its position is not public."""
    names = [field for field, _ in fields]
    return Shown(name, fields, tuple(names.index(field) for field in space.position or ()))


def meeting_of(
    entidades: int, fields: tuple[tuple[str, str], ...], space: Space | None,
    others: tuple[Shown, ...] = (), everyone: tuple[tuple[str, str], ...] | None = None,
) -> Meeting:  # fmt: skip
    """How ``entidades`` entities with these public fields meet in ``space``; ``others``: what they
    see of other swarms on their plane; ``everyone``: what is asked of entities by their ids."""
    if space is None:  # who shows nothing is one machine code, however many there are
        return Meeting(entidades if fields else 0, fields, everyone=everyone)
    if space.kind == "grid":
        return Meeting(entidades, fields, space, everyone=everyone)
    if space.kind == "graph":
        return Meeting(entidades, fields, graph=Graph(space.weights), everyone=everyone)
    plane = Plane(space.sizes, space.wrap, (shown_of("", fields, space), *others))
    return Meeting(entidades, fields, plane=plane, everyone=everyone)


def read_as(fields: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Name → as what a field is read that several bloques show under it, "i8", "f4" or "f8": as all
    of them say, and as float64 where some say this and some that."""
    found: dict[str, str] = {}
    for name, dtype in fields:
        kind = dtype if dtype in ("f4", "f8") else "i8"
        found[name] = kind if found.get(name, kind) == kind else "f8"
    return found
