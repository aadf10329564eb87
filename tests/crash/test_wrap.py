"""Deaths where a lane wraps: every entity emits at every tick, so that eight megabytes go round."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

import pytest
import redis

from tests.crash.worlds import armed, deaths_expected, instance, killed, world
from tests.e2e.conftest import Make
from tests.support.ledger import MESSAGE, assert_rows_once, rows_of

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.slow]

TICKS, BLOCKS, PER_BLOCK = 1200, 4, 500
DEATHS = (
    "worker@lane.reserve.tail_seen:1", "worker@lane.reserve.padding:1",
    "worker@block.between_publish:90",
    "broker@lane.next.head_seen:10", "broker@lane.release.before:1", "broker@broker.after_multi:1",
    "persister@persist.after_commit:1", "persister@lane.release.before:1",
)  # fmt: skip


def config(instance_id: str) -> dict[str, Any]:
    """Four blocks of 500: about 20 kB to each worker's lanes at each tick."""
    bloques = [
        {"id": "loud", "canal": 1, "entidades": BLOCKS * PER_BLOCK, "max_size_mb": 1,
         "entidades_por_bloque": PER_BLOCK, "procesador": "crash_entities:loud"}
    ]  # fmt: skip
    return world(instance_id, bloques=bloques, persist={"every_ticks": 2})


def messages_by_tick(url: str, instance_id: str) -> dict[int, str]:
    """A hash over each tick's messages, whatever the order of the blocks in it."""
    with redis.Redis.from_url(url) as client:
        entries: Any = client.xrange(f"corec:{{{instance_id}}}:out:1")
    parts: dict[int, list[bytes]] = {}
    order = []
    for _, fields in entries:
        tick, packed = int(fields[b"t"]), fields[b"m"]
        order.append(tick)
        at = range(0, len(packed), MESSAGE.size)
        parts.setdefault(tick, []).extend(packed[i : i + MESSAGE.size] for i in at)
    assert order == sorted(order)
    for tick, found in parts.items():
        assert len(found) == len(set(found)) == BLOCKS * PER_BLOCK, tick
    return {t: hashlib.blake2b(b"".join(sorted(m))).hexdigest() for t, m in parts.items()}


def test_lanes_that_wrap(make: Make, pg_dsn: str, valkey_url: str) -> None:
    flat = ("--ticks", str(TICKS), "--tick-hz", "0", "--workers", "2")
    calm = instance(make, config("calm"), "calm").run(*flat).summary
    ended = armed(instance(make, config("corec1")), DEATHS).run(*flat)
    assert Counter(killed(ended)) == deaths_expected(DEATHS, 2)
    assert ended.summary["digest"] == calm["digest"]
    assert ended.summary["messages_out"] == calm["messages_out"] == TICKS * BLOCKS * PER_BLOCK
    wanted = messages_by_tick(valkey_url, "calm")
    assert len(wanted) == TICKS
    assert messages_by_tick(valkey_url, "corec1") == wanted
    columns = ("id", "tick", "media", "desviacion", "umbral", "fitness", "mensajes", "payload")
    rows = rows_of(pg_dsn)
    assert_rows_once(rows, BLOCKS, TICKS, 2)
    found = [[row[c] for c in columns] for row in rows]
    assert found == [[row[c] for c in columns] for row in rows_of(pg_dsn, "calm")]
