"""Forking, watching and reaping the instance's processes.

The parent has one thread and no event loop, everything is compiled and mapped before the first
fork: a replacement is one ``fork`` away. A dead child is reaped before its lanes get a successor,
so no two processes ever write one word.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass, field
from typing import Any, Final

import multiprocess

from corec import layout as L
from corec.broker.process import run as run_broker
from corec.child import Child
from corec.log import get_logger
from corec.nucleus.process import run as run_nucleus
from corec.persister.process import run as run_persister
from corec.runtime import Runtime
from corec.supervisor.restarts import Restarts
from corec.supervisor.sighting import Sightings
from corec.worker.process import run as run_worker
from corec.world.tables import Tables
from shm.killpoint import arm_life
from shm.owner import OwnerLock

log = get_logger("corec.supervisor")
FROZEN_SECONDS: Final = 10.0
ROLES: Final = {L.SLOT_NUCLEUS: "nucleus", L.SLOT_PERSISTER: "persister", L.SLOT_BROKER: "broker"}


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

    @property
    def name(self) -> str:
        """``worker 1``, ``broker``."""
        return f"{self.role} {self.index}" if self.role == "worker" else self.role


def _main(group: Group, member: Member, parent: int) -> None:
    """The forked child's whole life."""
    rt = group.rt
    child = Child(rt, member.slot, member.name, parent)
    code = 1
    try:
        group.lock.close_in_child()
        arm_life(member.name, member.restarts.count)
        child.enter(member.cpus)
        if member.role == "worker":
            code = run_worker(rt, group.tables, member.index, group.workers, child)
        elif member.role == "persister":
            code = run_persister(rt)
        elif member.role == "broker":
            code = run_broker(rt)
        else:
            code = run_nucleus(rt)
    except BaseException:  # the process ends here, and says why
        log.exception("process failed", process=member.name)
    finally:
        child.leave(code)


class Group:
    """The processes of one instance."""

    def __init__(self, rt: Runtime, tables: Tables, workers: int, lock: OwnerLock) -> None:
        self.rt, self.tables, self.workers, self.lock = rt, tables, workers, lock
        self.members = [Member(slot, role, 0, None) for slot, role in ROLES.items()]
        self.reform(workers)
        self.sightings = Sightings(rt)
        self.context = multiprocess.get_context("fork")

    def reform(self, workers: int) -> None:
        """Be a group with ``workers`` workers; nobody runs. Who stays keeps its history."""
        cpus = sorted(os.sched_getaffinity(0))
        kept = {m.slot: m for m in self.members}
        self.members = [kept[slot] for slot in ROLES]
        for k in range(workers):
            slot = L.SLOT_WORKER0 + k
            fresh = Member(slot, "worker", k, {cpus[k % len(cpus)]})
            self.members.append(kept.get(slot, fresh))
        for member in self.members:
            member.finished = False
        self.workers = workers

    def start_all(self) -> None:
        """Fork everybody, the workers first: the others have more to do before they are ready, and
        would take the cores from the first tick."""
        for member in sorted(self.members, key=lambda m: m.role != "worker"):
            self.start(member)

    def start(self, member: Member) -> None:
        """Fork one process. Raises RuntimeError when this process has threads: a fork of a
        process with threads may inherit a lock that nobody will release."""
        threads = len(os.listdir("/proc/self/task"))
        if threads != 1:
            raise RuntimeError(f"the supervisor has {threads} threads, expected 1 before a fork")
        member.process = self.context.Process(target=_main, args=(self, member, os.getpid()))
        member.process.start()
        member.pidfd = os.pidfd_open(member.process.pid)
        member.restarts.start(time.monotonic())
        slot = self.rt.slot(member.slot)
        slot.set(L.S_UP, 1)

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
            slot.set(L.S_STATE, L.PROC_PARKED)
            log.error(
                "process is parked: it dies at once, again and again; tried again now and then, "
                "and at once by corec-ctl reload",
                process=member.name,
                exit=_exit_text(code),
                restarts=member.restarts.count,
                delay_seconds=round(due - now, 2),
            )
            return not was_parked
        log.warning(
            "process died, restarting",
            process=member.name,
            exit=_exit_text(code),
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
        """SIGKILL whoever has not shown a sign of life for long; it is reaped like any death."""
        now = time.monotonic_ns()
        for member in self.running():
            beat = max(self.sightings.last_ns(member.slot), int(member.restarts.started * 1e9))
            if now - beat > FROZEN_SECONDS * 1e9:
                log.error("process shows no sign of life, killing it", process=member.name)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(member.process.pid, signal.SIGKILL)

    def kill_all(self) -> None:
        """SIGKILL and reap everybody."""
        for member in self.running():
            with contextlib.suppress(ProcessLookupError):
                os.kill(member.process.pid, signal.SIGKILL)
        deadline = time.monotonic() + 10.0
        while self.running() and time.monotonic() < deadline:
            for member in self.running():
                member.process.join(0.1)
            self.reap()


def _exit_text(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
