"""Readings of several values, the fields of alerts: declared, called, in a world of one's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import corec
from corec import layout as L
from corec.entities.processor import ProcessorError
from corec.testing import Block, PlainEntity, compare

CAP = 40
"""Entities in a block; one size, since each is compiled."""


@corec.celu(
    value={"t": "f4", "h": "f4"}, state={"n": "u2", "k": "i8", "x": "f8"}, silence=4,
    alerts=("h", "n", "k", "x", "t"),
)  # fmt: skip
def climate(me: Any, v: Any) -> Any:
    """Counts, and says how hot it is."""
    me.n = me.n + 1
    me.k = -me.n
    me.x = me.n / 3
    if v.h < 0.0:
        raise ValueError("a humidity below zero")
    return v.t * 0.5 + me.h * 0.0


@corec.micro(state={"turns": "i2", "half": "f4"}, alerts=("half", "turns"))
def counter(me: Any) -> Any:
    """Its alerts name two fields of different widths."""
    me.turns = me.turns - 1
    me.half = 0.5 * me.id
    return 1.0 if me.id % 2 else 0.0


def call(me: Any, value: Any) -> Any:
    """A function to declare things on."""
    return 0.0


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({"value": {}}, "value={}"),
        ({"value": "t"}, 'allowed {"name": "f4", …}'),
        ({"value": {"t": "f8"}}, "value 't' is 'f8', allowed 'f4': as a stream has it"),
        ({"value": {"2t": "f4"}}, "'2t' can't be the name of a value"),
        ({"value": {"_t": "f4"}}, "'_t' can't be the name of a value"),
        ({"value": {"class": "f4"}}, "'class' can't be the name of a value"),
        ({"value": {"datos": "f4"}}, "'datos' can't be the name of a value"),
        ({"value": {f"v{k}": "f4" for k in range(L.VALUES_MAX + 1)}}, "9 values, at most 8"),
        ({"alerts": "x"}, "alerts='x', allowed true, false or a tuple of fields"),
        ({"alerts": ("x",)}, "alerts names 'x', allowed each once of: there are none"),
        ({"alerts": ("t", "t"), "value": {"t": "f4"}}, "alerts names 't', allowed each once of: t"),
        ({"alerts": ("valor",), "value": {"t": "f4"}}, "alerts names 'valor'"),
        ({"alerts": tuple("abcdefghi"), "state": dict.fromkeys("abcdefghi", "f4")},
         "9 alert fields, at most 8"),
    ],
)  # fmt: skip
def test_refused(declared: dict[str, Any], words: str) -> None:
    with pytest.raises(ProcessorError) as caught:
        corec.celu(**declared)(call)
    assert words in str(caught.value)


def test_a_micro_entity_takes_no_value() -> None:
    declare: Any = corec.micro
    with pytest.raises(ProcessorError, match=r"value is for @corec\.celu"):
        declare(value={"t": "f4"})(lambda me: 0.0)


def test_at_its_limit() -> None:
    most = corec.celu(value={f"v{k}": "f4" for k in range(L.VALUES_MAX)}, alerts=("v7",))(call)
    assert most.width == L.VALUES_MAX
    assert [field.name for field in most.state] == ["v7"]


@pytest.mark.parametrize("given", [{"t": 1.0, "h": 2}, (1, 2.0), np.array([1.0, 2.0])])
def test_called_in_plain_python(given: Any) -> None:
    me = PlainEntity(climate, h=4.0)
    assert climate(me, given) == 0.5
    assert (me.n, me.k, me.x) == (1, -1, 1 / 3)


@pytest.mark.parametrize("given", [{"t": 1.0}, (1.0, 2.0, 3.0), 1.0, {"t": 1.0, "h": 2.0, "p": 3}])
def test_other_values_are_refused(given: Any) -> None:
    with pytest.raises(TypeError, match="expected t, h"):
        climate(PlainEntity(climate), given)


def test_compiled_as_plain() -> None:
    assert compare(climate, values=[(20, 30), {"t": -4, "h": 10}, (2, -1), (0.5, 0.25)]) > 1000
    assert compare(counter) == 640


def test_fields_are_those_of_the_reading_that_made_the_message() -> None:
    """Two messages of one entity in a tick, and one of a silence."""
    block = Block(climate, entities=3, cap=CAP)
    block.tick([(1, (8.0, 1.0)), (0, (0.0, 5.0)), (1, {"h": 2.0, "t": 4.0}), (2, (9.0, -1.0))])
    sent = block.messages()  # a frame for each step: the second reading of an entity begins one
    assert [i for frame in sent for i in frame.messages["id"].tolist()] == [1, 1]
    named = {
        name: [value for frame in sent for value in frame.fields[name].tolist()]
        for name in sent[0].fields
    }
    third = [1 / 3, 2 / 3]
    assert named == {"h": [1, 2], "n": [1, 2], "k": [-1, -2], "x": third, "t": [8, 4]}
    assert [block.entity(i)["h"] for i in range(3)] == [5.0, 2.0, 0.0]  # the third one failed
    for _ in range(3):
        block.tick()
    block.tick()
    (silent,) = block.messages()
    assert silent.fields["t"].tolist() == [0.0, 4.0, 0.0]


def test_a_micro_entity_names_fields() -> None:
    block = Block(counter, entities=6, cap=CAP)
    for _ in range(2):
        block.tick()
    last = block.messages()[-1]
    assert last.fields["turns"].tolist() == [-2, -2, -2]
    assert last.fields["half"].tolist() == [0.5, 1.5, 2.5]


CONFIG: dict[str, Any] = {
    "bloques": [
        {"id": "plain", "canal": 1, "entidades": CAP, "entidades_por_bloque": CAP,
         "procesador": "stuck"},
        {"id": "rooms", "canal": 1, "entidades": 2 * CAP, "entidades_por_bloque": CAP,
         "procesador": f"{__name__}:climate"},
    ]
}  # fmt: skip


def test_world() -> None:
    """A mapping of columns, rows, and of some entities; beside a swarm that takes one number."""
    with corec.World(CONFIG) as world:
        t = np.full(2 * CAP, 0.25)
        t[[CAP + 3, 7]] = 10.0, 20.0
        world.tick(readings={"plain": np.full(CAP, 0.5), "rooms": {"t": t, "h": 50.0}})
        alerts = list(world.alerts("test"))
        assert [(a.id, a.valor, a.fields["t"], a.fields["h"]) for a in alerts] == [
            (CAP + 7, 10.0, 20.0, 50.0), (2 * CAP + 3, 5.0, 10.0, 50.0),
        ]  # fmt: skip
        world.tick(readings={"rooms": ([CAP], np.array([[3.0, 4.0]]))})
        assert world.entity(CAP)["estado"]["h"] == 4.0
        assert world.frame("plain", ["anchor"])["anchor"].tolist() == [0.5] * CAP


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.zeros(2 * CAP), f"shape ({2 * CAP},), expected {{'t', 'h'}} or an array of shape"),
        ({"t": 1.0}, "found t, expected t, h"),
        ({"t": [1.0], "h": 2.0}, "readings of rooms: t: found an array of shape (1,)"),
        (([CAP], [[1.0, 1e39]]), f"found 1e+39 as h for entity {CAP}"),
    ],
)
def test_world_refuses(given: Any, words: str) -> None:
    with corec.World(CONFIG) as world:
        with pytest.raises(ValueError, match="readings of rooms") as caught:
            world.tick(readings={"rooms": given})
        assert words in str(caught.value)
        assert world.digest().tick == 0
