"""What of its bloque a built-in processor computes with, and nobody else could know of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from corec.config import Fault
from corec.entities.registry import BUILT_IN
from corec.processors.bounds import BOUNDS
from corec.swarm import Swarm


def suiting_faults(swarm: Swarm) -> Iterator[Fault]:
    """What of a swarm, as it is configured now, its processor does not go with."""
    where = f"bloques[{swarm.bloque}]"
    if swarm.first_number == 0:  # what it grew by has the same parameters
        yield from _bounds_faults(swarm, where)
    if (asks := _ASKS.get(swarm.processor.name)) is not None and swarm.space is not None:
        yield from asks(swarm, where)


def _bounds_faults(swarm: Swarm, where: str) -> Iterator[Fault]:
    """Of the parameters of a built-in processor, those with which its formula says nothing."""
    bounds = _BOUNDS.get(swarm.processor.name, {})
    for (name, _), value in zip(swarm.processor.params, swarm.params, strict=False):
        if name in bounds and not bounds[name].hold(value):
            found = f"{value:.12g}"
            yield Fault(f"{where}.parametros.{name}", found, f"{bounds[name]}")


def _board_faults(swarm: Swarm, where: str) -> Iterator[Fault]:
    """Of a grid on which the colours of a chessboard follow from an id and ``width``."""
    space = swarm.space
    assert space is not None
    if space.kind != "grid":
        yield Fault(f"{where}.space.kind", f'"{space.kind}"', 'a "grid" for ising')
        return
    if space.neighbourhood != "von_neumann" or space.radius != 1:
        found = f'"{space.neighbourhood}", radius {space.radius:g}'
        yield Fault(f"{where}.space.neighbourhood", found, '"von_neumann", radius 1, for ising')
    if space.depth not in (None, 1):
        yield Fault(f"{where}.space.depth", f"{space.depth}", "none: ising has two dimensions")
    for name in ("width", "height"):
        side = getattr(space, name) or 1
        if space.wrap and side > 1 and side % 2:
            allowed = "an even number for ising, or wrap false"
            yield Fault(f"{where}.space.{name}", f"{side}", allowed)
    wide = space.width or 1
    given = dict(zip((name for name, _ in swarm.processor.params), swarm.params, strict=False))
    if given["width"] != wide:
        found = f"{given['width']:g}"
        yield Fault(f"{where}.parametros.width", found, f"{wide}, the width of its grid")
    elif swarm.first_id % wide:
        found = f"{swarm.first_id} entities before those of ising"
        yield Fault(where, found, f"none, or a multiple of its width, {wide}")


_BOUNDS: Final = {BUILT_IN[name]: bounds for name, bounds in BOUNDS.items()}
_ASKS: Final[dict[str, Callable[[Swarm, str], Iterator[Fault]]]] = {
    "corec.processors.ising:ising": _board_faults,
}
"""By the name of the processor."""
