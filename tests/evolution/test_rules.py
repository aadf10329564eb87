"""Evolution against the oracle, which was written from docs/rules.md: bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import corec
from corec.lab.oracle.entity import kind_of
from corec.lab.oracle.world import World as Oracle
from corec.world.read import BlockView
from tests.evolution.subjects import FITS, listener, subject
from tests.support.evolving import RULES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # they compile two processors

CAP = 7


def worlds(
    procesador: Any, rules: dict[str, Any], entidades: int, cap: int, seed: int,
    carga: float = 1.0, **more: Any,
) -> tuple[corec.World, Oracle]:  # fmt: skip
    """The same world twice."""
    bloque = {"id": "s", "canal": 1, "entidades": entidades, "entidades_por_bloque": cap,
              "evolucion": rules, **more}  # fmt: skip
    config = {"bloques": [bloque | {"procesador": procesador}], "seed": seed, "carga": carga}
    world = corec.World(config)
    return world, Oracle({**config, "bloques": [bloque | {"procesador": "one"}]},
                         {"one": kind_of(procesador)})  # fmt: skip


def assert_same(
    world: corec.World, oracle: Oracle, processor: Any, blocks: range | None = None
) -> None:
    """Every entity's genes, state, histories and counts; of these blocks, or of all."""
    plan, words = world._world()
    for index in blocks or range(len(oracle.blocks)):
        block = oracle.blocks[index]
        view = BlockView(plan, words, index)
        names = ["valor", *(f.name for f in processor.state)]
        for k, entity in enumerate(block.entities):
            found = {name: view.column(name)[k] for name in names}
            wanted = {name: entity.state[name] for name in names}
            genes = {g.name: view.column(g.name)[k] for g in processor.genes}
            where = (block.tick, entity.id)
            assert {n: v.tobytes() for n, v in genes.items()} == {
                n: np.float32(v).tobytes() for n, v in entity.genes.items()
            }, (where, genes, entity.genes)
            for name in names:
                assert np.array_equal(found[name], wanted[name], equal_nan=True), (where, name)
            assert view.fallos[k] == entity.fallos, where
        for ring in processor.history:
            values, held = view.history(ring.name)
            for k, entity in enumerate(block.entities):
                past = values[k][ring.length - int(held[k]) :]
                assert past.tolist() == [float(x) for x in entity.state[ring.name]]


@settings(max_examples=15, deadline=None)
@given(
    RULES, st.integers(CAP, 4 * CAP), st.integers(0, 2**64 - 1), st.integers(0, 6),
    st.sets(st.integers(0, 4 * CAP - 1)), st.sampled_from([1.0, 1.0, 0.3]),
)  # fmt: skip
def test_like_the_oracle(
    rules: dict[str, Any], entidades: int, seed: int, mode: int, asleep: set[int], carga: float
) -> None:
    world, oracle = worlds(
        subject, rules, entidades, CAP, seed, parametros={"mode": float(mode)},
        autoreparacion={"max_errores": 0.2}, carga=carga,
    )  # fmt: skip
    off = [i for i in sorted(asleep) if i < entidades]
    with world:
        for tick in range(1, 6):
            readings = [(i, 0.5, False) for i in off] if tick == 2 else []
            oracle.run_tick(readings)
            if readings:
                world.tick({"s": (off, [0.5] * len(off), [False] * len(off))})
            else:
                world.tick()
            assert_same(world, oracle, subject)


@settings(max_examples=6, deadline=None)
@given(RULES, st.integers(0, 2**32), st.lists(st.integers(0, 20), max_size=30))
def test_of_entities_that_hear(rules: dict[str, Any], seed: int, heard: list[int]) -> None:
    """A Celu block's tick of several steps goes on behind the evolution."""
    world, oracle = worlds(listener, rules, 3 * CAP, CAP, seed)
    with world:
        for tick in range(1, 7):
            ids = [(i + tick) % (3 * CAP) for i in heard]
            values = [0.25 * (1 + i % 4) for i in ids]
            oracle.run_tick([(i, v, True) for i, v in zip(ids, values, strict=True)])
            world.tick({"s": (ids, values)} if ids else None)
            assert_same(world, oracle, listener)


