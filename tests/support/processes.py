"""What tests ask about processes. A zombie counts as gone: it runs no more and holds nothing."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

PROMISED_MIN: Final = 4.0
"""Seconds: what is promised within two is not held to be broken before."""
PATIENCE, PATIENT_FROM = 4.0, 10.0
"""Deadlines of so many seconds and more were chosen on machines that others are slower than, by as
much."""


def hear_signals() -> None:
    """In a new process: hear Ctrl-C and a terminal's end. A shell has those behind an ``&`` or
    ``nohup`` ignore them, and the tests, whose settings it inherits, may be one of those."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def is_running(pid: int) -> bool:
    """Is there such a process, neither dead nor a zombie?"""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def parent_of(pid: int) -> int:
    """The parent's process number, 0 when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[1])


def umask_now() -> int:
    """Of this process. Read, not set and set back: another thread may make something, too."""
    rows = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace").splitlines()
    return int(next(row for row in rows if row.startswith("Umask:")).split()[1], 8)


def children_of(*parents: int) -> set[int]:
    """Process numbers of their direct children, zombies included."""
    pids = (int(name) for name in os.listdir("/proc") if name.isdigit())
    return {child for child in pids if parent_of(child) in parents}


def command_of(pid: int) -> str:
    """Its command line or title, for messages."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except OSError:
        return "(gone)"


def listening(pids: Iterable[int]) -> set[int]:
    """TCP ports that these processes listen on, on any address."""
    sockets = set()
    for pid in pids:
        try:
            names = os.listdir(f"/proc/{pid}/fd")
        except OSError:
            continue  # it ended, or nobody has waited for it yet
        for name in names:
            try:
                sockets.add(os.readlink(f"/proc/{pid}/fd/{name}"))
            except OSError:
                continue  # closed meanwhile
    ports = set()
    for table in ("tcp", "tcp6"):
        for row in Path(f"/proc/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
            fields = row.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                ports.add(int(fields[1].rpartition(":")[2], 16))
    return ports


def promised(seconds: float) -> Callable[[], float]:
    """How long a promise of so many seconds may take here: never less than ``PROMISED_MIN``, more
    where others want the processors. For ``wait_until``, which asks all the while: the mean load of
    a minute lags behind what runs now, and either counts."""
    most = 1.0

    def allowed() -> float:
        nonlocal most
        mean, _, _, running, _ = Path("/proc/loadavg").read_text(encoding="ascii").split()
        wanted = max(float(mean), float(running.partition("/")[0]))
        most = max(most, wanted / (os.cpu_count() or 1))
        return max(PROMISED_MIN, seconds * most)

    return allowed


def patient(seconds: float) -> float:
    """For a deadline that tells what hangs from what goes on, and measures nothing."""
    return PATIENCE * seconds if seconds >= PATIENT_FROM else seconds


def wait_until(
    condition: Callable[[], object], what: str, timeout_s: float | Callable[[], float] = 60.0
) -> None:
    """Return as soon as `condition()` is true; fail with `what` after `timeout_s` seconds, which
    may be asked for (``promised``), or ``patient`` times as much."""
    began = time.monotonic()
    pause = _Pause()
    while not condition():
        allowed = timeout_s() if callable(timeout_s) else patient(timeout_s)
        assert time.monotonic() < began + allowed, f"not within {allowed:g} s: {what}"
        pause()


class _Pause:
    """Yields the processor for a moment, a tenth of what was waited so far: between 1 and 100 ms.

    What is asked costs who asks and who answers (an instance's ``status``: a connection, and all of
    its processes looked at), and half of the tests wait at any time.
    """

    def __init__(self) -> None:
        import select

        self._poll = select.poll()
        self._began = time.monotonic()

    def __call__(self) -> None:
        waited = 1000.0 * (time.monotonic() - self._began)
        self._poll.poll(min(100.0, max(1.0, waited / 10.0)))
