"""Which swarms see each other on a plane, and whether a processor goes with its bloque's space;
what is asked of any entity by its id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from corec.config.faults import Fault
from corec.config.space import Space
from corec.config.space_faults import space_faults
from corec.entities.globals_used import names_of_anybody
from corec.entities.meeting import read_as, shown_of
from corec.entities.processor import Processor
from corec.swarm import Swarm


def sight_faults(swarm: Swarm, procesador: str) -> list[Fault]:
    """What of a swarm's space its processor does not go with."""
    where, space, processor = f"bloques[{swarm.index}].space", swarm.space, swarm.processor
    if swarm.living < swarm.entidades and not processor.mortal:
        found = f"more than entidades, and nobody of {procesador} is born"
        allowed = "a processor that calls me.spawn, or is declared with mortal=True"
        return [Fault(f"bloques[{swarm.index}].capacidad", found, allowed)]
    if processor.see and (space is None or space.kind != "plane"):
        found = f"no plane, and {procesador} sees {', '.join(processor.see)}"
        return [Fault(where, found, "a plane that both are on")]
    if space is None or space.kind != "plane":
        return []
    return position_faults(space.position or (), processor, procesador, where)


def position_faults(
    position: Sequence[str], processor: Processor, procesador: str, where: str
) -> list[Fault]:
    """What is no position on a plane."""
    known = [field.name for field in processor.state if field.dtype == "f4"]
    text = f"an f4 state field of {procesador}: {', '.join(known) or 'none'}"
    return [
        Fault(f"{where}.position", f'"{name}"', text) for name in position if name not in known
    ]


def _box(space: Space | None) -> tuple[Any, ...] | None:
    """What two have in common who are on one plane."""
    return None if space is None else (space.kind, space.sizes, space.wrap)


def with_sight(swarms: list[Swarm], faults: list[Fault]) -> list[Swarm]:
    """``swarms``, each with what it sees of others; faults are added where it can't."""
    by_id = {swarm.id: swarm for swarm in swarms}
    found = []
    for swarm in swarms:
        seen = []
        for name in swarm.processor.see:
            other = by_id.get(name)
            mine, theirs = swarm.space, other.space if other is not None else None
            fits = theirs is not None and other is not swarm and mine is not None
            if not fits or _box(mine) != _box(theirs):
                text = f"{swarm.processor.name} sees {name}"
                allowed = (
                    "other bloques; its own are me.neighbours" if other is swarm
                    else "bloques of these names on a plane of the same size, axes and wrap"
                )  # fmt: skip
                faults.append(Fault(f"bloques[{swarm.index}].space", text, allowed))
                continue
            assert other is not None
            assert theirs is not None
            seen.append(shown_of(name, other.processor.shown, theirs))
        found.append(replace(swarm, seen=tuple(seen)) if seen else swarm)
    return found


def with_everyone(swarms: list[Swarm]) -> list[Swarm]:
    """``swarms``, those who ask for entities by their ids each with what it asks of them."""
    shown = [field for swarm in swarms for field in swarm.processor.shown]
    kinds, found = read_as(shown), []
    for swarm in swarms:
        asked = names_of_anybody(swarm.processor.function, swarm.processor.on_silence)
        if asked is None:
            found.append(swarm)
            continue
        everyone = tuple((name, kinds[name]) for name in sorted(kinds) if name in asked)
        found.append(replace(swarm, everyone=everyone))
    return found


def alone_fault(processor: Processor, space: Mapping[str, Any] | None, n: int) -> str | None:
    """What keeps ``n`` entities in ``space`` from being the only swarm of a world, as in a test."""
    if processor.see:
        return "see: a Block has one swarm; corec.World has as many as there are"
    faults = [*space_faults(space, n, "space")]
    if not faults and space is not None and space.get("kind") == "plane":
        faults = position_faults(space.get("position", ()), processor, processor.name, "space")
    return next(map(str, faults), None)
