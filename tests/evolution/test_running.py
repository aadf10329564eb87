"""Evolution in running instances: what a world in this process becomes, they become, too."""

from __future__ import annotations

import json
import shutil
import signal
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
from psycopg.rows import dict_row

import corec
from corec.control.births import Births
from corec.plan import Plan
from corec.view.reading import ANCESTORS
from corec.world.ancestry import ancestors
from tests.crash.worlds import armed, deaths_expected, killed, spared
from tests.docs.documents import ROOT, blocks
from tests.e2e.conftest import Make
from tests.support.instance import Instance
from tests.support.processes import is_running, promised, wait_until

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.slow, pytest.mark.timeout(300)]

TICKS = 24
ISLANDERS = 50
SUBJECTS = Path(__file__).with_name("subjects.py")
DEATHS = {
    "flat": ("0", (
        "worker@evolution.genes_written:5", "worker@block.before_commit:9",
        "worker 0@phase.before_done:2", "worker 1@phase.all_done:3", "worker@block.after_commit:14",
        "persister@persist.before_commit:1", "persister@persist.after_commit:1",
    )),
    "paced": ("60", (
        "worker@evolution.genes_written:8", "worker 0@phase.all_done:2",
        "worker 1@phase.before_done:1", "worker 0@leader.after_cut:3", "worker 0@leader.after_go:4",
        "worker@block.after_commit:3", "worker@lane.publish.after:4",
        "persister@persist.after_copy:1", "persister@persist.before_release:1",
    )),
}  # fmt: skip


def config() -> dict[str, Any]:
    """Islands with migrants, a swarm that is one island, and one that does not evolve."""
    islands = {"cada": 2, "estado": "heredado", "linaje": 0.5,
               "migracion": {"cada": 2, "cuantos": 3, "topologia": "azar"}}  # fmt: skip
    whole = {"cada": 3, "alcance": "enjambre", "metodo": "truncamiento", "elite": 0.2,
             "generaciones": 2}
    swarm = {"canal": 1, "entidades": ISLANDERS, "entidades_por_bloque": 7,
             "procesador": "evolving_subjects:subject"}  # fmt: skip
    return {
        "instance_id": "corec1",
        "http": {"port": 0},
        "bloques": [
            {**swarm, "id": "islands", "evolucion": islands},
            {**swarm, "id": "whole", "evolucion": whole},
            {**swarm, "id": "still"},
        ],
    }


@pytest.fixture
def one(make: Make) -> Instance:
    """An instance that finds the subjects."""
    made = make(config())
    plugins = made.home / "plugins"
    plugins.mkdir(exist_ok=True)
    shutil.copy(SUBJECTS, plugins / "evolving_subjects.py")
    shutil.copy(SUBJECTS, made.config_path.parent / "evolving_subjects.py")
    return made


class Wanted(NamedTuple):
    """Of a world in this process: its digest, what was told of generations and births, the family
    trees of its entities, and its plan."""

    digest: str
    told: list[tuple[Any, ...]]
    trees: list[list[tuple[Any, ...]]]
    plan: Plan


def wanted(one: Instance) -> Wanted:
    """What a world in this process becomes."""
    with corec.World(one.config_path) as world:
        world.run(TICKS)
        kinds = ("generation", "lineage")
        events = [_row(e) for e in world.events() if e["tipo"] in kinds]
        tree = world.lineage(events[-1][3] or 0)
        assert all(a["madre"] == b["hijo"] for a, b in pairwise(tree))
        trees = [_tree(world.lineage(one)) for one in range(ISLANDERS)]
        assert max(map(len, trees)) > 3
        assert [_tree(world.lineage(one, limit=2)) for one in range(ISLANDERS)] == [
            tree[:2] for tree in trees
        ]
        plan, _ = world._world()
        return Wanted(str(world.digest()), sorted(events, key=str), trees, plan)


