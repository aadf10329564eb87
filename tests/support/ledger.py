"""What an instance left in PostgreSQL and in its streams, read as a user would."""

from __future__ import annotations

import struct
from collections import Counter
from typing import Any, NamedTuple

import psycopg
import redis
from psycopg.rows import dict_row

MESSAGE = struct.Struct("!Ibf?")


class Message(NamedTuple):
    """One message of an out-stream and the tick of its entry."""

    tick: int
    id: int
    canal: int
    valor: float
    activo: bool


def rows_of(dsn: str, instance_id: str = "corec1") -> list[dict[str, Any]]:
    """The rows of ``bloques``, by tick and id."""
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        return connection.execute(
            "SELECT * FROM bloques WHERE instance_id = %s ORDER BY tick, id", (instance_id,)
        ).fetchall()


def events_of(dsn: str, instance_id: str = "corec1") -> list[dict[str, Any]]:
    """The rows of ``eventos``, oldest first."""
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        return connection.execute(
            'SELECT * FROM eventos WHERE instance_id = %s ORDER BY "timestamp"', (instance_id,)
        ).fetchall()


def assert_rows_once(rows: list[dict[str, Any]], blocks: int, ticks: int, every: int = 10) -> None:
    """Exactly one row per block and ``every`` ticks, no other."""
    expected = {tick for tick in range(1, ticks + 1) if tick % every == 0}
    counted = Counter((row["id"], row["tick"]) for row in rows)
    assert {tick for _, tick in counted} == expected
    assert len({block for block, _ in counted}) == blocks
    assert len(rows) == len(counted) == blocks * len(expected)


def messages_of(url: str, canal: int, instance_id: str = "corec1") -> list[Message]:
    """The messages of an out-stream in order; every entry is checked to be as promised."""
    with redis.Redis.from_url(url) as client:
        entries: Any = client.xrange(f"corec:{{{instance_id}}}:out:{canal}")
    found = []
    for _, fields in entries:
        assert set(fields) == {b"m", b"n", b"t"}
        packed = fields[b"m"]
        assert len(packed) == MESSAGE.size * int(fields[b"n"])
        assert int(fields[b"n"]) >= 1
        found += [Message(int(fields[b"t"]), *m) for m in MESSAGE.iter_unpack(packed)]
    return found


def dead_of(url: str, instance_id: str = "corec1") -> list[dict[bytes, bytes]]:
    """The dead letters, oldest first."""
    with redis.Redis.from_url(url) as client:
        entries: Any = client.xrange(f"corec:{{{instance_id}}}:dead")
    return [fields for _, fields in entries]


def keys_of(url: str) -> set[str]:
    """Every key of the server."""
    with redis.Redis.from_url(url) as client:
        found: Any = client.keys("*")
    return {key.decode() for key in found}
