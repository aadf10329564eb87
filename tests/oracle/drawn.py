"""What is drawn: a world's configuration and ticks, what comes in and what changes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from corec.lab.oracle.block import Reading
from corec.lab.oracle.builtin import BUILTIN
from corec.lab.oracle.entity import Kind, kind_of
from corec.lab.oracle.world import World, places_of
from tests.oracle import subjects

MODULE: Final = "oracle_subjects"
PER_BLOCK: Final = 40
"""Of the usual blocks; compiled code knows it, so there are few sizes."""
PER_LARGE_BLOCK: Final = 65_535
SUBJECTS: Final = {
    name: kind_of(getattr(subjects, name))
    for name in ("drift", "fragile", "clerk", "coupled", "keeper", "tide", "giant", "listener",
                 "tracer", "chorus", "pulse", "dicer", "sitter", "weigher", "kite")
}  # fmt: skip
MEETING: Final = {
    name: kind_of(getattr(subjects, name)) for name in ("gossip", "relay", "breeder", "nomad")
}
"""Those whose blocks are not worlds of their own: they send, are born and die, move, see others."""
LARGE: Final = {"fragile": 8, "listener": 16}
"""Of these also the largest blocks, and the MiB such a block takes."""
KINDS: Final[Mapping[str, Kind]] = {
    **{f"{MODULE}:{name}": kind for name, kind in SUBJECTS.items()}, **BUILTIN,
}  # fmt: skip
"""By the names that ``procesador`` uses; blocks of these can be run alone."""
EVERYBODY: Final[Mapping[str, Kind]] = {
    **KINDS, **{f"{MODULE}:{name}": kind for name, kind in MEETING.items()},
}  # fmt: skip
MET: Final = tuple(f"{MODULE}:{name}" for name in MEETING)
CELLS: Final = (12, 7)
"""Of the grid of those who move; compiled code knows it."""
GROW: Final = "grow."
"""A change that begins so gives a bloque more entities."""


@dataclass(frozen=True)
class Drawn:
    """One world: what an instance is given. Ticks are numbered from 1."""

    config: dict[str, Any]
    ticks: int
    readings: dict[int, list[Reading]] = field(default_factory=dict)
    changes: dict[int, dict[str, Any]] = field(default_factory=dict)
    workers: tuple[int, ...] = (1,)

    def to_json(self) -> str:
        """All of it in one line."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Drawn:
        """What ``to_json`` wrote."""
        found = json.loads(text)
        for name in ("readings", "changes"):
            found[name] = {int(tick): given for tick, given in found[name].items()}
        found["readings"] = {
            tick: [(int(i), float(v), bool(a)) for i, v, a in given]
            for tick, given in found["readings"].items()
        }
        return Drawn(**{**found, "workers": tuple(found["workers"])})

    @staticmethod
    def from_text(text: str) -> Drawn:
        """A file that a run left: a world, or what happened in an instance."""
        found = json.loads(text)
        return Drawn.from_json(json.dumps(found.get("happened", found)))

    @property
    def fits_kernels(self) -> bool:
        """Whether ``corec.testing.Block`` can be given all of it."""
        changes = all(set(change) <= {"carga"} for change in self.changes.values())
        alone = all(bloque["procesador"] in KINDS for bloque in self.config["bloques"])
        return alone and changes and not self.config.get("schedule")

    @property
    def grows(self) -> bool:
        """Whether it has more entities in the end than at first."""
        return len(self.parts) > len(self.config["bloques"])

    @property
    def parts(self) -> list[tuple[dict[str, Any], int]]:
        """The bloques, and what they grow by, in the order of ids, with how many places."""
        bloques = {bloque["id"]: bloque for bloque in self.config["bloques"]}
        found = [(bloque, places_of(bloque)) for bloque in bloques.values()]
        for _, change in sorted(self.changes.items()):
            found += [
                (bloques[path.removeprefix(GROW)], int(more))
                for path, more in change.items()
                if path.startswith(GROW)
            ]
        return found

    @property
    def entidades(self) -> int:
        """Places of all swarms, in the end."""
        return sum(places for _, places in self.parts)

    def swarm_of(self, identity: int) -> dict[str, Any]:
        """The bloque in the configuration that an entity belongs to."""
        for bloque, places in self.parts:
            if identity < places:
                return dict(bloque)
            identity -= places
        raise KeyError(identity)

    def canal_of(self, identity: int) -> int:
        """Where readings for this entity are written."""
        return int(self.swarm_of(identity)["canal"])

    def kind_of(self, identity: int) -> str:
        """ "micro" or "celu"."""
        return EVERYBODY[self.swarm_of(identity)["procesador"]].kind

    def full(self, reading: Reading) -> Reading:
        """``reading`` with all the values that its entity takes: they follow from the drawn one."""
        identity, valor, activo = reading
        width = len(EVERYBODY[self.swarm_of(identity)["procesador"]].values)
        return identity, spread(valor, width) if width and activo else valor, activo

    def oracle(self) -> World:
        """The oracle's world of it, at tick 0."""
        return World(self.config, EVERYBODY)

    def play(self) -> World:
        """The oracle's world after all ticks."""
        world = self.oracle()
        for _ in range(self.ticks):
            self.step(world)
        return world

    def step(self, world: World) -> None:
        """One tick of the oracle's world, with what comes in and changes at it."""
        tick = world.tick + 1
        for path, value in self.changes.get(tick, {}).items():
            if path.startswith(GROW):
                world.grow(path.removeprefix(GROW), int(value))
            else:
                world.set(path, value)
        world.run_tick([self.full(reading) for reading in self.readings.get(tick, ())])


def spread(valor: float, width: int) -> tuple[float, ...]:
    """``width`` values of a reading, each exact in float32 where ``valor`` is."""
    return (valor, valor, *(0.5 - k for k in range(2, width)))[:width]


def places_for(short: str) -> dict[str, Any]:
    """What a bloque of those who move on a grid has beside its processor; of others nothing."""
    if short != "nomad":
        return {}
    width, height = CELLS
    space = {"kind": "grid", "width": width, "height": height}
    return {"space": space, "capacidad": width * height}
