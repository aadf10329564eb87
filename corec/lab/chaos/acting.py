"""Alerts that a task answers, under chaos: each of them once, as what is in the streams shows.

The task's answers are readings for listeners, who keep what they heard. A world that gets the
recorded answers, and has no task, must come to the same state.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, Final

import psycopg
import redis

from corec.lab.chaos import feeder, witness
from corec.notices import Notice, task

CANAL: Final = 5
SWARM: Final[dict[str, Any]] = {
    "id": "oyentes",
    "canal": CANAL,
    "entidades": feeder.DETECTORS,
    "procesador": "ewma",
}
"""Behind everybody, so that the other ids stay what they are: one listener for each detector."""
AWAY: Final = feeder.DETECTORS + int(witness.SWARM["entidades"])
"""From a detector's id to its listener's."""
TASKS: Final[dict[str, Any]] = {
    "alertas": {"clear_after_ticks": 20},
    "tasks": [
        {"on": "alertas", "canal": feeder.CANAL, "run": f"{__name__}:answer", "retries": 1000}
    ],
}
_INCOMING: Final = f"corec:{{chaos}}:in:{CANAL}"
_ALERTS: Final = "corec:{chaos}:alertas"
_NOTICES: Final = "corec:{chaos}:avisos"


@task
async def answer(notice: Notice) -> dict[str, Any]:
    """The tick of the alert, to who listens."""
    return {"id": notice.entity + AWAY, "valor": notice.tick}


def at_rest(dsn: str, url: str) -> bool:
    """Whether every alert that there is was followed, and every notice ended."""
    with redis.Redis.from_url(url) as client:
        last: Any = client.xrevrange(_ALERTS, count=1)
        groups: Any = client.xinfo_groups(_NOTICES) if client.exists(_NOTICES) else []
    if not last:
        return True
    with psycopg.connect(dsn) as connection:
        (read,) = connection.execute("SELECT entrada FROM corec_alertas").fetchone() or ("",)
        (waiting,) = connection.execute("SELECT count(*) FROM corec_avisos").fetchone() or (0,)
    quiet = all(group["pending"] == 0 and not group["lag"] for group in groups)
    return bool(read == last[0][0].decode() and not waiting and quiet)


def answers(url: str) -> list[dict[bytes, bytes]]:
    """What the listeners were told, in order."""
    with redis.Redis.from_url(url) as client:
        found: Any = client.xrange(_INCOMING)
        return [fields for _, fields in found]


def repeat(url: str, told: list[dict[bytes, bytes]]) -> None:
    """Tell it again, to a world without tasks."""
    with redis.Redis.from_url(url) as client, client.pipeline(transaction=False) as sent:
        for fields in told:
            sent.xadd(_INCOMING, dict(fields))
        sent.execute()


def disagree(dsn: str, told: list[dict[bytes, bytes]]) -> list[str]:
    """How the answers differ from the alerts of the table; empty: each was answered once."""
    with psycopg.connect(dsn) as connection:
        raised = Counter(
            (entity + AWAY, tick)
            for entity, tick in connection.execute(
                "SELECT entidad, desde FROM alertas WHERE canal = %s", (feeder.CANAL,)
            )
        )
        failed = connection.execute("SELECT tarea, error FROM tareas_fallidas").fetchall()
    heard = Counter((int(one[b"id"]), int(json.loads(one[b"datos"])["valor"])) for one in told)
    found = [f"tasks: {name} failed for good: {error}" for name, error in failed]
    if heard != raised:
        counts = f"{(raised - heard).total()} missing, {(heard - raised).total()} too many"
        found.append(f"answers to {raised.total()} alerts: {counts}")
    return found
