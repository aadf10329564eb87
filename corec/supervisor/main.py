"""One instance from its lock to its summary.

Life: lock → servers → world (adopted, restored or new) → HTTP port → fork → watch → stop → summary.
The watch loop sleeps in ``poll`` on signals and on the children's pidfds; it reads control words,
never an entity.

Exit codes: 0 done, 1 failed while running, 2 configuration, 4 another live instance.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

import corec
from corec import layout as L
from corec.config import Config, ConfigError, Fault
from corec.control.discover import Instance, write_instance
from corec.control.folders import (
    CONTROL_SOCKET,
    INSTANCE_FILE,
    OWNER_LOCK,
    instance_folder,
    make_private,
    register,
    unregister,
)
from corec.embedded.errors import EmbeddedServerError
from corec.entities.processor import ProcessorError
from corec.http.port import PortUnavailable, reserve, url_of
from corec.log import get_logger, reopen
from corec.plan import Plan, make_plan
from corec.runtime import Runtime
from corec.supervisor import segments
from corec.supervisor.face import Face
from corec.supervisor.processes import Group, Member
from corec.supervisor.servers import Servers, ServerUnreachable
from corec.supervisor.summary import summary
from corec.world.checkpoint import Checkpoint, CheckpointRefused, latest
from corec.world.tables import Tables
from shm.owner import OwnerAlive, OwnerLock
from shm.segment import SegmentNoSpace, SegmentRefused, remove_leftovers

log = get_logger("corec.supervisor")

EXIT_DONE: Final = 0
EXIT_FAILED: Final = 1
EXIT_CONFIG: Final = 2
EXIT_ALIVE: Final = 4
DRAIN_SECONDS_MAX: Final = 60.0
NO_LIMIT: Final = 2**62
POLL_SECONDS: Final = 0.25


class StartFailed(Exception):
    """The instance can't start; ``code`` is the exit code, the text one clear line per fault."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True)
class Wishes:
    """What the command line asks for beside the configuration."""

    ticks: int | None = None
    fresh: bool = False
    json: bool = False
    config_path: Path | None = None


def worker_count(config: Config) -> int:
    """``workers``, or one per available CPU; never more than there are blocks."""
    available = len(os.sched_getaffinity(0))
    wanted = available if config.workers == "auto" else int(config.workers)
    return max(1, min(wanted, config.block_count))


