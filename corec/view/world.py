"""``corec.World``: a world in this process, without servers, forks and files.

It is ticked by the code that ticks a worker's blocks (``corec.world.ticker``), on a plan made by
the same rules, so after tick T it is, bit for bit, what a server with the same configuration, seed
and readings is. What the broker and the persister would take from the two lanes is thrown away
here, but for the messages of the last tick and the repairs. Its last reference takes it along.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from corec.config import Config
from corec.control.failed import Failed
from corec.entities.processor import Processor
from corec.journal.past import Growth
from corec.kernels import desc as K
from corec.kernels.public import show_range
from corec.plan import Plan
from corec.plan_live import with_settings
from corec.view.alert import Alerts
from corec.view.bar import bar, ignored
from corec.view.crew import Crew, threads_of
from corec.view.emitted import Emitted
from corec.view.growing import grown_by, growths_in, plan_at_first, settling, taken_over
from corec.view.interrupt import ctrl_c_waits
from corec.view.memory import zeroed
from corec.view.reading import Columns, Digest, Part, Readable, Words, whole
from corec.view.recorded import Recorded, address_of, check_may_grow, past_recorded
from corec.view.settings import Asked, changed_by, changes_of, configured, firing_events
from corec.view.turns import Alone, by_turns
from corec.view.writing import asked_to_write, readings_of, written_event
from corec.world.columns import read_columns
from corec.world.create import copy_blocks, create_world
from corec.world.digest import digest_of
from corec.world.edits import apply, checked
from corec.world.grown import fill_grown
from corec.world.live import Live, Since
from corec.world.restore import check_parts, load_checkpoint
from corec.world.settings import since
from corec.world.tables import make_tables


@by_turns("_read _tick alerts close digest errors events fork grow messages set tick write")
class World(Alone, Readable):
    """A world at tick 0, of a configuration (a dict as in the file, or the file's path).

    In a dict, ``instance_id`` may be left out, and ``procesador`` may be a processor itself.
    ``seed`` and ``changes`` are written over it: path → value, where a path is ``ID.NAME``, a
    parameter of a bloque, ``bloques.ID.KEY``, any key of one, or any other key, such as ``carga``.
    With ``checkpoint``, a file that an instance of this configuration has left, it begins there
    instead of at tick 0; what the configuration has more comes before its next tick. With
    ``replay`` it goes on from there as that instance did: what its ticks took in and what was set
    meanwhile comes again, as far as its journal says (``replay_until``); what is set in this world
    counts instead. ``replay`` is true, or the URL of its Redis. ``threads`` run a tick's blocks at
    once, one for a core; the world is the same for any number.

    Raises:
        ConfigError: the configuration is wrong; it says everything that is.
        CheckpointRefused: the checkpoint is damaged, or another world's; it says what differs.
        ProcessorError: a processor's ``init`` fails. MemoryError: the machine has no room for it.
        ValueError: the journal has nothing to replay.
    """

    _recorded: Recorded | None
    _growths: list[Growth]

    def __init__(
        self, config: Mapping[str, Any] | str | Path, *, seed: SupportsIndex | None = None,
        changes: Mapping[str, Any] | None = None, checkpoint: str | Path | None = None,
        replay: bool | str = False, threads: SupportsIndex = 1,
    ) -> None:  # fmt: skip
        self._threads = threads_of(threads)
        checked, processors = configured(config, seed, changes)
        found = None if checkpoint is None else check_parts(Path(checkpoint))
        head: Mapping[str, Any] | None = None if found is None else found.head
        past = past_recorded(checked, head) if replay else None
        self._hold(checked, plan_at_first(checked, processors, found, past), processors)
        if found is None:
            create_world(self._plan, self._pages(), self._tables, checked.seed, ignored)
        else:
            load_checkpoint(found, self._plan, self._pages())
            self._go_on_from(found.tick)
        if past is not None:
            url = address_of(config, replay)
            self._recorded = Recorded(checked, self._plan, head, url, past)
            head = self._recorded.head
        self._growths = growths_in(checked, processors, self._plan, past, head)
        if head is not None:
            self._take_over(head)

    @property
    def replay_until(self) -> int | None:
        """The last tick that ``replay`` knows something of; None: it was not asked for."""
        return None if self._recorded is None else self._recorded.until

    def _hold(self, config: Config, plan: Plan, processors: Mapping[str, Processor]) -> None:
        """Zeroed memory for a world of ``plan``, and what ticks it."""
        self._config, self._plan, self._processors = config, plan, processors
        self._memory: NDArray[np.uint8] | None = zeroed(plan.world_bytes)
        self._tables = make_tables(plan, self._memory)
        self._crew = Crew(config, plan, self._tables, self._memory, self._threads)
        self._live = Live(config, plan)
        self._given: dict[str, Since] = {}
        self._over: dict[str, Since] = {}
        self._recorded = None
        self._growths = []
        self._changes: list[dict[str, Any]] = []
        self._emitted = Emitted(plan)
        self._failed = Failed(plan, self._tables, others=self._crew.other_tables)
        self._ticks = 0

    def fork(self) -> World:
        """Another world that is what this one is now, and goes its own way from here: of one that
        replays, with what was set by now. Messages, events, alerts and errors begin anew in it."""
        self._world()
        twin = World.__new__(World)
        twin._threads = self._threads
        recorded, live = self._recorded, Live(self._live.config, self._live.plan)
        now = recorded.counting(self._ticks + 1, self._over.get("carga")) if recorded else None
        config, live, given = now or (self._config, live, self._given)
        twin._hold(config, with_settings(self._plan, config), self._processors)
        twin._live, twin._given = live, dict(given)
        live.take(twin._given)
        copy_blocks(self._plan, self._pages(), twin._pages())
        twin._go_on_from(self._ticks)
        if now is None:
            twin._recorded, twin._growths = recorded, list(self._growths)
        return twin

    def _go_on_from(self, tick: int) -> None:
        """The blocks are as ``tick`` left them; what follows from them is not there yet."""
        self._ticks = tick
        show_range(self._tables.blocks, self._tables.swarms, 0, self._plan.n_blocks)

    def _take_over(self, head: Mapping[str, Any]) -> None:
        """Go on with what had been set in the world of a checkpoint with this head."""
        self._config, entries = taken_over(self._config, head)
        self._plan = with_settings(self._plan, self._config)
        self._given = since(entries)
        self._live.take(self._given)
        self._crew.follow(self._config)

    def _pages(self) -> NDArray[np.uint8]:
        if self._memory is None:
            raise ValueError("this world is closed")
        return self._memory

    def _world(self) -> tuple[Plan, Words]:
        return self._plan, self._pages().view(np.uint64)

    def _read(self, plan: Plan, parts: Sequence[Part]) -> list[Columns]:
        words = self._world()[1]
        return [read_columns(plan, words, one.swarm, one.names, one.blocks) for one in parts]

    @property
    def _plan_shown(self) -> Plan | None:
        return None if self._memory is None else self._plan

    @property
    def config(self) -> Config:
        """The checked configuration, with what ``set`` changed."""
        return self._config

    @property
    def ticks(self) -> int:
        """How many ticks it has run: the number of the last one."""
        return self._ticks

    def run(self, ticks: SupportsIndex, *, progress: bool = False) -> int:
        """Run so many ticks; returns the number of the last one.

        Ctrl-C ends it between two ticks, with ``KeyboardInterrupt``; ``ticks`` says where, and it
        may go on. ``progress``: show a bar.
        """
        count = whole("ticks", ticks, least=0)
        self._world()
        with bar(count, progress) as step, ctrl_c_waits() as between:
            for k in range(count):
                self._tick(k == count - 1)
                step(k + 1)
                between()
        return self._ticks

    def tick(self, readings: Mapping[str, Any] | None = None) -> int:
        """Run one tick; returns its number.

        Args:
            readings: what arrives for it: swarm → one value for each of its entities, NaN for
                none; or (ids, values), or (ids, values, activo), in order of arrival.

        Raises ValueError: there is no such swarm or entity, or a value is not finite as float32.
        """
        self._grow_again()
        given = readings_of(self._world()[0], {} if readings is None else readings)
        with ctrl_c_waits():
            if given is not None:
                self._crew.give(*given)
            self._tick(True, given is not None)
            self._crew.give_nothing()
        return self._ticks

    def _follows(self, given: bool) -> bool:
        """Whether the next tick is one that is replayed: it has the settings it had then, and what
        it took in unless something is ``given``."""
        recorded, tick = self._recorded, self._ticks + 1
        if recorded is None:
            return False
        if not given:
            self._crew.give_nothing()
        if tick > recorded.until:
            recorded.write_behind(self._tables, tick)
            self._crew.follow(self._config)
            return False
        recorded.settle(self._tables, tick)
        if "carga" not in self._over:
            self._crew.first.fargs[K.F_CARGA] = recorded.past.carga(tick, self._config.carga)
        if not given and (readings := recorded.readings(tick)) is not None:
            self._crew.give(*readings)
        if tick == recorded.until:
            self._live.take(self._given)
        return True

    def _tick(self, last: bool, given: bool = False) -> None:
        """One tick; of the ``last`` one of a call the messages are kept. ``given``: readings."""
        self._world()
        self._grow_again()
        if not self._follows(given) and self._live.settle(self._tables, self._ticks + 1):
            self._changes += firing_events(self._live, self._ticks + 1)
        self._emitted.begin()
        self._crew.tick(self._ticks + 1, time.time_ns(), self._emitted, messages=last)
        self._ticks += 1
        self._failed.look()

    def messages(self) -> NDArray[Any]:
        """What the last tick emitted: an array with fields id, canal, valor, activo."""
        self._world()
        return self._emitted.messages()

    def events(
        self, tipo: str | None = None, *, since: int = 0, limit: int | None = None
    ) -> list[dict[str, Any]]:
        """What happened, oldest first: each repair, the last million of them, each change of a
        setting, and what blocks told of their last generations, as in the table ``eventos``.

        Args:
            tipo: of this kind only, such as ``repair``.
            since: from this tick on.
            limit: the last so many; all if left out.
        """
        self._world()
        found = self._changes + self._emitted.events() + self._emitted.generations()
        first = whole("since", since)
        chosen = [e for e in found if tipo in (None, e["tipo"]) and int(e["tick"]) >= first]
        chosen.sort(key=lambda event: int(event["tick"]))
        most = len(chosen) if limit is None else whole("limit", limit, least=0)
        return chosen[max(0, len(chosen) - most) :]

    def _told(self, tipo: str) -> list[dict[str, Any]]:
        return self.events(tipo)

    def alerts(
        self, group: str, *, consumer: str = "python", timeout: float | None = None,
        from_now: bool = False,
    ) -> Alerts:  # fmt: skip
        """What processors with ``alerts=True`` emitted and this group has not had yet, as of an
        instance (``corec.attach``); of the last million. It ends when there is no more by now.

        Args:
            group: a name; each group gets all alerts.
            consumer, timeout: as of an instance; nobody else reads or emits meanwhile.
            from_now: a group that is new begins with what is emitted from now on.
        """
        del consumer, timeout
        self._world()
        return self._emitted.alerts(group, from_now=from_now)

    def errors(self) -> list[dict[str, Any]]:
        """What processors raised, the latest kind first, as ``corec-ctl errors``: a sample, with
        the line of the source in ``what`` and the first and the last entity that did it."""
        self._world()
        return self._failed.told()

    def digest(self) -> Digest:
        """The hash of all entities' state, as ``corec-ctl digest`` says it at this tick."""
        tick, digits = digest_of(*self._world())
        return Digest(digits, tick)

    def set(self, path: Asked = None, value: Any = None, /, **named: Any) -> int:
        """Change a setting; it counts from the next tick on. Returns the tick after which it does.

        ``set("carga", 0.5)``, ``set("globals.beta", 0.2)``, ``set("bloques.ID.umbral", "nunca")``,
        ``set("bloques.ID.parametros.NAME", 0.1)``, which is also ``set("ID.NAME", 0.1)`` and
        ``set("ID", NAME=0.1)``; so ``set("globals", beta=0.2)``, ``set("ID", umbral="nunca")``;
        several, of which all count or none: ``set({path: value, …})``, ``set(globals={…})``.

        Raises:
            ValueError: it can't be changed in a living world. ConfigError: the value is impossible.
        """
        asked = changes_of(self._world()[0], path, value, named)
        if any(path.endswith(".entidades") for path in asked):
            self._may_grow()
        now = self._config, self._plan
        found = changed_by(*now, self._processors, self._live, asked, self._ticks, self._growths)
        if found.grown:
            self._become(found.config, found.plan)
        self._config, self._plan = found.config, found.plan
        self._given |= found.kept
        if self._recorded is not None:
            self._over |= found.kept | found.asked
            self._recorded.set_over({p: one for p, one in self._over.items() if p in self._given})
        self._changes += found.events
        self._live.take(self._given)
        self._crew.follow(found.config)
        return self._ticks

    def write(
        self, swarm: str | Mapping[str, Any] | None = None,
        which: Iterable[int] | Mapping[str, Any] | None = None, /,
        ids: Iterable[int] | None = None, **fields: Any,
    ) -> int:  # fmt: skip
        """Write state between two ticks: ``write("town", fase=array)``, or of some:
        ``write("town", ids=[3, 4], fase=1)``, also ``write("town", [3, 4], fase=1)``. A dict of
        fields takes any name: ``write("town", {"ids": 1.0, "swarm": array})``. Returns the tick
        after which it counts.

        Args:
            swarm: its name; may be left out where there is only one.
            which: fields by name, or ids.
            ids: entities of this swarm, in the order of the values; all if left out.
            fields: ``valor``, ``activo`` or state fields; one number for all, or one for each.

        Raises ValueError: no such swarm, field or id, or a value does not fit; nothing was written.
        """
        name, chosen, values = asked_to_write(swarm, which, ids, fields)
        edit = checked(self._world()[0], name, chosen, values)
        apply(self._plan, self._tables, [edit], lambda block: True)
        self._changes.append(written_event(edit, self._ticks))
        return self._ticks

    def grow(self, swarm: str, more: SupportsIndex) -> int:
        """Give a bloque so many more entities: their ids come after all that exist. Returns the
        tick after which they are there. Raises ValueError: there is no such bloque, or its entities
        can't become more. ConfigError, ProcessorError, MemoryError: as of a new world."""
        self._may_grow()
        self._become(*grown_by(self._config, self._processors, self._world()[0], swarm, more))
        return self._ticks

    def _become(self, config: Config, plan: Plan) -> None:
        """Have what ``plan`` has more than there is, between two ticks."""
        memory, before = zeroed(plan.world_bytes), self._pages()
        settle = settling(self._recorded, config, plan, self._given, self._ticks + 1)
        tables = fill_grown(self._plan, before, plan, memory, self._ticks, config.seed, settle)
        self._memory, self._tables, self._config = memory, tables, config
        self._plan = with_settings(plan, config)
        self._crew = Crew(config, self._plan, tables, memory, self._threads)
        self._live = Live(config, self._plan)
        self._live.take(self._given)
        self._emitted.grown(self._plan)
        told = self._failed.kinds.values(), self._failed.more, self._crew.other_tables
        self._failed = Failed(self._plan, tables, *told)

    def _may_grow(self) -> None:
        """Have what is to come before the next tick, behind which more may. Raises ValueError."""
        check_may_grow(self._recorded, self._ticks)
        self._grow_again()

    def _grow_again(self) -> None:
        """Have what there is to be in the next tick."""
        while self._growths and self._growths[0].first_tick <= self._ticks + 1:
            plan = with_settings(self._growths.pop(0).plan, self._config)
            if self._recorded is not None:
                self._recorded.grown(plan)
            self._become(self._config, plan)

    def close(self) -> None:
        """Give the memory back; what was read from it stays. Closing twice changes nothing."""
        self._memory = None
        for name in ("_tables", "_crew", "_emitted", "_failed"):
            self.__dict__.pop(name, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        if self._memory is None:
            return "<World: closed>"
        plan = self._plan
        names = ", ".join(f"{one.id} ({one.entidades:,})" for one in plan.swarms)
        wrong = "; entities fail, see errors()" if self._failed.kinds else ""
        return f"<World at tick {self._ticks}, seed {self._config.seed}: {names}{wrong}>"
