"""Whether a benchmarked run left anything out: its digest, rows and messages against the reference.

The reference is the same world ticked in this process (``world.expected_at``). Rows are counted in
the database as well, and must be one for each block and every ``persist.every_ticks`` ticks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg

from corec.lab.bench.results import Check
from corec.lab.bench.rounds import wait_until
from corec.lab.bench.server import Server
from corec.lab.bench.world import Expected, expected_at

COUNT = "SELECT count(*), count(DISTINCT (id, tick)) FROM bloques WHERE instance_id = %s"


def settled_rows(server: Server, seconds: float = 60.0) -> tuple[int, int]:
    """(rows, different rows) in the database once a paused world's last row is committed."""
    every = server.config.get("persist", {}).get("every_ticks", 10)
    wanted = blocks_of(server.config) * (server.tick // every)
    wait_until(lambda: server.rows >= wanted, f"{wanted} rows are committed", seconds)
    with psycopg.connect(server.address("db")) as connection:
        found = connection.execute(COUNT, (server.config["instance_id"],)).fetchone()
    assert found is not None
    return int(found[0]), int(found[1])


def blocks_of(config: dict[str, Any]) -> int:
    """Blocks of a configuration of 1 MB swarms."""
    return sum(-(-b["entidades"] // 1000) for b in config["bloques"])


def same_digest(name: str, tick: int, summary: Mapping[str, Any], wanted: Expected) -> Check:
    """Whether a server that ended at ``tick`` ended as the reference is there."""
    return Check(
        f"{name}: same digest as the reference at tick {tick:,}",
        summary["digest_tick"] == tick and summary["digest"] == wanted.digest,
        f"{summary['digest']} at {summary['digest_tick']}, reference {wanted.digest}",
    )


def verify(name: str, server: Server, seed: int = 42) -> list[Check]:
    """Stop a paused ``server`` whose world has no inputs, and compare what it did."""
    every = server.config.get("persist", {}).get("every_ticks", 10)
    tick = server.tick
    there, different = settled_rows(server)
    summary = server.stop()
    wanted = expected_at(server.config, tick)
    formula = blocks_of(server.config) * (tick // every)
    rows = (there, different, summary["rows_persisted"], wanted.rows, formula)
    return [
        same_digest(name, tick, summary, wanted),
        Check(
            f"{name}: one row per block and {every:,} ticks",
            len(set(rows)) == 1,
            f"in the database {there} ({different} different), counted "
            f"{summary['rows_persisted']}, reference {wanted.rows}, formula {formula}",
        ),
        Check(
            f"{name}: every message out once",
            summary["messages_out"] == wanted.messages,
            f"{summary['messages_out']:,}, reference {wanted.messages:,}",
        ),
    ]
