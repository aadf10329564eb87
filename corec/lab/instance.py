"""The instance under test, as a user would run it: ``corec run --json`` in a home of its own.

The benchmarks (``bench.server``) and the chaos runs (``chaos.instance``) start, ask and end theirs
with this; what each needs beside that is its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from corec.control.client import Client
from corec.control.folders import BASE_VARIABLE, CONTROL_SOCKET
from corec.project import HOME

STOP_SECONDS: Final = 120.0
_NOT_PASSED_ON: Final = ("COREC_", "POSTGRES_", "REDIS_", "PG", "CREDENTIALS_DIRECTORY")
"""How the names of variables begin by which ours would be mistaken for its own."""
_WORDS_MAX: Final = 2000


class LabFailed(RuntimeError):
    """A run of the laboratory did not come to what it needs; the text says at which step."""


class LabInstance:
    """A world of ``config`` in ``home``: its file, its state, what it says. Its shared memory and
    its sockets are in ``folder``, below ``runtime``."""

    def __init__(self, home: Path, runtime: Path, config: Mapping[str, Any]) -> None:
        self.home, self.runtime, self.config = home, runtime, dict(config)
        self.folder = runtime / str(config["instance_id"])
        self.state = home / "var" / "state"
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(_NOT_PASSED_ON)
        } | {
            HOME: str(home),
            BASE_VARIABLE: str(runtime),
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        }
        """Its own, from its next start on: ours, but for what would lead it astray."""
        self.config_path = home / "configs" / "corec_config.json"
        self.config_path.parent.mkdir(parents=True, exist_ok=True)
        placed = self.config | {"state_dir": str(self.state), "runtime_dir": str(runtime)}
        self.config_path.write_text(json.dumps(placed, indent=1))
        self.process: subprocess.Popen[bytes] | None = None

    def spawn(self, *options: str) -> None:
        """``corec run`` with ``options``; waits for nothing."""
        command = [sys.executable, "-m", "corec", "run", "--config", str(self.config_path)]
        with open(self.home / "out.json", "wb") as out, open(self.home / "corec.log", "ab") as log:
            self.process = subprocess.Popen(
                [*command, "--json", *options], cwd=self.home, stdin=subprocess.DEVNULL,
                stdout=out, stderr=log, env=self.environment,
            )  # fmt: skip

    def last_words(self) -> str:
        """The end of its log."""
        return (self.home / "corec.log").read_text(errors="replace")[-_WORDS_MAX:]

    def ask(self, op: str, seconds: float = 30.0, **arguments: Any) -> Any:
        """One request to its control socket. Raises Unreachable, ControlError."""
        with Client(self.folder / CONTROL_SOCKET) as client:
            return client.ask(op, arguments, seconds)

    def wait(self, seconds: float = STOP_SECONDS) -> dict[str, Any]:
        """Wait for its end; the summary.

        Raises:
            LabFailed: it does not end in time, or not with exit code 0.
        """
        assert self.process is not None, "it was started"
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise LabFailed(f"it does not stop within {seconds:g} s") from None
        if code != 0:
            raise LabFailed(f"it ends with exit code {code}; its log ends:\n{self.last_words()}")
        summary: dict[str, Any] = json.loads((self.home / "out.json").read_text())
        return summary

    def stop(self) -> dict[str, Any]:
        """SIGTERM; as ``wait``."""
        assert self.process is not None, "it was started"
        self.process.terminate()
        return self.wait()
