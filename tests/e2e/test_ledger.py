"""Rows and messages, counted one by one on real servers: each exactly once, and each right."""

from __future__ import annotations

import json
import math
import time
from collections import Counter

import pytest
import zstandard

from tests.e2e.conftest import Make
from tests.support.instance import small_config
from tests.support.ledger import assert_rows_once, keys_of, messages_of, rows_of

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.slow, pytest.mark.timeout(300)]

BLOCKS = 8
TICKS = 60
CARGA = 1.0


def test_every_row_and_message_is_there_once(make: Make, pg_dsn: str, valkey_url: str) -> None:
    one = make()
    began = time.time()
    summary = one.run("--ticks", str(TICKS), "--tick-hz", "0", "--workers", "3").summary
    ended = time.time()
    assert (summary["bloques"], summary["entidades"]) == (BLOCKS, 330)

    rows = rows_of(pg_dsn)
    assert_rows_once(rows, BLOCKS, TICKS)
    assert summary["rows_persisted"] == len(rows)
    out = messages_of(valkey_url, 1)
    assert messages_of(valkey_url, 3) == []
    assert summary["messages_out"] == len(out) > 100
    assert len(out) == len({(m.tick, m.id) for m in out})
    assert [m.tick for m in out] == sorted(m.tick for m in out)
    for message in out:
        assert 0 <= message.id < 290
        assert message.canal == 1
        assert message.activo is True
        assert 0.1 < message.valor < 2.0
    assert {m.tick for m in out} <= set(range(1, TICKS + 1))

    sent = Counter((m.id // 50, math.ceil(m.tick / 10) * 10) for m in out)
    for row in rows:
        assert began - 1 < row["timestamp"].timestamp() < ended + 1
        assert (row["errores"], row["reparadas"], row["carga"]) == (0, 0, CARGA)
        assert row["fitness"] == 1.0
        swarm, _, number = row["id"].partition(":")
        if swarm == "detectores":
            assert (row["canal"], row["num_entidades"], row["mensajes"]) == (3, 20, 0)
            continue
        n = 40 if number == "00005" else 50
        assert (row["canal"], row["num_entidades"], row["activas"]) == (1, n, n)
        assert 0.2 < row["media"] < 0.4
        assert 0.05 < row["desviacion"] < 0.2
        threshold = min(0.9, max(0.1, 0.5 * CARGA + 0.3 * row["desviacion"]))
        assert row["umbral"] == pytest.approx(threshold, abs=1e-6)
        assert row["mensajes"] == sent[int(number), row["tick"]]
        payload = json.loads(zstandard.decompress(row["payload"]))
        assert isinstance(payload, dict)


def test_fresh_sets_rows_and_streams_aside(make: Make, pg_dsn: str, valkey_url: str) -> None:
    one = make()
    first = one.run("--ticks", "20", "--tick-hz", "0").summary
    old_rows = [(r["id"], r["tick"], r["media"]) for r in rows_of(pg_dsn)]
    old_messages = messages_of(valkey_url, 1)
    second = one.run("--fresh", "--ticks", "10", "--tick-hz", "0", "--seed", "7").summary
    assert second["tick"] == 10
    assert second["digest"] != first["digest"]
    assert_rows_once(rows_of(pg_dsn), BLOCKS, 10)
    assert len(messages_of(valkey_url, 1)) == second["messages_out"]
    aside = {k for k in keys_of(valkey_url) if ":out:1" in k} - {"corec:{corec1}:out:1"}
    assert len(aside) == 1, keys_of(valkey_url)
    assert len(old_messages) == first["messages_out"]
    # the older world's rows are in a table of their own now
    import psycopg

    with psycopg.connect(pg_dsn) as connection:
        found = connection.execute(
            "SELECT id, tick, media FROM mundos_bloques ORDER BY tick, id"
        ).fetchall()
    assert found == old_rows


def test_a_world_that_fresh_set_aside_finds_its_rows_again(make: Make, pg_dsn: str) -> None:
    one = make()
    one.run("--ticks", "20", "--tick-hz", "0")
    before = rows_of(pg_dsn)
    one.run("--fresh", "--ticks", "10", "--tick-hz", "0", "--seed", "7")
    (kept,) = one.home.glob("**/aside-*/checkpoint-*.corec")
    assert one.command("checkpoint", "restore", str(kept)).code == 0
    third = one.run("--ticks", "20", "--tick-hz", "0").summary
    assert third["tick"] == 40
    after = rows_of(pg_dsn)
    assert_rows_once(after, BLOCKS, 40)
    assert [row for row in after if row["tick"] <= 20] == before
    assert third["rows_persisted"] == len(after)
    undisturbed = make(small_config(instance_id="other"), name="other")
    assert undisturbed.run("--ticks", "40", "--tick-hz", "0").summary["digest"] == third["digest"]


def test_an_unfit_database_is_refused_and_nothing_is_started(make: Make, pg_dsn: str) -> None:
    one = make()
    one.environment["COREC_DB_URL"] = pg_dsn + "&options=-csearch_path%3Dnowhere"
    ended = one.run("--ticks", "10", "--tick-hz", "0")
    assert ended.code == 2
    assert "none of the schemas in search_path (nowhere) is there" in ended.err
    assert one.processes() == {}


def test_positions_go_on_over_stops_with_other_worker_counts(
    make: Make, pg_dsn: str, valkey_url: str
) -> None:
    one = make()
    counted = []
    for workers in ("3", "1", "3", "2"):
        summary = one.run("--ticks", "15", "--tick-hz", "0", "--workers", workers).summary
        counted.append(summary["messages_out"])
        assert summary["messages_out"] == len(messages_of(valkey_url, 1))
    assert summary["tick"] == 60
    assert counted == sorted(counted)
    rows = rows_of(pg_dsn)
    assert_rows_once(rows, BLOCKS, 60)
    assert summary["rows_persisted"] == len(rows)
    out = messages_of(valkey_url, 1)
    assert len(out) == len({(m.tick, m.id) for m in out})
    undisturbed = make(small_config(instance_id="other"), name="other")
    again = undisturbed.run("--ticks", "60", "--tick-hz", "0").summary
    assert again["digest"] == summary["digest"]
    assert again["messages_out"] == summary["messages_out"]
    assert sorted(messages_of(valkey_url, 1, "other")) == sorted(out)
