"""What a declaration need not say: births and deaths, and what is shown."""

from __future__ import annotations

import sys
from typing import Any

import pytest

import corec
from corec.config import ConfigError, parse_config
from corec.entities.globals_used import lives_calls, swarms_asked
from corec.entities.planning import planned
from corec.entities.processor import ProcessorError
from corec.plan import make_plan
from corec.testing import Block, PlainEntity, compare


@corec.micro(state={"energy": ("f4", 1.0)})
def sheep(me: Any) -> Any:
    me.energy -= 0.1
    if me.energy <= 0.0:
        me.die()
    elif me.random() < 0.3:
        me.energy *= 0.5
        me.spawn(energy=me.energy)
    return me.energy


@corec.micro(state={"energy": ("f4", 1.0)}, public=("energy",))
def careful(me: Any) -> Any:
    _perhaps(me)
    return 1.0


def _perhaps(me: Any) -> None:
    if me.random() < 0.2:
        me.die()


def test_who_calls_die_or_spawn_is_mortal() -> None:
    assert sheep.mortal
    assert [name for name, _ in sheep.columns] == ["energy", "vivo", "generacion"]
    block = Block(sheep, entities=60, living=20)
    for _ in range(3):
        block.tick()
    assert 20 < int(block.view.column("vivo").sum()) <= 60
    assert compare(sheep, ticks=8, entities=24, living=12) > 0


def test_a_world_of_them_has_places_to_be_born_into() -> None:
    bloque = {"id": "sheep", "canal": 1, "entidades": 20, "capacidad": 60, "procesador": sheep}
    with corec.World({"bloques": [bloque]}) as world:
        world.run(3)
        assert 20 < int(world.frame("sheep", columns=["vivo"])["vivo"].sum()) <= 60


def test_a_helper_further_down_is_found_when_a_world_is_planned() -> None:
    assert not careful.mortal
    found = planned(careful, None)
    assert found.mortal
    assert found.public == ("energy", "vivo")
    assert planned(found, None) is found
    block = Block(careful, entities=40)
    for _ in range(5):
        block.tick()
    assert 0 < int(block.view.column("vivo").sum()) < 40
    me = PlainEntity(careful)
    while me.vivo:
        careful(me)


def test_what_is_said_holds_and_its_opposite_is_one_line() -> None:
    assert corec.micro(mortal=True)(lambda me: 0.0).mortal
    assert not corec.micro(lambda me: 0.0).mortal
    assert corec.micro(genes={"g": (0.0, 1.0, 0.1)})(lambda me: me.die() or 0.0).mortal
    said = r"me.die beside mortal=False, allowed mortal=True, or no mortal"
    with pytest.raises(ProcessorError, match=said):
        corec.micro(mortal=False)(lambda me: me.die() or 0.0)
    with pytest.raises(ProcessorError, match=r"me.spawn beside @corec\.celu"):
        corec.celu(lambda me, value: me.spawn() or 0.0)


def test_a_helper_that_shows_late_what_is_not_allowed_is_a_fault_of_the_bloque() -> None:
    gauge = corec.celu(_with_a_late_one)
    globals()["_late"] = _perhaps
    bloque = {"id": "a", "canal": 1, "entidades": 10, "procesador": "t:gauge"}
    said = r"bloques\[0\].procesador: found .*me.die beside @corec.celu"
    with pytest.raises(ConfigError, match=said):
        make_plan(parse_config({"instance_id": "t", "bloques": [bloque]}), {"t:gauge": gauge})


def _with_a_late_one(me: Any, value: Any) -> Any:
    _late(me)  # type: ignore[name-defined]  # noqa: F821  # it comes later
    return 0.0


def test_a_modules_function_of_that_name_is_no_call_of_an_entity() -> None:
    assert lives_calls(_through_a_module) == ()
    assert lives_calls(sheep.function) == ("die", "spawn")


def spawn(me: Any) -> Any:
    return me.valor


def _through_a_module(me: Any) -> Any:
    return _HERE.spawn(me)


_HERE = sys.modules[__name__]


@corec.micro(state={"x": "f4", "y": "f4"}, init=lambda me: _anywhere(me))
def swimmer(me: Any) -> Any:
    near = 0.0
    for other in me.neighbours:
        near += other.distance2 + other.x
    me.x += 0.25
    return near + me.neighbours.count()


def _anywhere(me: Any) -> Any:
    me.x, me.y = 10.0 * me.random(), 10.0 * me.random()
    return 0.0


@corec.micro
def counter(me: Any) -> Any:
    total = 0.0
    for other in me.neighbours:
        total += other.id
    return total + 1000.0 * me.neighbours.count()


@corec.micro
def leaver(me: Any) -> Any:
    if me.neighbours.count() > 0:
        me.move_to_empty()
    return 0.0


POND = {"kind": "plane", "position": ["x", "y"], "size": 10.0, "radius": 2.0}
GRID = {"kind": "grid", "width": 8, "height": 5}


def test_a_position_is_shown_without_being_declared_public() -> None:
    assert planned(swimmer, POND).public == ("x", "y")
    assert planned(swimmer, None) is swimmer
    assert compare(swimmer, ticks=4, entities=30, space=POND) == 150
    with pytest.raises(ValueError, match=r'space.position: found "z", allowed an f4 state field'):
        Block(swimmer, entities=4, space={**POND, "position": ["x", "z"]})


@pytest.mark.parametrize(
    "space", [GRID, {"kind": "graph", "edges": {"generator": "erdos_renyi", "p": 0.2}}]
)
def test_neighbours_are_counted_and_told_by_ids_without_a_public_field(space: Any) -> None:
    assert compare(counter, ticks=3, entities=40, space=space) == 120
    bloque = {"id": "a", "canal": 1, "entidades": 40, "procesador": counter, "space": space}
    found = []
    for per_block in (40, 7):
        whole = {**bloque, "entidades_por_bloque": per_block}
        with corec.World({"bloques": [whole]}) as world:
            world.run(2)
            found.append(world.frame("a")["valor"].tolist())
    assert found[0] == found[1]
    if space == GRID:
        assert min(found[0]) >= 8000.0


def test_mortals_move_without_a_public_field() -> None:
    assert planned(leaver, GRID).public == ("vivo",)
    assert compare(leaver, ticks=4, entities=40, space=GRID, living=25) > 0


@corec.micro(state={"x": "f4", "y": "f4"}, see=("hawk",))
def mouse(me: Any) -> Any:
    around = me.neighbours
    _flee(me)
    return around.count("cat") + me.neighbours.count("hawk") + me.neighbours.count()


def _flee(me: Any) -> None:
    for owl in me.neighbours.of("owl"):
        me.x -= 0.1 * owl.dx


def test_whom_it_asks_for_by_name_it_sees() -> None:
    assert set(swarms_asked(mouse.function)) == {"hawk", "cat", "owl"}
    found = planned(mouse, POND)
    assert found.see[0] == "hawk", "what is declared keeps its place"
    assert set(found.see) == {"hawk", "cat", "owl"}
    assert planned(found, POND) is found
    assert swarms_asked(sheep.function) == ()


def test_it_sees_eight_bloques_at_most_declared_or_not() -> None:
    many = corec.micro(state={"x": "f4"}, see=tuple("abcdefg"))(mouse.function)
    with pytest.raises(ProcessorError, match="10 bloques that it sees, at most 8"):
        planned(many, None)
