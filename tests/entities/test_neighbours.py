"""``me.neighbours``, ``me.entity(id)``: compiled against plain Python, and both against a set."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pytest

import corec
from corec.config import ConfigError, parse_config
from corec.entities.compile import compile_processor
from corec.entities.meeting import Meeting
from corec.entities.processor import ProcessorError
from corec.plan import make_plan
from corec.testing import Block, PlainEntity, compare

FIELDS: Final = {
    "a": "u1", "b": "i1", "c": "f4", "d": "i4", "e": "f8", "f": "u2", "g": "i8", "sums": "f8",
    "singles": "f4", "wholes": "i8", "least": "i8", "most": "i8", "equal": "i8", "seen": "i8",
    "far": "i8", "n": "i4",
}  # fmt: skip


def begin(me: Any) -> Any:
    me.a, me.b, me.f = me.randint(0, 255), me.randint(-128, 127), me.randint(0, 65535)
    me.c, me.d, me.e = 100.0 * me.normal(), me.randint(-(2**31), 2**31 - 1), me.normal()
    me.g = me.randint(-(2**40), 2**40)
    return 0.0


@corec.micro(state=FIELDS, public=("a", "b", "c", "d", "e", "f", "g"), init=begin)
def looks(me: Any) -> Any:
    near = me.neighbours
    me.sums = near.sum("e") + near.mean("e") + near.min("e") + near.max("e")
    me.singles = near.sum("c") + near.mean("c") + near.min("c") - near.max("c") + near.mean("a")
    me.wholes = near.sum("a") + near.sum("b") + near.sum("d") + near.sum("f") + near.sum("g")
    me.least = near.min("a") + near.min("b") + near.min("d") + near.min("f") + near.min("g")
    me.most = near.max("a") - near.max("b") + near.max("d") + near.max("f") + near.max("g")
    me.equal = (
        near.count_equal("a", me.a // 2) + 10 * near.count_equal("c", me.c)
        + 100 * near.count_equal("b", -1.0) + 1000 * near.count_equal("f", True)
    )  # fmt: skip
    me.n = near.count()
    me.seen = 0
    for other in me.neighbours:
        me.seen = 7 * (me.seen & 0xFFFFFFFF) + other.id + other.a - other.b
        me.c = 0.5 * me.c + 0.25 * other.c
    other = me.entity((me.id * 7 + me.tick) % 60)
    me.far = other.id + other.d + other.a
    me.a, me.b = me.randint(0, 3), me.randint(-2, 2)
    return 0.25


SPACES: Final = [
    {"width": 60},
    {"width": 6, "height": 10, "wrap": False},
    {"width": 3, "height": 4, "depth": 5, "neighbourhood": "von_neumann", "wrap": False},
]


@pytest.mark.slow
@pytest.mark.parametrize("space", SPACES, ids=str)
def test_both_forms_see_the_same(space: dict[str, Any]) -> None:
    assert compare(looks, entities=60, ticks=3, space={"kind": "grid", **space}, rtol=0.0) == 240


@pytest.mark.slow
def test_rows_longer_than_a_stretch_and_blocks_across_rows() -> None:
    """A row of 2100 cells is run in three parts; blocks of 1000 begin within rows."""
    space = {"kind": "grid", "width": 2100, "height": 3}
    world = life_world(6300, space, {}, per_block=1000)
    cells = grid(world, 2100)
    for _ in range(4):
        world.run(1)
        cells = generation(cells)
        assert (grid(world, 2100) == cells).all()


def begin_life(me: Any) -> Any:
    me.alive = 1 if me.random() < 0.3 else 0
    return 0.0


@corec.micro(state={"alive": "u1"}, public=("alive",), init=begin_life)
def life(me: Any) -> Any:
    n = me.neighbours.sum("alive")
    me.alive = n == 3 or (n == 2 and me.alive == 1)
    return me.alive


def generation(cells: Any) -> Any:
    near = sum(
        np.roll(np.roll(cells, dy, 0), dx, 1) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx
    )
    return ((near == 3) | ((near == 2) & (cells == 1))).astype(np.uint8)


def life_world(n: int, space: Any, more: dict[str, Any], per_block: int = 1000) -> corec.World:
    return corec.World(
        {
            "bloques": [
                {
                    "id": "town", "canal": 1, "entidades": n, "procesador": life, "space": space,
                    "entidades_por_bloque": per_block,
                }
            ],
            **more,
        }
    )  # fmt: skip


def grid(world: corec.World, width: int) -> Any:
    return np.asarray(world.frame("town", columns=["alive"])["alive"]).reshape(-1, width).copy()


GUN: Final = """
........................O
......................O.O
............OO......OO............OO
...........O...O....OO............OO
OO........O.....O...OO
OO........O...O.OO....O.O
..........O.....O.......O
...........O...O
............OO
"""
"""Gosper's glider gun: a glider every 30 generations."""


