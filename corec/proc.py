"""What /proc says about a process: CPU time and memory. A process that is gone counts as 0.

And one thing that a process asks of the kernel: to end with its parent.
"""

from __future__ import annotations

import ctypes
import gc
import mmap
import os
import signal
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)
_PRCTL = _LIBC.prctl  # found here: not between a fork and an exec
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_THREAD_GOES_SECONDS = 2.0
_OWN_PAGES = ("Anonymous:", "Swap:")
"""Pages of a process's own, in memory and out of it."""


def die_with(parent: int) -> bool:
    """Have this process killed when its parent ends; false when ``parent`` is gone already."""
    _PRCTL(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    return os.getppid() == parent


def count_threads() -> int:
    """How many threads this process has. One that Python has joined takes a moment to go, longer on
    a busy machine: it is waited for."""
    until = time.monotonic() + _THREAD_GOES_SECONDS
    while True:
        found = len(os.listdir("/proc/self/task"))
        if found == 1 or threading.active_count() > 1 or time.monotonic() > until:
            return found
        time.sleep(0.001)


def give_back_pages() -> int:
    """Unmap what this process has read of programs and libraries; bytes given back.

    The pages stay in the page cache, and a page that is needed again is mapped again by a fault.
    Only mappings that nobody can have written to are chosen: not writable, and without a page of
    this process's own (relocations have such), in memory or swapped out, which would be lost.
    """
    given = 0
    for begin, end in _clean_mappings(_read(os.getpid(), "smaps").decode()):
        address, size = ctypes.c_void_p(begin), ctypes.c_size_t(end - begin)
        if _LIBC.madvise(address, size, mmap.MADV_DONTNEED) == 0:
            given += end - begin
    return given


def _clean_mappings(smaps: str) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    place, none = None, 0
    for line in smaps.splitlines():  # thousands
        if not line[0].isupper():
            words = line.split()
            of_file = len(words) > 5 and words[5].startswith("/")
            place = words[0] if of_file and words[1] in ("r--p", "r-xp") else None
            none = 0
        elif place is not None and line.startswith(_OWN_PAGES) and line.split()[1] == "0":
            none += 1
            if none == len(_OWN_PAGES):
                begin, _, end = place.partition("-")
                found.append((int(begin, 16), int(end, 16)))
    return found


def _read(pid: int, name: str) -> bytes:
    if pid <= 0:
        return b""
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()
    except OSError:  # gone, or another user's
        return b""


def cpu_seconds(pid: int) -> float | None:
    """User and system CPU seconds of ``pid`` since its start; None when it is gone."""
    _, _, rest = _read(pid, "stat").rpartition(b")")
    words = rest.split()
    if len(words) < 13:
        return None
    return (int(words[11]) + int(words[12])) / _TICKS_PER_SECOND


def resident_bytes(pid: int) -> int:
    """Resident memory in bytes, shared pages counted in full."""
    words = _read(pid, "statm").split()
    return int(words[1]) * _PAGE_BYTES if len(words) > 1 else 0


class Pss(NamedTuple):
    """Proportional set size in bytes: each shared page divided by the number of its users."""

    total: int
    shmem: int


def shares_of(pid: int) -> Pss:
    """PSS of ``pid``, and its part in tmpfs mappings (the world and the lanes).

    Walks the page tables of the process (milliseconds per GB).
    """
    found = {b"Pss:": 0, b"Pss_Shmem:": 0}
    for line in _read(pid, "smaps_rollup").splitlines():
        words = line.split()
        if words and words[0] in found:
            found[words[0]] = int(words[1]) * 1024
    return Pss(found[b"Pss:"], found[b"Pss_Shmem:"])


def proportional_bytes(pid: int) -> int:
    """PSS of ``pid`` in bytes."""
    return shares_of(pid).total


def expects_signal(pid: int, number: int) -> bool:
    """Whether ``pid`` has said what becomes of that signal: it waits for it, handles or ignores it.
    Any other would end it, as most signals do by themselves."""
    known = (b"SigBlk:", b"SigIgn:", b"SigCgt:")
    lines = (line.split() for line in _read(pid, "status").splitlines())
    return any(
        int(words[1], 16) >> (number - 1) & 1 for words in lines if words and words[0] in known
    )


def alive(pid: int) -> bool:
    """Whether ``pid`` runs (a zombie does not)."""
    _, _, rest = _read(pid, "stat").rpartition(b")")
    return bool(rest) and rest.split()[0] not in (b"Z", b"X")


@dataclass
class CpuSampler:
    """CPU use of processes between two looks, in percent of one core."""

    span_seconds_min: float = 0.5
    percent: dict[int, float] = field(default_factory=dict)
    _at: float = 0.0
    _used: dict[int, float] = field(default_factory=dict)

    def sample(self, pids: Iterable[int]) -> dict[int, float]:
        """Percent by pid since the last sample; unchanged when that is less than the span ago."""
        now = time.monotonic()
        elapsed = now - self._at
        if self._used and elapsed < self.span_seconds_min:
            return self.percent
        used = {pid: seconds for pid in pids if (seconds := cpu_seconds(pid)) is not None}
        self.percent = {
            pid: round(100.0 * (seconds - self._used[pid]) / elapsed, 1)
            for pid, seconds in used.items()
            if pid in self._used
        }
        self._used, self._at = used, now
        return self.percent


def look_less_for_garbage() -> None:
    """For a process that compiles much: the compiler makes millions of objects and next to no
    garbage, and the collector takes an eighth of its time. Not switched off: so half of that is won
    for 3 % more memory."""
    gc.set_threshold(20_000, 20, 20)
