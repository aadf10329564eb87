"""A bloque's ``space``: where its entities stand, and so which of them are neighbours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

from corec.config.faults import Fault
from corec.config.keys import Section, key

SIDE_MAX: Final = 2**32
RADIUS_MAX: Final = 500
NEIGHBOURS_MAX: Final = 1024
ROWS_MAX: Final = 63
_SIDES: Final = ("width", "height", "depth")


class Grid(Section):
    """One entity in each cell, row by row, layer by layer."""

    kind: Literal["grid"] = key('"grid"', "Cells of one entity each.")
    width: int = key(
        f"an integer from 1 to {SIDE_MAX}", "Cells of a row.", strict=True, ge=1, le=SIDE_MAX
    )
    height: int | None = key(
        f"null (one row) or an integer from 1 to {SIDE_MAX}",
        "Rows.",
        None,
        strict=True,
        ge=1,
        le=SIDE_MAX,
    )
    depth: int | None = key(
        f"null (one layer) or an integer from 1 to {SIDE_MAX}, beside a height",
        "Layers.",
        None,
        strict=True,
        ge=1,
        le=SIDE_MAX,
    )
    wrap: bool = key(
        "true (what leaves on one side comes back on the other) or false",
        "Whether the grid has no edge.",
        True,
        strict=True,
    )
    neighbourhood: Literal["moore", "von_neumann"] = key(
        '"moore" (up to radius steps along each axis) or "von_neumann" (up to radius steps in all)',
        "Which cells about one are its neighbours.",
        "moore",
    )
    radius: int = key(
        f"an integer from 1 to {RADIUS_MAX}, at most {NEIGHBOURS_MAX} neighbours",
        "How far neighbours are.",
        1,
        strict=True,
        ge=1,
        le=RADIUS_MAX,
    )

    @property
    def sides(self) -> tuple[int, ...]:
        """Width, height, depth, as many as there are."""
        return tuple(side for side in (self.width, self.height, self.depth) if side is not None)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def neighbours_of(axes: int, radius: int, neighbourhood: str) -> list[tuple[int, ...]]:
    """The steps (…, dz, dy, dx) to every neighbour, row by row, layer by layer."""
    found: list[tuple[int, ...]] = [()]
    for _ in range(axes):
        found = [(*step, d) for step in found for d in range(-radius, radius + 1)]
    near = neighbourhood != "von_neumann"
    return [s for s in found if any(s) and (near or sum(map(abs, s)) <= radius)]


def space_faults(space: object, entidades: object, where: str) -> Iterator[Fault]:
    """What does not go together in the ``space`` of a bloque, which need not be valid otherwise."""
    if not isinstance(space, Mapping) or space.get("kind") != "grid":
        return
    given: dict[str, Any] = {n: space[n] for n in _SIDES if space.get(n) is not None}
    if not all(map(_whole, given.values())) or "width" not in given:
        return
    if "depth" in given and "height" not in given:
        yield Fault(f"{where}.depth", str(given["depth"]), "a depth beside a height")
        return
    cells = 1
    for side in given.values():
        cells *= side
    text = " · ".join(str(side) for side in given.values())
    if _whole(entidades) and cells != entidades:
        yield Fault(where, f"{text} = {cells} cells", f"as many as entidades, {entidades}")
    radius = space.get("radius", 1)
    if not _whole(radius) or radius > RADIUS_MAX:
        return
    least = 2 * radius + 1 if space.get("wrap", True) is True else radius + 1
    for name, side in given.items():
        if side < least:
            yield Fault(f"{where}.radius", f"{radius} in a {name} of {side}",
                        f"a {name} of at least {least}, or a smaller radius")  # fmt: skip
            return
    rows = (2 * radius + 1) ** (len(given) - 1)
    fits = rows <= ROWS_MAX  # before all of a large one are listed
    if fits:
        steps = neighbours_of(len(given), radius, str(space.get("neighbourhood", "moore")))
        fits = len(steps) <= NEIGHBOURS_MAX
    if not fits:
        yield Fault(f"{where}.radius", f"{radius} in {len(given)} dimensions",
                    f"at most {NEIGHBOURS_MAX} neighbours in {ROWS_MAX} rows")  # fmt: skip
