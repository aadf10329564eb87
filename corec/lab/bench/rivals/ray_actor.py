"""Ray: an actor with an array of values, restarted by Ray when its process is killed. Loopback
only, no dashboard, no usage report; its session folder goes when it ends."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import tempfile
import time
from typing import Any

import numpy as np
import ray

ANSWER_SECONDS = 60.0


class World:
    """What the actor holds."""

    def __init__(self, n: int) -> None:
        self.values = np.full(n, 0.3, np.float32)

    def pid(self) -> int:
        """Of the process it lives in."""
        return os.getpid()

    def tick(self) -> float:
        """Something with all the values."""
        self.values *= np.float32(0.999)
        return float(self.values[0])


class Actor:
    """One actor of ``n`` values on a Ray of its own; use it in ``with``."""

    def __init__(self, n: int) -> None:
        # a socket's path is limited to 107 bytes, and Ray adds 60
        self._folder = tempfile.mkdtemp(prefix="cbr-")
        ray.init(
            num_cpus=1, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False,
            _node_ip_address="127.0.0.1", _temp_dir=self._folder, object_store_memory=100 << 20,
            configure_logging=False,
        )  # fmt: skip
        remote: Any = ray.remote(max_restarts=-1, max_task_retries=-1)(World)
        self._actor = remote.remote(n)
        self._answer(self._actor.tick)

    def _answer(self, method: Any) -> Any:
        return ray.get(method.remote(), timeout=ANSWER_SECONDS)

    def kill(self) -> float:
        """Seconds from SIGKILL of the actor's process to its next answer."""
        pid = self._answer(self._actor.pid)
        began = time.perf_counter()
        os.kill(pid, signal.SIGKILL)
        self._answer(self._actor.tick)
        return time.perf_counter() - began

    def __enter__(self) -> Actor:
        return self

    def __exit__(self, *_: object) -> None:
        ray.shutdown()
        shutil.rmtree(self._folder, ignore_errors=True)
