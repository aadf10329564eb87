"""Weak blocks are fused with strong ones: as the oracle says, and in running instances."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest

import corec
from corec.oracle.entity import kind_of
from corec.oracle.world import World as Oracle
from corec.world.fusion import donors
from tests.crash.worlds import armed, killed
from tests.e2e.conftest import Make
from tests.evolution.subjects import moody
from tests.evolution.test_rules import assert_same
from tests.support.instance import Instance

TICKS = 103
SUBJECTS = Path(__file__).with_name("subjects.py")


def table(fitness: list[float], least: float = 0.2, kind: list[int] | None = None) -> Any:
    n = len(fitness)
    return donors(np.array(fitness), np.full(n, least), np.array(kind or [0] * n, np.int64))


def test_who_is_fused_with_whom() -> None:
    assert table([0.1, 0.3, 0.9, 0.6]) == {0: 2}
    assert table([0.9, 0.1, 0.6, 0.0]) == {1: 2, 3: 0}
    assert table([0.2, 0.5, 0.19]) == {}  # nobody is above 0.5
    assert table([0.1, 0.9, 0.1, 0.9], kind=[0, 1, 1, 0]) == {0: 3, 2: 1}
    assert table([0.1, 0.9], kind=[-1, -1]) == {}
    assert table([0.7, 0.9], least=0.8) == {0: 1}
    assert table([float("nan"), 0.9]) == {}


def config(**changes: Any) -> dict[str, Any]:
    """Two swarms of one kind; the block a:00001 fails until tick 100."""
    swarm = {"canal": 1, "entidades": 24, "entidades_por_bloque": 7, "procesador": moody}
    return {"bloques": [{**swarm, "id": "a"}, {**swarm, "id": "b"}], "seed": 9} | changes


@pytest.mark.slow
@pytest.mark.parametrize("modules", [["sincronizacion"], ["auditoria"]])
def test_like_the_oracle(modules: list[str]) -> None:
    given = config(modules=modules)
    bloques = [{**one, "procesador": "moody"} for one in given["bloques"]]
    oracle = Oracle({**given, "bloques": bloques}, {"moody": kind_of(moody)})
    with corec.World(given) as world:
        for _ in range(TICKS):
            world.run(1)
            oracle.run_tick()
        assert_same(world, oracle, moody)
        found = [e for e in world.events() if e["tipo"] == "fusion"]
        fitness = [block["fitness"] for block in world.blocks()]
    assert fitness == [block.fitness for block in oracle.blocks]
    told = [(e["tick"], e["bloque"], e["detalle"]["donor"]) for e in found]
    wanted = [(100, "a:00001", "a:00002")]
    assert told == (wanted if modules == ["sincronizacion"] else [])


@pytest.mark.slow
@pytest.mark.usefixtures("no_leaks")
@pytest.mark.timeout(300)
def test_killed_in_a_fusion(make: Make, pg_dsn: str) -> None:
    given = config(instance_id="corec1", http={"port": 0})
    for one in given["bloques"]:
        one["procesador"] = "evolving_subjects:moody"
    instance: Instance = make(given)
    for folder in (instance.home / "plugins", instance.config_path.parent):
        folder.mkdir(exist_ok=True)
        shutil.copy(SUBJECTS, folder / "evolving_subjects.py")
    with corec.World(instance.config_path) as world:
        world.run(TICKS)
        digest, fused = str(world.digest()), sum(e["tipo"] == "fusion" for e in world.events())
    assert fused
    deaths = ("worker 0@fusion.before_commit:1", "worker 0@phase.before_done:1",
              "worker 1@phase.all_done:1")  # fmt: skip
    ended = armed(instance, deaths).run("--ticks", str(TICKS), "--tick-hz", "0", "--workers", "2")
    assert len(killed(ended)) == len(deaths)
    assert ended.summary["digest"] == digest
    with psycopg.connect(pg_dsn) as connection:
        row = connection.execute(
            "SELECT count(*) FROM eventos WHERE instance_id = 'corec1' AND tipo = 'fusion'"
        ).fetchone()
    assert row == (fused,)
