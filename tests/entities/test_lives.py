"""Births and deaths: ``me.die``, ``me.spawn``, ``capacidad``, ``generacion``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import corec
from corec import layout as L
from corec.config import ConfigError, parse_config
from corec.entities.processor import ProcessorError
from corec.plan import make_plan
from corec.testing import Block, PlainEntity, compare
from tests.entities.split import SplitWorld

FIELDS = {"x": "f4", "y": ("f4", 3.0), "k": "i2", "seen": "i4"}


@corec.micro(state=FIELDS, history={"past": ("f4", 3)}, public=("k", "x", "y"), mortal=True,
             init=lambda me: me.random())  # fmt: skip
def breeds(me: Any) -> Any:
    me.past.push(me.valor)
    u = me.random()
    me.k += 1
    me.x, me.y = 10.0 * me.random(), me.y + 0.25
    me.seen = me.neighbours.count() + me.generacion
    if me.tick == 3 and me.id % 3 == 0:
        me.spawn(x=1.0)
        return me.x / 0.0
    if u < 0.3:
        me.spawn(x=me.x + 9.0, k=me.k)
        me.spawn(y=0.5)
    elif u < 0.6:
        me.die()
    return u + len(me.past)


BOX = {"kind": "plane", "position": ["x", "y"], "size": 11.0, "radius": 3.0}


@pytest.mark.slow
def test_both_forms_live_the_same() -> None:
    compare(breeds, entities=60, ticks=12, space=BOX, rtol=0.0, living=40)


@pytest.mark.slow
def test_any_number_of_workers_and_the_numbers_of_a_block() -> None:
    bloque = {"id": "b", "canal": 1, "entidades": 70, "capacidad": 130, "procesador": "t:b",
              "entidades_por_bloque": 20, "space": BOX}  # fmt: skip
    found = {SplitWorld([bloque], {"t:b": breeds}, k).run(9) for k in (1, 2, 3, 5)}
    found.add(SplitWorld([bloque], {"t:b": breeds}, 2).run(9, replaced=True))
    assert len(found) == 1
    world = corec.World({"bloques": [{**bloque, "procesador": breeds}]})
    edited = world.fork()
    edited.write("b", ids=range(65), vivo=0)
    edited.write("b", activo=1)  # of nobody who does not live
    for name in ("vivo", "activo"):
        assert np.asarray(edited.frame("b")[name])[:65].sum() == 0
    edited.write("b", ids=[3, 4], activo=[0, 1], vivo=1)
    assert np.asarray(edited.frame("b")["activo"])[3:5].tolist() == [False, True]
    with pytest.raises(ValueError, match="vivo: found 2 at place 0, expected 1 or 0"):
        edited.write("b", vivo=2)
    start = world.frame("b")
    assert int(np.asarray(start["vivo"]).sum()) == 70
    for lo in range(0, 120, 20):
        assert 10 <= int(np.asarray(start["vivo"])[lo : lo + 20].sum()) <= 11, "evenly spread"
    world.run(9)
    after = world.frame("b")
    assert (np.asarray(after["activo"]) == (np.asarray(after["vivo"]) == 1)).all()
    assert int(np.asarray(after["generacion"]).max()) > 1
    assert any("NoRoom" in error["what"] for error in world.errors())


@corec.micro(state={"n": "i4"}, mortal=True, params={"rate": 0.2})
def bacterium(me: Any) -> Any:
    u = me.random()
    if u < me.rate:
        me.die()
    elif u < 2.0 * me.rate:
        me.spawn(n=me.n + 1)
    me.n += 100
    return 1.0


@pytest.mark.slow
def test_places_are_taken_from_the_lowest_and_free_from_the_next_tick_on() -> None:
    block = Block(bacterium, entities=200, living=120, max_errores=1.0)
    births = deaths = 0
    for _ in range(25):
        lived = block.view.column("vivo").copy()
        age = block.view.column("generacion").copy()
        word = [int(block.view.dyn[k]) for k in (L.D_BIRTHS, L.D_DEATHS, L.D_NO_ROOM)]
        assert int(block.view.dyn[L.D_ACTIVAS]) == lived.sum()
        block.tick()
        lives, born = block.view.column("vivo"), block.view.column("generacion") != age
        births, deaths = births + int(born.sum()), deaths + int(((lived == 1) & (lives == 0)).sum())
        assert not (born & (lived == 1)).any()
        free = np.flatnonzero(lived == 0)
        assert (np.flatnonzero(born) == free[: born.sum()]).all()
        now = [int(block.view.dyn[k]) for k in (L.D_BIRTHS, L.D_DEATHS, L.D_NO_ROOM)]
        assert now[:2] == [births, deaths]
        assert now[2] == word[2] or born.sum() == free.size, "no room only when it is full"
        assert (block.view.activo == lives).all()
        assert (block.view.fallos == 0).all()
        assert (block.view.column("n")[born] % 100 > 0).all()
    assert births > 100
    block.tick([(int(np.flatnonzero(block.view.column("vivo") == 0)[0]), 5.0, True)])
    assert (block.view.activo == block.view.column("vivo")).all(), "nobody switches a place on"


@pytest.mark.slow
def test_immigration_and_death_come_to_poisson() -> None:
    """One immigrant a tick from each of 20 sources that never die, each lives 1/0.1 ticks on
    average: a stationary M/Geo/∞ queue, whose number has mean and variance 20 · p / 0.1."""

    block = Block(settler, entities=900, living=20, seed=3)
    counts = []
    for tick in range(1200):
        block.tick()
        if tick >= 100 and tick % 11 == 0:
            counts.append(int(block.view.column("vivo").sum()) - 20)
    mean = 20 * 0.5 / 0.1
    assert abs(np.mean(counts) - mean) < 4.0 * np.sqrt(mean / (len(counts) / 2))
    assert 0.6 * mean < np.var(counts) < 1.5 * mean
    assert int(block.view.dyn[L.D_NO_ROOM]) == 0


@corec.micro(state={"settled": "u1"}, mortal=True)
def settler(me: Any) -> Any:
    if me.settled == 0:
        if me.random() < 0.5:
            me.spawn(settled=1)
    elif me.random() < 0.1:
        me.die()
    return 0.0


def test_the_plain_form_says_what_it_would_do() -> None:
    me = PlainEntity(bacterium, id=3, rate=1.0)
    assert (bacterium(me), me.vivo, me.born) == (1.0, 0, [])
    me = PlainEntity(bacterium, id=3, rate=0.5, n=4)
    assert bacterium(me) == 1.0
    assert me.born == [{"n": 5}] or me.vivo == 0
    with pytest.raises(TypeError, match="found 'vivo'"):
        me.spawn(vivo=1)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"mortal": 1}, "mortal=1, allowed True or False"),
        ({"mortal": True, "state": {"vivo": "u1"}}, "'vivo' can't be the name"),
        ({"state": {"die": "u1"}}, "'die' can't be the name"),
    ],
)
def test_a_wrong_declaration_says_so(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ProcessorError, match=said):
        corec.micro(**given)(lambda me: 0.0)
    with pytest.raises(ProcessorError, match=r"mortal beside @corec\.celu"):
        corec.celu(mortal=True)(lambda me, value: 0.0)  # type: ignore[call-overload]  # wrong


def test_dying_in_init_and_bearing_with_unknown_fields_are_refused() -> None:
    stranger = corec.micro(mortal=True, state={"x": "f4"})(unknown)
    early = corec.micro(init=lambda me: me.die() or 0.0)(lambda me: 0.0)
    for wrong, said in (
        (early, "me.die cannot be used in init"),
        (stranger, r"takes state fields \(x\), found 'y'"),
    ):
        with pytest.raises(ProcessorError, match=said):
            Block(wrong, entities=3)


def unknown(me: Any) -> Any:
    me.spawn(y=1.0)
    return 0.0


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"capacidad": 9}, "capacidad: found 9, allowed at least 10"),
        ({"capacidad": "20"}, 'capacidad: found "20", allowed null'),
        ({"capacidad": 11, "procesador": "sensor"}, "a processor that calls me.spawn"),
        ({"capacidad": 2**32, "entidades": 10}, ""),
    ],
)
def test_a_wrong_capacity_is_one_line_of_check(more: dict[str, Any], said: str) -> None:
    bloque = {"id": "a", "canal": 1, "entidades": 10, "procesador": "t:b", **more}
    if not said:
        parse_config({"instance_id": "t", "bloques": [bloque]})
        return
    with pytest.raises(ConfigError, match=said):
        make_plan(parse_config({"instance_id": "t", "bloques": [bloque]}), {"t:b": bacterium})
