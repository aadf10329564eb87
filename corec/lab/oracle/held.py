"""What there is of an entity, of a block and of one tick of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from corec.lab.oracle.calls import LIVES, Letter
from corec.lab.oracle.entity import Kind, State
from corec.lab.oracle.plane import Plane
from corec.lab.oracle.rows import Message, Repair


@dataclass
class Entity:
    """One entity. ``ran_well``: how its last run ended; None before the first."""

    id: int
    state: State
    activo: bool = True
    fallos: int = 0
    running_failures: int = 0
    ran_well: bool | None = None
    genes: dict[str, np.float32] = field(default_factory=dict)


@dataclass(frozen=True)
class Settings:
    """What the configuration says about a block."""

    name: str
    canal: int
    first_id: int
    n: int
    kind: Kind
    params: Mapping[str, float]
    max_errores: float = 0.05
    evolucion: Mapping[str, Any] | None = None
    min_fitness: float = 0.2
    fuses_with: tuple[Any, ...] = ()
    symbiosis: str = "fusion"
    umbral: Any = None  # None, a number, "siempre", "nunca", or {"min", "max", "inicial"}
    log_cap: int = 65_536
    cap: int = 65_535
    """Entities of a full block of its bloque."""
    alone: bool = True
    """Whether the bloque has no other block."""
    seen: bool = False
    """Whether others look at its entities."""
    lives: Callable[[int], bool] = lambda place: True
    """Whether somebody lives at a place of the block at first."""
    plane: Plane | None = None
    """Where its entities move."""


Child = tuple[dict[str, Any], Entity]
"""What it was given, and its mother."""


@dataclass
class Tick:
    """What one tick of a block did."""

    good: list[tuple[int, np.float32]] = field(default_factory=list)  # place, value
    failed: dict[int, int] = field(default_factory=dict)  # place → failed runs
    messages: list[Message] = field(default_factory=list)
    repairs: list[Repair] = field(default_factory=list)
    runs: int = 0
    letters: list[Letter] = field(default_factory=list)  # as they were sent
    born: list[Child] = field(default_factory=list)
    homeless: list[Child] = field(default_factory=list)  # those without a place here
    moving: list[Entity] = field(default_factory=list)  # who wants to


def own_of(kind: Any) -> set[str]:
    """What no repair, fusion or mother's state replaces."""
    silent = ("heard", "quiet") if kind.silence else ()
    return {*kind.history, *kind.kept, *silent, *(LIVES if kind.mortal else ())}
