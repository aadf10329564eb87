"""A real instance under measurement, in a process and a home of its own.

Its world is driven by the control socket (pause, step) and watched by reading its control segment,
which costs it nothing. Everything it makes lies in two folders that go when it ends.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from corec import layout as L
from corec.control.client import Client, Unreachable
from corec.control.folders import CONTROL_SOCKET, INSTANCE_FILE
from corec.control.memory import open_control
from corec.control.protocol import ControlError
from corec.lab.bench.rounds import wait_until
from corec.lab.instance import STOP_SECONDS, LabFailed, LabInstance
from corec.process.roles import committed_tick
from shm.atomics import read_word
from shm.segment import Segment, SegmentRefused

START_SECONDS = 120.0
NEVER = 1_000_000_000
"""``persist.every_ticks`` for a run that writes no rows."""


class Server(LabInstance):
    """An instance of ``config`` with embedded servers; use it in ``with``."""

    def __init__(self, config: Mapping[str, Any], *, workers: int | str = 1) -> None:
        shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        home, runtime = (
            Path(tempfile.mkdtemp(prefix="corec-bench-", dir=place)) for place in (None, shm)
        )
        super().__init__(home, runtime, config)
        self.workers = workers
        self.segment: Segment | None = None
        self.summary: dict[str, Any] = {}

    def start(self, *options: str, tick_hz: float = 0.0, paused: bool = True) -> Server:
        """Start it, wait until it ticks, and pause it."""
        self.spawn(*options, tick_hz=tick_hz)
        self.wait_for(self._ready, "the instance runs", START_SECONDS)
        if paused:
            self.ask("pause")
        return self

    def spawn(self, *options: str, tick_hz: float = 0.0) -> None:
        """Start it, and do not wait."""
        super().spawn("--workers", str(self.workers), "--tick-hz", str(tick_hz), *options)

    def wait_for(self, condition: Callable[[], object], what: str, seconds: float) -> float:
        """``wait_until`` whose failure shows what the instance said last."""
        try:
            return wait_until(condition, what, seconds)
        except TimeoutError as error:
            raise LabFailed(f"{error}; it said: {self.last_words()}") from None

    def attached(self) -> bool:
        """Whether its control segment is there and mapped."""
        assert self.process is not None
        if self.process.poll() is not None:
            code = self.process.returncode
            raise LabFailed(f"corec run ended with {code}: {self.last_words()}")
        if self.segment is not None:
            return True
        try:
            self.segment = open_control(self.folder)
        except (OSError, SegmentRefused):
            return False
        return True

    def _ready(self) -> bool:
        if not self.attached() or self.get(L.C_STATE) != L.STATE_RUNNING:
            return False
        try:
            return all(p["state"] in ("ready", "waiting") for p in self.ask("status")["processes"])
        except (Unreachable, ControlError):
            return False

    def get(self, word: int) -> int:
        """A word of its control segment."""
        assert self.segment is not None, "not attached"
        return int(read_word(self.segment.words, word))

    def slot(self, slot: int, word: int) -> int:
        """A word of one of its processes."""
        return self.get(L.slot_base(slot) + word)

    @property
    def tick(self) -> int:
        """The last tick that every worker has committed."""
        return committed_tick(self.get)

    @property
    def busy_seconds(self) -> float:
        """CPU time that its workers spent in ticks."""
        count = self.get(L.C_WORKERS)
        return sum(self.slot(L.SLOT_WORKER0 + k, L.S_BUSY_NS) for k in range(count)) / 1e9

    @property
    def rows(self) -> int:
        """Rows committed in PostgreSQL."""
        return self.slot(L.SLOT_PERSISTER, L.S_COUNT0 + L.P_ROWS)

    @property
    def messages_out(self) -> int:
        """Messages confirmed by Valkey."""
        return self.slot(L.SLOT_BROKER, L.S_COUNT0 + L.B_MESSAGES_OUT)

    @property
    def messages_in(self) -> int:
        """Messages read from the streams."""
        return self.slot(L.SLOT_BROKER, L.S_COUNT0 + L.B_MESSAGES_IN)

    def step(self, ticks: int, seconds: float = 120.0) -> float:
        """Run exactly ``ticks`` while paused; the wall time in seconds."""
        target = self.tick + ticks
        with Client(self.folder / CONTROL_SOCKET) as client:
            began = time.perf_counter()
            client.ask("step", {"ticks": ticks, "timeout_seconds": seconds}, seconds + 5)
            took = time.perf_counter() - began
        if self.tick != target:
            raise LabFailed(f"stepped to tick {self.tick}, expected {target}")
        return took

    def set_workers(self, count: int) -> None:
        """Go on with another number of workers."""
        assert self.process is not None
        while (now := self.get(L.C_WORKERS)) != count:
            up = now < count
            os.kill(self.process.pid, signal.SIGTTIN if up else signal.SIGTTOU)
            wanted = now + (1 if up else -1)
            self.wait_for(partial(self._has_workers, wanted), f"{wanted} workers", 30.0)

    def _has_workers(self, wanted: int) -> bool:
        return self.get(L.C_WORKERS) == wanted and self._ready()

    def address(self, name: str) -> str:
        """``db`` or ``redis_url`` of its embedded servers, as ``instance.json`` says."""
        return str(json.loads((self.folder / INSTANCE_FILE).read_text())[name])

    def pids(self) -> set[int]:
        """Every live process of this instance, embedded servers included."""
        mark = f"COREC_RUNTIME_BASE={self.runtime}".encode()
        parents: dict[int, int] = {}
        found = set() if self.process is None else {self.process.pid}
        for path in Path("/proc").iterdir():
            if not path.name.isdigit() or int(path.name) == os.getpid():
                continue
            try:
                state, parent = (path / "stat").read_text().rpartition(")")[2].split()[:2]
                if state in "ZX":
                    continue
                parents[int(path.name)] = int(parent)
                if mark in (path / "environ").read_bytes().split(b"\0"):
                    found.add(int(path.name))
            except OSError:
                continue  # it ended meanwhile, or is another user's
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return found & parents.keys()

    def stop(self) -> dict[str, Any]:
        """Drain and stop; the summary. Raises LabFailed unless it ends well."""
        self._detach()
        self.summary = super().stop()
        return self.summary

    def kill(self) -> None:
        """SIGKILL to the supervisor alone; its children and servers end by themselves."""
        assert self.process is not None
        self._detach()
        self.process.kill()
        self.process.wait(10)

    def _detach(self) -> None:
        if self.segment is not None:
            self.segment.close()
            self.segment = None

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End whatever still runs and remove everything it made."""
        self._detach()
        try:
            if self.process is not None and self.process.poll() is None:
                self.process.terminate()
                try:
                    self.process.wait(STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    self.process.kill()
                    self.process.wait(10)
            try:
                wait_until(lambda: not self.pids(), "the instance's processes end", 10.0)
            except TimeoutError:
                for pid in self.pids():
                    os.kill(pid, signal.SIGKILL)
        finally:
            shutil.rmtree(self.home, ignore_errors=True)
            shutil.rmtree(self.runtime, ignore_errors=True)
