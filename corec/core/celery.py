"""The Celery application of an instance with its two tasks; see ``corec.tasks.queue``."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import orjson
import redis
from celery import Celery
from celery.exceptions import WorkerLostError
from celery.signals import task_failure
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from corec.notices import TaskError, load_task
from corec.tasks.child import as_line, call_task
from corec.tasks.queue import ALIVE_SECONDS, KEPT_SECONDS, RUN, SWEEP, make_queue, prefix_of

AGAIN: Final = 30
"""Attempts at telling an answer to a Redis that is away: for about a minute and a half."""


def client_of(url: str) -> redis.Redis:
    """A client that waits for a server which restarts."""
    again = Retry(ExponentialBackoff(cap=5.0, base=0.1), AGAIN)
    return redis.Redis.from_url(url, retry=again)


def make_app(url: str, instance_id: str) -> Celery:
    """The application on the Redis at ``url``."""
    app = make_queue(url, instance_id)
    prefix = prefix_of(instance_id)

    @app.task(name=RUN, shared=False)  # type: ignore[untyped-decorator]  # Celery has no types
    def run(
        name: str, number: str, notice: dict[str, Any], options: dict[str, Any], folders: list[str]
    ) -> None:
        with client_of(url) as client:
            if not client.set(f"{prefix}{number}:begun", "1", ex=KEPT_SECONDS, nx=True):
                return  # sent again meanwhile, and taken up
            job = {"number": number, "notice": notice, "options": options}
            try:
                task = load_task(name, [Path(folder) for folder in folders])
            except TaskError as error:  # here, not where it is configured
                text = f"Celery's worker can't import it: {error}"
                said = {"number": number, "ok": False, "error": text, "give_up": False}
            else:
                with ThreadPoolExecutor(1) as threads:
                    said = asyncio.run(call_task(task, job, threads))
            client.set(f"{prefix}{number}", as_line(said), ex=KEPT_SECONDS)

    @app.task(name=SWEEP, shared=False)  # type: ignore[untyped-decorator]  # as above
    def sweep(number: str, job: dict[str, Any]) -> None:
        key = f"{prefix}{number}"
        with client_of(url) as client:
            if client.exists(key):
                return
            begun = client.set(f"{key}:begun", "1", ex=ALIVE_SECONDS, nx=True)
            if not begun:
                return  # another one makes it
            with _alive(url, f"{key}:begun"):
                from corec.view.spread import made  # it brings the compiler

                said = made(job)
            client.set(key, json.dumps(said), ex=KEPT_SECONDS)  # a number may be NaN

    @task_failure.connect(weak=False)  # type: ignore[untyped-decorator]  # as above
    def failed(sender: Any, exception: Any, args: Any, **_: Any) -> None:
        """In the worker's own process: who made the call was killed, and can say nothing."""
        if not isinstance(exception, WorkerLostError):
            return
        with client_of(url) as client:
            if sender.name == SWEEP:
                client.delete(f"{prefix}{args[0]}:begun")
            elif sender.name == RUN:
                said = {"number": args[1], "ok": False, "give_up": False,
                        "error": "its process ended"}  # fmt: skip
                client.set(f"{prefix}{args[1]}", orjson.dumps(said), ex=KEPT_SECONDS, nx=True)

    return app


@contextmanager
def _alive(url: str, key: str) -> Iterator[None]:
    """Say that this process lives while it makes a run."""
    over = threading.Event()

    def beat() -> None:
        with redis.Redis.from_url(url) as client:
            while not over.wait(ALIVE_SECONDS / 4):
                with contextlib.suppress(redis.RedisError):
                    client.set(key, "1", ex=ALIVE_SECONDS)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
