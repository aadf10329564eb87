"""What is drawn: a world's configuration and ticks, what comes in and what changes."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import ModuleType
from typing import Any, Final

from corec.lab.oracle.block import Reading
from corec.lab.oracle.builtin import BUILTIN
from corec.lab.oracle.entity import Kind, kind_of
from corec.lab.oracle.models import MODELS
from corec.lab.oracle.world import World, places_of
from tests.oracle import changeling_1, changeling_2, changeling_3, placed, subjects

MODULE: Final = "oracle_subjects"
PLACED_MODULE: Final = "oracle_placed"
CHANGING_MODULE: Final = "oracle_changeling"
MODULES: Final[dict[str, ModuleType]] = {
    MODULE: subjects, PLACED_MODULE: placed, CHANGING_MODULE: changeling_1,
}  # fmt: skip
"""By the names under which instances find them."""
FORMS: Final = (changeling_1, changeling_2, changeling_3)
"""One after the other of what changes its fields."""
CHANGELING: Final = f"{CHANGING_MODULE}:changeling"
PER_BLOCK: Final = 40
"""Of the usual blocks; compiled code knows it, so there are few sizes."""
PER_LARGE_BLOCK: Final = 65_535
LARGE: Final = {"fragile": 8, "listener": 16}
"""Of these also the largest blocks, and the MiB such a block takes."""


def _named(module: str, *names: str) -> dict[str, Kind]:
    return {f"{module}:{name}": kind_of(getattr(MODULES[module], name)) for name in names}


KINDS: Final[Mapping[str, Kind]] = {
    **_named(MODULE, "drift", "fragile", "clerk", "coupled", "keeper", "tide", "giant", "listener",
             "tracer", "chorus", "pulse", "dicer", "sitter", "weigher", "kite"),
    **_named(PLACED_MODULE, "hoarder"),
    **BUILTIN,
}  # fmt: skip
"""By the names that ``procesador`` uses; blocks of these can be run alone."""
MEETING: Final = _named(MODULE, "gossip", "relay", "breeder", "nomad")
PLACED: Final = _named(
    PLACED_MODULE, "wader", "coral", "swift", "voter", "catcher", "spy", "heir", "evolver"
)
"""With those before: whose blocks are not worlds of their own, for they send, are born and die,
move, see others, or evolve."""
EVERYBODY: Final[Mapping[str, Kind]] = {
    **KINDS, **MEETING, **PLACED, **MODELS, **_named(CHANGING_MODULE, "changeling"),
    **_named(PLACED_MODULE, "fader"), **_named(MODULE, "laborer"),
}  # fmt: skip
MET: Final = tuple(MEETING)
REEF: Final[dict[str, Any]] = {
    "id": "reef", "canal": -7, "procesador": f"{PLACED_MODULE}:coral",
    "entidades_por_bloque": PER_BLOCK,
}  # fmt: skip
"""The bloque that waders look for."""
PACK: Final = ("wolf", "sheep", "grass")
"""Who look for each other, each in a bloque of that name."""
_FLAT: Final = {"kind": "plane", "position": ["x", "y"], "size": [10, 7], "radius": 1.5}
_DEEP: Final = {
    "kind": "plane", "position": ["x", "y", "z"], "size": 8, "radius": 2, "wrap": False,
}  # fmt: skip
_FIELD: Final = {
    "kind": "grid", "width": 12, "height": 7, "neighbourhood": "von_neumann", "wrap": False,
}  # fmt: skip
_GRID: Final = {"kind": "grid", "width": 12, "height": 7}
BOARD_WIDE: Final = 12
"""How many entities are before those of ``ising``: none, or a multiple."""
_BOARD: Final = {
    "kind": "grid", "width": BOARD_WIDE, "height": 6, "neighbourhood": "von_neumann",
}  # fmt: skip
_NET: Final = {"kind": "graph", "edges": {"generator": "ring"}}
_TIES: Final = {"kind": "graph", "edges": "ties.csv", "weights": True}
STANDING: Final[Mapping[str, dict[str, Any]]] = {
    "nomad": {"space": _GRID, "capacidad": 84}, "schelling": {"space": _GRID, "capacidad": 84},
    "life": {"space": _GRID, "entidades": 84}, "forest_fire": {"space": _FIELD, "entidades": 84},
    "diffusion": {"space": _FIELD, "entidades": 84}, "sir_graph": {"space": _NET, "entidades": 50},
    "ising": {"space": _BOARD, "entidades": 72},
    "boids": {"space": _FLAT, "entidades": 50}, "grass": {"space": _FLAT, "entidades": 50},
    "sheep": {"space": _FLAT, "capacidad": 60}, "wolf": {"space": _FLAT, "capacidad": 60},
    "wader": {"space": _FLAT, "capacidad": 60}, "coral": {"space": _FLAT, "entidades": 50},
    "swift": {"space": _DEEP, "entidades": 60},
    "voter": {"space": _TIES, "capacidad": 60}, "catcher": {"space": _NET, "entidades": 50},
    "spy": {"entidades": 60},
    "evolver": {"evolucion": {"cada": 2}},
}  # fmt: skip
"""What a bloque of those has beside its processor; compiled code knows most of it."""
GROW: Final = "grow."
"""A change that begins so gives a bloque more entities."""
WRITE: Final = "write."
"""One that begins so writes into a bloque: ``fields``, and ``ids`` or None."""
MIGRATE: Final = "migrate"
"""What changes its fields does so: to that of ``FORMS``."""
WORKERS: Final = "workers"
"""One of an instance's more, or one fewer, which changes nothing."""
EVEN: Final = "even"
"""An instance ticks until its workers' shares are evened out, which changes nothing but how many
ticks there are."""
FADER: Final = f"{PLACED_MODULE}:fader"
LABORER: Final = f"{MODULE}:laborer"


