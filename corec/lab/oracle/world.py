"""A whole world: the blocks of a configuration, ticked together with what comes in."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, Final

import numpy as np

from corec.lab.oracle.block import Block, Reading
from corec.lab.oracle.calls import Letter
from corec.lab.oracle.counting import Given, as_written, settled
from corec.lab.oracle.entity import Kind
from corec.lab.oracle.evolution import evolve
from corec.lab.oracle.fusion import EVERY, fuse
from corec.lab.oracle.held import Settings
from corec.lab.oracle.limits import limits_of
from corec.lab.oracle.lives import lives_at_first, settle
from corec.lab.oracle.measures import Statistics, measured, wishes
from corec.lab.oracle.migrate import migrate
from corec.lab.oracle.near import Neighbours
from corec.lab.oracle.phases import Told
from corec.lab.oracle.plane import Plane
from corec.lab.oracle.rows import Message, Repair, Row
from corec.lab.oracle.spaces import Edges, Spaces
from corec.lab.oracle.writes import write

RULES: Final = ("evolucion", "simbiosis")
"""Keys of a bloque that a reload changes."""
DEFAULT_SEED: Final = 42
DEFAULT_EVERY: Final = 10
DEFAULT_MAX_ERRORES: Final = 0.05
DEFAULT_MIN_FITNESS: Final = 0.2


def per_block(config: Mapping[str, Any], bloque: Mapping[str, Any]) -> int:
    """How many entities one block of this bloque holds (docs/configuration.md)."""
    for holder in (bloque, config):
        if holder.get("entidades_por_bloque"):
            return int(holder["entidades_por_bloque"])
    return 750 + 250 * int(bloque.get("max_size_mb", 1))


def up(number: int, step: int) -> int:
    """Rounded up to a multiple of ``step``."""
    return -(-number // step) * step


def log_cap(kind: Kind, cap: int, max_size_mb: int) -> int:
    """How many messages between two rows a block keeps for its payload."""
    fields = [int(dtype[1]) for dtype, _ in kind.state.values()] + [8] * len(kind.history)
    copy = up(4 * cap, 64) + sum(up(cap * size, 64) for size in fields)
    hist = up(sum(up(cap * 4 * (n + 8), 64) for n in kind.history.values()), 4096)
    cold = 2 * (3 * up(cap, 64) + up(4 * cap, 64) + len(kind.genes) * up(4 * cap, 64))
    model = 1_048_576 if max_size_mb >= 5 else 0
    log = 4096 + 2 * copy + cold + 2 * post_bytes(kind, cap)
    size = max_size_mb * 1_048_576
    spare = size - log - hist - model - 16 * cap
    log += min(-log % 4096, spare // 64 * 64)
    return min(65_536, (size - hist - model - log) // 16)


def places_of(bloque: Mapping[str, Any]) -> int:
    """How many ids a bloque has: places, of which ``entidades`` are lived in at first."""
    return int(bloque.get("capacidad") or bloque["entidades"])


def post_bytes(kind: Kind, cap: int) -> int:
    """What a block keeps for the next tick, once."""
    if not kind.sends and not kind.mortal:
        return 0
    lives = cap * (8 * len(kind.state) + 12) if kind.mortal else 0
    return up(64 + 8 * kind.sends * cap + lives, 64)


def blocks_of(
    config: Mapping[str, Any], kinds: Mapping[str, Kind], only: Container[str] | None = None
) -> list[Settings]:
    """The blocks in order: ids count up from 0, the last block of a bloque holds the rest."""
    found, first_id = [], 0
    for bloque in config["bloques"]:
        places = places_of(bloque)
        if only is None or bloque["id"] in only:
            kind = kinds[bloque.get("procesador", "sensor")]
            found += part_of(config, bloque, kind, first_id, places)
        first_id += places
    return found


def part_of(
    config: Mapping[str, Any], bloque: Mapping[str, Any], kind: Kind, first_id: int, places: int,
    number: int = 0, size: int = 0,
) -> list[Settings]:  # fmt: skip
    """The blocks of so many places of a bloque, the first one with this id and this number;
    ``size``: as large as blocks that are there already."""
    repair = bloque.get("autoreparacion") or config.get("autoreparacion") or {}
    size = size or min(per_block(config, bloque), places)
    log = log_cap(kind, size, int(bloque.get("max_size_mb", 1)))
    living = int(bloque["entidades"])
    found = []
    for k in range(-(-places // size)):
        before = k * size

        def lives(place: int, before: int = before) -> bool:
            return lives_at_first(before + place, living, places)

        found.append(Settings(
            f"{bloque['id']}:{number + k:05d}", int(bloque["canal"]), first_id + before,
            min(size, places - before), kind, {**kind.params, **bloque.get("parametros", {})},
            float(repair.get("max_errores", DEFAULT_MAX_ERRORES)),
            umbral=bloque.get("umbral"), log_cap=log, evolucion=bloque.get("evolucion"),
            min_fitness=float(repair.get("min_fitness", DEFAULT_MIN_FITNESS)),
            symbiosis=bloque.get("simbiosis", "fusion"),
            fuses_with=fuses_with(bloque, kind, size),
            cap=size, alone=places <= size, lives=lives,
            seen=bool(bloque.get("space") or kind.public), plane=plane_of(bloque),
        ))  # fmt: skip
    return found


def fuses_with(bloque: Mapping[str, Any], kind: Kind, size: int) -> tuple[Any, ...]:
    """What two blocks have in common that may fuse."""
    if bloque.get("simbiosis") == "division":
        return bloque["id"], size
    return bloque["canal"], kind.name, size, bloque.get("max_size_mb", 1), of_plane(bloque)


def plane_of(bloque: Mapping[str, Any]) -> Plane | None:
    """Where the entities of a bloque move."""
    space = bloque.get("space") or {}
    return Plane.of(space) if space.get("kind") == "plane" else None


def of_plane(bloque: Mapping[str, Any]) -> Any:
    """What two planes have in common of which one's positions lie on the other."""
    plane = plane_of(bloque)
    return plane and (plane.position, plane.size, plane.wrap)