ACORN: Final = ".O\n...O\nOO..OOO"


def cells_of(text: str, at: tuple[int, int]) -> set[tuple[int, int]]:
    rows = text.strip("\n").split("\n")
    return {(at[0] + y, at[1] + x) for y, row in enumerate(rows) for x, c in enumerate(row)
            if c == "O"}  # fmt: skip


def lived(alive: set[tuple[int, int]], size: int) -> set[tuple[int, int]]:
    """A generation of Life as a set, on a torus: written without an array or an index."""
    near: dict[tuple[int, int], int] = {}
    for y, x in alive:
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                if dy or dx:
                    place = ((y + dy) % size, (x + dx) % size)
                    near[place] = near.get(place, 0) + 1
    return {place for place, n in near.items() if n == 3 or (n == 2 and place in alive)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "size", "ticks"), [(GUN, 80, 200), (ACORN, 80, 300)], ids=["gun", "acorn"]
)
def test_patterns_of_life_cell_by_cell(text: str, size: int, ticks: int) -> None:
    space = {"kind": "grid", "width": size, "height": size}
    world = life_world(size * size, space, {}, per_block=777)
    alive = cells_of(text, (20, 20))
    start = np.zeros((size, size), np.uint8)
    start[tuple(np.array(sorted(alive)).T)] = 1
    world.write("town", alive=start.ravel())
    for _ in range(ticks):
        world.run(1)
        alive = lived(alive, size)
        assert set(map(tuple, np.argwhere(grid(world, size)).tolist())) == alive
    if text is GUN:
        assert len(alive) > 36 + 5 * 4, "it has shot"


@corec.micro(state={"x": "i4", "of": "i8"}, public=("x",))
def counts(me: Any) -> Any:
    me.x = me.x + 1
    me.of = me.entity(me.id - 1).x if me.id else -1
    return 0.0


def test_who_does_not_run_is_seen_all_the_same() -> None:
    block = Block(counts, entities=10, first_id=0)
    block.carga = 0.5
    for tick in range(1, 9):
        before = block.view.column("x").copy()
        ran = [(5 * (tick - 1) + k) % 10 for k in range(5)]
        block.tick([(3, 0.0, tick % 2 == 0)])
        of = block.view.column("of")
        for i in ran:
            if i and not (i == 3 and tick % 2):
                assert of[i] == before[i - 1]


@corec.celu(state={"x": "f4", "seen": "f4", "who": "i8"}, public=("x",))
def hears(me: Any, value: Any) -> Any:
    me.seen = me.neighbours.sum("x")
    me.who = me.entity(me.id).id
    me.x = value
    return 0.0


@pytest.mark.slow
def test_a_celu_sees_the_last_tick_however_many_readings_came() -> None:
    compare(hears, entities=12, ticks=4, space={"kind": "grid", "width": 4, "height": 3}, rtol=0.0)
    block = Block(hears, entities=9, space={"kind": "grid", "width": 3, "height": 3})
    block.tick([(k, float(k)) for k in range(9)])
    block.tick()  # nobody runs, and all stay seen
    block.tick([(4, 100.0), (0, 1.0), (4, 200.0)])
    assert block.view.column("seen").tolist()[4] == 36.0 - 4.0
    assert block.view.column("seen").tolist()[0] == 36.0


@pytest.mark.slow
def test_what_is_written_between_two_ticks_is_seen() -> None:
    world = life_world(6400, {"kind": "grid", "width": 80, "height": 80}, {}, per_block=777)
    world.write("town", alive=0)
    world.write("town", [171, 172, 173], alive=1)
    world.run(1)
    assert np.flatnonzero(grid(world, 80)).tolist() == [92, 172, 252]


@corec.micro(state={"x": "f4"}, public=("x",))
def stranger(me: Any) -> Any:
    return me.entity(me.id + 3).x


def test_an_entity_that_is_none_fails_the_one_that_asks() -> None:
    compare(stranger, entities=5, rtol=0.0)
    block = Block(stranger, entities=5, first_id=7, max_errores=1.0)
    block.tick()
    assert block.view.fallos.tolist() == [0, 0, 1, 1, 1]


def test_the_plain_form_is_given_what_it_sees() -> None:
    space = {"kind": "grid", "width": 3, "height": 3}
    others = {"alive": [1, 1, 0, 0, 0, 0, 1, 0, 0]}
    me = PlainEntity(life, id=104, origin=100, others=others, space=space)
    assert (life(me), me.alive) == (1, 1)
    assert me.neighbours.count() == 8
    assert [other.id for other in me.neighbours] == [100, 101, 102, 103, 105, 106, 107, 108]
    assert me.entity(106).alive == 1
    with pytest.raises(ValueError, match="sees nobody"):
        life(PlainEntity(life))
    with pytest.raises(ValueError, match="nothing of 'alive'"):
        PlainEntity(life, others={})


