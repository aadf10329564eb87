"""One life for every forked process: what it does first, the signs of life that it gives, how it
notices that its parent is gone or the instance stops at once, how it sleeps until somebody rings.

Who writes: each process the words of its own slot (``S_PID``, ``S_BEAT_NS``, ``S_SLEEPING``, and
those of ``showing``), and no other's.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable
from typing import Final

import setproctitle

from corec import layout as L
from corec.log import get_logger, set_role
from corec.proc import die_with
from corec.process.runtime import Runtime
from corec.process.showing import Showing
from corec.terminal import end_at_once
from shm.wake import Doorbell

log = get_logger(__name__)
TAKEN_OVER: Final = 5
"""Exit code of a process that finds its instance_id in another instance's hands."""


class Life:
    """What a process shows of itself while it runs, and what ends it whatever it is at."""

    def __init__(self, rt: Runtime, slot: int, parent: int | None = None) -> None:
        """``parent``: who forked it; None: this process's parent of now."""
        self.rt, self.slot = rt, slot
        self.parent = os.getppid() if parent is None else parent
        self._words = rt.slot(slot)
        self.showing = Showing(self._words)

    def begin(self) -> None:
        """Show who runs here now."""
        self._words.set(L.S_PID, os.getpid())
        self.showing.starting()
        self.beat()

    def beat(self) -> None:
        """Give a sign of life."""
        self._words.set(L.S_BEAT_NS, time.monotonic_ns())

    def orphaned(self) -> bool:
        """Whether the supervisor that forked this process is gone."""
        return os.getppid() != self.parent

    def ending(self) -> int | None:
        """The exit code with which to leave at once: the instance stops without draining, or the
        supervisor is gone; None: live on."""
        if self.rt.get(L.C_STOP) >= L.STOP_NOW:
            return 0
        if not self.orphaned():
            return None
        log.warning("the supervisor is gone, and so is this process")
        return 1


class Rings:
    """A process's doorbell on its event loop (the order of the stores: ``shm.wake``)."""

    def __init__(self, bell: Doorbell) -> None:
        self._bell = bell
        self._rung = asyncio.Event()

    def open(self) -> None:
        """Listen, on the running loop."""
        asyncio.get_running_loop().add_reader(self._bell.fileno(), self._heard)

    def close(self) -> None:
        """Listen no more."""
        asyncio.get_running_loop().remove_reader(self._bell.fileno())
        self._bell.cancel_sleep()

    def wake(self) -> None:
        """End a wait from within this process."""
        self._rung.set()

    async def wait(self, seconds: float, work: Callable[[], bool]) -> None:
        """Return when somebody rings, after ``seconds``, or at once when there is ``work``, which
        is asked after the sleep was announced; who returns looks for work whatever ended it."""
        self._bell.prepare_sleep()
        try:
            if not work():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await self._rung.wait()
        finally:
            self._bell.cancel_sleep()
            self._rung.clear()

    def _heard(self) -> None:
        self._bell.drain()
        self._rung.set()


class Child(Life):
    """One forked process of the instance, from its first moment to its end."""

    def __init__(self, rt: Runtime, slot: int, role: str, parent: int) -> None:
        super().__init__(rt, slot, parent)
        self.role = role

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
        self.begin()
        self.rt.doorbells[self.slot].cancel_sleep()

    def leave(self, code: int) -> None:
        """End at once: no atexit handlers of the parent, no buffers of its."""
        end_at_once(code)