class Supervisor:
    """Runs one instance. ``run`` returns the exit code."""

    def __init__(self, config: Config, wishes: Wishes, face: Face) -> None:
        self.config, self.wishes, self.face = config, wishes, face
        self.folder = instance_folder(config)
        self.lock = OwnerLock(self.folder / OWNER_LOCK)
        self.servers: Servers | None = None
        self.rt: Runtime | None = None
        self.group: Group | None = None
        self.keep_world = False
        self.signals: list[int] = []
        self.wakeup = (-1, -1)

    def run(self) -> int:
        """The whole life of the instance; raises ``StartFailed`` before anything ticks."""
        plan = make_plan(self.config)
        self._take_lock()
        try:
            code = self._run_locked(plan)
        finally:
            self._clean_up()
        return code

    def _take_lock(self) -> None:
        try:
            make_private(self.folder)
            self.lock.acquire()
        except OwnerAlive as error:
            raise StartFailed(
                EXIT_ALIVE,
                f"instance {self.config.instance_id!r} is running already, as pid {error.pid} "
                f"in {self.folder}; stop it with corec-ctl stop, or choose another instance_id",
            ) from None
        except OSError as error:
            raise StartFailed(EXIT_CONFIG, f"runtime_dir: {error}") from None

    def _clean_up(self) -> None:
        """Leave nothing behind but a world that is to be adopted."""
        if self.group is not None:
            self.group.kill_all()
        if self.servers is not None:
            with contextlib.suppress(EmbeddedServerError):
                self.servers.stop()
        (self.folder / INSTANCE_FILE).unlink(missing_ok=True)
        (self.folder / CONTROL_SOCKET).unlink(missing_ok=True)
        (self.folder / "broker.json").unlink(missing_ok=True)
        for path in self.folder.glob(".instance.json.*"):
            path.unlink(missing_ok=True)
        if not self.keep_world:
            segments.remove(self.folder)
        remove_leftovers(self.folder)
        for name in ("pg", "redis"):
            with contextlib.suppress(OSError):
                (self.folder / name).rmdir()
        self.lock.release(unlink=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()
        unregister(self.folder)

    def _run_locked(self, plan: Plan) -> int:
        remove_leftovers(self.folder)
        adopting = segments.adoptable(self.folder) and not self.wishes.fresh
        # Until the world is removed on purpose, a failed start leaves it where it was.
        self.keep_world = segments.adoptable(self.folder)
        checkpoint = None
        if not adopting:
            checkpoint = self._checkpoint(plan)
            held = sum(p.stat().st_size for p in self.folder.glob("*.*") if p.is_file())
            segments.check_room(plan, worker_count(self.config), self.folder, held)
        self.servers = Servers(self.config, self.folder, self.face.note)
        try:
            listener = reserve(
                self.config.http.host, self.config.http.port, self.config.http.port_explicit
            )
            self.servers.start()
        except (PortUnavailable, ServerUnreachable, EmbeddedServerError) as error:
            raise StartFailed(EXIT_FAILED, str(error)) from None
        rt, tables = self._world(plan, adopting, checkpoint)
        self.rt = rt
        rt.db_conninfo, rt.redis_url = self.servers.db_conninfo, self.servers.redis_url
        rt.info |= {
            "http_socket": listener,
            "http_url": url_of(listener),
            "redis_shown": self.servers.redis_shown,
            "db_shown": self.servers.db_shown,
        }
        workers = min(worker_count(self.config), rt.lanes)
        base = segments.world_tick(rt)
        limit = base + self.wishes.ticks if self.wishes.ticks is not None else NO_LIMIT
        segments.start_words(rt, workers, limit, time.monotonic_ns(), time.time_ns())
        self._announce(rt)
        return self._live(rt, tables, workers, limit)

    def _checkpoint(self, plan: Plan) -> Checkpoint | None:
        folder = self.config.state_path / self.config.instance_id
        if self.wishes.fresh:
            return None
        found = latest(folder)
        if found is None:
            return None
        if found.head["fingerprint"] != plan.fingerprint(self.config.seed):
            raise StartFailed(EXIT_CONFIG, self._misfit(f"checkpoint {found.path}", found.head))
        return found

    def _misfit(self, what: str, head: dict[str, Any]) -> str:
        differs = []
        if head.get("seed") != self.config.seed:
            differs.append(f"seed: found {head.get('seed')}, configured {self.config.seed}")
        if head.get("entidades") != self.config.entidades:
            differs.append(
                f"entidades: found {head.get('entidades')}, configured {self.config.entidades}"
            )
        if not differs:
            differs.append("bloques, parametros or the state fields of a processor differ")
        return (
            f"the world in {what} does not fit the config ({'; '.join(differs)}); "
            "use its config, or --fresh to set it aside and begin a new world"
        )

    def _world(
        self, plan: Plan, adopting: bool, checkpoint: Checkpoint | None
    ) -> tuple[Runtime, Tables]:
        try:
            if adopting:
                self.face.note("adopting the world in memory")
                return segments.adopt(self.config, self.folder, plan)
            self.keep_world = False
            segments.remove(self.folder)
            if self.wishes.fresh:
                self._set_checkpoints_aside()
            self.face.note("compiling kernels (kept for the next start)")
            with self.face.progress("creating the world", plan.entidades) as progress:
                return segments.create(
                    self.config, self.folder, worker_count(self.config), checkpoint, plan, progress
                )
        except SegmentNoSpace as error:
            text = str(error)
            raise StartFailed(
                EXIT_CONFIG, f"bloques: the world does not fit into runtime_dir: {text}"
            ) from None
        except SegmentRefused as error:
            raise StartFailed(
                EXIT_CONFIG,
                f"the world in {self.folder} does not fit the config: {error}; "
                "use its config, or --fresh to set it aside and begin a new world",
            ) from None
        except CheckpointRefused as error:
            raise StartFailed(EXIT_CONFIG, f"{error}; --fresh begins a new world") from None
        except ProcessorError as error:
            raise StartFailed(EXIT_CONFIG, str(ConfigError([_processor_fault(error)]))) from None

    def _set_checkpoints_aside(self) -> None:
        folder = self.config.state_path / self.config.instance_id
        found = sorted(folder.glob("checkpoint-*.corec"))
        if found:
            aside = folder / f"aside-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
            aside.mkdir(exist_ok=True)
            for path in found:
                path.rename(aside / path.name)

    def _announce(self, rt: Runtime) -> None:
        assert self.servers is not None
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
            )
        )
        self.face.started(rt)

    def _live(self, rt: Runtime, tables: Tables, workers: int, limit: int) -> int:
        self._catch_signals()
        gc.collect()
        gc.freeze()
        group = self.group = Group(rt, tables, workers)
        group.start_all()
        rt.set(L.C_STATE, L.STATE_RUNNING)
        started = time.monotonic()
        base = rt.get(L.C_BASE_TICK)
        try:
            at_once = self._watch(rt, group, limit)
            clean = False if at_once else self._drain(rt, group)
        finally:
            self._restore_signals()
        seconds = time.monotonic() - started
        if clean:
            self.face.finished()
            self._report(summary(rt, group, base, seconds))
            return EXIT_DONE
        self.keep_world = True
        rt.set(L.C_STOP, L.STOP_NOW)
        group.kill_all()
        self.face.finished()
        log.warning("stopped without draining; the world stays in memory", folder=str(self.folder))
        self._report(summary(rt, group, base, seconds))
        return EXIT_FAILED

    def _report(self, found: dict[str, Any]) -> None:
        if self.wishes.json:
            sys.stdout.buffer.write(orjson.dumps(found, option=orjson.OPT_INDENT_2) + b"\n")
            sys.stdout.flush()
        else:
            self.face.summary(found)

    def _catch_signals(self) -> None:
        self.wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self.wakeup[1], warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP,
                       signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU,
                       signal.SIGCHLD):  # fmt: skip
            signal.signal(number, self._note_signal)

    def _note_signal(self, number: int, _frame: object) -> None:
        if number != signal.SIGCHLD:
            self.signals.append(number)

    def _restore_signals(self) -> None:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        for end in self.wakeup:
            os.close(end)

    def _sleep(self, group: Group, seconds: float) -> None:
        poll = select.poll()
        poll.register(self.wakeup[0], select.POLLIN)
        for member in group.running():
            poll.register(member.pidfd, select.POLLIN)
        due = group.next_due()
        poll.poll(1000.0 * (seconds if due is None else min(seconds, due)))
        with contextlib.suppress(BlockingIOError):
            os.read(self.wakeup[0], 4096)

    def _event(self, rt: Runtime, tipo: str, detalle: dict[str, Any]) -> None:
        event = {"unix_ns": time.time_ns(), "tick": segments.world_tick(rt), "tipo": tipo,
                 "bloque": None, "entidad": None, "detalle": detalle}  # fmt: skip
        if not rt.events["supervisor"].push(L.KIND_EVENT_FRAME, orjson.dumps(event)):
            log.warning("an event found its lane full", tipo=tipo)

    def _care(self, rt: Runtime, group: Group, finished: Callable[[Member, int], bool]) -> None:
        """Reap, restart, kill what is frozen, keep the embedded servers up."""
        for member, code in group.reap():
            if finished(member, code):
                member.finished = True
                continue
            self._event(rt, "reinicio", {"proceso": member.name, "salida": code})
            group.schedule_restart(member, code)
        group.restart_due()
        group.kill_frozen()
        assert self.servers is not None
        try:
            for name in self.servers.keep_alive():
                log.warning("embedded server died and was started again", server=name)
                self._event(rt, "servidor", {"servidor": name})
        except EmbeddedServerError as error:
            log.error("embedded server does not come up", reason=str(error))
        rt.set(L.C_BEAT_NS, time.monotonic_ns())

    def _watch(self, rt: Runtime, group: Group, limit: int) -> bool:
        """Until the ticks are done or a signal says stop; true: stop at once."""
        while True:
            self._care(rt, group, lambda _member, _code: False)
            for number in self._take_signals():
                if number == signal.SIGQUIT:
                    return True
                if number in (signal.SIGTERM, signal.SIGINT):
                    return False
                if number == signal.SIGUSR1:
                    reopen()
            if segments.world_tick(rt) >= limit:
                return False
            self.face.status(rt)
            self._sleep(group, POLL_SECONDS if limit == NO_LIMIT else 0.02)

    def _take_signals(self) -> list[int]:
        taken, self.signals = self.signals, []
        return taken

    def _drain(self, rt: Runtime, group: Group) -> bool:
        """Stop stage by stage; false when it was cut short or did not end in time."""
        rt.set(L.C_STATE, L.STATE_DRAINING)
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
                if signal.SIGQUIT in self.signals or signal.SIGINT in self.signals:
                    return False
                self.signals.clear()
                if time.monotonic() > deadline:
                    waiting = [m.name for m in group.members if not m.finished and m.role in roles]
                    log.error("not drained in time", waiting=waiting, seconds=DRAIN_SECONDS_MAX)
                    return False
                self.face.status(rt)
                self._sleep(group, 0.05)
        return rt.get(L.C_DIGEST_VALID) != 0


def _processor_fault(error: ProcessorError) -> Fault:
    return Fault("bloques.procesador", str(error), "a processor that compiles")


def start(config: Config, wishes: Wishes) -> int:
    """Run an instance of ``config``; returns the exit code, errors already printed."""
    face = Face(json=wishes.json)
    try:
        return Supervisor(config, wishes, face).run()
    except ConfigError as error:
        print(f"corec: {error}".replace("\n", "\ncorec: "), file=sys.stderr)
        return EXIT_CONFIG
    except StartFailed as error:
        print(f"corec: {error}", file=sys.stderr)
        return error.code