@dataclass(frozen=True)
class Drawn:
    """One world: what an instance is given. Ticks are numbered from 1."""

    config: dict[str, Any]
    ticks: int
    readings: dict[int, list[Reading]] = field(default_factory=dict)
    changes: dict[int, dict[str, Any]] = field(default_factory=dict)
    workers: tuple[int, ...] = (1,)
    edges: dict[str, list[list[float]]] = field(default_factory=dict)
    """Of graphs, by the names of their files: source, target and perhaps a weight."""
    letters: dict[int, list[tuple[int, str]]] = field(default_factory=dict)
    """At which tick what can't be understood is sent to an entity; an instance's alone."""
    refused: dict[int, list[Any]] = field(default_factory=dict)
    """Of what happened: which changes were refused for the tick, path and value."""
    quiet: int = 0
    """So many ticks pass before anything comes in or changes."""

    def to_json(self) -> str:
        """All of it in one line."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Drawn:
        """What ``to_json`` wrote."""
        found = json.loads(text)
        for name in ("readings", "changes", "letters", "refused"):
            found[name] = {int(tick): given for tick, given in found.get(name, {}).items()}
        found["readings"] = {
            tick: [(int(i), float(v), bool(a)) for i, v, a in given]
            for tick, given in found["readings"].items()
        }
        found["letters"] = {
            tick: [(int(i), str(what)) for i, what in given]
            for tick, given in found["letters"].items()
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
    def migrates(self) -> bool:
        """Whether a processor has other fields in the end than at first."""
        return any(MIGRATE in change for change in self.changes.values())

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
        bloques = [_at_rest(bloque) for bloque in self.config["bloques"]]
        return World({**self.config, "bloques": bloques}, EVERYBODY, edges=self.edges)

    def play(self) -> World:
        """The oracle's world after all ticks."""
        world = self.oracle()
        for _ in range(self.ticks):
            self.step(world)
        return world

    def step(self, world: World) -> None:
        """One tick of the oracle's world, with what comes in and changes at it."""
        tick = world.tick + 1
        for path, value in self.refused.get(tick, ()):
            assert not world.allows(path, value), f"{path} {value} was refused for tick {tick}"
        for path, value in self.changes.get(tick, {}).items():
            if path.startswith(GROW):
                world.grow(path.removeprefix(GROW), int(value))
            elif path.startswith(WRITE):
                world.write(path.removeprefix(WRITE), value["fields"], value["ids"])
            elif path == MIGRATE:
                world.migrate(form(int(value)))
            elif path not in (WORKERS, EVEN) and world.allows(path, value):
                world.set(path, value)
        world.run_tick([self.full(reading) for reading in self.readings.get(tick, ())])


def _at_rest(bloque: dict[str, Any]) -> dict[str, Any]:
    """A bloque whose entities don't compute for nothing."""
    given = bloque.get("parametros", {})
    return {**bloque, "parametros": {**given, "work": 0.0}} if "work" in given else bloque


def spread(valor: float, width: int) -> tuple[float, ...]:
    """``width`` values of a reading, each exact in float32 where ``valor`` is."""
    return (valor, valor, *(0.5 - k for k in range(2, width)))[:width]


def places_for(short: str) -> dict[str, Any]:
    """What a bloque of those who stand somewhere has beside its processor; of others nothing."""
    return copy.deepcopy(STANDING.get(short, {}))


def form(number: int) -> dict[str, Kind]:
    """What changes its fields, after the change to that of ``FORMS``."""
    return {CHANGELING: kind_of(FORMS[number].changeling)}
