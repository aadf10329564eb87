"""Which phases precede a tick: found out once for all ticks up to the next that has some."""

from __future__ import annotations

import random
from typing import Any, cast

import pytest

from corec.config import parse_config
from corec.plan import make_plan
from corec.world.phases import Phases, numbers_of, phases_before
from corec.world.tables import Tables

LAST = 450


def plan_of(**keys: Any) -> Any:
    bloque = {"id": "b", "canal": 1, "entidades": 20, "entidades_por_bloque": 10, **keys}
    return make_plan(parse_config({"instance_id": "c", "bloques": [bloque]}))


@pytest.mark.parametrize(
    ("keys", "ticks"),
    [
        ({"collect": [{"every": 7, "stats": ["mean(valor)"]}]}, LAST // 7 + LAST // 100),
        ({}, LAST // 100),
        ({"autoreparacion": {"min_fitness": 0.0}}, LAST // 100),  # which may be set
        ({"simbiosis": "ninguna"}, 0),
        ({"entidades": 10}, 0),
    ],
)
def test_each_tick_has_those_that_the_plan_says(keys: dict[str, Any], ticks: int) -> None:
    plan = plan_of(**keys)
    phases = Phases(plan, cast(Tables, None), plan.n_blocks)
    order = list(range(1, LAST + 2))
    said = {tick: phases.before(tick) for tick in order}
    assert said == {tick: numbers_of(phases_before(plan, tick)) for tick in order}
    assert sum(bool(found) for found in said.values()) == ticks
    random.Random(5).shuffle(order)  # seed 5: a world that is set back asks for earlier ones
    assert {tick: phases.before(tick) for tick in order} == said
