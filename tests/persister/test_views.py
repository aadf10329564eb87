"""What the views make of the events, and what Grafana's panels ask."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import psycopg
import pytest

from corec.config.measures import parse_expression
from corec.persister.views import FUNCTION, VIEWS
from tests.docs.documents import ROOT, blocks
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


LIMITS: dict[str, tuple[list[list[float]], dict[str, float | None]]] = {
    "decayed": ([[1e-170, 2e-170, 4e-170], [3e-170, 5e-170]],
                {"mean(x)": 3e-170, "min(x)": 1e-170, "max(x)": 5e-170, "sum(x)": 1.5e-169}),
    "apart": ([[1e-170], [4e-170, 4e-170, 4e-170]],
              {"mean(x)": 3.25e-170, "std(x)": 1.299038105676658e-170}),
    "subnormal": ([[1e-310, 3e-310], [3e-310, 5e-310]], {"mean(x)": 3e-310, "sum(x)": 1.2e-309}),
    "least": ([[5e-324, 0.0], [0.0, 0.0, 0.0]], {"mean(x)": 0.0, "std(x)": 0.0, "sum(x)": 5e-324}),
    "beside": ([[1e-170], [1.0, 2.0]], {"mean(x)": 1.0, "std(x)": 0.816496580927726}),
    "large": ([[1e153, -4e153], [2e153, 5e153]],
              {"mean(x)": 1e153, "std(x)": 3.24037034920393e153}),
    "far": ([[1e200, 1e200], [-1e200, -1e200]],
            {"mean(x)": 0.0, "std(x)": 1e200, "min(x)": -1e200, "max(x)": 1e200, "sum(x)": 0.0}),
    "beyond": ([[1.7e308], [1.6e308]], {"mean(x)": 1.65e308, "sum(x)": None, "max(x)": 1.7e308}),
    "none": ([[math.nan], [math.inf, 1.0]], {"mean(x)": None, "std(x)": None, "min(x)": 1.0}),
    "zero": ([[0.0, 0.0], [0.0]], {"mean(x)": 0.0, "std(x)": 0.0, "sum(x)": 0.0, "count(x)": 0.0}),
    "blank": ([[1.0], [4.0, 4.0]], {" mean(x)": 3.0}),
}  # fmt: skip
"""Blocks of an f8 column, and what is true of their entities; None: no number, or none that is
finite."""


def test_a_swarm_s_statistics_at_the_limits_of_float64(shm_dir: Path, pg_dsn: str) -> None:
    """A field that decays comes to numbers whose squares are none: the server calls that an error,
    of whatever was asked for."""
    texts = ["mean(x)", "std(x)", "min(x)", "max(x)", "sum(x)", "count(x)", " mean(x)"]
    with small_world(shm_dir, pg_dsn) as world, psycopg.connect(pg_dsn, autocommit=True) as db:
        world.publish_ticks(10, 12)
        world.drain()
        for name, (columns, _) in LIMITS.items():
            for k, column in enumerate(columns):
                db.execute(
                    'INSERT INTO eventos (instance_id, "timestamp", tick, tipo, bloque, detalle)'
                    " VALUES ('corec1', %s, 20, 'statistics', %s, %s)",
                    (NOW, f"{name}:{k:05}", told(np.array(column), texts).decode()),
                )
        query = "SELECT medida, valor FROM estadisticas_enjambre WHERE enjambre = %s"
        for name, (_, expected) in LIMITS.items():
            found: dict[str, float | None] = dict(db.execute(query, (name,)).fetchall())
            assert set(found) == set(texts)
            some = {text: found[text] for text in expected}
            near = {t: v if v is None else pytest.approx(v, rel=1e-9, abs=0.0)
                    for t, v in expected.items()}  # fmt: skip
            assert some == near, name


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


def texts_of(db: psycopg.Connection[tuple[str, ...]]) -> list[str]:
    """What the server says of each view, and of the function that they call."""
    query = "SELECT pg_get_viewdef(name::regclass) FROM unnest(%s::text[]) AS name"
    found = db.execute(query, (list(VIEWS),)).fetchall()
    found += db.execute("SELECT prosrc FROM pg_proc WHERE proname = %s", (FUNCTION,)).fetchall()
    return [text for (text,) in found]


def begun(folder: Path, dsn: str, first: int) -> None:
    """A persister comes, and leaves."""
    with small_world(folder, dsn) as world:
        world.publish_ticks(first, first + 2)
        world.drain()


OLDER = f"""
    CREATE OR REPLACE VIEW estadisticas AS
    SELECT e.instance_id, e."timestamp", e.tick, e.bloque, e.bloque AS enjambre,
           v.key AS medida, 0.0::float8 AS valor, 0::bigint AS entidades
      FROM {FUNCTION}('statistics') AS e, jsonb_each_text(e.detalle->'values') AS v"""


def test_rows_do_not_wait_for_who_reads_a_view(shm_dir: Path, pg_dsn: str) -> None:
    """A transaction that has read an older one goes on; then it is replaced."""
    begun(shm_dir, pg_dsn, 10)
    with psycopg.connect(pg_dsn, autocommit=True) as db:
        now = texts_of(db)
        db.execute(OLDER)
        with psycopg.connect(pg_dsn) as reader:
            reader.execute("SELECT 1 FROM estadisticas LIMIT 1")
            begun(shm_dir, pg_dsn, 20)
            assert texts_of(db) != now
        begun(shm_dir, pg_dsn, 30)
        assert texts_of(db) == now
        assert db.execute("SELECT count(DISTINCT tick) FROM bloques").fetchone() == (9,)


def test_rows_do_not_wait_for_a_function_of_somebody_else(shm_dir: Path, pg_dsn: str) -> None:
    begun(shm_dir, pg_dsn, 10)
    with psycopg.connect(pg_dsn, autocommit=True) as db:
        db.execute(f"DROP FUNCTION {FUNCTION} CASCADE")
        db.execute(f"CREATE FUNCTION {FUNCTION}(text) RETURNS integer LANGUAGE sql AS 'SELECT 1'")
        begun(shm_dir, pg_dsn, 20)
        assert db.execute(f"SELECT {FUNCTION}('')").fetchone() == (1,), "it stays"
        assert db.execute("SELECT count(DISTINCT tick) FROM bloques").fetchone() == (6,)


def test_a_view_of_an_older_version_is_replaced(shm_dir: Path, pg_dsn: str) -> None:
    """With who may read it; what is somebody else's stays."""
    begun(shm_dir, pg_dsn, 10)
    with psycopg.connect(pg_dsn, autocommit=True) as db:
        now = texts_of(db)
        touched = "SELECT relname, xmin::text FROM pg_class WHERE relname = ANY (%s) ORDER BY 1"
        db.execute("GRANT SELECT ON estadisticas TO PUBLIC")
        db.execute(OLDER)
        db.execute("DROP VIEW linaje")
        db.execute("CREATE VIEW linaje AS SELECT 1 AS mine")
        before: dict[Any, Any] = dict(db.execute(touched, (list(VIEWS),)).fetchall())
        begun(shm_dir, pg_dsn, 20)
        after: dict[Any, Any] = dict(db.execute(touched, (list(VIEWS),)).fetchall())
        found = texts_of(db)
        assert (found[0], found[2:]) == (now[0], now[2:])
        assert "mine" in found[1]
        changed = {name for name in VIEWS if before[name] != after[name]}
        assert changed == {"estadisticas"}, "what is as it is to be is not touched"
        readers = db.execute("SELECT has_table_privilege('public', 'estadisticas', 'SELECT')")
        assert readers.fetchone() == (True,)


