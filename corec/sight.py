"""Which swarms see each other on a plane, and whether a processor goes with its bloque's space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from corec.config.faults import Fault
from corec.config.space_faults import space_faults
from corec.entities.meeting import shown_of
from corec.entities.processor import Processor

if TYPE_CHECKING:
    from corec.plan import Swarm


def sight_faults(swarm: Swarm, procesador: str) -> list[Fault]:
    """What of a swarm's space its processor does not go with."""
    where, space, processor = f"bloques[{swarm.index}].space", swarm.space, swarm.processor
    if swarm.living < swarm.entidades and not processor.mortal:
        found = f"more than entidades, and nobody of {procesador} is born"
        allowed = "a processor declared with mortal=True"
        return [Fault(f"bloques[{swarm.index}].capacidad", found, allowed)]
    if space is not None and not processor.public:
        found = f"a space, and {procesador} shows no field"
        return [Fault(where, found, 'a processor declared with public=("…",)')]
    if processor.see and (space is None or space.kind != "plane"):
        found = f"no plane, and {procesador} sees {', '.join(processor.see)}"
        return [Fault(where, found, "a plane that both are on")]
    if space is None or space.kind != "plane":
        return []
    shown = dict(processor.shown)
    known = ", ".join(name for name, dtype in shown.items() if dtype == "f4") or "none"
    return [
        Fault(f"{where}.position", f'"{name}"', f"a public f4 field of {procesador}: {known}")
        for name in space.position or ()
        if shown.get(name) != "f4"
    ]


def with_sight(swarms: list[Swarm], faults: list[Fault]) -> list[Swarm]:
    """``swarms``, each with what it sees of others; faults are added where it can't."""
    by_id = {swarm.id: swarm for swarm in swarms}
    found = []
    for swarm in swarms:
        seen = []
        for name in swarm.processor.see:
            other = by_id.get(name)
            mine, theirs = swarm.space, other.space if other is not None else None
            same = ("kind", "size", "wrap")
            fits = theirs is not None and other is not swarm and mine is not None
            if not fits or any(getattr(mine, k) != getattr(theirs, k) for k in same):
                text = f"{swarm.processor.name} sees {name}"
                allowed = "bloques of these names on a plane of the same size and wrap"
                faults.append(Fault(f"bloques[{swarm.index}].space", text, allowed))
                continue
            assert other is not None
            assert theirs is not None
            if len(theirs.sizes) != len(swarm.space.sizes if swarm.space else ()):
                text = f"{name} on a plane of {len(theirs.sizes)} axes"
                faults.append(Fault(f"bloques[{swarm.index}].space", text, "as many"))
                continue
            seen.append(shown_of(name, other.processor.shown, theirs))
        found.append(replace(swarm, seen=tuple(seen)) if seen else swarm)
    return found


def alone_fault(processor: Processor, space: Mapping[str, Any] | None, n: int) -> str | None:
    """What keeps ``n`` entities in ``space`` from being the only swarm of a world, as in a test."""
    if processor.see:
        return "see: a Block has one swarm; corec.World has as many as there are"
    if space is not None and not processor.public:
        return "space: no field is public"
    return next((str(fault) for fault in space_faults(space, n, "space")), None)
