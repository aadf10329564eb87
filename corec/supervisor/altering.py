"""What a change does to a living instance: its workers, its configuration, how large it is.

Each is a generator of steps (``changes`` says who asked, and takes them) that ends by calling
``done``, or raises, with everything as it was. What changes, and in which order::

    set       the nucleus has checked it, and written it into the world's settings · as reload, from
              the sinks on
    reload    read and checked in a child · room for lanes · the sinks that it concerns start again,
              first, since ticks may wait for them · workers rest, if it concerns them · the rest
    workers   room for lanes · workers rest at a boundary · everybody starts again, blocks moved
    evening   workers rest at a boundary · start again, blocks moved; nobody else notices
    upgrade   checked by the new code in a child · servers stop · exec (``upgrading``)

A rest that does not come in time is called off, and leaves everything as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import nullcontext
from typing import Any, Final, Protocol

from corec import layout as L
from corec import log as corec_log
from corec.config import Config
from corec.log import get_logger
from corec.nucleus.journaled import Asked
from corec.plan import Plan
from corec.plan_live import with_settings
from corec.process.roles import NUCLEUS, SUPERVISOR, WORKER
from corec.process.runtime import Runtime
from corec.supervisor import beside, regroup, segments
from corec.supervisor.evening import Evened, Evening, move_blocks
from corec.supervisor.growing import check_may_grow, grow_into, room_for
from corec.supervisor.opening import COMPILE_SECONDS_MAX, compile_processors
from corec.supervisor.processes import Group, Member
from corec.supervisor.resting import Refused, Steps, ended, others, rested
from corec.supervisor.room import check_parts
from corec.supervisor.wishes import WORKERS_MAX, Wishes, worker_count
from corec.world import settings
from corec.world.grown import larger
from corec.world.past import await_growth, check_journal
from corec.world.shape import shape
from shm.segment import Segment

log = get_logger("corec.supervisor")

READ_SECONDS_MAX: Final = 30.0
EVENING_SECONDS_MAX: Final = 5.0
"""So long the workers may take to rest for a change that nobody asked for: wishes wait for it."""
UNSURE: Final = "it counts; not on disk yet, so a machine that is lost now may lose it"


class Done(Protocol):
    """Hears that a change counts: a note for who asked, behind which tick, and what is told."""

    def __call__(self, note: str | None, tick: int | None = None, **detalle: Any) -> None: ...


class Altering:
    """The living instance, to be changed in one respect after the other."""

    def __init__(self, config: Config, wishes: Wishes, rt: Runtime, group: Group) -> None:
        self.config, self.wishes, self.rt, self.group = config, wishes, rt, group
        self.evening = Evening(rt)
        self._tick: int | None = None

    def lanes_for(self, workers: int) -> None:
        """Make the lanes that so many workers need, before anybody rests."""
        try:
            segments.more_lanes(self.rt, workers)
        except OSError as why:
            raise Refused(f"no room for more workers ({workers}): {why.strerror or why}") from None

    def _regrouped(self, workers: int, meanwhile: Callable[[], None]) -> Steps:
        """Rest, end everybody, go on with ``workers`` workers; ``meanwhile`` while nobody is."""
        yield from rested(self.rt, self.group)
        yield from ended(self.group, others(self.group))
        meanwhile()
        segments.regroup_words(self.rt, workers, self.evening.shares(workers))
        self.group.reform(workers)
        self.group.end_rest()
        segments.start_words(self.rt, keep_control=True)
        self.group.start_all()
        self.rt.set(L.C_STATE, L.STATE_RUNNING)

    def resized(self, workers: int, done: Done) -> Steps:
        """Have so many workers, the blocks moved. Raises Refused."""
        most, before = min(WORKERS_MAX, self.rt.plan.n_blocks), self.group.workers
        if not 1 <= workers <= most:
            raise Refused(f"found {workers} workers, expected 1 to {most} (one for each block)")
        if workers != before:
            self.lanes_for(workers)
            yield from beside.trial(self.group.forget)  # once all have left it is too late
            yield from self._regrouped(workers, lambda: None)
            log.info("number of workers changed", before=before, now=workers)
        done(f"{workers} workers", antes=before, ahora=workers)

    def evened(self, found: Evened) -> Steps:
        """Have the blocks divided as ``found``; nobody asked for it. Raises Refused."""
        yield from beside.trial(self.group.forget)
        yield from rested(self.rt, self.group, EVENING_SECONDS_MAX)
        move_blocks(self.rt, self.group, found)

    def reloaded(self, done: Done) -> Steps:
        """Take over what may change under a living world, or keep the old and say why."""
        before, entries = self.config, settings.read(self.rt)
        found = shape(self.rt.plan, before.seed)
        fresh, differs = yield from beside.work(
            lambda: regroup.reloaded(before, self.wishes, entries, found),
            "reading the configuration", READ_SECONDS_MAX, self.group.forget,
        )  # fmt: skip
        yield from self.changed_over("reload", fresh, differs, entries, done)

    def settled(self, done: Done) -> Steps:
        """Take over what was set of the keys that processes read when they start."""
        yield from beside.trial(self.group.forget)
        entries, written = settings.read(self.rt), self.rt.written
        differs = regroup.differing(self.config, written, entries)
        yield from self.changed_over("set", written, differs, entries, done)

    def changed_over(
        self, change: str, fresh: Config, differs: list[str], entries: settings.Entries, done: Done
    ) -> Steps:
        """From the configuration that the processes have to ``fresh``, as it is written, with
        ``entries``: what is set meanwhile is a wish of its own, and waits."""
        before, self._tick = self.config, None
        if not differs:
            log.info("nothing changed", change=change)
            done("nothing has changed")
            return
        whole, _ = settings.effective(fresh, entries)
        roles, asked = regroup.concerned(differs), self.rt.get(L.C_WRITE_DOWN)
        relog = any(path.partition(".")[0] == "log" for path in differs)
        if relog:
            self._log_as(whole, only_try=True)
        workers = self.group.workers
        if "workers" in differs:
            workers = worker_count(whole)
            self.lanes_for(workers)
        grown = larger(whole, self.rt.whole_plan)
        if grown is not None:
            check_may_grow(self.rt)
            check_journal(fresh, grown)
            yield from self._compiled(grown)
        if grown is not None or any("collect" in path.split(".") for path in differs):
            plan = grown or with_settings(self.rt.plan, whole)
            check_parts(plan, workers, self.rt.folder, plan.world_bytes - self.rt.plan.world_bytes)
        with room_for(self.rt, grown) if grown else nullcontext() as room:
            try:
                yield from self._taken_over(fresh, whole, roles, workers, grown, room, entries)
            except BaseException:
                self.rt.config = before
                if relog:
                    self._log_as(before)
                self.group.call_off(self._by_themselves(roles))  # they have what is refused
                self.group.ahead = {}
                raise
        self.config = self.rt.config
        log.info("configuration changed", change=change, changed=differs)
        note: str | None = UNSURE
        try:
            if (now := self.rt.get(L.C_WRITE_DOWN)) == asked or (yield from self._on_disk(now)):
                note = None
        finally:  # also where a stop begins meanwhile
            done(note, self._tick, aceptada=True, claves=differs)

    def _on_disk(self, asked: int) -> Generator[None, None, bool]:
        """Until what was taken over is on disk, or that takes too long; whether it is."""
        waiting = Asked(self.rt, asked)
        while not waiting.on_disk():
            if waiting.too_late():
                return False
            yield
        return True

    def _taken_over(
        self, fresh: Config, whole: Config, roles: frozenset[str], workers: int,
        grown: Plan | None, room: Segment | None, entries: settings.Entries,
    ) -> Steps:  # fmt: skip
        def words() -> None:
            self._tick = segments.world_tick(self.rt)  # not that behind which it was asked for
            if whole.log != self.config.log:
                self._log_as(whole)
            if grown is not None and room is not None:
                self._grow(grown, room)
            regroup.take_over(self.rt, fresh, self.group.tables, entries)
            self.group.ahead = {}

        concerned = self._by_themselves(roles)
        yield from ended(self.group, concerned)
        self.group.ahead = {member.role: whole for member in concerned}
        for member in concerned:
            self.group.start(member)
        if WORKER.name in roles:
            yield from self._regrouped(workers, words)
            return
        nucleus = [m for m in self.group.members if m.role == NUCLEUS.name]
        yield from ended(self.group, nucleus)
        words()
        for member in nucleus:
            self.group.start(member)

    def _compiled(self, plan: Plan) -> Steps:
        """Until what the entities of ``plan`` run is compiled, by a process beside the ticks."""
        yield from beside.work(
            lambda: compile_processors(plan), "compiling", COMPILE_SECONDS_MAX, self.group.forget
        )

    def _grow(self, plan: Plan, room: Segment) -> None:
        before, tick = self.rt.plan.entidades, segments.world_tick(self.rt)
        self.group.tables = grow_into(self.rt, self.group.tables, plan, room)
        self.rt.growths = [one for one in self.rt.growths if one.plan is not plan]
        await_growth(self.rt)
        log.info("the world has grown", before=before, now=plan.entidades, tick=tick)

    def grown(self, plan: Plan, workers: int, done: Done) -> Steps:
        """Have the entities of ``plan``, too. Raises CannotGrow, Refused."""
        yield from self._compiled(plan)
        with room_for(self.rt, plan) as room:
            yield from self._regrouped(workers, lambda: self._grow(plan, room))
        done(None)

    def _by_themselves(self, roles: frozenset[str]) -> list[Member]:
        concerned = regroup.by_themselves(roles)
        return [m for m in self.group.members if m.role in concerned]

    def _log_as(self, config: Config, *, only_try: bool = False) -> None:
        """As ``log_as``; ``only_try``: see whether it can be done. Raises Refused."""
        try:
            if only_try:
                corec_log.try_file(config.log_path)
            else:
                log_as(config)
        except OSError as error:
            raise Refused(f"log.file: {error.strerror}: {config.log_path}") from None


def log_as(config: Config) -> None:
    """Every process forked from now on logs as ``config`` says. Raises OSError."""
    corec_log.configure(config.log.format, config.log.level, config.log_path, SUPERVISOR)