@corec.micro(state={"score": "f4"}, genes={"a": (-1.0, 1.0, 0.25), "b": (0.0, 8.0, 1.0)},
             fitness="score")  # fmt: skip
def modest(me: Any) -> Any:
    """Its fitness is a gene, and the oracle is soon done with it."""
    me.score = me.a
    return me.b


@pytest.mark.parametrize("entidades", [1, 65_535])
def test_the_smallest_and_the_largest_island(entidades: int) -> None:
    """Of the largest all but a few stay: the oracle takes its time for a child."""
    rules = {"cada": 1, "elite": max(0, entidades - 20), "metodo": "truncamiento", "tamano": 0.3}
    world, oracle = worlds(modest, rules, entidades, entidades, 7, max_size_mb=16)
    with world:
        for _ in range(2):
            oracle.run_tick()
            world.tick()
        world_scores = world.frame("s", columns=["a", "b", "score"])
    block = oracle.blocks[0]
    for name in ("a", "b"):
        assert world_scores[name].tolist() == [float(e.genes[name]) for e in block.entities]


MANY = 100 * CAP
ISLANDS: dict[str, Any] = {"migracion": {"cada": 1}}
METHODS: tuple[dict[str, Any], ...] = (
    ISLANDS, {**ISLANDS, "metodo": "truncamiento", "estado": "heredado"},
    {**ISLANDS, "metodo": "ruleta"}, {"alcance": "enjambre"},
)  # fmt: skip


def evolved(ticks: int, mode: float, carga: float, **more: Any) -> Any:
    """The genes after so many ticks, each a generation, of a swarm with each of the methods."""
    bloques = [
        {"id": f"m{k}", "canal": 1, "entidades": MANY, "entidades_por_bloque": CAP,
         "procesador": subject, "parametros": {"mode": mode}, "evolucion": {"cada": 1, **rules},
         **more}
        for k, rules in enumerate(METHODS)
    ]  # fmt: skip
    with corec.World({"bloques": bloques, "seed": 4, "carga": carga}) as world:
        world.run(ticks)
        return [world.frame(f"m{k}", columns=["a", "b"]) for k in range(len(METHODS))]


@pytest.mark.parametrize("max_errores", [0.05, 1.0])
def test_who_fails_has_no_children(max_errores: float) -> None:
    """Whether or not they are repaired, and so have the fitness of a healthy one."""
    for rules, genes in zip(
        METHODS, evolved(30, 5.0, 1.0, autoreparacion={"max_errores": max_errores}), strict=True
    ):
        assert (genes["a"] > FITS).mean() < 0.2, rules


def test_who_has_not_run_has_no_children() -> None:
    """At a tenth of the load one of seven runs before each evolution: in islands, and in a swarm
    that is one."""
    before, after = (evolved(ticks, 0.0, 0.1) for ticks in (1, 60))
    for rules, old, new in zip(METHODS, before, after, strict=True):
        was, is_ = (float((x["a"] * x["b"] - 0.125 * x["b"]).mean()) for x in (old, new))
        assert is_ > was + 1.0, (rules, was, is_)


@pytest.mark.parametrize("mode", [3, 6])
def test_genes_differ_where_nobody_has_a_fitness(mode: int) -> None:
    made, _ = worlds(subject, {"cada": 1}, 3 * CAP, CAP, 5, parametros={"mode": float(mode)})
    with made as world:
        assert world.evolution()[0]["diversidad"] is None
        world.run(2)
        (found,) = world.evolution()
        assert 0.1 < found["diversidad"] < 0.5
        assert [found[name] for name in ("mejor", "media", "peor")] == [None, None, None]


def test_what_a_bloque_grew_by_has_no_figures_before_its_first_evolution() -> None:
    made, _ = worlds(subject, {"cada": 3}, CAP, CAP, 5, parametros={"mode": 1.0})
    with made as world:
        world.run(4)
        before = world.evolution()
        world.grow("s", CAP)
        world.run(1)
        assert world.evolution() == before
        assert [before[0][name] for name in ("mejor", "media", "peor")] == [0.5, 0.5, 0.5]
