"""The instance under test, as a user would run it: ``corec run`` in a folder of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from corec.control.client import Client, Unreachable
from corec.control.protocol import ControlError

START_SECONDS: Final = 180.0
STOP_SECONDS: Final = 120.0
_NOT_PASSED_ON: Final = ("COREC_DB_URL", "COREC_REDIS_URL", "COREC_CRASH", "POSTGRES_", "REDIS_")


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


class ChaosFailed(RuntimeError):
    """The run could not be made; the text says at which step."""


class Instance:
    """A world in ``folder``: config, state, runtime files, log.

    ``environment`` is added to ours when it starts.
    """

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self.folder = folder
        self.environment: dict[str, str] = {}
        self.runtime = Path("/dev/shm") / f"corec-chaos-{os.getpid()}-{folder.name}"
        self.state = folder / "var" / "state"
        (folder / "configs").mkdir(parents=True, exist_ok=True)
        self.config_path = folder / "configs" / "chaos.json"
        full = {**config, "state_dir": str(self.state), "runtime_dir": str(self.runtime)}
        self.config_path.write_text(json.dumps(full, indent=1))
        self.instance_id = str(config["instance_id"])
        self.process: subprocess.Popen[bytes] | None = None
        self.log_path = folder / "corec.log"

    @property
    def folder_of_runtime(self) -> Path:
        """Where its segments and its control socket are."""
        return self.runtime / self.instance_id

    def start(self, *options: str) -> None:
        """``corec run`` with ``options``."""
        command = [sys.executable, "-m", "corec", "run", "--config", str(self.config_path)]
        environ = {k: v for k, v in os.environ.items() if not k.startswith(_NOT_PASSED_ON)}
        environ |= {"COREC_HOME": str(self.folder), "COREC_RUNTIME_BASE": str(self.runtime) + "-b"}
        environ |= self.environment
        with open(self.log_path, "ab") as log, open(self.folder / "out.json", "wb") as out:
            self.process = subprocess.Popen(
                [*command, "--json", *options], stdout=out, stderr=log, env=environ
            )

    def ask(self, op: str, seconds: float = 20.0, **arguments: Any) -> Any:
        """One request to the control socket; tries again while the nucleus is being replaced."""
        socket = self.folder_of_runtime / "control.sock"
        deadline = time.monotonic() + seconds
        while True:
            try:
                with Client(socket) as client:
                    return client.ask(op, arguments, seconds)
            except (Unreachable, ControlError, OSError) as error:
                if time.monotonic() > deadline:
                    raise ChaosFailed(f"{op}: {error}") from None
                time.sleep(0.05)

    def ready(self) -> None:
        """Wait until it ticks."""
        self._until(lambda: self.ask("status", 5.0)["state"] in ("running", "degraded"))

    def _until(self, good: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process is not None and self.process.poll() is not None:
                break
            with contextlib.suppress(ChaosFailed, KeyError):
                if good():
                    return
            time.sleep(0.05)
        tail = self.log_path.read_text(errors="replace")[-1500:]
        raise ChaosFailed(f"the instance does not get there; its log ends:\n{tail}")

    def wait(self, seconds: float = STOP_SECONDS) -> dict[str, Any]:
        """Wait for its end; returns the summary.

        Raises:
            ChaosFailed: it does not end in time, or not with exit code 0.
        """
        assert self.process is not None
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise ChaosFailed(f"it does not stop within {seconds:g} s") from None
        if code != 0:
            tail = self.log_path.read_text(errors="replace")[-1500:]
            raise ChaosFailed(f"it ends with exit code {code}; its log ends:\n{tail}")
        found: dict[str, Any] = json.loads((self.folder / "out.json").read_text())
        return found

    def stop(self) -> dict[str, Any]:
        """SIGTERM, and the summary."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def abandon(self) -> None:
        """Kill what is left of it and remove its files from the tmpfs."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        deadline = time.monotonic() + 5.0
        while self.children() and time.monotonic() < deadline:
            time.sleep(0.02)
        for folder in (self.runtime / self.instance_id, self.runtime, Path(f"{self.runtime}-b")):
            for path in sorted(folder.rglob("*"), reverse=True):
                with contextlib.suppress(OSError):
                    path.unlink() if not path.is_dir() or path.is_symlink() else path.rmdir()
            with contextlib.suppress(OSError):
                folder.rmdir()

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
        with contextlib.suppress(ChaosFailed, KeyError, TypeError):
            rows = self.ask("status", 2.0)["processes"]
            return any(r["role"] == "persister" and "no room" in str(r["error"]) for r in rows)
        return False
