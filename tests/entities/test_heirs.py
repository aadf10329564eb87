"""Births where entities have genes: children have their mothers', who moves takes them along."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pytest

import corec
from corec.config import ConfigError, parse_config
from corec.lab.oracle.entity import kind_of
from corec.lab.oracle.world import World
from corec.plan import make_plan
from corec.testing import PlainEntity, compare
from tests.entities.split import SplitWorld

GENES: Final = {"rate": (0.0, 0.5, 0.1), "risk": (0.0, 0.3, 0.1), "mark": (-100.0, 100.0, 1.0)}


@corec.micro(state={"age": "u2", "sum": "f4"}, genes=GENES)
def heir(me: Any) -> Any:
    """Lives and dies by its genes: up to two children a call."""
    me.age = me.age + 1
    me.sum = me.sum + me.mark
    if me.random() < me.rate:
        me.spawn(sum=me.mark)
        if me.random() < 0.5:
            me.spawn()
    if me.random() < me.risk:
        me.die()
    if me.random() < 0.02:
        raise ValueError("its children are taken back")
    return 0.1


@corec.micro(state={"n": "u2"}, genes={"restless": (0.0, 1.0, 0.1)})
def settler(me: Any) -> Any:
    if me.random() < me.restless:
        me.move_to_empty()
    if me.random() < 0.1:
        me.spawn(n=me.neighbours.count_equal("vivo", 1))
    if me.random() < 0.08:
        me.die()
    return 0.1


GRID: Final = {"kind": "grid", "width": 10, "height": 6}
BLOQUES: Final[list[dict[str, Any]]] = [
    {"id": "heirs", "canal": 1, "entidades": 30, "capacidad": 60, "procesador": "heir",
     "entidades_por_bloque": 20},
    {"id": "settlers", "canal": 2, "entidades": 40, "capacidad": 60, "procesador": "settler",
     "space": GRID, "entidades_por_bloque": 20},
]  # fmt: skip
PROCESSORS: Final = {"heir": heir, "settler": settler}


def test_children_have_their_mothers_genes_in_their_block_and_in_another() -> None:
    """As the oracle has it, every number of every place: births of a step and of a settlement,
    moves, mothers that died as they gave birth and whose place is another's then."""
    kinds = {name: kind_of(processor) for name, processor in PROCESSORS.items()}
    oracle = World({"seed": 5, "bloques": BLOQUES}, kinds)
    named = [{**b, "procesador": PROCESSORS[b["procesador"]]} for b in BLOQUES]
    with corec.World({"seed": 5, "bloques": named}) as world:
        for _ in range(25):
            oracle.run_tick()
            world.run(1)
            for bloque, first in (("heirs", 0), ("settlers", 60)):
                processor = PROCESSORS[bloque[:-1]]
                names = ["vivo", *(f.name for f in processor.state)]
                genes = [gene.name for gene in processor.genes]
                frame = world.frame(bloque, columns=[*names, *genes])
                rows = zip(*(np.asarray(frame[n]).tolist() for n in (*names, *genes)), strict=True)
                for k, row in enumerate(rows):
                    block, place = oracle.entity(first + k)
                    its = block.entities[place]
                    wanted = [its.state[n] for n in names] + [its.genes[n] for n in genes]
                    assert list(row) == wanted, (bloque, k, world.ticks)
        counted = [sum(b[what] for b in world.blocks()) for what in ("births", "moves", "no_room")]
        assert min(counted) > 20


def test_both_forms_give_a_child_its_mothers_genes() -> None:
    assert compare(heir, entities=60, ticks=6) > 100


def test_workers_that_are_lost_within_a_tick_come_to_the_same_heirs() -> None:
    alone = SplitWorld(BLOQUES, PROCESSORS, 1).run(12)
    assert SplitWorld(BLOQUES, PROCESSORS, 3).run(12, replaced=True) == alone


def test_an_evolution_of_who_is_born_and_dies_is_one_line_of_check() -> None:
    config = parse_config(
        {"instance_id": "x", "bloques": [{**BLOQUES[0], "evolucion": {"cada": 5}}]}
    )
    with pytest.raises(ConfigError, match="are born and die, allowed one of the two") as caught:
        make_plan(config, PROCESSORS)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("rate", [-1e-6, 0.5000001, float("inf"), float("nan")])
def test_a_gene_in_plain_python_is_one_that_an_entity_may_have(rate: float) -> None:
    with pytest.raises(ValueError, match=r"heir: gene 'rate' is .*, allowed 0.0 to 0.5"):
        PlainEntity(heir, rate=rate)
    assert [PlainEntity(heir, rate=one).rate for one in (0.0, 0.5)] == [0.0, 0.5]
