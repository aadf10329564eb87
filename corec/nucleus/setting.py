"""``set``: a key of the living world changed, and the events of what changed by itself.

``corec.world.settings`` has the order of the stores and what a kill leaves. Here: what may be set,
checked whole before anything is written, and that each change is one event however often the
nucleus dies. Before an event is pushed into the nucleus' own lane, ``C_TELL_HEAD`` says where the
lane stands, then ``C_TELL_KEY`` which event it is; a successor that finds the lane further than
that knows that it was pushed.

Keys that processes read when they start are the supervisor's to take over: it is asked when their
entries are written down, and may refuse. Killed before it is asked, or while it decides, the
successor finds entries that its own configuration, the supervisor's, has not got: it asks (again),
and takes back what is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from corec import layout as L
from corec.config import Config, ConfigError
from corec.config.change import (
    NotLive,
    Place,
    changed,
    kept_value,
    place_of,
    plain,
    spelled_out,
    value_at,
)
from corec.control.protocol import ControlError
from corec.log import get_logger
from corec.nucleus import supervisor_asked as by_supervisor
from corec.nucleus.events import EventWriter
from corec.nucleus.hold import Holder
from corec.nucleus.journaled import durable, write_down
from corec.plan import Plan, make_plan
from corec.plan_live import check_named, with_settings
from corec.process.events import REASON
from corec.process.roles import committed_tick
from corec.process.runtime import Runtime
from corec.world import settings, writes
from corec.world.edits import Edit, apply, summary
from corec.world.live import Live
from corec.world.settings import Entry, TooMany, is_write
from corec.world.shape import differences, shape
from corec.world.tables import Tables, make_tables
from shm.segment import Segment

log = get_logger(__name__)

EVENTS_PER_LOOK: Final = 200
OF_SCHEDULE: Final = 1 << 62
"""In C_TELL_KEY: an event of the schedule, and not of a revision."""
OF_CARGA: Final = 1 << 61
"""Likewise: one of carga."""


class Setter:
    """The settings of one nucleus."""

    def __init__(self, rt: Runtime, holder: Holder, events: EventWriter) -> None:
        self.rt, self.holder, self.events = rt, holder, events
        self._one = asyncio.Lock()
        self._undoing: dict[asyncio.Task[None], int] = {}
        """By the number of the supervisor's last change before the one that is waited for."""
        self._tables: Tables | None = None
        self._tables_of: Segment | None = None
        entries = settings.read(rt)
        self._half_done = self._not_taken_over(entries)
        self._believe(entries)
        self._look_at_key()
        self._live = self._as_live()

    def _believe(self, entries: Mapping[str, Entry]) -> None:
        """What this process shows is what counts."""
        self.rt.config, _ = settings.effective(self.rt.written, entries)
        self.rt.plan = with_settings(self.rt.plan, self.rt.config)

    def _as_live(self) -> Live:
        live = Live(self.rt.written, self.rt.plan)
        live.take(settings.since(settings.read(self.rt)))
        return live

    def plan_now(self) -> Plan:
        """The plan with what counts in the tick that comes."""
        return self._live.plan_at(committed_tick(self.rt.get) + 1)

    async def set(self, changes: Mapping[str, Any], beside: str | None = None) -> dict[str, Any]:
        """Change all of ``changes``, path → value, after one tick; or nothing, by ControlError.
        ``beside``: what its asker sets after it, so that none of it may be refused later, and all
        is waited for together."""
        async with self._one:
            try:
                changes = spelled_out(self.rt.config, changes)
            except NotLive as error:
                raise ControlError(f"{error}", "bad_request") from None
            places = self._checked(changes)
            now = [place for place in places.values() if place.of_world]
            if len(now) < len(places):
                by_supervisor.check(self.rt)
            if beside is not None and len(now) < len(places):
                late = next(path for path, place in places.items() if not place.of_world)
                raise ControlError(
                    f"changes: found {beside} beside {late}, which the supervisor may refuse; "
                    f"expected {beside} by itself", "bad_request",
                )  # fmt: skip
            async with self.holder.held():
                self._goes_on("set")
                # what the journal says counts first, in a world that runs a stretch again
                tick = max(committed_tick(self.rt.get), self.rt.get(L.C_FOLLOW))
                self._tell_schedule()  # what was set later would hide it
                revision = self._write(changes, places, tick + 1)
                asked = write_down(self.rt)
            self._believe(settings.read(self.rt))
            self._live = self._as_live()
            self._tell()
        for path, value in changes.items():
            log.info("set", path=path, value=value, after_tick=tick)
        unsure = {} if beside is not None else await durable(self.rt, asked)
        if len(now) == len(places):
            return {"after_tick": tick, **unsure}
        before = self._ask_supervisor(frozenset({revision}))
        return {"after_tick": tick, **unsure, "change": "set", "after_change": before}

    def _ask_supervisor(self, revisions: frozenset[int]) -> int:
        """Have it take over what was set with these; the number of the last change before. Raises
        OSError."""
        before = by_supervisor.ask(self.rt)
        undoing = asyncio.create_task(self._undo_if_refused(revisions, before))
        self._undoing[undoing] = before
        undoing.add_done_callback(self._undoing.pop)
        return before

    async def taken_back(self, after_change: int) -> dict[str, Any]:
        """What to say once nothing counts of what the supervisor has refused, in its first ``set``
        behind that change. Raises HoldTimeout."""
        first = min((n for n in self._undoing.values() if n >= after_change), default=None)
        if undoing := [task for task, before in self._undoing.items() if before == first]:
            await asyncio.wait(undoing)
        async with self._one, self.holder.held():
            asked = write_down(self.rt)  # a predecessor may have been killed before it did
        return {"taken_back": True, **await durable(self.rt, asked)}

    def _not_taken_over(self, entries: settings.Entries) -> frozenset[int]:
        """The revisions of keys that the supervisor, whose configuration this process still has,
        was to take over and has not."""
        whole, kept = settings.effective(self.rt.written, entries)
        return frozenset(
            entry.revision for path, entry in kept.items()
            if not is_write(path) and not (place := place_of(whole, path)).of_world
            and plain(value_at(self.rt.config, place)) != plain(value_at(whole, place))
        )  # fmt: skip

    async def write(self, edit: Edit, token: str) -> dict[str, Any]:
        """Write state after one tick (``corec.world.writes``); raises ControlError, HoldTimeout:
        nothing was."""
        rt, folder = self.rt, self.rt.config.state_folder
        async with self._one:
            try:
                half = await asyncio.to_thread(writes.save, folder, edit, token)
            except OSError as error:
                raise ControlError(f"nothing was written: {error}", "refused") from None
            try:
                async with self.holder.held():
                    self._goes_on("written")
                    now = committed_tick(rt.get)
                    tick = max(now, rt.get(L.C_FOLLOW))
                    self._enter(edit, half, tick + 1, now)
                    asked = write_down(rt)
                    if tick == now:
                        self._apply(edit)
            finally:
                half.unlink(missing_ok=True)
            self._tell()
        log.info("written", swarm=edit.swarm, entidades=len(edit.entities), after_tick=tick)
        return {**summary(edit), "after_tick": tick, **await durable(rt, asked)}

    def _goes_on(self, what: str) -> None:
        """Raises ControlError within a stop: its last checkpoint may be in the making."""
        if self.rt.get(L.C_STOP):
            raise ControlError(f"nothing was {what}: the instance is stopping", "refused")

    def _enter(self, edit: Edit, half: Path, first_tick: int, now: int) -> None:
        """The file's name and the entry; the world is held."""
        self._tell()
        revision = self.rt.get(L.C_SETTINGS) + 1
        entries = writes.without_past(settings.read(self.rt), now, self.rt.get(L.C_TOLD_SET))
        try:
            file = writes.name(half, self.rt.epoch, first_tick, revision)
            path, entry = writes.entry_of(edit, file, first_tick, revision)
            settings.write(self.rt, {**entries, path: entry})
        except OSError as error:
            raise ControlError(f"nothing was written: {error.strerror}", "refused") from None
        except TooMany as error:
            raise ControlError(str(error), "refused") from None

    def _apply(self, edit: Edit) -> None:
        """Its values, into all blocks; the world is held."""
        if self._tables is None or self._tables_of is not self.rt.world:
            self._tables = make_tables(self.rt.plan, self.rt.world.payload)
            self._tables_of = self.rt.world
        apply(self.rt.plan, self._tables, [edit], lambda block: True)

    async def finish(self) -> None:
        """What a killed predecessor had begun to write or to set, before anybody is served."""
        if self._half_done:
            log.warning("what a killed predecessor set is taken over now")
            self._ask_supervisor(self._half_done)
        writes.remove_halves(self.rt.config.state_folder)
        if not self._begun():
            return
        async with self.holder.held():
            await asyncio.to_thread(self._write_again, self._begun())

    def _begun(self) -> list[str]:
        """The files of what is written before the next tick; once that went, it is its workers'."""
        tick = committed_tick(self.rt.get) + 1
        if self.rt.get(L.C_GO_TICK) >= tick:
            return []
        return writes.due(settings.read(self.rt), tick)

    def _write_again(self, files: list[str]) -> None:
        tick = committed_tick(self.rt.get) + 1
        rt = self.rt
        for edit in writes.edits_in(rt.config.state_folder, rt.plan, files, tick):
            self._apply(edit)  # one by one, as much as they may be: nobody sees the blocks

    def _checked(self, changes: Mapping[str, Any]) -> dict[str, Place]:
        """Raises ControlError: a key that can't be set, a value that is impossible."""
        config = self.rt.config
        places: dict[str, Place] = {}
        try:
            for path, value in changes.items():
                places[path] = place_of(config, path)
                check_named(self.rt.whole_plan, places[path])
                before, config = config, changed(config, *self._whole(places[path], path, value))
                if places[path].grows:
                    _check_more(before, config, places[path])
            with_settings(self.rt.whole_plan, config)
            if any(place.grows for place in places.values()):
                found, wanted = (shape(p, config.seed) for p in (self.rt.plan, make_plan(config)))
                if told := differences(found, wanted, growing=True):
                    raise NotLive("; ".join(told))
        except (NotLive, ConfigError) as error:
            raise ControlError(str(error).replace("\n", "; "), "bad_request") from None
        return places

    def _whole(self, place: Place, path: str, value: Any) -> tuple[str, Any]:
        """What is to be checked: of an umbral both limits, the other one as it counts by now."""
        if not place.is_limit:
            return path, value
        rest = self._live.value(place, committed_tick(self.rt.get) + 1)
        return place.path, kept_value(rest, place, value)

    def _write(
        self, changes: Mapping[str, Any], places: Mapping[str, Place], first_tick: int
    ) -> int:
        entries = settings.read(self.rt)
        revision = self.rt.get(L.C_SETTINGS) + 1
        for path, value in changes.items():
            place = places[path]
            written = entries.get(place.path)
            said = written.configured if written else plain(value_at(self.rt.written, place))
            if place.of_world:
                before = self._live.value(place, first_tick - 1)
            else:
                before = plain(value_at(self.rt.config, place))
            # the other limit of an umbral as it counts then: the schedule may set it for that tick
            rest = self._live.value(place, first_tick) if place.is_limit else before
            kept = kept_value(rest, place, value)
            if place.of_world and kept != value:  # the rest of an umbral may be the schedule's
                try:
                    changed(self.rt.config, place.path, kept)
                except ConfigError as error:
                    told = str(error).replace("\n", "; ")
                    raise ControlError(told, "bad_request") from None
            entries[place.path] = Entry(kept, said, first_tick, revision, path, before)
        try:
            return settings.write(self.rt, entries)
        except TooMany as error:
            raise ControlError(str(error), "refused") from None

    async def _undo_if_refused(self, revisions: frozenset[int], before: int) -> None:
        """The supervisor ends this nucleus when it takes the change over; when it refuses, what it
        does not take is as it was, set before or not."""
        found = await by_supervisor.said(self.rt, before)
        if found is None or found["accepted"]:
            return  # None: the instance stops, and the next start takes it over
        async with self._one, self.holder.held_at_last():
            self._tell()  # that it was set comes before that it was taken back
            left: settings.Entries = {}
            back: settings.Entries = {}
            for path, entry in settings.read(self.rt).items():
                mine = entry.revision in revisions and not is_write(path)
                if not mine or place_of(self.rt.config, path).of_world:
                    left[path] = entry
                    continue
                back[path] = entry
                if entry.before != entry.configured:
                    left[path] = entry._replace(value=entry.before)
            settings.write(self.rt, left)
            write_down(self.rt)
            self._believe(left)
        log.error("a setting was taken back", reason=found["reason"])
        for entry in back.values():
            self.events.emit("setting_changed", {
                "path": entry.asked, "value": entry.before, "before": entry.value,
                "after_tick": entry.tick - 1, "by": "refused", REASON: found["reason"],
            })  # fmt: skip

    # ------------------------------------------------------------- events

    def look(self) -> None:
        """Emit the events of what has counted since the last look."""
        if self._one.locked():
            return
        self._tell()

    def _tell(self) -> None:
        told = self.rt.get(L.C_TOLD_SET)
        if told < self.rt.get(L.C_SETTINGS):
            entries = settings.read(self.rt)
            news = sorted((e.revision, path) for path, e in entries.items() if e.revision > told)
            for place, (revision, path) in enumerate(news):
                last = place + 1 == len(news) or news[place + 1][0] > revision
                self._tell_one(entries[path], revision if last else 0)
        self._tell_schedule()

    def _tell_one(self, entry: Entry, revision: int) -> None:
        detail = {"path": entry.asked, "value": entry.value, "before": entry.before,
                  "after_tick": entry.tick - 1}  # fmt: skip
        if wrote := is_write(entry.asked):
            detail = {name: entry.value[name] for name in ("swarm", "fields", "entidades")}
            detail["after_tick"] = entry.tick - 1
        self.once(revision, detail, entry.tick - 1, wrote=wrote)
        if revision:
            self.rt.set(L.C_TOLD_SET, revision)

    def _tell_schedule(self) -> None:
        told = self.rt.get(L.C_TOLD_SCHEDULE)
        until = committed_tick(self.rt.get)
        told_tick, told_place = told >> 16, (told & 0xFFFF) - 1
        firings = self._live.firings((told_tick, told_place), until)
        for number, firing in enumerate(firings, 1):
            detail = {"path": firing.path, "value": firing.value, "before": firing.before,
                      "after_tick": firing.tick - 1, "by": "schedule"}  # fmt: skip
            word = settings.told_word(firing.tick, firing.place + 1)
            self.once(OF_SCHEDULE | word, detail, firing.tick)
            self.rt.set(L.C_TOLD_SCHEDULE, word)
            if number == EVENTS_PER_LOOK:
                return  # the others at the next look
        self.rt.set(L.C_TOLD_SCHEDULE, settings.told_word(until + 1, 0))

    def once(
        self, key: int, detail: Mapping[str, Any], tick: int, *, wrote: bool = False
    ) -> None:
        """Emit an event that a successor must not emit again."""
        self.rt.set(L.C_TELL_HEAD, self.events.lane.head)
        self.rt.set(L.C_TELL_KEY, key)
        self.events.emit("written" if wrote else "setting_changed", dict(detail), tick=tick)

    def _look_at_key(self) -> None:
        """What a killed predecessor was about to emit, and whether it has."""
        key = self.rt.get(L.C_TELL_KEY)
        if not key or self.events.lane.head == self.rt.get(L.C_TELL_HEAD):
            return
        if key & OF_CARGA:
            self.rt.set(L.C_CARGA_TOLD, key & ~OF_CARGA)
            return
        word = L.C_TOLD_SCHEDULE if key & OF_SCHEDULE else L.C_TOLD_SET
        self.rt.set(word, max(self.rt.get(word), key & ~OF_SCHEDULE))


def _check_more(before: Config, after: Config, place: Place) -> None:
    assert place.bloque is not None
    old, new = before.bloques[place.bloque], after.bloques[place.bloque]
    if new.entidades <= old.entidades:
        raise NotLive(
            f"value: found {new.entidades}, expected more than the {old.entidades} entities that "
            f"{old.id} has; fewer take a new world"
        )
    if new.places <= old.places:
        raise NotLive(
            f"value: found {new.entidades} in {old.id}, which has {old.places} places (capacidad); "
            "expected a larger capacidad, in the configuration: free places are for births"
        )