def _tree(births: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """As the query of docs/evolution.md gives it."""
    return [("  " * k + str(one["hijo"]), one["generacion"], one["madre"], one["padre"])
            for k, one in enumerate(births)]  # fmt: skip


def trees(dsn: str) -> list[list[tuple[Any, ...]]]:
    """What the documents' query draws; the document's other queries are asked, too."""
    texts = [block.text for block in blocks(ROOT / "docs" / "evolution.md", "sql")]
    (tree,) = (text for text in texts if "WITH RECURSIVE" in text)
    assert tree.count("hijo = 17") == 1
    with psycopg.connect(dsn) as connection:
        for text in texts:
            connection.execute(text)
        return [connection.execute(tree.replace("hijo = 17", f"hijo = {one}")).fetchall()
                for one in range(ISLANDERS)]  # fmt: skip


def walked(dsn: str, plan: Plan) -> list[list[tuple[Any, ...]]]:
    """What ``lineage`` of a running instance finds."""
    with psycopg.connect(dsn) as connection:
        told = Births(connection, "corec1")
        return [_tree(ancestors(told, one, plan, ANCESTORS)) for one in range(ISLANDERS)]


def _row(event: dict[str, Any]) -> tuple[Any, ...]:
    detail = json.dumps(event["detalle"], sort_keys=True)
    return event["tick"], event["tipo"], event["bloque"], event["entidad"], detail


def told(dsn: str) -> list[tuple[Any, ...]]:
    """What the tables hold of generations and births."""
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        found = connection.execute(
            "SELECT tick, tipo, bloque, entidad, detalle FROM eventos"
            " WHERE instance_id = 'corec1' AND tipo IN ('generation', 'lineage')"
        ).fetchall()
        counted = connection.execute(
            "SELECT (SELECT count(*) FROM generaciones WHERE instance_id = 'corec1') AS rows,"
            " (SELECT count(*) FROM linaje WHERE instance_id = 'corec1' AND madre >= 0) AS births"
        ).fetchone()
    assert counted is not None
    assert counted["rows"] + counted["births"] == len(found)
    return sorted(map(_row, found), key=str)


def test_workers_pace_and_a_stop_half_way_do_not_show(one: Instance) -> None:
    digest = wanted(one).digest
    for workers in ("1", "2", "5"):
        ended = one.run("--fresh", "--ticks", str(TICKS), "--tick-hz", "0", "--workers", workers)
        assert ended.summary["digest"] == digest
    ended = one.run("--fresh", "--ticks", str(TICKS), "--tick-hz", "200", "--workers", "3")
    assert ended.summary["digest"] == digest
    # a multiple of both periods: both evolutions are the first thing that the second half does
    one.run("--fresh", "--ticks", "12", "--tick-hz", "0", "--workers", "2")
    ended = one.run("--ticks", str(TICKS - 12), "--tick-hz", "0", "--workers", "3")
    assert ended.summary["digest"] == digest


@pytest.mark.parametrize("name", DEATHS)
def test_workers_die_in_the_middle(one: Instance, pg_dsn: str, name: str) -> None:
    hz, deaths = DEATHS[name]
    digest, events, family, plan = wanted(one)
    ended = armed(one, deaths).run("--ticks", str(TICKS), "--tick-hz", hz, "--workers", "2")
    assert Counter(killed(ended)) == deaths_expected(deaths, 2)
    assert ended.summary["digest"] == digest
    assert told(pg_dsn) == events
    assert trees(pg_dsn) == walked(pg_dsn, plan) == family


def test_a_world_is_adopted_in_the_middle_of_a_phase(one: Instance) -> None:
    """Everybody dies while some blocks have done the phase and some have not."""
    armed(one, ("worker 1@evolution.genes_written:7", *("worker 1@evolution.genes_written:1",) * 9))
    running = one.start("--tick-hz", "60", "--workers", "2")
    log = one.output(0, "err")
    wait_until(lambda: log.read_text().count("SIGKILL") >= 2, "a worker died in the phase", 30)
    running.signal(signal.SIGKILL)
    running.process.wait(10)
    wait_until(lambda: not one.processes(), "its children leave", promised(2.0))
    summary = spared(one).run("--ticks", "9", "--tick-hz", "0", "--workers", "3").summary
    with corec.World(one.config_path) as world:
        world.run(summary["tick"])
        assert world.digest() == summary["digest"]


def test_a_world_is_adopted_where_one_worker_has_done_the_tick_behind_a_phase(
    one: Instance,
) -> None:
    """One died past the barrier; who finished the tick does not come to the barrier again."""
    armed(one, ("worker 1@phase.all_done:300",))
    running = one.start("--tick-hz", "60", "--workers", "2").ready()
    fast, slow = (running.pid_of("worker", k) for k in (0, 1))
    running.signal(signal.SIGSTOP)  # nobody replaces who dies
    wait_until(lambda: not is_running(slow), "a worker died behind a phase", 60.0)

    def ticks() -> dict[int, int]:
        return {p["pid"]: p["tick"] for p in running.status()["processes"] if p["role"] == "worker"}

    wait_until(lambda: ticks()[fast] == ticks()[slow] + 1, "the other one ends the tick")
    running.signal(signal.SIGKILL)
    running.process.wait(10)
    wait_until(lambda: not one.processes(), "its children leave", promised(2.0))
    summary = spared(one).run("--ticks", "9", "--tick-hz", "0").summary
    with corec.World(one.config_path) as world:
        world.run(summary["tick"])
        assert world.digest() == summary["digest"]
