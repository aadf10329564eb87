"""One instance from its lock to its summary.

Life: lock, servers begun (``begin``) → HTTP port → world adopted, restored or new → servers up →
fork → watch → stop → summary.
The watch loop sleeps in ``poll`` on signals and on the children's pidfds; it reads control words,
never an entity. Nothing in it waits: what takes time is a generator of which each turn takes a step
(``changes``, ``servers``), or a process beside it (``beside``).
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import time
from collections.abc import Callable
from typing import Any, Final

import orjson

from corec import layout as L
from corec.control.errors import PATTERN as ERRORS_PATTERN
from corec.control.folders import (
    BROKER_FILE,
    CONTROL_SOCKET,
    INSTANCE_FILE,
    PERSISTER_FILE,
)
from corec.control.outcome import CHANGE_FILE, ChangeFile
from corec.control.status import NO_LIMIT
from corec.embedded.errors import EmbeddedServerError
from corec.exits import EXIT_DONE, EXIT_FAILED, EXIT_USAGE, StartFailed
from corec.http.port import PortUnavailable, reserve, url_of
from corec.log import get_logger
from corec.plan import Plan
from corec.proc import give_back_pages
from corec.process.life import TAKEN_OVER
from corec.process.runtime import Owner, Runtime
from corec.supervisor import aside, segments
from corec.supervisor.altering import log_as
from corec.supervisor.begun import Begun
from corec.supervisor.changes import Changes, Hand
from corec.supervisor.drain import Drain, Drained
from corec.supervisor.face import Face
from corec.supervisor.identity import identity
from corec.supervisor.notify import Notifier
from corec.supervisor.opening import find_world, open_world, remove_half_made
from corec.supervisor.processes import Group, Member, retire_inherited
from corec.supervisor.room import check_room, held_bytes
from corec.supervisor.servers import ServerUnreachable, reason_of
from corec.supervisor.signals import Signals
from corec.supervisor.summary import resident_bytes, summary
from corec.supervisor.telling import answer, raise_event
from corec.supervisor.upgrade import become
from corec.supervisor.wishes import Wishes, worker_count
from corec.world import settings
from corec.world.inspect import totals
from corec.world.past import check_journal, half_run
from shm.segment import remove_leftovers

log = get_logger("corec.supervisor")

POLL_SECONDS: Final = 0.25
SOON_SECONDS: Final = 0.02
SERVERS_SECONDS: Final = 0.5
SUMMARY_SECONDS: Final = 5.0
Finished = Callable[[Member, int], bool]


class Supervisor:
    """Runs one instance. ``run`` returns the exit code."""

    def __init__(self, begun: Begun, wishes: Wishes) -> None:
        self.begun, self.wishes, self.face = begun, wishes, Face(json=wishes.json)
        self.config, self.inherited, self.folder = begun.config, begun.inherited, begun.folder
        self.lock, self.servers = begun.lock, begun.servers
        self.group: Group | None = None
        self.listener: Any = None
        self.keep_world = True  # until it is removed on purpose
        self.limit = NO_LIMIT
        self.servers_looked = 0.0
        self.taken_over = False
        self.report: dict[str, Any] = {}
        self.answers: ChangeFile
        self.signals: Signals
        self.changes: Changes
        self.notifier = Notifier(os.environ)

    def run(self) -> int:
        """The whole life of the instance; raises ``StartFailed`` before anything ticks."""
        try:
            code = self._run_locked(self.begun.plan)
        finally:
            self._clean_up()
        # last: whoever reads the summary may take its time, and find nothing running any more
        return code if self._report(self.report) else EXIT_FAILED

    def _clean_up(self) -> None:
        """Leave nothing behind but a world that is to be adopted."""
        if self.group is not None:
            self.group.kill_all()
        for name in (INSTANCE_FILE, CONTROL_SOCKET, CHANGE_FILE, BROKER_FILE, PERSISTER_FILE):
            (self.folder / name).unlink(missing_ok=True)
        for path in [*self.folder.glob(".*.json.*"), *self.folder.glob(ERRORS_PATTERN)]:
            path.unlink(missing_ok=True)
        if not self.keep_world:
            segments.remove(self.folder)
        remove_leftovers(self.folder)
        self.begun.close()

    def _run_locked(self, plan: Plan) -> int:
        remove_leftovers(self.folder)
        remove_half_made(self.folder)
        aside.finish(self.config.state_folder)
        self.answers = ChangeFile(self.folder, goes_on=self.inherited is not None)
        # Until the world is removed on purpose, a failed start leaves it where it was.
        self.keep_world = segments.adoptable(self.folder)
        adopting = self.keep_world and not self.wishes.fresh
        workers = worker_count(self.config)
        world = find_world(
            self.config, plan, self.folder, adopting=adopting, fresh=self.wishes.fresh,
            growing="scale" not in self.wishes.overrides,  # that is for a trial, not for a life
            migrating=self.wishes.migrate,
        )  # fmt: skip
        plan = world.plan
        check_journal(self.config, world.grown or plan)
        moved = self.wishes.fresh and aside.must_be_moved(self.config, plan, self.folder)
        if not adopting:
            held = 0 if moved else held_bytes(self.folder)
            largest = world.grown or plan
            check_room(largest, workers, self.folder, held, world.beside)
        http = self.config.http
        try:
            self.listener = (
                self.inherited.listener()
                if self.inherited is not None
                else reserve(http.host, http.port, http.port_explicit)
            )
            self.servers.owner, self.servers.take_over = self._identity(), self.wishes.take_over
            again = self.inherited is not None
            self.servers.go_on() if again else self.servers.reach()
            if not again and (self.keep_world or self.wishes.fresh):
                self.servers.start()  # what is there is not touched before they are up
            if self.wishes.fresh:
                self._set_aside(moved=moved)
            elif not adopting:
                self.keep_world = False
                segments.remove(self.folder)
            rt, tables = open_world(
                self.config, world, self.folder, self.face, workers,
                adopting=adopting, meanwhile=self.servers.advance, fresh=self.wishes.fresh,
            )  # fmt: skip
            if not again:
                self.servers.start()
        except (PortUnavailable, ServerUnreachable, EmbeddedServerError) as error:
            raise StartFailed(EXIT_FAILED, str(error)) from None
        self._fill(rt)
        group = self.group = Group(rt, tables, rt.get(L.C_WORKERS), self.begun.forget_in_child)
        if self.inherited is not None:
            retire_inherited(rt, self.inherited.children)
            group.inherit_counts()
        segments.start_words(rt, keep_control=self.inherited is not None)
        self._settle(rt)
        if self.inherited is None:
            rt.updates_before = int(totals(rt)["entity_updates"])
            if self.wishes.ticks is not None:
                self.limit = min(NO_LIMIT, segments.world_tick(rt) + self.wishes.ticks)
            rt.set(L.C_LIMIT_TICK, self.limit)
        else:
            rt.updates_before = self.inherited.updates_before
            self.limit = rt.get(L.C_LIMIT_TICK)
            workers = min(self.inherited.workers, plan.n_blocks)
        self._announce(rt)
        return self._live(rt, group, workers, world.grown if adopting and not rt.past else None)

    def _identity(self) -> Owner:
        try:
            return identity(self.config)
        except OSError as error:
            raise StartFailed(EXIT_USAGE, f"state_dir: {error}") from None

    def _set_aside(self, *, moved: bool) -> None:
        """Make room for a new world; nothing of the old one is deleted."""
        place = aside.new_folder(self.config)
        if moved:
            kept = segments.set_aside(self.folder)
            log.warning("the world in memory is set aside", aside=str(kept))
        elif self.keep_world:
            self.face.note("setting the world in memory aside")
            log.warning("the world in memory is set aside",
                        aside=str(aside.keep_memory(self.folder, place)))  # fmt: skip
        self.keep_world = False
        segments.remove(self.folder)
        aside.set_checkpoints_aside(self.config, place)

    def _fill(self, rt: Runtime) -> None:
        """What the processes need beside the memory: addresses, the HTTP socket."""
        rt.db_conninfo, rt.redis_url = self.servers.db_conninfo, self.servers.redis_url
        rt.owner = self.servers.owner
        rt.info |= {
            "http_socket": self.listener,
            "http_url": url_of(self.listener),
            "redis_shown": self.servers.redis_shown,
            "db_shown": self.servers.db_shown,
        }

    def _settle(self, rt: Runtime) -> None:
        """What was set counts, for the log, too; of an upgrade as well: it reads the configuration
        anew."""
        rt.half = half_run(rt)
        settings.settle(rt, rt.written)
        if rt.config.log != self.config.log:
            with contextlib.suppress(OSError):  # the file was there a moment ago
                log_as(rt.config)

    def _announce(self, rt: Runtime) -> None:
        self.begun.say(self.wishes.config_path, str(rt.info["http_url"]))
        self.face.started(rt)

    def _live(self, rt: Runtime, group: Group, workers: int, grown: Plan | None) -> int:
        signals = self.signals = Signals()
        # Not collected first: freeing leaves holes in the pages that the children share.
        gc.freeze()
        gc.enable()
        base = rt.get(L.C_BASE_TICK)
        self.keep_world = True  # whatever happens now, but for a clean end
        changes = self.changes = Changes(rt.config, self.wishes, rt, group, self._hand(group, rt))
        drained: Drained | None = None
        self.begun.lived = True
        try:
            group.start_all()
            if self.inherited is None:
                group.all_started()
            rt.set(L.C_STATE, L.STATE_RUNNING)
            changes.adopt(workers, grown)
            self.notifier.ready(f"ticking from {base}")
            give_back_pages()  # a start reads much of its libraries that is not needed again
            if self.inherited is not None:
                answer(self.answers, "upgrade", None)
                told = {"campos": list(rt.refitted)} if rt.refitted else {}
                raise_event(rt, "actualizacion", {"aceptada": True, **told})
                for number in self.inherited.signals:
                    changes.ask(number)
            at_once = self._watch(rt, group)
            rt.resident_bytes = resident_bytes(group, os.getpid())
            changes.abandon()
            if not at_once:
                drained = self._drain(rt, group)
        finally:
            signals.close()
        seconds = (time.monotonic_ns() - rt.get(L.C_START_MONO_NS)) / 1e9
        resumable = drained is not None and drained.at_boundary and drained.checkpoint
        self.keep_world = drained is None or not (resumable and drained.delivered)
        if not resumable:
            rt.set(L.C_STOP, L.STOP_NOW)
        group.kill_all()
        self.face.finished()
        if drained is None:
            log.warning("stopped without draining; the world stays in memory",
                        folder=str(self.folder))  # fmt: skip
        found = summary(rt, group, base, seconds)
        found["undelivered_bytes"] = drained.undelivered_bytes if drained is not None else None
        self.report = found
        return EXIT_DONE if resumable else EXIT_FAILED

    def _hand(self, group: Group, rt: Runtime) -> Hand:
        def become_current(waiting: list[int], migrating: bool) -> None:
            self.notifier.away()
            # nothing is lost with this program's memory but what is handed over here
            state = {
                "lock": self.begun.lock.descriptor,
                "state_lock": self.begun.state_lock.descriptor,
                "http": self.listener.fileno(),
                "children": [member.process.pid for member in group.running()],
                "workers": group.workers,
                "signals": waiting,
                "updates_before": rt.updates_before,
            }
            document = self.wishes.document
            if document is not None:
                document.give_back()
            kept = [state["lock"], state["state_lock"], state["http"]]
            try:
                become(self.wishes, state, kept, migrating=migrating)
            finally:
                if document is not None:
                    document.take_again()

        return Hand(
            self.servers.stopping,
            self.servers.keep,
            become_current,
            self.answers,
            self.servers.forgive,
        )

    def _report(self, found: dict[str, Any]) -> bool:
        """The summary, once everything else is done; false when it could not be written."""
        if self.wishes.document is None:
            self.face.summary(found)
            return True
        text = orjson.dumps(found, option=orjson.OPT_INDENT_2) + b"\n"
        try:
            self.wishes.document.write(text, SUMMARY_SECONDS)
        except OSError as error:
            log.error("the summary could not be written to standard output", reason=error.strerror)
            return False
        return True

    def _turn(self, rt: Runtime, group: Group, finished: Finished, seconds: float) -> None:
        """One turn of the watch loop: reap, restart, kill what is frozen, keep the servers up, go
        on with a change, say again what the service manager did not take, sleep until something
        happens."""
        self.notifier.again()
        for member, code in group.reap():
            if finished(member, code):
                member.finished = True
            elif code == TAKEN_OVER:
                self.taken_over = True  # it must not be started again: the servers are another's
            elif not group.left(member, code):
                parked = group.schedule_restart(member, code)
                detail = {"proceso": member.name, "salida": code}
                raise_event(rt, "aparcado" if parked else "reinicio", detail)
        group.restart_due()
        group.kill_frozen()
        rt.set(L.C_BEAT_NS, time.monotonic_ns())
        self._look_at_servers(rt)
        self.changes.grow_again()
        self.changes.even_out()
        if self.changes.step():
            self.config = self.changes.config
            self.notifier.ready("running")
        self.face.status(rt)
        soon = self.changes.busy or self.servers.reviving
        due = group.next_due()
        seconds = min(seconds, SOON_SECONDS if soon else seconds, seconds if due is None else due)
        self.signals.sleep([member.pidfd for member in group.running()], seconds)

    def _look_at_servers(self, rt: Runtime) -> None:
        now = time.monotonic()
        if now - self.servers_looked < SERVERS_SECONDS and not self.servers.reviving:
            return
        self.servers_looked = now
        try:
            for name in self.servers.keep_alive():
                log.warning("embedded server died and was started again", server=name)
                raise_event(rt, "servidor", {"servidor": name})
        except Exception as error:  # noqa: BLE001 - none of them ends the instance
            log.error("embedded server does not come up; it is tried again",
                      reason=reason_of(error))  # fmt: skip

    def _watch(self, rt: Runtime, group: Group) -> bool:
        """Until the ticks are done or a signal says stop; true: stop at once."""
        while True:
            if self._lost(group):
                return True
            for number in self.signals.take():
                if number == signal.SIGQUIT:
                    return True
                if number in (signal.SIGTERM, signal.SIGINT):
                    return False
                if number != signal.SIGUSR1:
                    self.notifier.reloading()
                self.changes.ask(number)
            if segments.world_tick(rt) >= self.limit and not self.changes.busy:
                return False
            self.notifier.alive(segments.world_tick(rt), group.sightings.calm)
            seconds = POLL_SECONDS if self.limit == NO_LIMIT else 0.02
            self._turn(rt, group, lambda _member, _code: False, seconds)

    def _lost(self, group: Group) -> bool:
        """Whether another instance has taken this one's servers over; told once."""
        if self.taken_over:
            log.error("stopped: another instance has taken over this instance_id",
                      instance_id=self.config.instance_id,
                      without=[m.name for m in group.members if m.process is None])  # fmt: skip
        return self.taken_over

    def _drain(self, rt: Runtime, group: Group) -> Drained | None:
        """Stop stage by stage; None when it was cut short."""
        rt.set(L.C_STATE, L.STATE_DRAINING)
        self.notifier.stopping()

        def turn(finished: Finished) -> bool:
            taken = self.signals.take()
            if self._lost(group) or {signal.SIGQUIT, signal.SIGINT} & set(taken):
                return False
            for number in taken:
                if number != signal.SIGTERM:
                    self.changes.ask(number)
            self.changes.abandon()
            self._turn(rt, group, finished, 0.05)
            return True

        return Drain(rt, group).run(turn)