def refused(function: Any, **given: Any) -> str:
    processor = corec.micro(state={"x": "f4", "y": "f4"}, **given)(function)
    meeting = Meeting(10, (("x", "f4"),)) if processor.public else None
    with pytest.raises(ProcessorError) as caught:
        compile_processor(processor, 10, meeting)
    return str(caught.value)


def test_seeing_what_is_not_shown_is_refused_in_one_line() -> None:
    text = refused(lambda me: me.neighbours.sum("x"), public=("x",))
    assert "me.neighbours cannot be used without a space in its bloque" in text
    assert "me.entity cannot be used here" in refused(lambda me: me.entity(1).x)
    text = refused(lambda me: me.entity(0.5).x, public=("x",))
    assert "me.entity takes a whole number, found float32" in text
    config = bloque({"kind": "grid", "width": 5, "height": 2, "wrap": False})
    for wrong, said in (
        (hidden, "me.y can't be seen of another entity: public are id, x"),
        (summed, "me.neighbours.sum takes a public field (x), found 'y'"),
    ):
        plan = make_plan(parse_config(config), {"test:wrong": wrong})
        with pytest.raises(ProcessorError) as caught:
            compile_processor(wrong, 10, plan.swarms[0].meeting)
        assert said in str(caught.value)


@corec.micro(state={"x": "f4", "y": "f4"}, public=("x",))
def hidden(me: Any) -> Any:
    return me.entity(me.id).y


@corec.micro(state={"x": "f4", "y": "f4"}, public=("x",))
def summed(me: Any) -> Any:
    return me.neighbours.sum("y")


@pytest.mark.parametrize(
    ("public", "said"),
    [
        ("x", r"public='x', allowed a list of its state fields \(x, y, .*\), each once"),
        (("z",), "state fields .*, each once"),
        (("x", "x"), "state fields .*, each once"),
        (tuple("abcdefghi"), "9 public fields, at most 8"),
    ],
)
def test_public_names_state_fields(public: Any, said: str) -> None:
    with pytest.raises(ProcessorError, match=said):
        corec.micro(state=dict.fromkeys("xyabcdefghi", "f4"), public=public)(lambda me: 0.0)


def bloque(space: Any, procesador: str = "test:wrong", entidades: int = 10) -> dict[str, Any]:
    return {"instance_id": "t", "bloques": [{"id": "a", "canal": 1, "entidades": entidades,
            "procesador": procesador, "space": space}]}  # fmt: skip


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({"width": 5, "height": 3}, "space: found 5 · 3 = 15 cells, allowed as many as entidades"),
        ({"width": 5, "height": 3}, "as many as entidades, 10, or capacidad 15: the others are"),
        ({"width": 3, "height": 3}, "found 3 · 3 = 9 cells, allowed as many as entidades, 10"),
        ({"width": 10, "radius": 5}, "space.radius: found 5 in a width of 10, allowed a width of"),
        ({"width": 5, "height": 2}, "space.radius: found 1 in a height of 2, allowed a height of"),
        ({"width": 10, "depth": 1}, "space.depth: found 1, allowed a depth beside a height"),
        ({"width": 0}, "space.width"),
        ({"width": 10, "kind": "hex"}, "space.kind"),
        ({"width": 10, "neighbourhood": "hex"}, "space.neighbourhood"),
        ({"width": 10, "colour": 1}, "space.colour"),
    ],
)  # fmt: skip
def test_a_wrong_space_is_one_line_of_check(space: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(bloque({"kind": "grid", **space}))
    (line,) = [line for line in str(caught.value).splitlines() if "space" in line]
    assert said in line


def test_along_a_side_of_one_cell_nobody_is_a_neighbour() -> None:
    line = {"kind": "grid", "width": 10}
    found = []
    for sides in ({}, {"height": 1}, {"height": 1, "depth": 1}, {"width": 1, "height": 10}):
        config = parse_config(bloque(line | sides))
        meeting = make_plan(config, {"test:wrong": life}).swarms[0].meeting
        assert meeting is not None
        found.append([meeting.neighbours(cell) for cell in range(10)])
    assert found[0][0] == [9, 1]
    assert found == found[:1] * 4
    flat = bloque({"kind": "grid", "width": 1, "height": 1, "wrap": False}, entidades=1)
    with pytest.raises(ConfigError, match=r"1 in a width of 1, allowed a width of at least 2$"):
        parse_config(flat)


def test_the_largest_neighbourhood_and_one_beyond() -> None:
    for radius, fits in ((15, True), (16, False)):
        space = {"kind": "grid", "width": 64, "height": 64, "radius": radius}
        config = bloque(space, entidades=4096)
        if fits:
            assert len(make_plan(parse_config(config), {"test:wrong": life}).swarms[0]
                       .meeting.steps) == 960  # type: ignore[union-attr]  # it has one  # fmt: skip
        else:
            with pytest.raises(ConfigError, match="at most 1024 neighbours"):
                parse_config(config)
