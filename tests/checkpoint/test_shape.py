"""A world that does not fit its configuration is told key by key."""

from __future__ import annotations

from typing import Any

import pytest

import corec
from corec.config import parse_config
from corec.plan import Plan, make_plan
from corec.supervisor.regroup import fault_of
from corec.world.shape import DIFFERENCES_MAX, differences, differences_beside, shape

FIRST: dict[str, Any] = {
    "id": "a", "canal": 1, "entidades": 2000, "parametros": {"phi": 0.5},
}  # fmt: skip


def of(*bloques: dict[str, Any], seed: int = 42) -> Any:
    config = parse_config({"instance_id": "shape", "seed": seed, "bloques": list(bloques)})
    return shape(make_plan(config), config.seed)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"entidades": 2001}, "bloques[0].entidades: found 2000, configured 2001"),
        ({"canal": -128}, "bloques[0].canal: found 1, configured -128"),
        ({"id": "b"}, "bloques[0].id: found a, configured b"),
        ({"max_size_mb": 5, "entidades_por_bloque": 1000},
         "bloques[0].max_size_mb: found 1, configured 5"),
        ({"entidades_por_bloque": 999}, "bloques[0].entidades_por_bloque: found 1000"),
    ],
)  # fmt: skip
def test_each_key_of_a_swarm(change: dict[str, Any], says: str) -> None:
    (told,) = differences(of(FIRST), of({**FIRST, **change}))
    assert told.startswith(says)


def test_what_has_grown_fits_whatever_its_first_block_held() -> None:
    small = {"id": "a", "canal": 1, "entidades": 500}
    parts: Any = ()
    for total in (500, 501, 1000, 1001, 70_000):  # 1000 fill a block
        config = parse_config({"instance_id": "shape", "bloques": [{**small, "entidades": total}]})
        alone, there = make_plan(config), make_plan(config, parts=parts)
        found, wanted = shape(there, config.seed), shape(alone, config.seed)
        assert differences(found, wanted) == []
        assert differences(found, wanted, growing=True) == []
        parts = there.parts
    fewer = parse_config({"instance_id": "shape", "bloques": [{**small, "entidades": 69_999}]})
    (told,) = differences(found, shape(make_plan(fewer), fewer.seed), growing=True)
    assert told == "bloques[0].entidades: found 70000, configured 69999"


def test_seed_and_number_of_swarms() -> None:
    told = differences(of(FIRST), of(FIRST, {**FIRST, "id": "b"}, seed=7))
    assert told == [
        "seed: found 42, configured 7", "bloques: found 1 (a), configured 2 (a, b)",
    ]  # fmt: skip


def test_another_processor_names_its_fields() -> None:
    told = differences(
        of({**FIRST, "parametros": {}}),
        of({**FIRST, "procesador": "ewma", "parametros": {}}),
    )
    assert any(one.startswith("bloques[0].procesador: found corec.processors.se") for one in told)
    assert len(told) <= DIFFERENCES_MAX + 1


def test_what_fits_is_not_told() -> None:
    assert differences(of(FIRST), of(FIRST)) == []
    assert differences(of(FIRST), of({**FIRST, "parametros": {}})) == []  # they may change


@pytest.mark.parametrize(("bloques", "begins"), [
    ([{**FIRST, "entidades": 1000}], "bloques[0].entidades: found 2000, configured 1000, allowed"),
    ([FIRST, {**FIRST, "id": "b"}], "bloques: found 1 (a), configured 2 (a, b), allowed a change"),
])  # fmt: skip
def test_a_difference_is_the_fault_of_its_key(bloques: list[Any], begins: str) -> None:
    (told,) = differences(of(FIRST), of(*bloques))
    assert str(fault_of(told)).startswith(begins)
    assert str(fault_of("and 3 more")).startswith("bloques: found and 3 more, allowed a change")


def reads(me: Any, v: Any) -> Any:
    """What is declared with it differs."""
    return me.total


def counts(me: Any) -> Any:
    """The same."""
    return me.total


def celu(**declared: Any) -> Any:
    value = {"value": {"t": "f4", "h": "f4"}}
    return corec.celu(**{"state": {"total": "f4"}, **value, **declared})(reads)


def micro(**declared: Any) -> Any:
    return corec.micro(**{"state": {"total": "f4", "most": "f4"}, **declared})(counts)


@pytest.mark.parametrize(("before", "after", "says"), [
    (celu(), celu(value={"h": "f4", "t": "f4"}), "value: found ['t', 'h'], configured ['h', 't']"),
    (celu(), celu(alerts=("total",)), "alerts: found [], configured ['total']"),
    (micro(genes={"g": (0.0, 1.0, 0.5)}), micro(genes={"g": (0.0, 2.0, 0.5)}),
     "genes: found [['g', 0.0, 1.0, 0.5]], configured [['g', 0.0, 2.0, 0.5]]"),
    (micro(genes={"g": (0.0, 1.0, 0.5)}, fitness="total"),
     micro(genes={"g": (0.0, 1.0, 0.5)}, fitness="most"), "fitness: found total, configured most"),
    (micro(history={"h": ("f4", 5)}), micro(history={"h": ("f4", 5, "by_time")}),
     "by_time: found none, configured ['h']"),
])  # fmt: skip
def test_what_a_world_in_memory_holds_on_to_besides_is_told(
    before: Any, after: Any, says: str
) -> None:
    """A checkpoint does without, so nobody else is refused for it."""

    def planned(processor: Any) -> Plan:
        bloque = {**FIRST, "parametros": {}, "procesador": "t:t"}
        config = parse_config({"instance_id": "shape", "bloques": [bloque]})
        return make_plan(config, {"t:t": processor})

    was, now = planned(before), planned(after)
    assert was.fingerprint(42) != now.fingerprint(42)
    found, wanted = shape(was, 42), shape(now, 42)
    assert differences(found, wanted) == []
    assert differences_beside(found, found) == []
    (told,) = differences_beside(found, wanted)
    assert told.startswith("bloques[0]: ")
    assert told.endswith(says)
