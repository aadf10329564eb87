"""systemd's notification protocol (sd_notify(3)): ready, alive, stopping.

The watchdog is fed only while the ticks advance, or need not: paused, at rest for a change, waiting
for a server's room, not due for a while. A supervisor that merely lives is not a server that works.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping
from typing import Final

AWAY_USEC: Final = 300_000_000


class Notifier:
    """Sends states to ``$NOTIFY_SOCKET``; does nothing when there is none."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        usec = environ.get("WATCHDOG_USEC", "")
        mine = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._usec = int(usec) if usec.isdecimal() and mine else 0
        self._feed_seconds = self._usec / 2e6
        self._fed = 0.0
        self._tick = -1
        self._unsent: tuple[str, ...] = ()
        """The latest state, if it did not go."""

    def send(self, *states: str) -> bool:
        """Send the lines; whether they went. A service manager that does not listen, or has not
        read what it was sent before, is not our trouble, and not waited for."""
        if not self._address:
            return False
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, kind) as sender:
            sender.connect(self._address)
            sender.send("\n".join(states).encode())
            return True
        return False

    def _state(self, *states: str) -> None:
        """Send a state of the instance; it is the one to be sent again."""
        self._unsent = () if self.send(*states) else states

    def again(self) -> None:
        """Send the latest state if it did not go: a reload that is never told to be over, or a
        start, ends in the service manager's own timeout."""
        if self._unsent and self._address:
            self._state(*self._unsent)

    def ready(self, status: str) -> None:
        """The instance ticks."""
        watchdog = [f"WATCHDOG_USEC={self._usec}", "WATCHDOG=1"] if self._usec else []
        self._state("READY=1", f"MAINPID={os.getpid()}", f"STATUS={status}", *watchdog)

    def away(self) -> None:
        """This program gives way to newer code, which feeds nobody until it is ready."""
        if self._usec:
            self.send(f"WATCHDOG_USEC={max(self._usec, AWAY_USEC)}", "WATCHDOG=1")

    def reloading(self) -> None:
        """A reload or an upgrade begins; ``ready`` ends it."""
        usec = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._state("RELOADING=1", f"MONOTONIC_USEC={usec}")

    def stopping(self) -> None:
        """The drain begins."""
        self._state("STOPPING=1")

    def alive(self, tick: int, resting: bool) -> None:
        """Feed the watchdog if ``tick`` has moved, or need not have: it rests, takes long and goes
        on, is not due yet, or waits for a server. Else nobody could be left out of reach for longer
        than the watchdog's time, and a world at a tick a minute would be killed twice in each."""
        if not self._feed_seconds or not self._address:
            return
        now = time.monotonic()
        if now - self._fed < self._feed_seconds or (tick == self._tick and not resting):
            return
        if self.send("WATCHDOG=1", f"STATUS=tick {tick}"):
            self._fed, self._tick = now, tick
