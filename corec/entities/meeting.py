"""How entities of one swarm see each other: public columns, and the cells of a grid. Arithmetic.

The public columns of a swarm lie behind all blocks of the world, two copies of each, one after the
other; a copy has one column per public field, over all the swarm's entities in order of ids::

    copy 0: field a [entidades], field b [entidades], …    copy 1: the same

``pub[T & 1]`` holds what tick T left; ``corec.kernels.public`` says who writes it and when.

For a grid, the kernel copies the cells about a stretch of one row of cells (``STRETCH`` at most)
into scratch memory before it runs the stretch: for each public field, for each row of cells that
has neighbours, the stretch and ``radius`` cells on either side. There every neighbour of every cell
lies at a constant distance, edges included, and the loop over the entities becomes vectors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np

from corec import layout as L
from corec.config.space import Grid, neighbours_of

STRETCH: Final = 1024
"""Cells of a row that the kernel runs at once, at most."""
Step = tuple[int, int, int]


@dataclass(frozen=True)
class Meeting:
    """What decides the machine code of a processor whose entities see each other."""

    entidades: int
    fields: tuple[tuple[str, str], ...]
    """(name, dtype) of each public field."""
    grid: Grid | None = None

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
        found = neighbours_of(axes, self.grid.radius, self.grid.neighbourhood)
        return tuple((*(0,) * (3 - axes), *step) for step in found)  # type: ignore[misc]  # three

    @cached_property
    def rows(self) -> tuple[tuple[int, int], ...]:
        """(dz, dy) of the rows of cells that hold neighbours."""
        return tuple(dict.fromkeys((dz, dy) for dz, dy, _ in self.steps))

    @cached_property
    def strides(self) -> tuple[int, ...]:
        """Bytes between two rows of scratch memory, per field."""
        cells = STRETCH + 2 * (self.grid.radius if self.grid else 0)
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
        return at + (dx + self.grid.radius) * self.sizes[field]

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


def grid_of(space: Mapping[str, Any] | Grid | None) -> Grid | None:
    """A ``space`` as in the config, checked."""
    return space if isinstance(space, Grid) or space is None else Grid.model_validate(dict(space))
