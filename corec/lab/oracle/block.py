"""The rules of one block, one after the other as docs/rules.md gives them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from corec.lab.oracle.calls import (
    LIVES,
    Calls,
    Finds,
    Inbox,
    Letter,
    Reaches,
    Sees,
    nobody,
    nothing,
)
from corec.lab.oracle.entity import Me, State, stored
from corec.lab.oracle.genes import first_genes
from corec.lab.oracle.held import Entity, Settings, Tick, own_of
from corec.lab.oracle.limits import limits_of, width_of
from corec.lab.oracle.rows import Message, Repair, Row, histogram
from corec.lab.oracle.stats import folded, of_places, of_runs

DRAWS_PER_READING: Final = 16
FALLOS_MAX: Final = 2**32 - 1
Reading = tuple[int, Any, bool]
"""Entity id, valor (of several values a tuple) and activo of what came in."""


class Block:
    """One block from tick 0 on."""

    def __init__(
        self, settings: Settings, seed: int, common: Any = None, reaches: Reaches = nobody,
        sees: Sees = nothing, tick: int = 0, finds: Finds = nobody,
    ) -> None:  # fmt: skip
        """``common``: what ``me.globals`` is, as it is at the time of a call. ``reaches``: whom one
        may send to; ``sees``: who is near; ``finds``: who there is. ``tick``: the last one before
        it began."""
        self.settings, self.seed, self.n = settings, seed, settings.n
        self.common = {"globals": common}
        self.tick = tick
        self.reaches, self.sees, self.finds = reaches, sees, finds
        self.shown: dict[int, dict[str, Any]] = {}
        self.params = {name: np.float32(v) for name, v in settings.params.items()}
        self.entities = [Entity(i, {}) for i in self.ids]
        for entity in self.entities:
            entity.genes = first_genes(seed, entity.id, settings.kind.genes)
            entity.state = self.initial(entity)
            if settings.kind.mortal and not settings.lives(entity.id - settings.first_id):
                entity.state["vivo"], entity.activo = 0, False
        self.generation = 0
        self.max_errores, self.min_fitness = settings.max_errores, settings.min_fitness
        self.least, self.most, first = limits_of(settings.umbral)
        self.umbral, self.fitness = np.float32(first), 1.0
        self.media = self.desviacion = 0.0
        self.errores = 0
        self.take_means()
        self.updates = self.failures = self.repaired = 0
        self.sent = self.undelivered = 0
        self.births = self.deaths = self.no_room = self.moves = 0
        self.done = Tick()
        self.messages: list[Message] = []
        self._begin_row()

    def initial(self, entity: Entity) -> State:
        """The state an entity starts with, and goes back to."""
        kind, identity = self.settings.kind, entity.id
        state: State = {"valor": np.float32(0.0)}
        state.update({name: stored(*spec) for name, spec in kind.state.items()})
        state.update({name: [] for name in kind.history})
        plane = self.settings.plane
        if kind.init is None:
            if plane is not None:
                plane.begin(state, self.seed, identity)
            return state
        zero = {f"mean_{name}": np.float32(0.0) for name in kind.means}
        shared = {**self.params, **self.common, **zero, **entity.genes}
        me = Me(kind, identity, 0, self.seed, state, shared)
        with np.errstate(all="ignore"):
            valor = np.float32(kind.init(me))
        begun = {"valor": valor, **me.fields()}
        if plane is not None:
            plane.hold(begun)
        return begun

    def run_tick(
        self, carga: float, readings: Sequence[Reading], letters: Sequence[Letter] = ()
    ) -> Tick:
        """Tick number ``self.tick + 1`` with the readings of this block in order of arrival, and
        what was sent to its entities in the last tick."""
        self.tick += 1
        self.umbral = np.float32(min(max(float(self.umbral), self.least), self.most))
        self.done = done = Tick()
        free = self.free_places() if self.settings.kind.mortal else []
        if self.settings.kind.kind == "micro":
            self._micro(carga, readings, letters, done)
        else:
            self._celu(readings, letters, done)
        self._births(free, done)
        self._close(carga, done)
        self._repair(done)
        self.take_means()
        self._count(done)
        return done

    def _micro(
        self, carga: float, readings: Sequence[Reading], letters: Sequence[Letter], done: Tick
    ) -> None:
        mortal, first = self.settings.kind.mortal, self.settings.first_id
        for identity, valor, activo in readings:
            entity = self.entities[identity - first]
            entity.state["valor"] = np.float32(valor)
            entity.activo = activo and not (mortal and entity.state["vivo"] == 0)
        inboxes: dict[int, Inbox] = {}
        for identity, number in letters:
            inboxes.setdefault(identity - first, Inbox()).append(number)
        width = width_of(self.n, carga)
        start = (self.tick - 1) * width % self.n
        window = {(start + k) % self.n for k in range(width)}
        for place in sorted(window):
            if self.entities[place].activo:
                self._run(place, (), 0, done, inbox=inboxes.pop(place, None))
        self.undelivered += sum(map(len, inboxes.values()))

    def _celu(
        self, readings: Sequence[Reading], letters: Sequence[Letter], done: Tick
    ) -> None:  # fmt: skip
        kind = self.settings.kind
        sent = [(identity, (value,) if kind.values else value, None) for identity, value in letters]
        for number, (identity, valor, activo) in enumerate([*sent, *readings]):
            place = identity - self.settings.first_id
            entity = self.entities[place]
            entity.activo = entity.activo if activo is None else activo
            if kind.silence:
                entity.state.update(heard=self.tick, quiet=0)
            if entity.activo:
                read = kind.reading(valor)
                self._run(place, (read,), number * DRAWS_PER_READING, done)
            elif activo is None:
                self.undelivered += 1
        ran = {place for place, _ in done.good} | done.failed.keys()
        for place, entity in enumerate(self.entities):
            if not kind.silence or place in ran or not entity.activo or entity.state["quiet"]:
                continue
            if self.tick - entity.state["heard"] >= kind.silence:
                entity.state["quiet"] = 1
                self._run(place, (), 0, done, kind.on_silence)

    def _run(
        self, place: int, value: tuple[np.float32, ...], draws: int, done: Tick,
        function: Callable[..., Any] | None = None, inbox: Inbox | None = None,
    ) -> None:  # fmt: skip
        entity, kind = self.entities[place], self.settings.kind
        done.runs += 1
        state = {**entity.state, **{name: getattr(value[0], name) for name in kind.kept if value}}
        plane = self.settings.plane
        calls = Calls(kind.sends, self.reaches, inbox or Inbox(), sees=self.sees, finds=self.finds,
                      stands=plane.position if plane is not None else ())  # fmt: skip
        me = Me(kind, entity.id, self.tick, self.seed, state,
                {**self.params, **self.common, **self.means, **entity.genes}, draws,
                calls)  # fmt: skip
        try:
            with np.errstate(all="ignore"):
                valor = np.float32((function or kind.function)(me, *value))
        except Exception:  # noqa: BLE001  # whatever it raises, the entity fails
            valor = np.float32(math.nan)
        left = me.fields()
        if not np.isfinite(valor) or (plane is not None and not plane.hold(left)):
            entity.fallos = min(entity.fallos + 1, FALLOS_MAX)
            entity.running_failures += 1
            entity.ran_well = False
            done.failed[place] = done.failed.get(place, 0) + 1
            return
        entity.state = {"valor": valor, **left}
        entity.running_failures = 0
        entity.ran_well = True
        done.good.append((place, valor))
        done.letters += calls.sent
        for given in calls.born:
            if plane is not None:
                plane.hold(given)
            done.born.append((given, entity))
        done.moving += [entity] if calls.moves else []
        if valor > self.umbral:
            named = tuple((name, entity.state[name]) for name in kind.alert_fields)
            canal = self.settings.canal
            done.messages.append(Message(self.tick, entity.id, canal, valor, named, kind.alerts))

    def _births(self, free: Sequence[Entity], done: Tick) -> None:
        """When all have run: children, who died, and what is sent of what was to be."""
        room = self.settings.kind.sends * self.n
        self.sent += len(done.letters)
        self.undelivered += max(0, len(done.letters) - room)
        del done.letters[room:]
        if not self.settings.kind.mortal:
            return
        free_before = {entity.id for entity in free}
        for entity in self.free_places():
            if entity.id not in free_before:
                entity.activo = False
                self.deaths += 1
        children = done.born[: self.settings.cap]
        self.no_room += len(done.born) - len(children)
        for entity, (given, mother) in zip(free, children, strict=False):
            self.born_at(entity, given, mother.genes)
        done.homeless = children[len(free) :]
        if self.settings.alone:
            self.no_room += len(done.homeless)
            done.homeless = []

    def free_places(self) -> list[Entity]:
        """In order of ids."""
        return [entity for entity in self.entities if entity.state["vivo"] == 0]

    def born_at(
        self, entity: Entity, given: dict[str, Any], genes: dict[str, np.float32]
    ) -> None:  # fmt: skip
        """A child with these fields and the genes of its mother in a free place."""
        kind = self.settings.kind
        state: dict[str, Any] = {"valor": np.float32(0.0)}
        state.update({name: stored(*spec) for name, spec in kind.state.items()})
        state.update({name: [] for name in kind.history})
        state.update(given, vivo=1, generacion=entity.state["generacion"] + 1)
        entity.state, entity.activo, entity.fallos = state, True, 0
        entity.running_failures, entity.ran_well = 0, None
        entity.genes = dict(genes)
        self.births += 1

    def _repair(self, done: Tick) -> None:
        """Whose last run of this tick failed, in the order of ids."""
        if not len(done.failed) / self.n > self.max_errores:
            return
        sick = [place for place in sorted(done.failed) if self.entities[place].ran_well is False]
        kind, before = self.settings.kind, [entity.state for entity in self.entities]
        own = own_of(kind)
        healthy = [bool(entity.ran_well) and entity.activo for entity in self.entities]
        for place in sick:
            entity = self.entities[place]
            order = [(place + k) % self.n for k in range(1, self.n)]
            donor = next((other for other in order if healthy[other]), None)
            if donor is None or entity.running_failures >= 2:
                kept = {name: entity.state[name] for name in LIVES if kind.mortal}
                entity.state = {**self.initial(entity), **kept}
                entity.state.update({"heard": self.tick} if kind.silence else {})
                entity.running_failures, entity.ran_well = 0, None
                donor, how = place, "reset"
            else:
                kept = {name: entity.state[name] for name in own}
                entity.state, how = {**before[donor], **kept}, "inherit"
            done.repairs.append(
                Repair(self.tick, self.settings.name, entity.id, self.entities[donor].id, how)
            )

    def _close(self, carga: float, done: Tick) -> None:
        """Statistics, the threshold of the next tick, fitness, histogram."""
        sigma = 0.0
        if done.good:
            of_kind = of_places if self.settings.kind.kind == "micro" else of_runs
            self.media, self.desviacion = of_kind(done.good)
            sigma = self.desviacion
        self.errores = len(done.failed)
        raw = 0.5 * (2.0 - carga) + 0.3 * sigma + 0.2 * self.errores / self.n
        self.umbral = np.float32(min(max(raw, self.least), self.most))
        self.fitness = 0.9 * self.fitness + 0.1 * (1.0 - self.errores / self.n)
        last = {place: value for place, value in done.good if self.entities[place].ran_well}
        self.histogram = histogram(list(last.values()))

    def _count(self, done: Tick) -> None:
        self.updates += done.runs
        self.failures += sum(done.failed.values())
        self.repaired += len(done.repairs)
        self.messages += done.messages
        self.since["errores"] += self.errores
        self.since["reparadas"] += len(done.repairs)
        self.log += done.messages

    def take_means(self) -> None:
        """What ``me.mean_x`` is in the next tick, and what others see of its entities."""
        if self.settings.seen:
            self.shown = {
                e.id: {name: e.state[name] for name in self.settings.kind.state}
                for e in self.entities
            }
        found = {}
        for name in self.settings.kind.means:
            values = [
                (place, float(entity.state[name]))
                for place, entity in enumerate(self.entities)
                if entity.activo and np.isfinite(entity.state[name])
            ]
            total = folded(values)
            found[f"mean_{name}"] = np.float32(total / len(values) if values else 0.0)
        self.means: dict[str, np.float32] = found

    @property
    def ids(self) -> range:
        """Of its entities."""
        return range(self.settings.first_id, self.settings.first_id + self.n)

    @property
    def emitted(self) -> int:
        """Messages since tick 0."""
        return len(self.messages)

    @property
    def activas(self) -> int:
        """How many are switched on."""
        return sum(entity.activo for entity in self.entities)

    def keep_none(self, done: Tick) -> None:
        """No row is to name the messages of this tick."""
        if done.messages:
            del self.log[-len(done.messages) :]
        self.unkept += len(done.messages)

    def take_row(self, carga: float, payload: str) -> Row:
        """The row of this tick; what counts since the last row counts anew."""
        kept = self.log[: self.settings.log_cap]
        settings = self.settings
        row = Row(
            settings.name, settings.canal, self.tick, self.n, self.activas, **self.since,
            carga=carga, umbral=float(self.umbral), fitness=self.fitness, media=self.media,
            desviacion=self.desviacion, mensajes=len(self.log) + self.unkept,
            desde=self.row_tick + 1, messages=tuple(kept),
            omitidos=len(self.log) + self.unkept - len(kept), histogram=self.histogram,
            has_payload=payload != "none",
        )  # fmt: skip
        self._begin_row()
        return row

    def _begin_row(self) -> None:
        self.since = {"errores": 0, "reparadas": 0}
        self.log: list[Message] = []
        self.unkept = 0
        self.row_tick = self.tick
