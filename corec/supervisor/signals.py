"""Signals of the supervisor, in the three parts of its life.

While it starts, TERM, INT and QUIT raise ``StopWanted``: the start is given up and cleaned up
after. The others wait, blocked. While processes run, all of them are blocked and read from a
signalfd, which wakes the watch loop. From then on they are ignored: what is left to do is bounded,
and must not be cut short.

Why blocked, and no handlers: a signal that is pending survives ``exec``, so none is lost while the
supervisor becomes other code; a terminal with ``stty tostop`` lets a process that blocks TTOU
write, instead of telling its whole group to stop; and a signalfd says who sent what. The kernel
sends TTIN and TTOU of its own when somebody of the group reads from or writes to the terminal in
the background: that is no wish for a worker more or fewer. It sends HUP when the terminal is gone:
that is no wish for a reload.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import struct
import time
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from corec.control.outcome import MIGRATE_SIGNAL, SET_SIGNAL
from corec.terminal import terminal_gone

STOPS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
SET: Final = int(SET_SIGNAL)
MIGRATE: Final = int(MIGRATE_SIGNAL)
WISHES: Final = (
    signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU, SET,
    MIGRATE,
)  # fmt: skip
_INFO: Final = struct.Struct("=Iii116x")  # signalfd_siginfo: number, errno, code, and the rest
_MASK_BYTES: Final = 128  # sigset_t
BLIND_SECONDS: Final = 0.05
_FROM_KERNEL: Final = 0x80  # SI_KERNEL


class StopWanted(BaseException):
    """A stop signal while the instance starts; no ``except Exception`` takes it for a fault."""


_noted: list[int] = []
"""The stop signal that came while it starts. ``StopWanted`` may be raised where nobody hears it: in
what the interpreter calls by itself, around a fork say, and whose exceptions it drops."""


def _raise_stop(number: int, _frame: object) -> None:
    for other in STOPS:
        signal.signal(other, signal.SIG_IGN)
    _noted.append(number)
    raise StopWanted(signal.Signals(number).name)


def stop_the_start() -> None:
    """From now until ``Signals`` takes over, a stop signal raises ``StopWanted``, once, and the
    others wait. Raises it for one that came before and was not heard."""
    if _noted:
        raise StopWanted(signal.Signals(_noted[0]).name)
    signal.pthread_sigmask(signal.SIG_BLOCK, WISHES)
    for number in STOPS:
        signal.signal(number, _raise_stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)


@contextlib.contextmanager
def stops_later() -> Iterator[None]:
    """Stop signals wait until the end of the block: for a fork, and for imports, since no library
    expects an exception out of the middle of its own."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def wait_for_the_watch() -> None:
    """From now until ``Signals`` takes over, every signal waits (the world ticks already)."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (*STOPS, *WISHES))


class Noted(NamedTuple):
    """A signal and where it came from."""

    number: int
    from_kernel: bool


class Signals:
    """Installed from the first fork to the last reap."""

    def __init__(self) -> None:
        self._survives_hangup = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN  # nohup
        signal.pthread_sigmask(signal.SIG_BLOCK, (*STOPS, *WISHES))
        for number in STOPS:
            signal.signal(number, signal.SIG_DFL)
        for unheard in _noted:
            os.kill(os.getpid(), unheard)
        self._descriptor = _signalfd((*STOPS, *WISHES))

    def take(self) -> list[int]:
        """The signals since the last call, in order; a hangup of the terminal as SIGTERM."""
        found: list[int] = []
        while (noted := self._next()) is not None:
            if (meant := self._meant(noted)) is not None:
                found.append(meant)
        return found

    def _next(self) -> Noted | None:
        try:
            number, _errno, code = _INFO.unpack(os.read(self._descriptor, _INFO.size))
        except BlockingIOError:
            return None
        except OSError:  # those that wait can be had without the descriptor
            info = signal.sigtimedwait((*STOPS, *WISHES), 0)
            return None if info is None else Noted(info.si_signo, info.si_code == _FROM_KERNEL)
        return Noted(number, code == _FROM_KERNEL)

    def _meant(self, noted: Noted) -> int | None:
        if noted.number in (signal.SIGTTIN, signal.SIGTTOU) and noted.from_kernel:
            return None
        if noted.number == signal.SIGHUP:
            # a shell that loses its terminal hands the signal on to its jobs by kill
            hangup = noted.from_kernel or terminal_gone()
            if hangup and self._survives_hangup:
                return None
            return signal.SIGTERM if hangup else signal.SIGHUP
        return noted.number

    def sleep(self, descriptors: Iterable[int], seconds: float) -> None:
        """Until a signal, one of ``descriptors`` is readable, or ``seconds`` later."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        for descriptor in descriptors:
            poll.register(descriptor, select.POLLIN)
        try:
            poll.poll(1000.0 * seconds)
        except OSError:  # no memory for it, or a limit that was lowered below what is open
            time.sleep(min(seconds, BLIND_SECONDS))

    def close(self) -> None:
        """Nothing more is to be told: ignore them from now on."""
        for number in (*STOPS, *WISHES):
            signal.signal(number, signal.SIG_IGN)
        os.close(self._descriptor)


def unblocked() -> None:
    """In a forked child: no signal waits."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _signalfd(numbers: Iterable[int]) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    mask = (ctypes.c_uint8 * _MASK_BYTES)()
    libc.sigemptyset(mask)
    for number in numbers:
        libc.sigaddset(mask, int(number))
    found = int(libc.signalfd(-1, mask, os.O_NONBLOCK | os.O_CLOEXEC))
    if found < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return found
