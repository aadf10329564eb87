"""The Celery application of an instance: its queue in the instance's Redis, and its one task.

Celery carries calls, nothing else: whoever sent one looks for its answer under a key of its own,
and sends it again when there is none (``corec.tasks.elsewhere``). So a lost message, reply, worker
or broker costs time, and no result of Celery's is kept.

A call is ``corec.run`` with the task's name, a number, the notice, the options and the folders of
the sender's project. Keys: ``<prefix><number>`` the answer, JSON; ``<prefix><number>:begun`` there
from when a worker took it up. Both are gone after a day.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import orjson
import redis
from celery import Celery

from corec.notices import load_task
from corec.tasks.child import call_task

RUN: Final = "corec.run"
KEPT_SECONDS: Final = 86_400
VISIBILITY_SECONDS: Final = 600
"""So long a call that a killed worker had taken waits for another one."""
_SCHEMES: Final = {"unix": "redis+socket", "redis": "redis", "rediss": "rediss"}


def prefix_of(instance_id: str) -> str:
    """Of the keys of answers."""
    return f"corec:{{{instance_id}}}:respuesta:"


def broker_url(url: str) -> str:
    """``url`` of a Redis as Celery writes it. Raises ValueError for a Cluster, which it can't."""
    scheme, _, rest = url.partition("://")
    if scheme not in _SCHEMES:
        raise ValueError(
            f"found {scheme}://…, expected a single Redis or Valkey: Celery has no other"
        )
    return f"{_SCHEMES[scheme]}://{rest}"


def make_app(url: str, instance_id: str) -> Celery:
    """The application on the Redis at ``url``."""
    app = Celery("corec", broker=broker_url(url))
    app.conf.update(
        task_default_queue=f"corec.{instance_id}",
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=False,  # one that ends its worker is not to end the next
        task_serializer="json",
        accept_content=["json"],
        worker_prefetch_multiplier=1,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={"visibility_timeout": VISIBILITY_SECONDS},
    )
    prefix = prefix_of(instance_id)

    @app.task(name=RUN)  # type: ignore[untyped-decorator]  # Celery has no types
    def run(
        name: str, number: str, notice: dict[str, Any], options: dict[str, Any], folders: list[str]
    ) -> None:
        with redis.Redis.from_url(url) as client:
            client.set(f"{prefix}{number}:begun", "1", ex=KEPT_SECONDS)
            task = load_task(name, [Path(folder) for folder in folders])
            job = {"number": number, "notice": notice, "options": options}
            with ThreadPoolExecutor(1) as threads:
                said = asyncio.run(call_task(task, job, threads))
            client.set(f"{prefix}{number}", orjson.dumps(said), ex=KEPT_SECONDS)

    return app
