"""What every forked process does first, and how it notices that its parent is gone."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from typing import Final

import setproctitle

from corec import layout as L
from corec.log import set_role
from corec.proc import die_with
from corec.runtime import Runtime

TAKEN_OVER: Final = 5
"""Exit code of a process that finds its instance_id in another instance's hands."""


class Child:
    """One forked process of the instance."""

    def __init__(self, rt: Runtime, slot: int, role: str, parent: int) -> None:
        self.rt, self.slot, self.role, self.parent = rt, slot, role, parent

    def enter(self, cpus: set[int] | None) -> None:
        """Tie this process to its parent, drop what only the parent needs, show who it is."""
        if not die_with(self.parent):
            os._exit(1)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGQUIT, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2,
                       signal.SIGTTIN, signal.SIGTTOU):  # fmt: skip
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, set())
        if cpus:
            with contextlib.suppress(OSError):
                os.sched_setaffinity(0, cpus)
        set_role(self.role)
        setproctitle.setproctitle(f"corec: {self.role} [{self.rt.config.instance_id}]")
        slot = self.rt.slot(self.slot)
        slot.set(L.S_PID, os.getpid())
        slot.set(L.S_STATE, L.PROC_STARTING)
        slot.set(L.S_ERROR, 0)
        slot.set(L.S_BEAT_NS, time.monotonic_ns())
        self.rt.doorbells[self.slot].cancel_sleep()

    def orphaned(self) -> bool:
        """Whether the supervisor that forked this process is gone."""
        return os.getppid() != self.parent

    def leave(self, code: int) -> None:
        """End at once: no atexit handlers of the parent, no buffers of its."""
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