def common(value: Any, types: Container[str]) -> Any:
    """A public field as ``me.entity`` gives it, of these types in the bloques that show it."""
    real = [each for each in ("f4", "f8") if each in types]
    whole = any(each in types for each in ("i1", "u1", "i2", "u2", "i4", "u4", "i8"))
    if len(real) + whole > 1:
        return np.float64(value)
    return value


class World:
    """The world of ``config`` at tick 0; ``kinds`` by the names that ``procesador`` uses.

    ``only``: of these bloques, the others left out.
    """

    def __init__(
        self, config: Mapping[str, Any], kinds: Mapping[str, Kind],
        only: Container[str] | None = None, edges: Edges | None = None,
    ) -> None:  # fmt: skip
        """``edges``: of the files that graphs name."""
        seed = int(config.get("seed", DEFAULT_SEED))
        given = {name: np.float32(value) for name, value in config.get("globals", {}).items()}
        self.globals = SimpleNamespace(**given)
        self.config, self.kinds, self.seed = config, kinds, seed
        settings = blocks_of(config, kinds, only)
        self.tick = 0
        self._post: list[Letter] = []
        self._seen: dict[int, dict[str, Any]] = {}
        places = {bloque["id"]: places_of(bloque) for bloque in config["bloques"]}
        self._spaces = Spaces(config, places, seed, edges or {})
        self.statistics: list[Statistics] = []
        self.told: list[Told] = []
        self.blocks = [self._block(each) for each in settings]
        self.carga = float(config.get("carga", 1.0))
        persist = config.get("persist", {})
        self.every_ticks = int(persist.get("every_ticks", DEFAULT_EVERY))
        self.payload = persist.get("payload", "json")
        self.fuses = "sincronizacion" in config.get("modules", ("sincronizacion",))
        self.messages_in = 0
        self._given: list[Given] = []
        self.rows: list[Row] = []
        self.repairs: list[Repair] = []

    def run_tick(self, readings: Sequence[Reading] = ()) -> None:
        """One tick; ``readings`` in order of arrival, each for an entity that exists."""
        self.tick += 1
        self.messages_in += len(readings)
        self._settle_for(self.tick)
        self._collect()
        self._evolve()
        if self.fuses and self.tick > 1 and (self.tick - 1) % EVERY == 0:
            self.told += fuse(self.blocks, self.tick - 1)
        for blocks in self._swarms().values():
            if blocks[0].settings.kind.mortal and self.tick > 1:
                settle(blocks, self.tick - 1)
        self._seen = {i: fields for block in self.blocks for i, fields in block.shown.items()}
        self._spaces.tick()
        post, self._post = self._post, []
        for block in self.blocks:
            mine = [r for r in readings if r[0] in block.ids]
            letters = [letter for letter in post if letter[0] in block.ids]
            done = block.run_tick(self.carga, mine, letters)
            self._post += done.letters
            self.repairs += done.repairs
            if self.payload != "json":
                block.keep_none(done)
            if self.tick % self.every_ticks == 0:
                self.rows.append(block.take_row(self.carga, self.payload))

    def _collect(self) -> None:
        """What is told of the last tick's end."""
        after = self.tick - 1
        for name, blocks in self._swarms().items() if after else ():
            due = [text for every, stats in wishes(self.config, name) if after % every == 0
                   for text in stats]  # fmt: skip
            self.statistics += [measured(block, due, after) for block in blocks if due]

    def write(
        self, swarm: str, fields: Mapping[str, Any], ids: Sequence[int] | None = None
    ) -> None:  # fmt: skip
        """State from outside, between the last tick and the next one."""
        write(self._swarms()[swarm], fields, ids)

    def migrate(self, kinds: Mapping[str, Kind]) -> None:
        """Processors that have other fields from now on."""
        self.kinds = {**self.kinds, **kinds}
        self._settle_for(self.tick + 1)
        for bloque in self.config["bloques"]:
            kind = kinds.get(bloque.get("procesador", "sensor"))
            for block in self._swarms()[bloque["id"]] if kind is not None else ():
                assert kind is not None
                room = log_cap(kind, block.settings.cap, int(bloque.get("max_size_mb", 1)))
                given = {**kind.params, **bloque.get("parametros", {})}
                given |= {n: v for n, v in block.params.items() if n in kind.params}
                migrate(block, kind, room, given)

    def _evolve(self) -> None:
        """What happens between the last tick and this one."""
        after = self.tick - 1
        for blocks in self._swarms().values():
            rules = blocks[0].settings.evolucion
            if rules is not None and after > 0 and after % int(rules["cada"]) == 0:
                self.told += evolve(blocks, rules, after)

    def _swarms(self) -> dict[str, list[Block]]:
        """The blocks of each bloque, in order."""
        swarms: dict[str, list[Block]] = {}
        for block in self.blocks:
            swarms.setdefault(block.settings.name.partition(":")[0], []).append(block)
        return swarms

    def reaches(self, identity: int) -> None:
        """Whether there is an entity of this id to send to.

        Raises:
            IndexError: there is none. TypeError: it takes nothing.
        """
        for block in self.blocks:
            if identity in block.ids:
                if not block.settings.kind.takes:
                    raise TypeError(f"{identity} takes nothing")
                return
        raise IndexError(f"no entity {identity}")

    def grow(self, swarm: str, more: int) -> None:
        """So many more entities of a bloque, from the next tick on; their ids come last."""
        bloque = next(b for b in self.config["bloques"] if b["id"] == swarm)
        self._settle_for(self.tick + 1)
        last = self.blocks[-1].settings
        mine = self._swarms()[swarm]
        counts = settled(self.config, self._given, self.tick + 1)
        bloque = {**bloque, "parametros": {n: float(v) for n, v in mine[0].params.items()}}
        if limits := counts.get(f"bloques.{swarm}.umbral"):
            bloque["umbral"] = as_written(limits)
        full = mine[0].settings.cap == per_block(self.config, bloque)
        added = part_of(
            self.config, {**bloque, "entidades": more}, mine[0].settings.kind,
            last.first_id + last.n, more, len(mine), mine[0].settings.cap if full else 0,
        )  # fmt: skip
        blocks = [self._block(each) for each in added]
        for entity in (one for block in blocks for one in block.entities):
            entity.state.update({"heard": self.tick} if mine[0].settings.kind.silence else {})
        rules = mine[0].settings
        for block in (*mine, *blocks):
            now = replace(block.settings, alone=False, evolucion=rules.evolucion)
            block.settings = self._with_rules(now, "simbiosis", rules.symbiosis)
        self.blocks += blocks

    def _block(self, settings: Settings) -> Block:
        return Block(settings, self.seed, self.globals, self.reaches, self.neighbours, self.tick,
                     self.found)  # fmt: skip

    def found(self, identity: int) -> SimpleNamespace:
        """What ``me.entity(identity)`` shows: its id, and its bloque's public fields.

        Raises:
            IndexError: there is no such entity.
        """
        kind = next((b.settings.kind for b in self.blocks if identity in b.ids), None)
        if kind is None:
            raise IndexError(f"no entity {identity}")
        all_of_them = [block.settings.kind for block in self.blocks]
        types = {n: {each.state[n][0] for each in all_of_them if n in each.public}
                 for n in kind.public}  # fmt: skip
        shown = self._seen[identity] if kind.public else {}
        fields = {name: common(shown[name], types[name]) for name in kind.public}
        return SimpleNamespace(id=identity, **fields)

    def neighbours(self, identity: int) -> Neighbours:
        """Of an entity of a bloque in a space."""
        block, _ = self.entity(identity)
        ids = {name: [i for each in blocks for i in each.ids]
               for name, blocks in self._swarms().items()}  # fmt: skip
        name = block.settings.name.partition(":")[0]
        return self._spaces.neighbours(name, ids, identity, self._seen)

    def set(self, path: str, value: Any) -> None:
        """A change that takes effect with the next tick: ``carga``, ``globals.NAME``,
        ``bloques.ID.umbral``, ``.parametros.NAME``, ``.autoreparacion.max_errores``,
        ``.autoreparacion.min_fitness``, ``persist.every_ticks``, ``persist.payload``."""
        if path == "carga":
            self.carga = float(value)
        elif path == "persist.payload":
            self.payload = str(value)
        elif path == "persist.every_ticks":
            self.every_ticks = int(value)
        else:
            self._given.append((self.tick + 1, path, value))

    def allows(self, path: str, value: Any) -> bool:
        """Whether somebody may set it: a limit of an umbral not on the wrong side of what the other
        one is in the next tick."""
        whole, umbral, limit = path.partition(".umbral")
        if not limit:
            return True
        swarm = whole.removeprefix("bloques.")
        bloque = next(b for b in self.config["bloques"] if b["id"] == swarm)
        counts = settled(self.config, self._given, self.tick + 1)
        least, most = counts.get(whole + umbral, limits_of(bloque.get("umbral"))[:2])
        one = float(np.float32(value))
        fine = one <= most < math.inf if limit == ".min" else -math.inf < least <= one
        return bool(fine)

    def _settle_for(self, tick: int) -> None:
        """Have count what counts in ``tick``."""
        for path, value in settled(self.config, self._given, tick).items():
            self._settle(path, value)

    def _settle(self, path: str, value: Any) -> None:
        if path.startswith("globals."):
            setattr(self.globals, path.partition(".")[2], np.float32(value))
            return
        _, swarm, key = path.split(".", 2)
        for block in self.blocks:
            if block.settings.name.partition(":")[0] != swarm:
                continue
            if key == "umbral":
                block.least, block.most = value
            elif key in RULES:
                block.settings = self._with_rules(block.settings, key, value)
            elif key.startswith("parametros."):
                block.params[key.partition(".")[2]] = np.float32(value)
            elif key == "autoreparacion.max_errores":
                block.max_errores = float(value)
            elif key == "autoreparacion.min_fitness":
                block.min_fitness = float(value)
            else:
                raise KeyError(path)

    def _with_rules(self, settings: Settings, key: str, value: Any) -> Settings:
        """With another ``evolucion`` or ``simbiosis``, which a reload brings."""
        if key == "evolucion":
            return replace(settings, evolucion=value)
        swarm = settings.name.partition(":")[0]
        bloque = next(b for b in self.config["bloques"] if b["id"] == swarm)
        alike = fuses_with({**bloque, "simbiosis": value}, settings.kind, settings.cap)
        return replace(settings, symbiosis=value, fuses_with=alike)

    @property
    def messages(self) -> list[Message]:
        """Every message in the order of ticks, blocks, and of being emitted."""
        found = [message for block in self.blocks for message in block.messages]
        return sorted(found, key=lambda message: message.tick)

    def entity(self, identity: int) -> tuple[Block, int]:
        """Its block and its place in it."""
        for block in self.blocks:
            place = identity - block.settings.first_id
            if 0 <= place < block.n:
                return block, place
        raise KeyError(identity)
