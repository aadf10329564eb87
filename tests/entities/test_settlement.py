"""Settlement between two ticks: children in other blocks, ``me.move_to_empty``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import corec
from corec import layout as L
from corec.config import ConfigError
from corec.entities.processor import ProcessorError
from corec.kernels import snapshot
from corec.kernels.public import show_range
from corec.processors.schelling import schelling
from corec.testing import Block, PlainEntity, compare
from corec.world.digest import digest_of
from corec.world.inspect import met
from corec.world.migrate import _write
from corec.world.packing import Packing
from corec.world.read import BlockView
from tests.entities.split import SplitWorld


@corec.micro(state={"x": ("f4", 7.0), "ran": "u4", "first": "u4"}, mortal=True,
             params={"many": 15.0, "again": 0.0})  # fmt: skip
def seeder(me: Any) -> Any:
    if me.ran == 0:
        me.first = me.tick
    me.ran += 1
    if me.id == 3 and (me.tick == 1 or me.tick == 3):
        for k in range(int(me.many if me.tick == 1 else me.again)):
            me.spawn(x=float(k))
    return 1.0


def seeded(**parametros: float) -> corec.World:
    """Two blocks of 20 places, of which 10 each are lived in, those with odd ids."""
    bloque = {"id": "b", "canal": 1, "entidades": 20, "capacidad": 40, "procesador": seeder,
              "entidades_por_bloque": 20, "parametros": parametros}  # fmt: skip
    return corec.World({"bloques": [bloque]})


def views(world: corec.World) -> list[BlockView]:
    plan, words = world._world()
    return [BlockView(plan, words, index) for index in range(plan.n_blocks)]


def counts(world: corec.World, word: int) -> list[int]:
    return [int(view.dyn[word]) for view in views(world)]


def test_who_finds_no_place_in_its_block_is_born_in_another() -> None:
    with seeded() as world:
        world.run(1)
        assert int(np.asarray(world.frame("b")["vivo"]).sum()) == 30
        assert [len(view.children) for view in views(world)] == [5, 0], "on their way"
        world.run(1)
        frame = {name: np.asarray(world.frame("b")[name]) for name in
                 ("vivo", "x", "ran", "first", "generacion", "activo", "fallos")}  # fmt: skip
        born = np.flatnonzero(frame["generacion"] == 1)
        assert born.tolist() == [*range(0, 20, 2), 20, 22, 24, 26, 28], "the lowest places"
        assert frame["x"][born].tolist() == [float(k) for k in range(15)]
        assert (frame["ran"][born] == 1).all()
        assert (frame["first"][born] == 2).all(), "all run from the tick after on"
        assert (frame["activo"] == frame["vivo"]).all()
        assert counts(world, L.D_BIRTHS) == [10, 5]
        assert counts(world, L.D_NO_ROOM) == [0, 0]
        assert counts(world, L.D_ACTIVAS) == [20, 15]


@pytest.mark.parametrize(("again", "lost"), [(5.0, 0), (6.0, 1)])
def test_as_many_as_the_bloque_has_room_for_and_one_more(again: float, lost: int) -> None:
    with seeded(again=again) as world:
        world.run(4)
        assert int(np.asarray(world.frame("b")["vivo"]).sum()) == 40
        assert counts(world, L.D_NO_ROOM) == [lost, 0]
        told = [one for one in world.errors() if "NoRoom" in one["what"]]
        assert len(told) == (lost > 0)
        assert all(one["entidad"] == 3 for one in told if "entidad" in one)


@corec.micro(state={"x": "f4", "ran": "u4"}, public=("x",), mortal=True)
def wanderer(me: Any) -> Any:
    me.ran += 1
    me.x = 0.5 * me.x + me.neighbours.sum("vivo") + me.random()
    u = me.random()
    if u < 0.1:
        me.spawn(x=me.x)
        me.spawn()
        me.spawn(x=3.0)
    elif u < 0.2:
        me.die()
    elif u < 0.6:
        me.move_to_empty()
        me.move_to_empty()
    if me.random() < 0.05:
        raise ValueError("it stays")
    return me.x


GRID = {"kind": "grid", "width": 12, "height": 10}
TOWN = [{"id": "t", "canal": 1, "entidades": 70, "capacidad": 120, "procesador": "t:w",
         "entidades_por_bloque": 20, "space": GRID}]  # fmt: skip


@pytest.mark.slow
def test_both_forms_move_the_same() -> None:
    compare(schelling, entities=60, ticks=12, space={"kind": "grid", "width": 10, "height": 6},
            living=45, params={"wanted": 0.6}, rtol=0.0)  # fmt: skip
    compare(wanderer, entities=60, ticks=12, space={"kind": "grid", "width": 10, "height": 6},
            living=40, rtol=1e-6)  # fmt: skip


@pytest.mark.slow
def test_any_number_of_workers_and_a_checkpoint() -> None:
    found = {SplitWorld(TOWN, {"t:w": wanderer}, k).run(12) for k in (1, 2, 3, 5)}
    found.add(SplitWorld(TOWN, {"t:w": wanderer}, 3).run(12, replaced=True))
    assert len(found) == 1
    with corec.World({"bloques": [{**TOWN[0], "procesador": wanderer}]}) as world:
        world.run(12)
        assert {str(world.digest())} == found
        assert sum(counts(world, L.D_MOVES)) > 50
        assert sum(counts(world, L.D_BIRTHS)) > 20
        assert sum(len(view.moves) for view in views(world)) > 5, "asked for, not done yet"
        frame = world.frame("t")
        assert (np.asarray(frame["activo"]) == np.asarray(frame["vivo"])).all()
    split, other = (SplitWorld(TOWN, {"t:w": wanderer}, k) for k in (1, 2))
    digest, n = split.run(7), split.plan.n_blocks
    packing, room = Packing(split.plan, split.memory), 1 << 22
    out = np.zeros(room, np.uint8)
    size = snapshot.save_state(packing.blocks, packing.swarms, 0, n, 7, out.ctypes.data, room)
    assert 0 < size == snapshot.measure_state(packing.blocks, packing.swarms, 0, n)
    other.memory[:] = 0
    into = Packing(other.plan, other.memory)
    address = int(out.ctypes.data)
    assert snapshot.load_state(into.blocks, into.swarms, 0, n, address, size) == 0
    assert digest_of(other.plan, other.memory.view(np.uint64)) == (7, digest)
    for ticker in other.tickers:
        show_range(ticker.tables.blocks, ticker.tables.swarms, 0, n)
    other.tick = 7
    assert other.run(5) == split.run(5)


def test_a_cell_is_as_likely_as_another_and_a_full_grid_keeps_everybody() -> None:
    grid = {"kind": "grid", "width": 10, "height": 10}
    block = Block(restless, entities=100, living=50, space=grid)
    where = np.zeros(100, np.int64)
    for _ in range(401):
        places = np.flatnonzero(block.view.column("vivo"))
        names = block.view.column("name")[places]
        assert len(set(names.tolist())) == 50, "everybody is somewhere, once"
        where[places[names == names.max()]] += 1
        block.tick()
    assert ((where - 4.0) ** 2 / 4.0).sum() < 99 + 4 * 99**0.5 * 2**0.5, "chi-square, 4 sigma"
    lived = block.view.column("vivo")
    assert int(block.view.dyn[L.D_MOVES]) == 50 * 400
    assert lived.sum() == 50
    full = Block(restless, entities=100, space=grid)
    full.tick()
    before = full.view.column("name").copy()
    full.tick()
    assert int(full.view.dyn[L.D_MOVES]) == 0
    assert (full.view.column("name") == before).all()


def named(me: Any) -> Any:
    me.name = me.id + 1
    return 0.0


@corec.micro(state={"name": "u4"}, public=("name",), mortal=True, init=named)
def restless(me: Any) -> Any:
    me.move_to_empty()
    return 0.0


@pytest.mark.parametrize(
    ("given", "space"),
    [
        ({}, None),
        ({"mortal": True}, None),
        ({"mortal": True, "history": {"h": ("f4", 3)}}, GRID),
    ],
)
def test_moving_needs_a_grid(given: dict[str, Any], space: Any) -> None:
    one = corec.micro(state={"x": "f4"}, public=("x",), **given)
    with pytest.raises(ProcessorError, match=r"me.move_to_empty cannot be used without a grid"):
        Block(one(lambda me: me.move_to_empty() or 0.0), entities=120, space=space)


def test_the_plain_form_says_that_it_would() -> None:
    me = PlainEntity(restless, id=4)
    restless(me)
    assert me.moves
    with pytest.raises(AttributeError, match="not for one with mortal=False"):
        PlainEntity(corec.micro(lambda me: 0.0)).move_to_empty()


def test_a_grid_has_as_many_cells_as_there_are_places() -> None:
    with pytest.raises(ConfigError, match=r"= 120 cells, allowed as many as capacidad, 121"):
        corec.World({"bloques": [{**TOWN[0], "procesador": wanderer, "capacidad": 121}]})


@corec.micro(state={"x": "f4", "y": "f4"}, public=("x", "y"), mortal=True)
def scattered(me: Any) -> Any:
    if me.id == 0 and me.tick == 1:
        for k in range(15):
            me.spawn(x=12.0 + k, y=-1.0)
    return 0.0


def test_who_is_born_in_another_block_is_on_the_plane() -> None:
    box = {"kind": "plane", "position": ["x", "y"], "size": 10.0, "radius": 1.0}
    bloque = {"id": "b", "canal": 1, "entidades": 20, "capacidad": 40, "procesador": scattered,
              "entidades_por_bloque": 20, "space": box}  # fmt: skip
    # at first those of odd ids live
    with corec.World({"bloques": [bloque]}) as world:
        world.write("b", ids=[0], vivo=1, activo=1)
        world.run(2)
        frame = {name: np.asarray(world.frame("b")[name]) for name in ("x", "y", "generacion")}
        born = np.flatnonzero(frame["generacion"] == 1)
        assert born.tolist() == [*range(2, 20, 2), 20, 22, 24, 26, 28, 30]
        assert frame["x"][born].tolist() == [float((12 + k) % 10) for k in range(15)]
        assert (frame["y"][born] == 9.0).all()


@corec.micro(state={"x": ("f4", 7.0), "other": ("i2", 5)}, mortal=True, sends=1)
def changed(me: Any) -> Any:
    return float(len(me.inbox))


@corec.micro(state={"x": ("f4", 7.0), "ran": "u4"}, mortal=True, sends=2)
def before_it(me: Any) -> Any:
    me.ran += 1
    for k in range(1 + (me.id == 1)):
        me.send(1, float(me.id + k))
    if me.id == 3:
        for k in range(12):
            me.spawn(x=float(k), ran=k)
    return float(len(me.inbox))


def test_a_world_whose_processor_changed_keeps_what_is_on_its_way() -> None:
    bloque = {"id": "b", "canal": 1, "entidades": 20, "capacidad": 40, "entidades_por_bloque": 20}
    old, new = (
        corec.World({"bloques": [{**bloque, "procesador": one}]}) for one in (before_it, changed)
    )
    with old, new:
        old.run(1)
        (plan, words), was = new._world(), views(old)
        for view, target in zip(was, views(new), strict=True):
            _write(plan, words, view, target)
        now = views(new)
        assert [len(view.sent) for view in was] == [11, 10]
        assert [view.sent.tolist() for view in now] == [view.sent.tolist() for view in was]
        assert [len(view.children) for view in now] == [2, 0]
        assert now[0].children[:, 0].astype(np.uint32).view(np.float32).tolist() == [10.0, 11.0]
        assert (now[0].children[:, 1] == 5).all(), "a new field begins as declared"
        assert (now[0].children[:, -1] == 3).all(), "whose they are"
        new._go_on_from(1)
        new.run(1)
        assert int(np.asarray(new.frame("b")["vivo"]).sum()) == 32
        assert int(np.asarray(new.frame("b")["valor"]).sum()) == 21, "all of it arrives"


def test_what_is_told_of_births_and_of_what_was_sent() -> None:
    with seeded(again=6.0) as world:
        world.run(4)
        (plan, _), dyn = world._world(), np.stack([view.dyn for view in views(world)])
        assert met(plan.swarms[0], dyn) == {"births": 20, "deaths": 0, "no_room": 1, "moves": 0}
        assert met(plan.swarms[0], dyn[1]) == {"births": 10, "deaths": 0, "no_room": 0, "moves": 0}
    block = Block(before_it, entities=20, living=10)
    block.tick()
    (swarm,) = block.plan.swarms
    assert met(swarm, block.view.dyn)["sent"] == 11
    assert met(swarm, block.view.dyn)["no_room"] == 2
