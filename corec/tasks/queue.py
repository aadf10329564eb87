"""What the Celery application of an instance and those who send it calls agree on.

Celery carries calls, nothing else: whoever sent one looks for its answer under a key of its own,
and sends it again when it seems lost. So a lost message, reply, worker or broker costs time, and
no result of Celery's is kept. A call has a number, under which it is sent again, too::

    <prefix><number>          the answer, JSON, gone after a day
    <prefix><number>:begun    there from when a worker took it up: nobody else begins it

``corec.run`` calls a task (``corec.tasks.elsewhere`` sends it), ``corec.sweep`` makes a run of a
sweep (``corec.view.spread``). This module starts nothing, so senders need not bring what runs.
"""

from __future__ import annotations

import os
from typing import Final

from celery import Celery

from corec.config.environment import REDIS_URL
from corec.control.console import redis_url
from corec.control.discover import NoInstance, SeveralInstances, find_instance

RUN: Final = "corec.run"
SWEEP: Final = "corec.sweep"
INSTANCE: Final = "COREC_INSTANCE"
KEPT_SECONDS: Final = 86_400
ALIVE_SECONDS: Final = 20
"""``:begun`` of a sweep's run lasts that long, unless who makes it says again that it lives."""
VISIBILITY_SECONDS: Final = 600
"""So long a call that a killed worker had taken waits for another one, if nobody sends it again."""
LOST_SECONDS: Final = 5.0
"""A call that is neither in the queue nor begun for so long is lost, or with a dead worker."""
_SCHEMES: Final = {"unix": "redis+socket", "redis": "redis", "rediss": "rediss"}


def prefix_of(instance_id: str) -> str:
    """Of the keys of answers."""
    return f"corec:{{{instance_id}}}:respuesta:"


def queue_of(instance_id: str) -> str:
    """The list in which calls wait."""
    return f"corec.{instance_id}"


def broker_url(url: str) -> str:
    """``url`` of a Redis as Celery writes it. Raises ValueError for a Cluster, which it can't."""
    scheme, _, rest = url.partition("://")
    if scheme not in _SCHEMES:
        raise ValueError(
            f"found {scheme}://…, expected a single Redis or Valkey: Celery has no other"
        )
    return f"{_SCHEMES[scheme]}://{rest}"


def make_queue(url: str, instance_id: str) -> Celery:
    """The application on the Redis at ``url``, as yet without tasks. Raises ValueError."""
    app = Celery("corec", broker=broker_url(url))
    app.conf.update(
        task_default_queue=queue_of(instance_id),
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
    return app


def where() -> tuple[str, str]:
    """The URL of the Redis, and the instance: of ``COREC_REDIS_URL`` and ``COREC_INSTANCE``, or of
    the only one that this user runs here.

    Raises:
        NoInstance, SeveralInstances: the text says what to name. ConfigError: its configuration.
    """
    name, url = os.environ.get(INSTANCE), os.environ.get(REDIS_URL)
    if name and url:
        return url, name
    try:
        found = find_instance(name)
    except NoInstance as error:
        raise NoInstance(f"{error}; or name {INSTANCE} and {REDIS_URL}") from None
    except SeveralInstances as error:
        text = f"{error}; or name {INSTANCE} and {REDIS_URL}"
        raise SeveralInstances(error.found, text) from None
    return redis_url(found), found.instance_id