PLACES, GENERATIONS = 20, 1500
BORN = """
    INSERT INTO eventos (instance_id, "timestamp", tick, tipo, bloque, entidad, detalle)
    SELECT 'corec1', %(now)s, g / %(places)s, 'lineage', 'sensores:00000', g %% %(places)s,
           jsonb_build_object('madre', (7 * g + 3) %% %(places)s, 'padre', NULL, 'how', 'hijo',
                              'generacion', g / %(places)s, 'genes', '{}'::jsonb)
      FROM generate_series(0, %(places)s * %(generations)s - 1) AS g
"""


def looked_at(node: dict[str, Any]) -> float:
    """The rows of tables that a plan has looked at."""
    rows = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
    mine = rows * node["Actual Loops"] if "Relation Name" in node else 0.0
    return float(mine) + sum(looked_at(one) for one in node.get("Plans", []))


def test_a_family_tree_looks_at_its_own_births_alone(shm_dir: Path, pg_dsn: str) -> None:
    """As docs/evolution.md asks for it; also in tables of an older CoreC, without the index."""
    texts = [block.text for block in blocks(ROOT / "docs" / "evolution.md", "sql")]
    (tree,) = (text for text in texts if "WITH RECURSIVE" in text)
    begun(shm_dir, pg_dsn, 10)
    with psycopg.connect(pg_dsn, autocommit=True) as db:
        db.execute(BORN, {"now": NOW, "places": PLACES, "generations": GENERATIONS})
        found = db.execute(
            "SELECT indexname FROM pg_indexes WHERE indexdef LIKE '% WHERE (tipo = %'"
        ).fetchall()
        for (name,) in found:
            db.execute(f'DROP INDEX "{name}"')
        begun(shm_dir, pg_dsn, 20)
        db.execute("ANALYZE eventos")
        (((plan,),),) = db.execute(
            "EXPLAIN (ANALYZE, FORMAT JSON) " + tree.replace("hijo = 17", "hijo = 3")
        ).fetchall()
        steps = plan["Plan"]["Actual Rows"]
        assert steps > GENERATIONS / 2
        assert looked_at(plan["Plan"]) <= 2 * steps + PLACES, plan
        fresh = db.execute(
            "SELECT indexname FROM pg_indexes WHERE indexdef LIKE '% WHERE (tipo = %'"
        ).fetchall()
        assert len(fresh) == len(found) > 0
