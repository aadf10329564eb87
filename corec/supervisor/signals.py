"""Signals of the supervisor, in the three parts of its life.

While it starts, TERM and INT raise ``StopWanted``: the start is given up and cleaned up after.
While processes run, every signal is noted by a handler and taken by the watch loop, which a pipe
wakes. From then on they are ignored: what is left to do is bounded, and must not be cut short.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Iterable
from typing import Final

WATCHED: Final = (
    signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1,
    signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU, signal.SIGCHLD,
)  # fmt: skip


class StopWanted(BaseException):
    """SIGTERM or SIGINT while the instance starts; no ``except Exception`` takes it for a fault."""


def _raise_stop(number: int, _frame: object) -> None:
    for other in (signal.SIGTERM, signal.SIGINT):
        signal.signal(other, signal.SIG_IGN)
    raise StopWanted(signal.Signals(number).name)


def stop_the_start() -> None:
    """From now until ``Signals`` takes over, TERM and INT raise ``StopWanted``, once."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _raise_stop)


class Signals:
    """Installed from the first fork to the last reap."""

    def __init__(self) -> None:
        self._noted: list[int] = []
        self._wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._wakeup[1], warn_on_full_buffer=False)
        for number in WATCHED:
            signal.signal(number, self._note)

    def _note(self, number: int, _frame: object) -> None:
        if number != signal.SIGCHLD:
            self._noted.append(number)

    def take(self) -> list[int]:
        """The signals since the last call, in order, without SIGCHLD."""
        taken, self._noted = self._noted, []
        return taken

    def sleep(self, pidfds: Iterable[int], seconds: float) -> None:
        """Until a signal, the end of a process of ``pidfds``, or ``seconds`` later."""
        poll = select.poll()
        poll.register(self._wakeup[0], select.POLLIN)
        for descriptor in pidfds:
            poll.register(descriptor, select.POLLIN)
        poll.poll(1000.0 * seconds)
        with contextlib.suppress(BlockingIOError):
            os.read(self._wakeup[0], 4096)

    def close(self) -> None:
        """Nothing more is to be told: ignore them from now on."""
        signal.set_wakeup_fd(-1)
        for number in WATCHED:
            ignored = number != signal.SIGCHLD
            signal.signal(number, signal.SIG_IGN if ignored else signal.SIG_DFL)
        for end in self._wakeup:
            os.close(end)
