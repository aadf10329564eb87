"""What comes out in the tables, column by column, and what the payload holds."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import orjson
import psycopg
import pytest
import zstandard

from corec import layout as L
from corec.persister.read import decode_payload
from tests.persister.small_world import (
    NOON_NS,
    PER_BLOCK,
    expected_keys,
    keys_of,
    rows_of,
    small_world,
)
from tests.support.processes import wait_until

pytestmark = pytest.mark.usefixtures("no_leaks")


def test_each_column_is_what_was_published(shm_dir: Path, pg_dsn: str) -> None:
    with small_world(shm_dir, pg_dsn) as world:
        world.publish_ticks(10, 12)
        world.drain()
        found = rows_of(pg_dsn)
        assert keys_of(pg_dsn) == expected_keys(world)
        assert world.count(L.P_ROWS) == len(world.sent) == 18
        by_key = {(sent.tick, world.rt.plan.block_id(sent.block)): sent for sent in world.sent}
        for row in found:
            sent = by_key[row[2], row[0]]
            names = (
                "canal", "num_entidades", "activas", "errores", "reparadas", "carga", "umbral",
                "fitness", "media", "desviacion", "mensajes",
            )  # fmt: skip
            assert (row[1], *row[4:14]) == tuple(sent.row[name] for name in names)
            seconds = int(sent.row["unix_ns"]) / 1e9
            assert row[3] == datetime.fromtimestamp(seconds, UTC)
            body = orjson.loads(zstandard.ZstdDecompressor().decompress(row[14]))
            assert body == decode_payload(row[14])
            assert (body["desde"], body["hasta"]) == (sent.tick - 9, sent.tick)
            assert body["omitidos"] == 2
            messages = body["mensajes"]
            assert messages["id"] == (sent.block * PER_BLOCK + sent.log["local"]).tolist()
            assert messages["tick"] == sent.log["tick"].tolist()
            assert messages["valor"] == pytest.approx(sent.log["valor"].tolist())
            assert body["histograma"] == {
                "min": -0.25,
                "max": 1.5,
                "cuentas": sent.row["histograma"].tolist(),
            }


def test_without_messages_and_without_payload(shm_dir: Path, pg_dsn: str) -> None:
    with small_world(shm_dir, pg_dsn, persist={"payload": "none"}) as world:
        world.publish_ticks(1, 1, messages=0)
        world.drain()
        assert {row[14] for row in rows_of(pg_dsn)} == {None}
    with small_world(shm_dir, pg_dsn, instance="otro") as world:
        world.publish_ticks(1, 1, messages=0)
        world.drain()
        body = decode_payload(rows_of(pg_dsn, "otro")[0][14])
        assert body["mensajes"] == {"id": [], "tick": [], "valor": []}


def test_the_rows_of_a_world_at_rest_are_not_kept_waiting(
    shm_dir: Path, pg_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corec.persister.linger.LINGER_S", 20.0)
    with small_world(shm_dir, pg_dsn) as world:
        pid = world.start()
        world.rt.set(L.C_STEP_LIMIT, 4)
        world.rt.set(L.C_PAUSED, 1)
        world.publish_ticks(3, 4)
        wait_until(lambda: world.count(L.P_ROWS) == 12, "the rows are committed", 10.0)
        assert world.stop(pid) == 0


def test_events_and_repairs(shm_dir: Path, pg_dsn: str) -> None:
    with small_world(shm_dir, pg_dsn) as world:
        world.publish(3, 0, repairs=2)
        world.publish(3, 5, repairs=1, row=False)
        world.done(3)
        world.event("restart", {"role": "worker", "why": "a\0b", "deep": ["\0", {"\0": 1.5}]}, 2)
        assert world.rt.events["nucleus"].push(L.KIND_EVENT_FRAME, b"{not json")
        world.drain()
        assert world.count(L.P_EVENTS) == 4
        assert world.count(L.P_DROPPED) == 1
        assert world.count(L.P_ROWS) == 1
        assert world.word(L.S_TICK) == 3
    with psycopg.connect(pg_dsn) as connection:
        connection.execute("SET TIME ZONE 'UTC'")
        found = connection.execute(
            'SELECT tick, tipo, bloque, entidad, detalle, "timestamp" FROM eventos'
            " WHERE instance_id = 'corec1' ORDER BY tick, entidad"
        ).fetchall()
    assert found[0][:5] == (
        2, "restart", None, None,
        {"role": "worker", "why": "a\ufffdb", "deep": ["\ufffd", {"\ufffd": 1.5}]},
    )  # fmt: skip
    assert found[0][5] == datetime.fromtimestamp(NOON_NS / 1e9, UTC)
    assert [row[:5] for row in found[1:]] == [
        (3, "repair", "sensores:00000", 0, {"how": "inherit", "donor": 50}),
        (3, "repair", "sensores:00000", 1, {"how": "inherit", "donor": 51}),
        (3, "repair", "sensores:00005", 500, {"how": "inherit", "donor": 550}),
    ]


@pytest.mark.parametrize("bad", [b"", b"\x28\xb5\x2f\xfd", zstandard.compress(b"[1]")])
def test_what_is_no_payload_is_refused(bad: bytes) -> None:
    with pytest.raises(ValueError, match="payload"):
        decode_payload(bad)


def test_the_documented_script_puts_messages_where_sql_sees_them(
    shm_dir: Path, pg_dsn: str
) -> None:
    text = (Path(__file__).parents[2] / "docs" / "sql.md").read_text(encoding="utf-8")
    (script,) = [part for part in re.findall(r"```python\n(.*?)```", text, re.DOTALL)
                 if "corec_mensajes" in part]  # fmt: skip
    address = 'json.loads(subprocess.check_output(ASK))["sinks"]["postgresql"]["address"]'
    assert script.count(address) == 1
    script = script.replace(address, repr(pg_dsn))
    with small_world(shm_dir, pg_dsn) as world:
        world.publish_ticks(10, 12)
        world.publish(13, 0, messages=0)
        world.drain()
        exec(script, {})
        world.publish_ticks(14, 15)
        world.drain()
        for _ in range(2):
            exec(script, {})
        expected = [
            (world.rt.plan.block_id(sent.block), 1, sent.tick, int(one["tick"]),
             sent.block * PER_BLOCK + int(one["local"]), float(one["valor"]))
            for sent in world.sent for one in sent.log
        ]  # fmt: skip
    with psycopg.connect(pg_dsn) as connection:
        found = connection.execute(
            "SELECT bloque, canal, fila, tick, entidad, valor FROM corec_mensajes"
        ).fetchall()
    assert len(found) == len(expected)
    for got, wanted in zip(sorted(found), sorted(expected), strict=True):
        assert got == (*wanted[:-1], pytest.approx(wanted[-1]))
