"""Changes to a living instance: more or fewer workers, another configuration, newer code.

A wish (a signal) waits its turn in a queue, and is a generator: it yields while it waits for a
child, the workers, a server. The watch loop takes a step of it at each turn and meanwhile looks
after everybody, so nothing an operator asks for can blind the supervisor, and whatever fails in it
ends the wish alone: ``step`` tells who asked, and ``Group.recover`` has everybody wanted again.

What changes, and in which order::

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

import contextlib
import signal
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import nullcontext
from typing import Any, Final, NamedTuple

from corec import layout as L
from corec import log as corec_log
from corec.command_line import text_of
from corec.config import Config, ConfigError
from corec.control.outcome import ChangeFile, shortened
from corec.embedded.errors import EmbeddedServerError
from corec.log import get_logger
from corec.nucleus.journaled import Asked
from corec.plan import Plan
from corec.plan_live import with_settings
from corec.process.events import REASON
from corec.process.roles import NUCLEUS, SUPERVISOR, WORKER, sinks
from corec.process.runtime import Runtime
from corec.supervisor import beside, regroup, segments
from corec.supervisor.beside import Failed
from corec.supervisor.evening import Evened, Evening, move_blocks
from corec.supervisor.growing import CannotGrow, check_may_grow, grow_into, room_for
from corec.supervisor.opening import COMPILE_SECONDS_MAX, compile_processors
from corec.supervisor.processes import Group, Member
from corec.supervisor.resting import Refused, Steps, ended, others, rested
from corec.supervisor.room import check_parts
from corec.supervisor.signals import MIGRATE, SET
from corec.supervisor.telling import answer, begun, raise_event
from corec.supervisor.upgrading import upgraded
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
GROW_AGAIN_SECONDS, GROW_SECONDS_MAX = 5.0, 600.0
UNASKED: Final = ("start", "reopen", "evening")
"""Changes that nobody waits for."""
UNSURE: Final = "it counts; not on disk yet, so a machine that is lost now may lose it"


class Hand(NamedTuple):
    """What of the supervisor the changes need and do not own."""

    stop_servers: Callable[[], Iterable[None]]
    keep_servers: Callable[[], None]
    become: Callable[[list[int], bool], None]
    """Exec the current code, with the signals that still wait and whether values of fields that are
    gone may go; returns never. Raises OSError."""
    answers: ChangeFile
    forgive: Callable[[], None]
    """Whoever waits for another try is tried now."""


class Changes:
    """The wishes of one instance, one after the other."""

    def __init__(
        self, config: Config, wishes: Wishes, rt: Runtime, group: Group, hand: Hand
    ) -> None:
        self.config, self.wishes, self.rt, self.group, self.hand = config, wishes, rt, group, hand
        self._waiting: deque[int] = deque()
        self._steps: Steps | None = None
        self._change = ""
        self._event = ""
        self._before, self._granted = 0, False
        self._tick: int | None = None
        self._grow_at, self._grow_seconds = 0.0, GROW_AGAIN_SECONDS
        self._evening = Evening(rt)

    @property
    def busy(self) -> bool:
        """Whether a wish is being granted, or waits."""
        return self._steps is not None or bool(self._waiting)

    def ask(self, number: int) -> None:
        """A signal that changes the living instance."""
        self._waiting.append(number)

    def adopt(self, workers: int, grown: Plan | None) -> None:
        """An adopted world may come from another number of workers, or be one that is to have more
        entities: it finishes the tick it is in as it is, and changes over at the boundary."""
        if grown is not None:
            self._room_for(workers)
            self._begin("start", "", self._grown(grown, workers))
        elif workers != self.group.workers:
            self._begin("start", "trabajadores", self._resized(workers))

    def grow_again(self) -> None:
        """Grow where the world grew when it ran these ticks for the first time, and what comes
        behind them: it has come there."""
        due = self.rt.growths
        come = due and not self._steps and segments.world_tick(self.rt) + 1 >= due[0].first_tick
        stops = self.rt.get(L.C_STATE) == L.STATE_DRAINING
        if come and not stops and time.monotonic() >= self._grow_at:
            first = self._grow_seconds == GROW_AGAIN_SECONDS  # that it fails is told once
            self._grow_at = time.monotonic() + self._grow_seconds
            self._grow_seconds = min(2 * self._grow_seconds, GROW_SECONDS_MAX)
            again = self._grown(due[0].plan, self.group.workers)
            self._begin("start", "recarga" if first else "", again)

    def even_out(self) -> None:
        """Move blocks between workers, when one has computed much longer than the others; not
        while ticks wait, or somebody is to be started again, or is parked (a rest forgives)."""
        group = self.group
        if self.busy or group.sightings.held_up or not group.whole:
            return
        if (found := self._evening.look()) is not None:
            self._begin("evening", "", self._evened(found))

    def step(self) -> bool:
        """Go on until there is something to wait for; whether a wish has just ended."""
        if self._steps is None:
            if not self._waiting:
                return False
            self._begin_wish(self._waiting.popleft())
        assert self._steps is not None  # begun
        try:
            next(self._steps)
        except StopIteration:
            self._steps = None
            return True
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not end the instance
            self._steps = None
            self.group.recover()
            self._refuse(error)
            return True
        return False

    def abandon(self) -> None:
        """The instance stops: what was going on is called off, what waits is refused."""
        if self._steps is not None:
            self._steps.close()
            self._steps = None
            self.group.recover()
            if not self._granted:
                self._refuse(Refused("the instance stops"))
        while self._waiting:
            number = self._waiting.popleft()
            if number == signal.SIGUSR1:
                with contextlib.suppress(OSError):
                    corec_log.reopen()
                continue
            self._begin_wish(number)
            self._refuse(Refused("the instance stops"))
        self._steps = None

    def _begin(self, change: str, event: str, steps: Steps) -> None:
        self._change, self._event, self._steps = change, event, steps
        self._before, self._granted, self._tick = self.group.workers, False, None
        if change not in UNASKED:
            begun(self.hand.answers, change)

    def _begin_wish(self, number: int) -> None:
        if number == signal.SIGHUP:
            self._begin("reload", "recarga", self._reload())
        elif number == signal.SIGUSR2:
            self._begin("upgrade", "actualizacion", self._upgrade())
        elif number == signal.SIGUSR1:
            self._begin("reopen", "", self._reopen())
        elif number == MIGRATE:
            self._begin("upgrade", "actualizacion", self._upgrade(migrating=True))
        elif number == SET:
            self._begin("set", "", self._set())
        else:
            more = 1 if number == signal.SIGTTIN else -1
            self._begin("workers", "trabajadores", self._resized(self.group.workers + more))

    def _refuse(self, error: Exception) -> None:
        told = (Refused, Failed, CannotGrow, ConfigError, OSError, EmbeddedServerError)
        expected = isinstance(error, told)
        reason = text_of(error) if isinstance(error, OSError) else str(error) or repr(error)
        if not expected:
            log.error("a change failed for a reason that was not foreseen", exc_info=error)
            reason = repr(error)
        tell = log.info if expected and self._change == "evening" else log.error
        tell("refused; everything stays as it was", change=self._change, reason=shortened(reason))
        if self._change not in UNASKED:
            answer(self.hand.answers, self._change, reason)
        if self._event:
            same = {"antes": self._before, "ahora": self._before}
            about = same if self._event == "trabajadores" else {}
            raise_event(self.rt, self._event, {**about, "aceptada": False, REASON: reason})

    def _done(self, note: str | None, **detalle: Any) -> None:
        self._granted = True
        if self._change not in UNASKED:
            answer(self.hand.answers, self._change, None, note, self._tick)
        if self._event and detalle:
            raise_event(self.rt, self._event, detalle)

    def _room_for(self, workers: int) -> None:
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
        segments.regroup_words(self.rt, workers, self._evening.shares(workers))
        self.group.reform(workers)
        self.group.end_rest()
        segments.start_words(self.rt, keep_control=True)
        self.group.start_all()
        self.rt.set(L.C_STATE, L.STATE_RUNNING)

    def _resized(self, workers: int) -> Steps:
        most, before = min(WORKERS_MAX, self.rt.plan.n_blocks), self.group.workers
        if not 1 <= workers <= most:
            raise Refused(f"found {workers} workers, expected 1 to {most} (one for each block)")
        if workers != before:
            self._room_for(workers)
            yield from beside.trial(self.group.forget)  # once all have left it is too late
            yield from self._regrouped(workers, lambda: None)
            log.info("number of workers changed", before=before, now=workers)
        self._done(f"{workers} workers", antes=before, ahora=workers)

    def _evened(self, found: Evened) -> Steps:
        yield from beside.trial(self.group.forget)
        yield from rested(self.rt, self.group, EVENING_SECONDS_MAX)
        move_blocks(self.rt, self.group, found)

    def _reload(self) -> Steps:
        """Take over what may change under a living world, or keep the old and say why."""
        self.group.forgive()
        self.hand.forgive()
        before, entries = self.config, settings.read(self.rt)
        found = shape(self.rt.plan, before.seed)
        fresh, differs = yield from beside.work(
            lambda: regroup.reloaded(before, self.wishes, entries, found),
            "reading the configuration", READ_SECONDS_MAX, self.group.forget,
        )  # fmt: skip
        yield from self._change_over(fresh, differs, entries)

    def _set(self) -> Steps:
        """Take over what was set of the keys that processes read when they start."""
        yield from beside.trial(self.group.forget)
        entries, written = settings.read(self.rt), self.rt.written
        differs = regroup.differing(self.config, written, entries)
        yield from self._change_over(written, differs, entries)

    def _change_over(self, fresh: Config, differs: list[str], entries: settings.Entries) -> Steps:
        """From the configuration that the processes have to ``fresh``, as it is written, with
        ``entries``: what is set meanwhile is a wish of its own, and waits."""
        before = self.config
        if not differs:
            log.info("nothing changed", change=self._change)
            self._done("nothing has changed")
            return
        whole, _ = settings.effective(fresh, entries)
        roles, asked = regroup.concerned(differs), self.rt.get(L.C_WRITE_DOWN)
        relog = any(path.partition(".")[0] == "log" for path in differs)
        workers = self.group.workers
        if "workers" in differs:
            workers = worker_count(whole)
            self._room_for(workers)
        grown = larger(whole, self.rt.growths[-1].plan if self.rt.growths else self.rt.plan)
        if grown is not None:
            check_may_grow(self.rt)
            check_journal(fresh, grown)
            yield from self._compiled(grown)
        if grown is not None or any("collect" in path.split(".") for path in differs):
            plan = grown or with_settings(self.rt.plan, whole)
            check_parts(plan, workers, self.rt.folder, plan.world_bytes - self.rt.plan.world_bytes)
        nuclei = [(m, m.process) for m in self.group.members if m.role == NUCLEUS.name]
        with room_for(self.rt, grown) if grown else nullcontext() as room:
            if relog:
                self._log_as(whole)
            try:
                yield from self._taken_over(fresh, whole, roles, workers, grown, room, entries)
            except BaseException:
                self.rt.config = before
                if relog:
                    self._log_as(before)
                # who was started meanwhile has what is refused
                late = [member for member, process in nuclei if member.process is not process]
                self.group.call_off([*self._sinks(roles), *late])
                raise
        self.config = self.rt.config
        log.info("configuration changed", change=self._change, changed=differs)
        note: str | None = UNSURE
        try:
            if (now := self.rt.get(L.C_WRITE_DOWN)) == asked or (yield from self._on_disk(now)):
                note = None
        finally:  # also where a stop begins meanwhile
            self._done(note, aceptada=True, claves=differs)

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
        self.rt.config = whole

        def words() -> None:
            self._tick = segments.world_tick(self.rt)  # not that behind which it was asked for
            if grown is not None and room is not None:
                self._grow(grown, room)
            regroup.take_over(self.rt, fresh, self.group.tables, entries)

        concerned = self._sinks(roles)
        yield from ended(self.group, concerned)
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
        self._grow_at, self._grow_seconds = 0.0, GROW_AGAIN_SECONDS
        log.info("the world has grown", before=before, now=plan.entidades, tick=tick)

    def _grown(self, plan: Plan, workers: int) -> Steps:
        yield from self._compiled(plan)
        with room_for(self.rt, plan) as room:
            yield from self._regrouped(workers, lambda: self._grow(plan, room))
        self._done(None)

    def _sinks(self, roles: frozenset[str]) -> list[Member]:
        concerned = roles & {role.name for role, _sink in sinks(self.rt.get)}
        return [m for m in self.group.members if m.role in concerned]

    def _log_as(self, config: Config) -> None:
        """Every process forked from now on logs as ``config`` says. Raises Refused."""
        try:
            corec_log.configure(config.log.format, config.log.level, config.log_path, SUPERVISOR)
        except OSError as error:
            raise Refused(f"log.file: {error.strerror}: {config.log_path}") from None

    def _reopen(self) -> Steps:
        corec_log.reopen()
        yield from ()

    def _upgrade(self, *, migrating: bool = False) -> Steps:
        """Become the current code; ``migrating``: values of fields that are gone may go."""
        try:
            yield from upgraded(
                self.rt, self.group, self.wishes, self.hand.stop_servers,
                lambda: self.hand.become(list(self._waiting), migrating), migrating=migrating,
            )  # fmt: skip
        finally:
            self.hand.keep_servers()
