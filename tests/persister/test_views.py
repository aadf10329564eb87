"""What the views make of the events, and what Grafana's panels ask."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import orjson
import psycopg
import pytest

from corec.config.measures import parse_expression
from tests.persister.small_world import small_world

pytestmark = pytest.mark.usefixtures("no_leaks")
NOW = datetime.now(UTC)
PANELS = Path(__file__).parents[2] / "monitoring" / "grafana-tables.json"


def told(values: np.ndarray, texts: list[str]) -> bytes:
    """``detalle`` of a block with these values."""
    some = [parse_expression(text) for text in texts]
    return orjson.dumps({
        "entidades": values.size, "values": {one.text: one.of(values) for one in some},
        "means": {one.text: one.mean_of(values) for one in some if one.reduce == "std"},
    })  # fmt: skip


def test_a_swarm_s_statistics_are_those_of_its_entities(shm_dir: Path, pg_dsn: str) -> None:
    """Of blocks of unlike sizes, far from 0 and from each other; one block has no number."""
    chance = np.random.default_rng(7)
    blocks = [chance.normal(1e6 + k, 1e-3, n) for k, n in enumerate((50, 7, 50))]
    texts = ["mean(x)", "std(x)", "min(x)", "max(x)", "sum(x)", "count(x)", "mean(x > 1000000.5)",
             "std(x > 1000000.5)"]  # fmt: skip
    nothing = np.full(1000, np.nan)
    with small_world(shm_dir, pg_dsn) as world, psycopg.connect(pg_dsn, autocommit=True) as db:
        world.publish_ticks(10, 12)
        world.drain()
        for tick, more in ((20, []), (30, [nothing])):
            for k, values in enumerate([*blocks, *more]):
                db.execute(
                    'INSERT INTO eventos (instance_id, "timestamp", tick, tipo, bloque, detalle)'
                    " VALUES ('corec1', %s, %s, 'statistics', %s, %s)",
                    (NOW, tick, f"town:{k:05}", told(values, texts).decode()),
                )
        found: dict[int, dict[str, float]] = {20: {}, 30: {}}
        for tick, text, value in db.execute("SELECT tick, medida, valor FROM estadisticas_enjambre"
                                            " WHERE enjambre = 'town'"):  # fmt: skip
            found[tick][text] = value
        whole = np.concatenate(blocks)
        assert found[20] == {
            text: pytest.approx(parse_expression(text).of(whole), rel=1e-9) for text in texts
        }
        for text in ("mean(x)", "std(x)", "min(x)", "max(x)"):
            assert found[30][text] == pytest.approx(found[20][text], rel=1e-9)


def asked(query: str) -> str:
    """As Grafana fills it in, for all times."""
    return re.sub(r"\$__timeFilter\(([^)]*)\)", r"\1 IS NOT NULL", query)


def test_what_grafana_asks(shm_dir: Path, pg_dsn: str) -> None:
    with small_world(shm_dir, pg_dsn) as world, psycopg.connect(pg_dsn) as db:
        world.publish_ticks(10, 12)
        world.drain()
        rows, events = (
            db.execute(asked(target["rawSql"])).fetchall()
            for panel in json.loads(PANELS.read_text(encoding="utf-8"))["panels"]
            for target in panel["targets"]
        )
        assert sum(count for _, name, count in rows if name == "corec1") == len(world.sent)
        assert isinstance(events, list)
