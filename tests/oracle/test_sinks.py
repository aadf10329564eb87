"""What the oracle's own reader makes of the stream of alerts."""

from __future__ import annotations

import json
from typing import Any

import redis

from corec.lab.oracle import sinks

NAME = "read"


def test_alerts_keep_their_digits_and_those_of_auditoria_are_none_of_them(valkey_url: str) -> None:
    emitted = {"tick": 412, "canal": -3, "n": 1, "omitidas": 0}
    entities: list[dict[str, Any]] = [{"id": 7, "valor": 0.9, "total": 1.827381432056427}]
    with redis.Redis.from_url(valkey_url) as client:
        for alert in (
            {**emitted, "tipo": "umbral", "entidades": entities},
            {**emitted, "tipo": "anomaly", "n": 0, "entidades": [], "anomaly": {"id": "a"}},
        ):
            client.xadd(f"corec:{{{NAME}}}:alertas", {"alerta": json.dumps(alert)})
        found = sinks._alerts(client, NAME)
        client.delete(f"corec:{{{NAME}}}:alertas")
    valor = 0.8999999761581421  # as float32
    assert found == {(412, -3): (1, [(7, valor, (("total", 1.827381432056427),))])}
