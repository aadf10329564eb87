"""A plane space: who is near, compiled, in plain Python and by brute force; several swarms."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest

import corec
from corec.config import ConfigError, parse_config
from corec.entities.linked import ends_of
from corec.entities.me_types import EntityType, NeighboursType
from corec.entities.plain_near import Seen, held
from corec.entities.processor import ProcessorError
from corec.kernels import plane as P
from corec.kernels.philox import uniforms
from corec.lab.oracle.plane import Plane
from corec.plan import make_plan
from corec.testing import Block, PlainEntity, compare
from corec.world.migrate import MigrateFailed, _make
from corec.world.read import BlockView
from tests.entities.split import SplitWorld


def scatter(me: Any) -> Any:
    me.x, me.y = 30.0 * me.random() - 10.0, 12.0 * me.random()
    me.k = me.randint(0, 200)
    return 0.0


FIELDS = {"x": "f4", "y": "f4", "k": "u1", "e": "f8", "n": "i4", "s": "i8", "d": "f4"}


@corec.micro(state=FIELDS, public=("k", "x", "e", "y"), init=scatter)
def roams(me: Any) -> Any:
    near = me.neighbours
    me.n = near.count()
    me.s, me.d = near.sum("k") + near.count_equal("k", me.k), near.mean("x") - near.min("y")
    me.e = near.max("e") + me.id
    for other in me.neighbours:
        me.s = 3 * (me.s & 0xFFFFFFFF) + other.id + other.k
        me.d += other.dx - 2.0 * other.dy + other.distance2 + 0.125 * other.x
    me.k = me.randint(0, 200)
    me.x, me.y = me.x + me.normal(), me.y - 5.0 * me.normal()
    return 0.25


def anywhere(me: Any) -> Any:
    me.x, me.y = 30.0 * me.random(), 30.0 * me.random()
    return 0.0


@corec.micro(state={"x": "f4", "y": "f4"}, public=("x", "y"), init=anywhere)
def walks(me: Any) -> Any:
    n = me.neighbours.count()
    me.x, me.y = me.x + me.random(), me.y - me.random()
    return n


@corec.micro(state={"x": "f4", "y": "f4", "z": "f4", "s": "f4"}, public=("x", "y", "z"))
def floats(me: Any) -> Any:
    if me.tick == 1:
        me.x, me.y, me.z = 4.0 * me.random(), 3.0 * me.random(), 2.0 * me.random()
    me.s = 0.0
    for other in me.neighbours:
        me.s += other.dx + 2.0 * other.dy + 4.0 * other.dz + other.distance2
    me.x, me.y, me.z = me.x + me.normal(), me.y + 0.1 * me.s, me.z - 0.2
    return me.neighbours.count()


def plane(size: Any, radius: float, wrap: bool = True, axes: str = "xy") -> dict[str, Any]:
    return {"kind": "plane", "position": list(axes), "size": size, "radius": radius, "wrap": wrap}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processor", "space"),
    [
        (roams, plane([20.0, 12.5], 3.0)),
        (floats, plane([4, 3, 2], 1, False, "xyz")),
    ],
    ids=["2D", "3D"],
)
def test_both_forms_see_the_same(processor: Any, space: Any) -> None:
    assert compare(processor, entities=50, ticks=3, space=space, rtol=0.0) >= 150


def brute(columns: list[Any], sizes: list[float], radius: float, wrap: bool) -> Any:
    """Who sees whom, and all squares: no cells."""
    total = np.zeros((columns[0].size,) * 2, np.float32)
    for column, size in zip(columns, map(np.float32, sizes), strict=True):
        d = column[None, :] - column[:, None]
        half = size * np.float32(0.5)
        if wrap:
            d = np.where(d > half, d - size, np.where(d < -half, d + size, d))
        total = total + d * d
    near = total <= np.float32(radius) * np.float32(radius)
    np.fill_diagonal(near, False)
    return near


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "radius", "wrap"),
    [(20.0, 10.0, True), ([20.0, 2.0], 0.97, True), ([30.0, 7.0], 6.9, False),
     ([30.0, 7.0], 0.1, False)],
)  # fmt: skip
def test_a_search_finds_whom_brute_force_finds(size: Any, radius: float, wrap: bool) -> None:
    block = Block(walks, entities=400, space=plane(size, radius, wrap))
    sizes = size if isinstance(size, list) else [size, size]
    for _ in range(4):
        x, y = (block.view.column(name).copy() for name in "xy")
        assert min(x.min(), y.min()) >= 0
        assert x.max() <= sizes[0]
        assert y.max() <= sizes[1]
        if wrap:
            assert x.max() < sizes[0]
        near = brute([x, y], sizes, radius, wrap)
        block.tick()
        assert (block.view.column("valor") == near.sum(1)).all()
        assert near.any()
    assert block.view.fallos.sum() == 0


@corec.micro(state={"x": "f4", "y": "f4"}, public=("x", "y"), init=lambda me: 0.0)
def lost(me: Any) -> Any:
    if me.tick == 2 and me.id == 3:
        me.x = np.nan
    if me.tick == 2 and me.id == 4:
        me.y = np.inf
    if me.tick == 3 and me.id == 5:
        me.x = 1e30
    if me.tick == 3 and me.id == 6:
        me.x = -1e-12
    return me.neighbours.count()


@pytest.mark.slow
def test_a_position_that_is_no_number_fails_its_entity_and_far_ones_come_back() -> None:
    block = Block(lost, entities=9, space=plane(10.0, 1.0), max_errores=1.0)
    block.tick()
    assert block.view.column("valor").tolist() == [8.0] * 9
    block.tick()
    assert block.view.fallos.tolist() == [0, 0, 0, 1, 1, 0, 0, 0, 0]
    assert block.view.column("x").tolist() == [0.0] * 9
    block.tick()
    block.tick()
    assert block.view.column("x").min() >= 0.0
    assert block.view.column("x").max() < 10.0
    compare(lost, entities=9, ticks=4, space=plane(10.0, 1.0), rtol=0.0)


@corec.micro(state={"x": "f4", "y": "f4", "fear": "f4", "who": "i8"}, public=("x", "y"),
             see=("wolf",))  # fmt: skip
def hare(me: Any) -> Any:
    if me.tick == 1:
        me.x, me.y = 50.0 * me.random(), 50.0 * me.random()
        return 0.0
    me.fear, me.who = me.neighbours.of("wolf").sum("teeth") + me.neighbours.count(), 0
    for wolf in me.neighbours.of("wolf"):
        me.who = 3 * (me.who & 0xFFFFFFFF) + wolf.id
        me.fear += wolf.distance2
        for other in me.neighbours:
            me.fear += other.dx - wolf.dy
    me.x += 1.0
    return me.neighbours.count("wolf")


@corec.micro(state={"teeth": "u2", "y": "f4", "x": "f4"}, public=("teeth", "y", "x"))
def wolf(me: Any) -> Any:
    if me.tick == 1:
        me.x, me.y, me.teeth = 50.0 * me.random(), 50.0 * me.random(), me.randint(0, 999)
    me.y += 0.5 * me.neighbours.of("hare").mean("x")
    return me.neighbours.count("hare")


PREY: dict[str, Any] = {"id": "hare", "canal": 1, "entidades": 120, "procesador": "t:hare",
        "entidades_por_bloque": 17, "space": plane(50, 4.0)}  # fmt: skip
HUNTER: dict[str, Any] = {"id": "wolf", "canal": 2, "entidades": 45, "procesador": "t:wolf",
          "entidades_por_bloque": 10, "space": plane(50, 11.0)}  # fmt: skip
BOTH = {"t:hare": hare, "t:wolf": wolf}


@pytest.mark.slow
def test_swarms_see_each_other_as_in_plain_python_with_any_number_of_workers() -> None:
    found = {SplitWorld([PREY, HUNTER], BOTH, k).run(6) for k in (1, 2, 3, 5)}
    found.add(SplitWorld([PREY, HUNTER], BOTH, 3).run(6, replaced=True))
    assert len(found) == 1
    world = corec.World({"bloques": [{**PREY, "procesador": hare}, {**HUNTER, "procesador": wolf}]})
    world.run(4)
    columns = {name: world.frame(name) for name in ("hare", "wolf")}
    seen = {
        name: Seen(processor, space, {f: columns[name][f].tolist() for f in processor.public}, o)
        for name, processor, space, o in (
            ("hare", hare, PREY["space"], 0), ("wolf", wolf, HUNTER["space"], 120),
        )
    }  # fmt: skip
    others = {f: columns["hare"][f].tolist() for f in hare.public}
    prey = Seen(hare, PREY["space"], others, seen=seen)
    world.run(1)
    after = world.frame("hare")
    for i in range(0, 120, 7):
        state = {f.name: np.asarray(columns["hare"][f.name])[i] for f in hare.state}
        me = PlainEntity(hare, id=i, tick=5, others=prey, **state)
        assert hare(me) == after["valor"][i]
        assert (me.fear, me.who) == (after["fear"][i], after["who"][i])


def test_the_search_is_made_once_for_all_that_is_asked_of_neighbours() -> None:
    """A sum, a mean and a loop would each have it compiled again, and be a part of it."""
    plan = make_plan(parse_config({"instance_id": "t", "bloques": [PREY, HUNTER]}), BOTH)
    swarm = plan.swarms[0]
    made = [EntityType(swarm.processor, 0, swarm.cap, meeting=swarm.meeting) for _ in range(2)]
    for target in (0, 1):
        (_, last), (_, same) = (ends_of(NeighboursType(entity, target)) for entity in made)
        assert last is same
    assert ends_of(NeighboursType(made[0], 0)) != ends_of(NeighboursType(made[0], 1))


def faults(*bloques: dict[str, Any], processors: Any = None) -> str:
    config = parse_config({"instance_id": "t", "bloques": list(bloques)})
    make_plan(config, processors or BOTH)
    return ""


def with_space(**more: Any) -> dict[str, Any]:
    space = {**PREY["space"], **more}
    return {**PREY, "space": {k: v for k, v in space.items() if v is not None}}


@pytest.mark.parametrize(
    ("bloques", "said"),
    [
        ([with_space(position=None), HUNTER], "space.position: found nothing, allowed a list of 2"),
        ([with_space(size=None), HUNTER], "space.size: found nothing, allowed how long its sides"),
        ([with_space(position=["x"]), HUNTER], "space.position: found a list, allowed a list of 2"),
        ([with_space(position=["x", "sky"]), HUNTER], 'found "sky", allowed an f4 state field'),
        ([with_space(position=["x", "x"]), HUNTER], "space.position: found a field more than once"),
        ([with_space(size=[50, 50, 50]), HUNTER], "space.size: found 3 sides, allowed one, or 2"),
        ([with_space(radius=25.5), HUNTER], "space.radius: found 25.5, allowed at most 25, half"),
        ([with_space(radius=0), HUNTER], "space.radius: found 0, allowed in a grid an integer"),
        ([with_space(size=-1), HUNTER], "space.size: found -1, allowed a number from 1e-18 to 10"),
        ([with_space(size=9e-19), HUNTER], "space.size: found 9e-19, allowed a number from 1e-18"),
        ([with_space(radius=1e-50), HUNTER], "space.radius: found 1e-50, allowed in a grid an int"),
        ([with_space(radius=10**400), HUNTER], "space.radius: found a number too large to show"),
        ([with_space(size=10**400), HUNTER], "space.size: found a number too large to show"),
        ([with_space(position=[]), HUNTER], "space.position: found an empty list, allowed a list"),
        ([with_space(size=51), HUNTER], "bloques[0].space: found t:hare sees wolf"),
        ([with_space(edges="a.csv"), HUNTER], "space.edges: found a key that no plane has"),
        ([{**PREY, "id": "wolf"}], "t:hare sees wolf, allowed other bloques; its own are me.neigh"),
        ([PREY], "sees wolf, allowed bloques of these names on a plane of the same size, axes and"),
        ([with_space(size=[50, 51]), HUNTER], "bloques[0].space: found t:hare sees wolf"),
        ([{**PREY, "space": None}, HUNTER], "found no plane, and t:hare sees wolf"),
        ([PREY, HUNTER], ""),
        ([with_space(size=[50, 50.0]), HUNTER], ""),
    ],
)
def test_a_wrong_plane_is_one_line_of_check(bloques: list[Any], said: str) -> None:
    if not said:
        assert faults(*bloques) == said
        return
    with pytest.raises(ConfigError) as caught:
        faults(*bloques)
    text = str(caught.value).replace("tests.entities.test_plane:", "t:")
    assert said in text.splitlines()[0]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"public": ("x", "dx")}, "public='dx', allowed another name: other.dx is what lies"),
        ({"see": ("a", "a")}, r"see=\('a', 'a'\), allowed a list of up to 8 bloques"),
        ({"see": "wolf"}, "see='wolf'"),
        ({"see": tuple("abcdefghi")}, "up to 8"),
    ],
)
def test_what_is_shown_and_seen_is_checked(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ProcessorError, match=said):
        corec.micro(state=dict.fromkeys(["x", "dx"], "f4"), **{"public": ("x",), **given})(
            lambda me: 0.0
        )


def test_positions_are_written_onto_the_plane_and_one_block_has_one_swarm() -> None:
    with pytest.raises(ValueError, match="a Block has one swarm"):
        Block(hare, entities=4, space=PREY["space"])
    with corec.World({"bloques": [{**PREY, "procesador": lost}]}) as world:
        for wrong in (50.0, -0.5):
            with pytest.raises(ValueError, match=r"x: found .* at place 1, expected a number from"):
                world.write("hare", [0, 1], x=[1.0, wrong])
        world.write("hare", x=49.5, y=1.0)
        world.run(1)
        assert (np.asarray(world.frame("hare")["valor"]) == 119).all()


def strolls(me: Any) -> Any:
    return me.x


@pytest.mark.parametrize("wrap", [True, False])
def test_what_migrate_gives_lies_on_the_plane(wrap: bool) -> None:
    """At its edges, and next to them."""
    given: dict[str, Any] = {}
    was = corec.micro(state={"x": "f4", "y": "f4"}, public=("x", "y"))(strolls)
    now = corec.micro(
        state={"x": "f4", "y": "f4", "n": "u1"}, public=("x", "y"), migrate=lambda _: given
    )(strolls)
    views = []
    for processor in (was, now):
        bloque = {**PREY, "id": "a", "procesador": "strolls", "space": plane(50.0, 1.0, wrap)}
        plan = make_plan(parse_config({"instance_id": "a", "bloques": [bloque]}),
                         {"strolls": processor})  # fmt: skip
        views.append(BlockView(plan, np.zeros(plan.world_bytes // 8, np.uint64), 0))
    edge = np.float32(50.0)
    inside, outside = np.nextafter(edge, np.float32(0)), np.nextafter(edge, np.float32(99))
    for right in (0.0, inside, *(() if wrap else (edge,))):
        given["x"] = right
        _make(*views)
        assert (views[1].column("x") == right).all()
    for wrong in (outside, -np.float32(1e-45), *((edge,) if wrap else ())):
        given["x"] = wrong
        with pytest.raises(MigrateFailed, match=r"x: found .* of entity 0, expected a number from"):
            _make(*views)


@corec.micro(state={"z": "f4", "x": "f4", "y": "f4"})
def stays(me: Any) -> Any:
    return me.neighbours.count() / 100.0


@corec.micro(state={"x": ("f4", 3.0), "y": "f4"})
def placed(me: Any) -> Any:
    return 0.0


@pytest.mark.parametrize("wrap", [True, False])
def test_who_says_nothing_of_it_begins_anywhere_on_the_plane(wrap: bool) -> None:
    """By the draws of tick 0, in the order of the position; not with an initial value."""
    space = {"kind": "plane", "position": ["x", "y"], "size": [50, 8], "radius": 1, "wrap": wrap}
    block = Block(stays, entities=60, first_id=7, seed=9, space=space)
    drawn = [uniforms(7, 60, 0, k, 9) * np.float32(side) for k, side in enumerate((50, 8))]
    assert (block.view.column("x") == drawn[0]).all()
    assert (block.view.column("y") == drawn[1]).all()
    assert not block.view.column("z").any()
    assert compare(stays, entities=60, ticks=2, space=space) > 0
    fixed = Block(placed, entities=5, space=space).view
    assert (fixed.column("x") == 3.0).all()
    assert not fixed.column("y").any()


@pytest.mark.parametrize("wrap", [True, False])
def test_whatever_a_child_is_given_lies_on_the_plane(wrap: bool) -> None:
    """NaN, too: its mother's run does not fail of it, and its own would, for ever."""
    space, side = plane(10.0, 1.0, wrap), np.float32(10.0)
    last, far = np.nextafter(side, np.float32(0)), np.nextafter(side, np.float32(99))
    inner: Any = P.wrapped if wrap else P.held
    box = Plane.of(space)
    compiled: Any = numba.njit(lambda value, side: inner(value, side))  # the way in from Python
    for given, held_at, turned_to in (
        (np.nan, 0.0, 0.0), (np.inf, side, 0.0), (-np.inf, 0.0, 0.0), (-1.0, 0.0, 9.0),
        (-1e-30, 0.0, 0.0), (0.0, 0.0, 0.0), (last, last, last), (side, side, 0.0),
        (far, side, far - side), (3e38, side, 0.0),
    ):  # fmt: skip
        value, wanted = np.float32(given), turned_to if wrap else held_at
        state = {"x": value, "y": side}
        assert box.hold(state) == bool(np.isfinite(value))
        assert [compiled(value, side), held(space, "x", value), state["x"]] == [wanted] * 3


@corec.micro(state={"x": "f4", "y": ("f4", 2.0)}, mortal=True, init=anywhere)
def mothers(me: Any) -> Any:
    """A child where she is before her step, one behind it that is told its height."""
    me.spawn()
    me.x, me.y = me.x + 29.0, me.y - 29.0
    me.spawn(y=31.0)
    return 0.0


def test_a_child_begins_where_its_mother_is() -> None:
    box = {"kind": "plane", "position": ["x", "y"], "size": 30.0, "radius": 1.0}
    compare(mothers, ticks=3, entities=8, living=2, space=box)
    block = Block(mothers, entities=6, living=2, space=box)
    x, y = (block.view.column(name).copy() for name in "xy")
    at = np.flatnonzero(block.view.column("vivo"))
    block.tick()
    size, step = np.float32(30.0), np.float32(29.0)
    far = x[at] + step
    far = np.where(far < size, far, far - size)
    found = block.view.column("x"), block.view.column("y")
    assert found[0][block.view.column("generacion") == 1].tolist() == [
        each for pair in zip(x[at], far, strict=True) for each in pair
    ]
    assert found[1][block.view.column("generacion") == 1].tolist() == [y[at][0], 1.0, y[at][1], 1.0]
