"""Forking, watching and reaping the instance's processes.

The parent has one thread and no event loop, everything is compiled and mapped before the first
fork: a replacement is one ``fork`` away. A dead child is reaped before its lanes get a successor,
so no two processes ever write one word.

What is wanted is that everybody runs, but for who has *left*: by its own will at a tick boundary
while ``resting`` (C_REST is odd), or since it was called off. Whoever else does not run is due. So
a change that fails half way needs no way back of its own: ``recover`` makes everybody wanted again,
and the next look starts them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import multiprocess

from corec import layout as L
from corec.broker.process import run as run_broker
from corec.command_line import NO_PROCESS
from corec.config import Config
from corec.exits import EXIT_FAILED, StartFailed
from corec.log import get_logger
from corec.nucleus.process import run as run_nucleus
from corec.persister.process import run as run_persister
from corec.proc import count_threads
from corec.process.life import Child
from corec.process.roles import (
    BROKER,
    KILLED_SECONDS,
    NUCLEUS,
    PERSISTER,
    SINGLE,
    TASKS,
    WORKER,
    members,
)
from corec.process.runtime import Runtime
from corec.process.showing import Showing
from corec.supervisor.beside import exit_text
from corec.supervisor.restarts import Restarts
from corec.supervisor.sighting import Sightings
from corec.tasks.process import run as run_tasks
from corec.worker.process import run as run_worker
from corec.world.tables import Tables
from shm.killpoint import arm_life

log = get_logger("corec.supervisor")
RETIRE_SECONDS_MAX: Final = 10.0
PAUSED_SECONDS: Final = 3.0
"""Between two looks lie a quarter of a second and a few forks."""
RUNS: Final[dict[str, Callable[[Runtime], int]]] = {
    NUCLEUS.name: run_nucleus,
    PERSISTER.name: run_persister,
    BROKER.name: run_broker,
    TASKS.name: run_tasks,
}
"""What a process of which there is one does."""
assert set(RUNS) == {role.name for role in SINGLE}, "every row of corec.process.roles has its run"


@dataclass
class Member:
    """One process of the group and its history."""

    slot: int
    role: str
    index: int
    cpus: set[int] | None
    restarts: Restarts = field(default_factory=Restarts)
    process: Any = None
    pidfd: int = -1
    finished: bool = False
    """It left for good: the instance stops."""
    called_off: bool = False
    """It is not wanted now: who called it off starts it again."""
    killed: bool = False
    """It showed no sign of life, and is killed."""
    ending: bool = False
    """Its death was asked for, and is none to count."""

    @property
    def name(self) -> str:
        """``worker 1``, ``broker``."""
        return f"{self.role} {self.index}" if self.role == WORKER.name else self.role


def _main(group: Group, member: Member, parent: int) -> None:
    """The forked child's whole life."""
    rt = group.rt
    child = Child(rt, member.slot, member.name, parent)
    code = 1
    try:
        group.forget()
        arm_life(member.name, member.restarts.count)
        rt.config = group.ahead.get(member.role, rt.config)
        child.enter(member.cpus)
        if member.role == WORKER.name:
            code = run_worker(rt, group.tables, member.index, group.workers, child)
        else:
            code = RUNS[member.role](rt)
    except BaseException:  # the process ends here, and says why
        log.exception("process failed", process=member.name)
    finally:
        child.leave(code)


