"""The instance under test, whose processes are killed, frozen and replaced while it is asked."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from corec.control.client import Unreachable
from corec.control.protocol import ControlError
from corec.lab import instance as lab
from corec.lab.instance import LabFailed

START_SECONDS: Final = 180.0


def children_of(parent: int) -> list[int]:
    """The process numbers of those that ``parent`` started and that run."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        with contextlib.suppress(OSError, ValueError):  # it ends meanwhile
            fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
            if int(fields[1]) == parent and fields[0] != b"Z":
                found.append(int(entry.name))
    return sorted(found)


class ChaosInstance(lab.LabInstance):
    """A world in ``home``."""

    def __init__(self, home: Path, config: dict[str, Any]) -> None:
        super().__init__(home, Path("/dev/shm") / f"corec-chaos-{os.getpid()}-{home.name}", config)

    def ask(self, op: str, seconds: float = 20.0, **arguments: Any) -> Any:
        """One request to the control socket; tries again while the nucleus is being replaced."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                return super().ask(op, seconds, **arguments)
            except (Unreachable, ControlError, OSError) as error:
                if time.monotonic() > deadline:
                    raise LabFailed(f"{op}: {error}") from None
                time.sleep(0.05)

    def ready(self) -> None:
        """Wait until it ticks, and each process has come to its server, or can't: a new world takes
        in what arrives from when its broker has."""

        def good() -> bool:
            status = self.ask("status", 5.0)
            there = all(one["state"] in ("ready", "waiting") for one in status["processes"])
            return there and status["state"] in ("running", "degraded")

        self._until(good)

    def _until(self, good: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process is not None and self.process.poll() is not None:
                break
            with contextlib.suppress(LabFailed, KeyError):
                if good():
                    return
            time.sleep(0.05)
        said = self.last_words()
        raise LabFailed(f"the instance does not get there; its log ends:\n{said}")

    def abandon(self) -> None:
        """Kill what is left of it and remove its files from the tmpfs."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        deadline = time.monotonic() + 5.0
        while self.children() and time.monotonic() < deadline:
            time.sleep(0.02)
        shutil.rmtree(self.runtime, ignore_errors=True)

    def children(self) -> dict[str, list[int]]:
        """Process numbers by kind: worker, persister, broker, nucleus, tasks."""
        assert self.process is not None
        found: dict[str, list[int]] = {}
        for pid in children_of(self.process.pid):
            with contextlib.suppress(OSError, ValueError):
                line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                if line.startswith("corec: "):
                    found.setdefault(line.split()[1], []).append(pid)
        return found

    def all_children(self) -> set[int]:
        """The process numbers alone."""
        return {pid for pids in self.children().values() for pid in pids}

    def spool_is_full(self) -> bool:
        """Whether its persister says that no room is left; false when nobody answers at once."""
        with contextlib.suppress(LabFailed, KeyError, TypeError):
            rows = self.ask("status", 2.0)["processes"]
            return any(r["role"] == "persister" and "no room" in str(r["error"]) for r in rows)
        return False
