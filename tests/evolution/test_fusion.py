"""Weak blocks are fused with strong ones: as the oracle says, and in running instances."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest

import corec
from corec import layout as L
from corec.control.births import Births
from corec.lab.oracle.entity import kind_of
from corec.lab.oracle.world import World as Oracle
from corec.view.reading import ANCESTORS
from corec.world.ancestry import ancestors
from corec.world.fusion import donors
from corec.world.phases import FUSION
from corec.world.read import BlockView
from tests.crash.worlds import armed, killed
from tests.e2e.conftest import Make
from tests.evolution.subjects import moody, torn
from tests.evolution.test_rules import assert_same
from tests.support.instance import Instance
from tests.support.ledger import events_of

TICKS = 203
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
    """Two swarms of one kind, of which the block a:00001 fails until tick 100, and two that
    divide, each on its own, of which the second blocks fail until tick 200."""
    swarm = {"canal": 1, "entidades": 24, "entidades_por_bloque": 7}
    one, two = {**swarm, "procesador": moody}, {**swarm, "procesador": torn}
    two["simbiosis"] = "division"
    evolves = {"evolucion": {"cada": 50, "elite": 0.5, "linaje": 1.0}}
    bloques = [{**one, "id": "a"}, {**one, "id": "b"}, {**two, "id": "c", **evolves},
               {**two, "id": "d"}]  # fmt: skip
    return {"bloques": bloques, "seed": 9} | changes


WANTED = [
    (100, "division", "c:00001", "c:00002", "odd"), (100, "division", "d:00001", "d:00002", "odd"),
    (100, "fusion", "a:00001", "a:00002", None), (200, "division", "c:00001", "c:00002", "even"),
    (200, "division", "d:00001", "d:00002", "even"),
]  # fmt: skip


def told(events: Iterable[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """The fusions and divisions."""
    return sorted(
        (e["tick"], e["tipo"], e["bloque"], e["detalle"]["donor"], e["detalle"].get("places"))
        for e in events
        if e["tipo"] in ("fusion", "division")
    )


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("modules", [["sincronizacion"], ["auditoria"]])
def test_like_the_oracle(modules: list[str]) -> None:
    given = config(modules=modules)
    kinds = {one.name: kind_of(one) for one in (moody, torn)}
    bloques = [{**one, "procesador": one["procesador"].name} for one in given["bloques"]]
    oracle = Oracle({**given, "bloques": bloques}, kinds)
    with corec.World(given) as world:
        for tick in range(1, TICKS + 1):
            world.run(1)
            oracle.run_tick()
            if tick % 100 < 3:
                assert_same_worlds(world, oracle, kinds)
        assert_same_worlds(world, oracle, kinds)
        events = world.events()
        fitness = [block["fitness"] for block in world.blocks()]
        if modules == ["sincronizacion"]:
            # an even place of d: what came in 200 ticks; its mother's place stayed as it was
            first = world.blocks()[13]["first_id"]
            (birth,) = world.lineage(first + 2)
            assert (birth["how"], birth["tick"], birth["madre"]) == ("division", 200, first + 7 + 2)
            tree = world.lineage(world.blocks()[9]["first_id"] + 1)
            assert [one["how"] for one in tree][-1] in ("hijo", "division")
            assert all(a["madre"] == b["hijo"] for a, b in pairwise(tree))
            assert all(a["tick"] >= b["tick"] for a, b in pairwise(tree))
    assert fitness == [block.fitness for block in oracle.blocks]
    assert told(events) == (WANTED if modules == ["sincronizacion"] else [])


def assert_same_worlds(world: corec.World, oracle: Oracle, kinds: dict[str, Any]) -> None:
    """Of both processors, whose blocks follow one another."""
    cut = sum(block.settings.kind is kinds[moody.name] for block in oracle.blocks)
    for processor, lo, hi in ((moody, 0, cut), (torn, cut, len(oracle.blocks))):
        assert_same(world, oracle, processor, blocks=range(lo, hi))


@corec.micro(state={"x": "f4", "y": "f4"}, params={"failing": 0.0})
def drifter(me: Any) -> Any:
    """Stands where it began; some bloques fail for a hundred ticks."""
    if me.failing > 0.0 and me.tick <= 100:
        raise ValueError("it fails")
    return me.x


@pytest.mark.slow
def test_who_lies_on_another_plane_gives_nothing() -> None:
    """The weak one's plane ends at 10; that of the strong one behind it at 1000."""
    def on(size: Any, failing: float = 0.0, **more: Any) -> dict[str, Any]:
        space = {"kind": "plane", "position": ["x", "y"], "size": size, "radius": 1.0, **more}
        return {"canal": 1, "entidades": 20, "procesador": drifter, "space": space,
                "parametros": {"failing": failing}}  # fmt: skip

    planes = [on(10, 1.0), on(1000), on(10, wrap=False), on(10.0), on([10, 10])]
    bloques = [{"id": f"b{k}", **one} for k, one in enumerate(planes)]
    given = {"bloques": bloques, "modules": ["sincronizacion"]}
    with corec.World(given) as world:
        world.run(101)
        assert told(world.events()) == [(100, "fusion", "b0:00000", "b3:00000", None)]
        assert world.frame("b0")["x"].tolist() == world.frame("b3")["x"].tolist()
        assert world.frame("b0")["x"].max() < 10.0


