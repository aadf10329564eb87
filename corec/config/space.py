"""A bloque's ``space``: where its entities stand, and so which of them are neighbours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from corec.config.keys import Section, key

SIDE_MAX: Final = 2**32
RADIUS_MAX: Final = 500
NEIGHBOURS_MAX: Final = 1024
ROWS_MAX: Final = 63
SIZE_MAX: Final = 1e9
LENGTH_MIN: Final = 1e-18
"""On a plane: the square of what is less is no normal float32."""
AXES: Final = ("x", "y", "z")
FILES: Final = (".csv", ".parquet", ".npz")


def _edges(value: object) -> str | dict[str, Any]:
    if isinstance(value, str) and value:
        return value
    if isinstance(value, Mapping):
        return {str(name): one for name, one in value.items()}
    raise ValueError("no edges")


def _size(value: object) -> float | tuple[float, ...]:
    if isinstance(value, list | tuple) and 2 <= len(value) <= len(AXES):
        return tuple(map(_length, value))
    return _length(value)


def is_length(value: object) -> bool:
    """Whether it may be a side of a plane, or a radius."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and LENGTH_MIN <= value <= SIZE_MAX  # type: ignore[operator]  # it is a number


def _length(value: object) -> float:
    if is_length(value):
        return value  # type: ignore[return-value]  # it is a number
    raise ValueError("no length")


Edges = Annotated[
    str | dict[str, Any], PlainValidator(_edges), WithJsonSchema({"type": ["string", "object"]})
]


def _as_json(size: object) -> Any:
    """Pydantic, left to choose how a union goes into JSON, warns of a tuple."""
    return list(size) if isinstance(size, tuple) else size


Size = Annotated[
    float | tuple[float, ...],
    PlainValidator(_size),
    PlainSerializer(_as_json, when_used="json"),
    WithJsonSchema({"type": ["number", "array"], "items": {"type": "number"}}),
]
Radius = Annotated[
    float, PlainValidator(_length), WithJsonSchema({"type": "number", "minimum": LENGTH_MIN})
]


class Space(Section):
    """A grid of cells, one entity each; a graph of links; or a plane on which entities move."""

    kind: Literal["grid", "graph", "plane"] = key(
        '"grid", "graph" or "plane"',
        "Cells of one entity each, links between entities, or positions that entities change.",
    )
    width: int | None = key(
        f"an integer from 1 to {SIDE_MAX}; a grid needs it",
        "Of a grid: cells of a row.",
        None,
        strict=True,
        ge=1,
        le=SIDE_MAX,
    )
    height: int | None = key(
        f"null (one row) or an integer from 1 to {SIDE_MAX}",
        "Of a grid: rows.",
        None,
        strict=True,
        ge=1,
        le=SIDE_MAX,
    )
    depth: int | None = key(
        f"null (one layer) or an integer from 1 to {SIDE_MAX}, beside a height",
        "Of a grid: layers.",
        None,
        strict=True,
        ge=1,
        le=SIDE_MAX,
    )
    wrap: bool = key(
        "true (what leaves on one side comes back on the other) or false",
        "Whether a grid or a plane has no edge.",
        True,
        strict=True,
    )
    neighbourhood: Literal["moore", "von_neumann"] = key(
        '"moore" (up to radius steps along each axis) or "von_neumann" (up to radius steps in all)',
        "Of a grid: which cells about one are its neighbours.",
        "moore",
    )
    radius: Radius = key(
        f"in a grid an integer from 1 to {RADIUS_MAX}, at most {NEIGHBOURS_MAX} neighbours; on a"
        f" plane a number from {LENGTH_MIN:g}, at most half of its size",
        "How far neighbours are, in a grid or on a plane.",
        1,
    )
    edges: Edges | None = key(
        f"the name of a file ({', '.join(FILES)}) or an object with generator; a graph needs it",
        "Of a graph: its edges, pairs of entities counted from 0.",
        None,
    )
    directed: bool = key(
        "true (an edge a, b lets a see b) or false (each the other)",
        "Of a graph: whether edges count in one direction.",
        False,
        strict=True,
    )
    weights: bool = key(
        "true or false",
        "Of a graph: whether the file has a third column, read as other.weight.",
        False,
        strict=True,
    )
    position: tuple[str, ...] | None = key(
        "a list of 2 or 3 f4 state fields; a plane needs it",
        "Of a plane: the fields that say where an entity is.",
        None,
        item="the name of an f4 state field",
        min_length=2,
        max_length=len(AXES),
    )
    size: Size | None = key(
        f"a number from {LENGTH_MIN:g} to {SIZE_MAX:.0f}, or a list of one for each axis;"
        " a plane needs it",
        "Of a plane: how long its sides are; positions are from 0 to below that.",
        None,
        item=f"a number from {LENGTH_MIN:g} to {SIZE_MAX:.0f}",
    )

    @property
    def sides(self) -> tuple[int, ...]:
        """Width, height, depth of a grid, those of more than one cell: along a side of one nobody
        is beside anybody."""
        sides = (self.width, self.height, self.depth)
        return tuple(side for side in sides if side not in (None, 1)) or (1,)

    @property
    def sizes(self) -> tuple[float, ...]:
        """How long each side of a plane is."""
        if self.position is None or self.size is None:
            return ()
        if isinstance(self.size, tuple):
            return tuple(map(float, self.size))
        return (float(self.size),) * len(self.position)


def neighbours_of(axes: int, radius: int, neighbourhood: str) -> list[tuple[int, ...]]:
    """The steps (…, dz, dy, dx) to every neighbour, row by row, layer by layer."""
    found: list[tuple[int, ...]] = [()]
    for _ in range(axes):
        found = [(*step, d) for step in found for d in range(-radius, radius + 1)]
    near = neighbourhood != "von_neumann"
    return [s for s in found if any(s) and (near or sum(map(abs, s)) <= radius)]
