"""One instance from its lock to its summary.

Life: lock, servers begun (``begin``) → HTTP port → world adopted, restored or new → servers up →
fork → watch → stop → summary.
The watch loop sleeps in ``poll`` on signals and on the children's pidfds; it reads control words,
never an entity.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, Final

import orjson

import corec
from corec import layout as L
from corec.child import TAKEN_OVER
from corec.control.discover import Instance, write_instance
from corec.control.errors import PATTERN as ERRORS_PATTERN
from corec.control.folders import (
    CONTROL_SOCKET,
    INSTANCE_FILE,
    PERSISTER_FILE,
    register,
)
from corec.control.outcome import CHANGE_FILE, write_change
from corec.embedded.errors import EmbeddedServerError
from corec.http.port import PortUnavailable, reserve, url_of
from corec.log import get_logger, reopen
from corec.plan import Plan
from corec.runtime import Owner, Runtime
from corec.supervisor import aside, regroup, segments
from corec.supervisor.begin import Begun
from corec.supervisor.changes import Changes, raise_event
from corec.supervisor.exits import EXIT_CONFIG, EXIT_DONE, EXIT_FAILED, StartFailed
from corec.supervisor.face import Face
from corec.supervisor.identity import identity
from corec.supervisor.notify import Notifier
from corec.supervisor.opening import compile_processors, fitting_checkpoint, open_world
from corec.supervisor.processes import Group, Member
from corec.supervisor.servers import ServerUnreachable
from corec.supervisor.signals import Signals
from corec.supervisor.summary import resident_bytes, summary
from corec.supervisor.wishes import Wishes, worker_count
from corec.world.inspect import totals
from shm.segment import remove_leftovers

log = get_logger("corec.supervisor")

DRAIN_SECONDS_MAX: Final = 60.0
NO_LIMIT: Final = 2**62
POLL_SECONDS: Final = 0.25
SERVERS_SECONDS: Final = 0.5


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
        self.notifier = Notifier(os.environ)

    def run(self) -> int:
        """The whole life of the instance; raises ``StartFailed`` before anything ticks."""
        try:
            return self._run_locked(self.begun.plan)
        finally:
            self._clean_up()

    def _clean_up(self) -> None:
        """Leave nothing behind but a world that is to be adopted."""
        if self.group is not None:
            self.group.kill_all()
        for name in (INSTANCE_FILE, CONTROL_SOCKET, CHANGE_FILE, "broker.json", PERSISTER_FILE):
            (self.folder / name).unlink(missing_ok=True)
        for path in [*self.folder.glob(".*.json.*"), *self.folder.glob(ERRORS_PATTERN)]:
            path.unlink(missing_ok=True)
        if not self.keep_world:
            segments.remove(self.folder)
        remove_leftovers(self.folder)
        self.begun.close()

    def _run_locked(self, plan: Plan) -> int:
        compile_processors(plan)
        remove_leftovers(self.folder)
        # Until the world is removed on purpose, a failed start leaves it where it was.
        self.keep_world = segments.adoptable(self.folder)
        adopting = self.keep_world and not self.wishes.fresh
        workers = worker_count(self.config)
        checkpoint = None
        moved = self.wishes.fresh and aside.must_be_moved(self.config, plan, self.folder)
        if not adopting:
            if not self.wishes.fresh:
                checkpoint = fitting_checkpoint(self.config, plan)
            leaving = () if moved else self.folder.glob("*.*")
            held = sum(path.stat().st_size for path in leaving if path.is_file())
            segments.check_room(plan, workers, self.folder, held)
        http = self.config.http
        try:
            self.listener = (
                self.inherited.listener()
                if self.inherited is not None
                else reserve(http.host, http.port, http.port_explicit)
            )
            self.servers.owner, self.servers.take_over = self._identity(), self.wishes.take_over
            self.servers.reach()
            if self.keep_world or self.wishes.fresh:
                self.servers.start()  # what is there is not touched before they are up
            if self.wishes.fresh:
                self._set_aside(moved=moved)
            elif not adopting:
                self.keep_world = False
                segments.remove(self.folder)
            rt, tables = open_world(
                self.config, plan, self.folder, self.face, workers,
                adopting=adopting, checkpoint=checkpoint, meanwhile=self.servers.advance,
                fresh=self.wishes.fresh,
            )  # fmt: skip
            self.servers.start()
        except (PortUnavailable, ServerUnreachable, EmbeddedServerError) as error:
            raise StartFailed(EXIT_FAILED, str(error)) from None
        self._fill(rt)
        group = self.group = Group(rt, tables, rt.get(L.C_WORKERS), self.lock)
        if self.inherited is not None:
            regroup.retire_inherited(rt, self.inherited.children)
        segments.start_words(rt, keep_control=self.inherited is not None)
        if self.wishes.ticks is not None and self.inherited is None:
            self.limit = segments.world_tick(rt) + self.wishes.ticks
        elif self.inherited is not None:
            self.limit = rt.get(L.C_LIMIT_TICK)
        rt.set(L.C_LIMIT_TICK, self.limit)
        rt.updates_before = int(totals(rt)["entity_updates"])
        self._announce(rt)
        return self._live(rt, group, workers)

    def _identity(self) -> Owner:
        try:
            return identity(self.config)
        except OSError as error:
            raise StartFailed(EXIT_CONFIG, f"state_dir: {error}") from None

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

    def _announce(self, rt: Runtime) -> None:
        register(self.folder)
        path = self.wishes.config_path
        write_instance(
            Instance(
                instance_id=self.config.instance_id,
                pid=os.getpid(),
                folder=str(self.folder),
                socket=str(self.folder / CONTROL_SOCKET),
                http_url=str(rt.info["http_url"]),
                redis_url=self.servers.redis_shown,
                db=self.servers.db_shown,
                started_unix_ns=time.time_ns(),
                config_path=str(path.absolute()) if path else None,
                version=corec.__version__,
                redis_password_file=self.servers.redis_password_file,
            )
        )
        self.face.started(rt)

    def _live(self, rt: Runtime, group: Group, workers: int) -> int:
        signals = Signals()
        # Not collected first: freeing leaves holes in the pages that the children share.
        gc.freeze()
        gc.enable()
        started = time.monotonic()
        base = rt.get(L.C_BASE_TICK)
        self.keep_world = True  # whatever happens now, but for a clean end
        try:
            group.start_all()
            rt.set(L.C_STATE, L.STATE_RUNNING)
            # An adopted world may come from another number of workers: it finishes the tick it is
            # in with those, and changes over at the boundary.
            Changes(self.config, self.wishes, rt, group).resize(workers)
            self.notifier.ready(f"ticking from {base}")
            if self.inherited is not None:
                write_change(self.folder, "upgrade", True, None)
            at_once = self._watch(rt, group, signals)
            rt.resident_bytes = resident_bytes(group, os.getpid())
            clean = False if at_once else self._drain(rt, group, signals)
        finally:
            signals.close()
        seconds = time.monotonic() - started
        self.keep_world = not clean
        if not clean:
            rt.set(L.C_STOP, L.STOP_NOW)
            group.kill_all()
        self.face.finished()
        if not clean:
            log.warning("stopped without draining; the world stays in memory",
                        folder=str(self.folder))  # fmt: skip
        self._report(summary(rt, group, base, seconds))
        return EXIT_DONE if clean else EXIT_FAILED

    def _report(self, found: dict[str, Any]) -> None:
        if self.wishes.json:
            sys.stdout.buffer.write(orjson.dumps(found, option=orjson.OPT_INDENT_2) + b"\n")
            sys.stdout.flush()
        else:
            self.face.summary(found)

    def _care(self, rt: Runtime, group: Group, finished: Callable[[Member, int], bool]) -> None:
        """Reap, restart, kill what is frozen, keep the embedded servers up."""
        for member, code in group.reap():
            if finished(member, code):
                member.finished = True
                continue
            if code == TAKEN_OVER:
                self.taken_over = True  # it must not be started again: the servers are another's
                continue
            parked = group.schedule_restart(member, code)
            group.restart_due()
            detail = {"proceso": member.name, "salida": code}
            raise_event(rt, "aparcado" if parked else "reinicio", detail)
        group.restart_due()
        group.kill_frozen()
        rt.set(L.C_BEAT_NS, time.monotonic_ns())
        now = time.monotonic()
        if now - self.servers_looked < SERVERS_SECONDS:
            return
        self.servers_looked = now
        try:
            for name in self.servers.keep_alive():
                log.warning("embedded server died and was started again", server=name)
                raise_event(rt, "servidor", {"servidor": name})
        except EmbeddedServerError as error:
            log.error("embedded server does not come up", reason=str(error))

    def _sleep(self, group: Group, signals: Signals, seconds: float) -> None:
        due = group.next_due()
        pidfds = [member.pidfd for member in group.running()]
        signals.sleep(pidfds, seconds if due is None else min(seconds, due))

    def _watch(self, rt: Runtime, group: Group, signals: Signals) -> bool:
        """Until the ticks are done or a signal says stop; true: stop at once."""
        while True:
            self._care(rt, group, lambda _member, _code: False)
            if self._lost(group):
                return True
            for number in signals.take():
                if number == signal.SIGQUIT:
                    return True
                if number in (signal.SIGTERM, signal.SIGINT):
                    return False
                self._act(rt, group, number)
            if segments.world_tick(rt) >= self.limit:
                return False
            self.face.status(rt)
            resting = rt.get(L.C_PAUSED) != 0 or group.sightings.moving
            self.notifier.alive(segments.world_tick(rt), resting)
            self._sleep(group, signals, POLL_SECONDS if self.limit == NO_LIMIT else 0.02)

    def _lost(self, group: Group) -> bool:
        """Whether another instance has taken this one's servers over; told once."""
        if self.taken_over:
            log.error("stopped: another instance has taken over this instance_id",
                      instance_id=self.config.instance_id,
                      without=[m.name for m in group.members if m.process is None])  # fmt: skip
        return self.taken_over

    def _act(self, rt: Runtime, group: Group, number: int) -> None:
        """A signal that changes the living instance."""
        if number == signal.SIGUSR1:
            reopen()
            return
        changes = Changes(self.config, self.wishes, rt, group)
        if number == signal.SIGTTIN:
            changes.resize(group.workers + 1)
        elif number == signal.SIGTTOU:
            changes.resize(max(1, group.workers - 1))
        elif number == signal.SIGHUP:
            group.forgive()
            self.notifier.reloading()
            self.config = changes.reload()
            self.notifier.ready("running")
        elif number == signal.SIGUSR2:
            self.notifier.reloading()
            changes.upgrade(self.lock, self.listener, self.servers)
            self.notifier.ready("running, upgrade refused")

    def _drain(self, rt: Runtime, group: Group, signals: Signals) -> bool:
        """Stop stage by stage; false when it was cut short or did not end in time."""
        rt.set(L.C_STATE, L.STATE_DRAINING)
        self.notifier.stopping()
        group.forgive()
        deadline = time.monotonic() + DRAIN_SECONDS_MAX
        stages = (
            (L.STOP_TICKS, ("worker",)),
            (L.STOP_SINKS, ("persister", "broker")),
            (L.STOP_NUCLEUS, ("nucleus",)),
        )
        for stop, roles in stages:
            rt.set(L.C_STOP, stop)
            for bell in rt.doorbells:
                bell.wake()

            def finished(member: Member, code: int, now: int = stop) -> bool:
                leaves = next(s for s, r in stages if member.role in r)
                return code == 0 and leaves <= now

            while any(not m.finished for m in group.members if m.role in roles):
                self._care(rt, group, finished)
                if self._lost(group):
                    return False
                if {signal.SIGQUIT, signal.SIGINT} & set(signals.take()):
                    return False
                if time.monotonic() > deadline:
                    waiting = [m.name for m in group.members if not m.finished and m.role in roles]
                    log.error("not drained in time", waiting=waiting, seconds=DRAIN_SECONDS_MAX)
                    return False
                self.face.status(rt)
                self._sleep(group, signals, 0.05)
        return rt.get(L.C_DIGEST_VALID) != 0