def ailing(least: float, **keys: Any) -> corec.World:
    """Two blocks of sensors, the first of which always fails: it lies too far from the mean."""
    swarm = {"id": "s", "canal": 1, "entidades": 100, "entidades_por_bloque": 50,
             "parametros": {"mu": -3e38},
             "autoreparacion": {"max_errores": 1.0, "min_fitness": least}}  # fmt: skip
    world = corec.World({"seed": 5, "bloques": [swarm], **keys})
    world.write("s", ids=range(50), valor=3e38)
    return world


def test_who_is_weak_may_be_said_while_the_world_lives() -> None:
    """At first nobody is; a world that begins anew where this one is goes on as it does."""
    least = "bloques.s.autoreparacion.min_fitness"
    scheduled = {"schedule": [{"at": 11, "set": {least: 0.5}}]}
    with ailing(0.5) as usual, ailing(0.0) as late, ailing(0.0, **scheduled) as planned:
        for world in (usual, late, planned):
            world.run(10)
        late.set(least, 0.5)
        for world in (late, planned):
            world.run(30)
        usual.run(30)
        with late.fork() as twin:
            for world in (usual, late, planned, twin):
                world.run(61)
            fused = [(100, "fusion", "s:00000", "s:00001", None)]
            assert [told(one.events()) for one in (usual, late, planned, twin)] == [fused] * 4
            assert usual.digest() == late.digest() == planned.digest() == twin.digest()


@pytest.mark.slow
def test_a_redo_within_the_tick_fuses_nobody_anew() -> None:
    """A worker killed in the tick behind a fusion goes through the phase again, while others have
    done the tick, in which a block may have become weak."""
    with corec.World(config(modules=["sincronizacion"])) as world:
        world.run(101)
        plan, words = world._world()
        view = BlockView(plan, words, 0)
        start = int(plan.blocks["offset"][0]) + L.OFF_DYN[view.word & 1]
        words[start // 8 + L.D_FITNESS] = 0
        before, ticker = words.copy(), world._crew.first
        assert ticker.phases.run(FUSION, 0, ticker.targs, world._emitted.rows) == plan.n_blocks
        assert (words == before).all()


@pytest.mark.slow
@pytest.mark.usefixtures("no_leaks")
@pytest.mark.timeout(300)
def test_killed_in_a_fusion_and_in_a_division(make: Make, pg_dsn: str) -> None:
    given = config(instance_id="corec1", http={"port": 0})
    for one in given["bloques"]:
        one["procesador"] = f"evolving_subjects:{one['procesador'].name.rpartition(':')[2]}"
    instance: Instance = make(given)
    for folder in (instance.home / "plugins", instance.config_path.parent):
        folder.mkdir(exist_ok=True)
        shutil.copy(SUBJECTS, folder / "evolving_subjects.py")
    with corec.World(instance.config_path) as world:
        world.run(TICKS)
        digest = str(world.digest())
        plan, _ = world._world()
        trees = [world.lineage(entity) for entity in range(plan.entidades)]
        assert {one["how"] for tree in trees for one in tree} == {"hijo", "fusion", "division"}
    deaths = ("worker 0@fusion.before_commit:1", "worker 1@fusion.before_commit:2",
              "worker 1@fusion.before_commit:1", "worker 0@phase.before_done:1",
              "worker 1@phase.all_done:1")  # fmt: skip
    ended = armed(instance, deaths).run("--ticks", str(TICKS), "--tick-hz", "0", "--workers", "2")
    assert len(killed(ended)) == len(deaths)
    assert ended.summary["digest"] == digest
    assert told(events_of(pg_dsn, "corec1")) == WANTED
    with psycopg.connect(pg_dsn) as connection:
        births = Births(connection, "corec1")
        assert [ancestors(births, one, plan, ANCESTORS) for one in range(plan.entidades)] == trees