class Group:
    """The processes of one instance."""

    def __init__(
        self, rt: Runtime, tables: Tables, workers: int, forget: Callable[[], None]
    ) -> None:
        """``forget`` drops, in a child, what is the supervisor's alone."""
        self.rt, self.tables, self.workers, self.forget = rt, tables, workers, forget
        self.resting = False
        self.ahead: dict[str, Config] = {}
        """By role: what those have already that are started before a change counts. Whoever else is
        started meanwhile has what counts until then, as who runs beside it."""
        self._looked = time.monotonic()
        self._grace_from = 0.0
        for role in SINGLE:
            if role.where is not None:
                rt.set(role.where.word, int(role.where.asked(rt.config)))
        self.members: list[Member] = []
        self.reform(workers)
        self.sightings = Sightings(rt)
        self.context = multiprocess.get_context("fork")

    def reform(self, workers: int) -> None:
        """Be a group with ``workers`` workers; nobody runs. Who stays keeps its history."""
        cpus = sorted(os.sched_getaffinity(0))
        kept = {m.slot: m for m in self.members}
        self.members = []
        for one in members(workers, self.rt.get):
            pinned = {cpus[one.index % len(cpus)]} if one.role == WORKER.name else None
            fresh = Member(one.slot, one.role, one.index, pinned)
            self.members.append(kept.get(one.slot, fresh))
        for member in self.members:
            member.finished = member.called_off = False
        self.workers = workers

    def start_all(self) -> None:
        """Fork everybody, the workers first: the others have more to do before they are ready, and
        would take the cores from the first tick."""
        self._looked = time.monotonic()
        for member in sorted(self.members, key=lambda m: m.role != WORKER.name):
            self.start(member)

    def start(self, member: Member) -> None:
        """Fork one process; where there is none to be had now, it is due again soon."""
        try:
            self._fork(member)
        except OSError as error:
            now = time.monotonic()
            due = member.restarts.not_started(now)
            log.error(
                "not started, and tried again", process=member.name, what=NO_PROCESS,
                reason=error.strerror, delay_seconds=round(due - now, 2),
            )  # fmt: skip

    def _fork(self, member: Member) -> None:
        """Raises OSError when there is no process to be had, RuntimeError when this process has
        threads: a fork of a process with threads may inherit a lock that nobody will release."""
        if (threads := count_threads()) != 1:
            raise RuntimeError(f"the supervisor has {threads} threads, expected 1 before a fork")
        before = set(os.listdir("/proc/self/fd"))
        process = self.context.Process(target=_main, args=(self, member, os.getpid()))
        try:
            process.start()
        except OSError:
            # the library leaves the pipes open that it made for the child
            for leaked in set(os.listdir("/proc/self/fd")) - before:
                with contextlib.suppress(OSError):
                    os.close(int(leaked))
            raise
        try:
            member.pidfd = os.pidfd_open(process.pid)
        except OSError:
            process.kill()
            process.join()
            process.close()
            raise
        member.process = process
        member.called_off = member.ending = member.killed = False
        member.restarts.start(time.monotonic())
        self.rt.slot(member.slot).set(L.S_UP, 1)

    def all_started(self) -> None:
        """Raises StartFailed when somebody could not be started: a new instance then ends."""
        missing = [m.name for m in self.members if m.process is None]
        if missing:
            raise StartFailed(EXIT_FAILED, f"{', '.join(missing)}: {NO_PROCESS}")

    def inherit_counts(self) -> None:
        """Go on with the restart counts of the code before ``exec``."""
        for member in self.members:
            member.restarts.count = self.rt.slot(member.slot).get(L.S_RESTARTS)

    def reap(self) -> list[tuple[Member, int]]:
        """Collect who died: (member, exit code; negative: signal)."""
        dead = []
        for member in self.members:
            if member.process is None:
                continue
            code = member.process.exitcode
            if code is None:
                continue
            member.process.join()
            os.close(member.pidfd)
            member.process.close()
            member.process, member.pidfd = None, -1
            self.rt.slot(member.slot).set(L.S_UP, 0)
            dead.append((member, int(code)))
        return dead

    def running(self, role: str | None = None) -> list[Member]:
        """Members with a live process."""
        return [m for m in self.members if m.process is not None and role in (None, m.role)]

    @property
    def whole(self) -> bool:
        """Whether everybody runs who is wanted."""
        return all(m.process is not None for m in self.members
                   if not (m.called_off or m.finished))  # fmt: skip

    def left(self, member: Member, code: int) -> bool:
        """Whether a death was meant; who is still wanted then is due."""
        if self.resting and member.role == WORKER.name and code == 0:
            member.called_off = True
        elif not member.ending:
            return False
        member.ending = False
        if not member.called_off:
            member.restarts.due = time.monotonic()
        return True

    def schedule_restart(self, member: Member, code: int) -> bool:
        """Note a death and when to start the member again; at once means before it is told.

        Returns True when this death has the member parked.
        """
        now, was_parked = time.monotonic(), member.restarts.parked
        due = member.restarts.died(now)
        slot = self.rt.slot(member.slot)
        slot.set(L.S_RESTARTS, member.restarts.count)
        if due <= now:
            self.start(member)
        elif member.restarts.parked:
            Showing(slot).parked()
            log.error(
                "process is parked: it dies at once, again and again; tried again now and then, "
                "and at once by corec-ctl reload",
                process=member.name,
                exit=exit_text(code),
                restarts=member.restarts.count,
                delay_seconds=round(due - now, 2),
            )
            return not was_parked
        log.warning(
            "process died, restarting",
            process=member.name,
            exit=exit_text(code),
            restarts=member.restarts.count,
            delay_seconds=round(due - now, 2),
        )
        return False

    def forgive(self) -> None:
        """Start who waits for its next start at the next look; nobody is parked any more."""
        now = time.monotonic()
        for member in self.members:
            member.restarts.forgive(now)

    def restart_due(self) -> list[Member]:
        """Start whoever is due; returns them."""
        now = time.monotonic()
        due = [
            m
            for m in self.members
            if m.process is None and m.restarts.due is not None and m.restarts.due <= now
        ]
        for member in due:
            self.start(member)
        return due

    def next_due(self) -> float | None:
        """Seconds until the next restart is due."""
        waiting = [m.restarts.due for m in self.members if m.process is None and m.restarts.due]
        return max(0.0, min(waiting) - time.monotonic()) if waiting else None

    def kill_frozen(self) -> None:
        """SIGKILL whoever has not shown a sign of life for long; it is reaped like any death.

        When this process itself did not run for a while (a container was paused, a lid closed, the
        whole tree stopped and continued), nobody did: everybody's time counts from now.
        """
        now = time.monotonic()
        if now - self._looked > PAUSED_SECONDS:
            log.warning("nothing ran here for a while; everybody gets time to show life again",
                        seconds=round(now - self._looked, 1))  # fmt: skip
            self._grace_from = now
        self._looked = now
        for member in self.running():
            beat = self.sightings.last_ns(member.slot) / 1e9
            if member.killed:
                continue
            if now - max(beat, member.restarts.started, self._grace_from) > KILLED_SECONDS:
                log.error("process shows no sign of life, killing it", process=member.name)
                member.killed = True
                _kill(member)

    def call_off(self, who: Iterable[Member]) -> None:
        """SIGKILL, which they are made for, who is to be started again by the caller."""
        for member in who:
            member.called_off = member.ending = True
            member.restarts.due = None
            _kill(member)

    def rest(self) -> None:
        """Ask the workers to leave at the next tick boundary."""
        self.resting = True
        if not self.rt.get(L.C_REST) & 1:
            self.rt.set(L.C_REST, self.rt.get(L.C_REST) + 1)
        for bell in self.rt.doorbells:
            bell.wake()
        self.forgive()

    def rested(self) -> bool:
        """Whether every worker has left."""
        workers = [m for m in self.members if m.role == WORKER.name]
        return all(m.called_off and m.process is None for m in workers)

    def end_rest(self) -> None:
        """Ticks may go again; who has left is started when somebody looks."""
        if self.rt.get(L.C_REST) & 1:
            self.rt.set(L.C_REST, self.rt.get(L.C_REST) + 1)
        self.resting = False

    def recover(self) -> None:
        """Everybody is wanted: who does not run is due."""
        self.end_rest()
        now = time.monotonic()
        for member in self.members:
            member.called_off = False
            if member.process is None and not member.finished and member.restarts.due is None:
                member.restarts.due = now

    def kill_all(self) -> None:
        """SIGKILL and reap everybody."""
        for member in self.running():
            _kill(member)
        deadline = time.monotonic() + 10.0
        while self.running() and time.monotonic() < deadline:
            for member in self.running():
                member.process.join(0.1)
            self.reap()


def retire_inherited(rt: Runtime, children: Sequence[int]) -> None:
    """End the processes that the code before ``exec`` forked: workers at a boundary, then all.

    Those that do not come to one in time are killed within their tick, which the new ones finish.
    """
    workers = {rt.slot(L.SLOT_WORKER0 + k).get(L.S_PID) for k in range(rt.lanes)}
    rt.set(L.C_REST, rt.get(L.C_REST) | 1)
    for bell in rt.doorbells:
        bell.wake()
    deadline = time.monotonic() + RETIRE_SECONDS_MAX
    waiting = {pid for pid in children if pid in workers}
    while waiting and time.monotonic() < deadline:
        waiting -= {pid for pid in waiting if _reaped(pid)}
        time.sleep(0.002)
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for pid in children:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def _reaped(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True


def _kill(member: Member) -> None:
    if member.process is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(member.process.pid, signal.SIGKILL)
