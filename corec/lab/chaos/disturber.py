"""The faults of a schedule made to happen, in order, to one instance and its two servers.

A fault that lasts has a begin and an end on one timeline, so others happen meanwhile. Starting the
instance anew takes its time; that time is taken out of the schedule, or what was due in it would
come all at once. Who starts it heals the ways to the servers first.

A disk that is full is what ``RLIMIT_FSIZE`` makes of it for one process: each write that would make
a file longer fails. It needs no root, harms nobody else, and goes with the process. A full tmpfs
is not made here: an ordinary user can have no tmpfs of their own, and the machine's is everybody's.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import resource
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

from corec.lab.chaos.instance import ChaosInstance
from corec.lab.chaos.plan import Fault
from corec.lab.chaos.servers import Servers
from corec.lab.chaos.watch import Recovery
from corec.process.roles import NAMES, SUPERVISOR, WORKER

FULL_BYTES: Final = 4096
GROUP_SIGNALS: Final = {
    "more workers": signal.SIGTTIN,
    "fewer workers": signal.SIGTTOU,
    "reload": signal.SIGHUP,
}


class Disturber:
    """``run`` makes the schedule happen; ``done`` counts what did."""

    def __init__(
        self, instance: ChaosInstance, servers: Servers, tell: Callable[[str], None]
    ) -> None:
        self.instance, self.servers, self.tell = instance, servers, tell
        self.done: Counter[str] = Counter()
        self.recovery = Recovery(instance)
        self.adoptions = 0
        self.spool_full = 0
        self.unnoticed: list[str] = []
        self._away: dict[str, Fault] = {}
        self._pids: dict[Fault, int] = {}
        self._lost_seconds = 0.0

    def run(self, faults: Sequence[Fault], seconds: float) -> None:
        """Each fault at its time; at the end everything is whole again.

        Raises:
            LabFailed: the instance does not come back.
        """
        number = itertools.count()
        timeline: list[tuple[float, int, bool, Fault]] = []
        for fault in faults:
            heapq.heappush(timeline, (fault.at, next(number), True, fault))
            if fault.lasts or fault.what.startswith("restart"):
                heapq.heappush(timeline, (fault.end, next(number), False, fault))
        start = time.monotonic()
        while timeline:
            at, _, begins, fault = heapq.heappop(timeline)
            self._sleep_until(start, at)
            if not begins:
                self._end(fault)
            elif self._begin(fault):
                self.done[fault.what] += 1
                self.tell(str(fault))
        self._sleep_until(start, seconds)
        self.heal()

    def _sleep_until(self, start: float, at: float) -> None:
        time.sleep(max(0.0, start + at + self._lost_seconds - time.monotonic()))

    def heal(self) -> None:
        """End what still lasts at the servers."""
        for fault in list(self._away.values()):
            self._end(fault)

    def _begin(self, fault: Fault) -> bool:
        """Make it happen; false when its target is not there at this moment."""
        verb, _, target = fault.what.partition(" ")
        if target in ("postgres", "valkey"):
            self._away[target] = fault
            self._harm(verb, target, fault)
            return True
        if fault.what in ("kill supervisor", "kill everything"):
            self._start_anew(everything=target == "everything")
            return True
        assert self.instance.process is not None
        if fault.what in GROUP_SIGNALS:
            self.instance.process.send_signal(GROUP_SIGNALS[fault.what])
            return True
        pids = self.instance.children().get(target, [])
        if not pids:
            return False
        pid = pids[int(fault.pick * len(pids))]
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if verb == "kill":
                self._kill(target, pid)
            elif verb == "fulldisk":
                self._limit_files(pid, FULL_BYTES)
            else:
                os.kill(pid, signal.SIGSTOP)
            if fault.lasts:
                self._pids[fault] = pid
            return True
        return False

    def _kill(self, role: str, pid: int) -> None:
        if role == WORKER.name and not self._away and not self._pids:
            self.recovery.kill(pid)
        else:
            os.kill(pid, signal.SIGKILL)

    def _harm(self, verb: str, name: str, fault: Fault) -> None:
        proxy = self.servers.proxies[name]
        if verb == "cut":
            way, part = divmod(fault.pick * 3.0, 1.0)
            proxy.tell(
                ("refuse", f"cut {int(part * 65536)}", f"lose {int(part * 65536)}")[int(way)]
            )
        elif verb == "delay":
            proxy.tell(f"delay {20 + int(fault.pick * 230)}")
        elif verb == "hold":
            proxy.tell("hold")
        elif verb == "restart":
            self.servers.kill(name)
        elif verb == "stop":
            self.servers.signal(name, signal.SIGSTOP)
        else:  # the rows go to the spool
            proxy.tell("refuse")
            for pid in self.instance.children().get("persister", []):
                if verb == "fulldisk":
                    self._pids[fault] = pid
                    self._limit_files(pid, FULL_BYTES)

    def _end(self, fault: Fault) -> None:
        verb, _, target = fault.what.partition(" ")
        pid = self._pids.pop(fault, None)
        if verb == "fulldisk" and pid is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                self._limit_files(pid, None)
        if target in ("postgres", "valkey"):
            if self._away.get(target) is fault:
                del self._away[target]
                self._mend(verb, target)
        elif verb == "stop" and pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        elif verb == "freeze" and pid is not None and pid in self.instance.all_children():
            self.unnoticed.append(f"{target} was frozen for {fault.lasts:.1f} s and not replaced")
            os.kill(pid, signal.SIGCONT)

    def _mend(self, verb: str, name: str) -> None:
        if verb == "fillspool":
            self.spool_full += self.instance.spool_is_full()
        if verb == "restart":
            before = time.monotonic()
            self.servers.revive(name)
            self._lost_seconds += time.monotonic() - before
        elif verb == "stop":
            self.servers.signal(name, signal.SIGCONT)
        else:
            self.servers.proxies[name].tell("pass")

    def _start_anew(self, *, everything: bool) -> None:
        assert self.instance.process is not None
        before = time.monotonic()
        self.heal()
        self.instance.process.kill()
        if everything:
            for name in ("postgres", "valkey"):
                self.servers.kill(name)
        self.instance.process.wait()
        if everything:
            for name in ("postgres", "valkey"):
                self.servers.revive(name)
        self.adoptions += 1
        self.instance.spawn()
        self.instance.ready()
        self._lost_seconds += time.monotonic() - before

    def _limit_files(self, pid: int, bytes_max: int | None) -> None:
        hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
        soft = hard if bytes_max is None else bytes_max
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))

    def report(self) -> dict[str, Any]:
        """What happened: by fault, and summed up."""

        def count(verb: str, *targets: str) -> int:
            return sum(
                n for what, n in self.done.items()
                if what.partition(" ")[0] == verb
                and (not targets or what.partition(" ")[2] in targets)
            )  # fmt: skip

        roles = (*NAMES, SUPERVISOR, "everything")
        return {
            "faults": dict(sorted(self.done.items())),
            "faults_total": self.done.total(),
            "kills": {role: count("kill", role) for role in roles},
            "kills_total": count("kill"),
            "server_restarts": {n: count("restart", n) for n in ("postgres", "valkey")}
            | {"with everything": count("kill", "everything")},
            "cuts": count("cut"),
            "delays": count("delay"),
            "holds": count("hold"),
            "stops": count("stop"),
            "frozen": count("freeze"),
            "full_disks": count("fulldisk"),
            "spool_fills": count("fillspool"),
            "spool_full": self.spool_full,
            "adoptions": self.adoptions,
            "recovery_ms": self.recovery.percentiles(),
        }
