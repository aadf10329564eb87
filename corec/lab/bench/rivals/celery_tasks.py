"""Celery: one no-op task per message, one worker process (the solo pool), results ignored.

The worker takes tasks in order, so a last task that sets a key tells that all before it are done.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

import redis
from celery import Celery as Application

from corec.lab.bench.loading import Absent
from corec.lab.bench.rounds import wait_until
from corec.tasks.queue import broker_url

URL_VARIABLE = "COREC_BENCH_CELERY"
QUEUE = "bench-celery"

_url = os.environ.get(URL_VARIABLE)
application = Application("bench", broker=broker_url(_url) if _url else "memory://")
application.conf.update(
    task_ignore_result=True, task_default_queue=QUEUE, worker_prefetch_multiplier=64,
    worker_hijack_root_logger=False, broker_connection_retry_on_startup=True,
)  # fmt: skip


@application.task(shared=False)  # no other application of this process has it
def nothing() -> None:
    """The work of one message."""


@application.task(shared=False)  # no other application of this process has it
def done(key: str) -> None:
    """Tell that every task before this one was done."""
    with redis.Redis.from_url(os.environ[URL_VARIABLE]) as client:
        client.set(key, 1, ex=60)


class Celery:
    """A worker on the Redis at ``url``; ``home`` takes its log."""

    def __init__(self, url: str, home: Path) -> None:
        application.conf.broker_url = broker_url(url)
        self._client = redis.Redis.from_url(url)
        command = [sys.executable, "-m", "celery", "-A", "corec.lab.bench.rivals.celery_tasks"]
        command += ["worker", "--pool=solo", "--without-gossip", "--without-mingle"]
        command += ["--without-heartbeat", "--loglevel=ERROR"]
        path = os.pathsep.join(p for p in sys.path if p)
        environment = os.environ | {URL_VARIABLE: url, "PYTHONPATH": path, "C_FORCE_ROOT": "1"}
        with open(home / "celery.log", "wb") as log:
            self._worker = subprocess.Popen(
                command, env=environment, cwd=home,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def rate(self, tasks: int) -> float:
        """Tasks per second, from the first call of ``delay`` to the end of the last task."""
        key = f"{QUEUE}:{uuid.uuid4().hex}"
        began = time.perf_counter()
        for _ in range(tasks):
            nothing.delay()
        done.delay(key)
        wait_until(lambda: self._client.exists(key) or self._ended(), "the tasks are done", 120.0)
        return tasks / (time.perf_counter() - began)

    def _ended(self) -> bool:
        if self._worker.poll() is not None:
            raise Absent(f"celery worker ended with {self._worker.returncode}")
        return False

    def __enter__(self) -> Celery:
        return self

    def __exit__(self, *_: object) -> None:
        self._worker.terminate()
        try:
            self._worker.wait(20)
        except subprocess.TimeoutExpired:
            self._worker.kill()
            self._worker.wait(10)
        self._client.delete(QUEUE, "_kombu.binding.bench-celery")
        self._client.close()
