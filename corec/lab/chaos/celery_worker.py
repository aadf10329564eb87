"""A worker of Celery's, started as it is typed, in a session of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Self


class CeleryWorker:
    """It runs from the start on; ``kill`` replaces it, ``end`` (and ``with``) leaves none."""

    def __init__(
        self, environment: Mapping[str, str], folder: Path, processes: int,
        log: IO[bytes] | int = subprocess.DEVNULL,
    ) -> None:  # fmt: skip
        self._environment, self._folder = environment, folder
        self._processes, self._log = processes, log
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "corec.core.celery_app", "worker",
             "--loglevel=info", "--concurrency", str(self._processes),
             "--without-mingle", "--without-gossip"],
            env=self._environment, cwd=self._folder, start_new_session=True,
            stdout=self._log, stderr=self._log,
        )  # fmt: skip

    def kill(self) -> None:
        """The whole of it, and another one."""
        self.end()
        self._process = self._start()

    def end(self) -> None:
        """Nobody is left."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
