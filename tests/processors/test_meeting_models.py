"""The models whose entities meet, against others' arithmetic: docs/models.md says which."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import corec
from corec.config import ConfigError
from corec.graph.generators import generated
from corec.graph.links import links_of
from corec.kernels.whole import settle_edited
from corec.processors.boids import boids
from corec.processors.diffusion import diffusion
from corec.processors.wolf_sheep import wolf
from corec.testing import Block
from tests.entities.split import SplitWorld

pytestmark = pytest.mark.slow
N, SEEDS = 400, 40
NET = {"generator": "watts_strogatz", "k": 6, "p": 0.2, "seed": 7}
RATES = {"beta": 0.06, "gamma": 0.15, "seeded": 0.02}


def who_was_ill(whom: NDArray[Any], who: NDArray[Any], rng: np.random.Generator) -> int:
    """An epidemic contact by contact (``who`` meets ``whom``), until nobody is ill."""
    fase = np.where(rng.random(N) < RATES["seeded"], 1, 0)
    infects = 1.0 - np.exp(-RATES["beta"])
    while (fase == 1).any():
        # each contact infects or does not, for itself
        met = (fase[who] == 1) & (rng.random(who.size) < infects)
        caught = np.bincount(whom[met], minlength=N) > 0
        well_again = rng.random(N) < RATES["gamma"]
        fase = np.where(fase == 0, caught, np.where((fase == 1) & well_again, 2, fase))
    return int((fase == 2).sum())


def test_an_epidemic_ends_as_often_as_one_of_the_same_rules() -> None:
    source, target = generated(N, NET, 0)
    links = links_of(N, source, target, None, False)
    whom = np.repeat(np.arange(N), np.diff(links.starts))
    rng = np.random.default_rng(5)
    expected = np.array([who_was_ill(whom, links.who, rng) for _ in range(SEEDS)])
    bloque = {"id": "town", "canal": 1, "entidades": N, "procesador": "sir_graph",
              "parametros": RATES, "space": {"kind": "graph", "edges": NET}}  # fmt: skip
    found = []
    for seed in range(SEEDS):
        with corec.World({"bloques": [bloque]}, seed=seed) as world:
            world.run(150)
            found.append(int((np.asarray(world.frame("town")["fase"]) == 2).sum()))
    got = np.array(found)
    assert 0.2 * N < expected.mean() < 0.98 * N, "it neither dies out nor takes everybody"
    error = np.sqrt((expected.var() + got.var()) / SEEDS)
    assert abs(got.mean() - expected.mean()) < 4.0 * error


def flown(state: dict[str, NDArray[Any]], side: float, radius: float) -> dict[str, NDArray[Any]]:
    """One tick of a flock in float64, every pair looked at."""
    p = dict(boids.params)
    x, y, vx, vy = (state[name].astype(np.float64) for name in ("x", "y", "vx", "vy"))
    dx, dy = x[None] - x[:, None], y[None] - y[:, None]
    dx, dy = dx - side * np.round(dx / side), dy - side * np.round(dy / side)
    d2 = dx * dx + dy * dy
    near = (d2 <= radius * radius) & ~np.eye(x.size, dtype=bool)
    pull = p["speed"] * (p["gather"] - p["part"] / (d2 + 0.01)) * near
    many = np.maximum(near.sum(1), 1)
    vx = vx + (p["align"] * (near * (vx[None] - vx[:, None])).sum(1) + (pull * dx).sum(1)) / many
    vy = vy + (p["align"] * (near * (vy[None] - vy[:, None])).sum(1) + (pull * dy).sum(1)) / many
    scale = p["speed"] / np.hypot(vx, vy)
    vx, vy = scale * vx, scale * vy
    return {"x": (x + vx) % side, "y": (y + vy) % side, "vx": vx, "vy": vy}


def test_a_flock_flies_as_every_pair_of_it_says_and_comes_together() -> None:
    side, radius = 10.0, 1.5
    space = {"kind": "plane", "position": ["x", "y"], "size": side, "radius": radius}
    block = Block(boids, entities=300, params={"box": side}, space=space)

    def together() -> float:
        mean = np.hypot(*(block.view.column(name).mean() for name in ("vx", "vy")))
        return float(mean / dict(boids.params)["speed"])

    assert together() < 0.3
    for _ in range(5):
        expected = flown({n: block.view.column(n).copy() for n in ("x", "y", "vx", "vy")},
                         side, radius)  # fmt: skip
        block.tick()
        for name in ("x", "y", "vx", "vy"):
            apart = np.abs(block.view.column(name) - expected[name])
            assert np.minimum(apart, side - apart).max() < 1e-4
    for _ in range(400):
        block.tick()
    assert together() > 0.8


def test_heat_flows_as_its_waves_decay() -> None:
    """A wave of a periodic grid is one of the scheme's own: each tick it keeps the same share."""
    wide, high, rate, ticks = 20, 10, 0.2, 15
    space = {"kind": "grid", "width": wide, "height": high, "neighbourhood": "von_neumann"}
    block = Block(diffusion, entities=wide * high, params={"rate": rate}, space=space)
    waves = [np.sin(np.pi * k / n) ** 2 for k, n in ((2, wide), (1, high))]
    y, x = np.divmod(np.arange(wide * high), wide)
    wave = np.cos(2 * np.pi * (2 * x / wide + y / high))
    block.view.column("u")[:] = 0.5 + 0.25 * wave
    settle_edited(block.tables.blocks, block.tables.swarms, 0)
    for _ in range(ticks):
        block.tick()
    kept = (1.0 - 4.0 * rate * sum(waves)) ** ticks
    assert 0.01 < kept < 0.5
    assert np.abs(block.view.column("u") - (0.5 + 0.25 * kept * wave)).max() < 1e-5


@pytest.mark.parametrize(("temperature", "above"), [(1.8, False), (4.0, True)])
def test_spins_agree_as_onsager_says(temperature: float, above: bool) -> None:
    side = 60
    space = {"kind": "grid", "width": side, "height": side, "neighbourhood": "von_neumann"}
    bloque = {"id": "spins", "canal": 1, "entidades": side * side, "procesador": "ising",
              "parametros": {"temperature": temperature, "width": side}, "space": space,
              "umbral": "nunca"}  # fmt: skip
    with corec.World({"bloques": [bloque]}) as world:
        world.run(400)
        means = []
        for _ in range(60):
            world.run(10)
            means.append(abs(world.means("spins", ["spin"])["spin"]))
    expected = 0.0 if above else (1.0 - np.sinh(2.0 / temperature) ** -4.0) ** 0.125
    assert abs(np.mean(means) - expected) < (0.05 if above else 0.005)


BOARD: dict[str, Any] = {"kind": "grid", "width": 60, "height": 8, "neighbourhood": "von_neumann"}


def board(said: float = 60, before: int = 0, /, **space: Any) -> dict[str, Any]:
    """A configuration of spins, behind so many others."""
    space = {**BOARD, **space}
    cells = space["width"] * space["height"] * space.get("depth", 1)
    spins = {"id": "spins", "canal": 1, "entidades": cells, "procesador": "ising",
             "parametros": {"width": said}, "space": space}  # fmt: skip
    others = [{"id": "others", "canal": 1, "entidades": before}] if before else []
    return {"bloques": [*others, spins]}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (board(100), "parametros.width: found 100, allowed 60, the width of its grid"),
        (board(60.5), "parametros.width: found 60.5, allowed 60"),
        (board(60, 61), "bloques[1]: found 61 entities before those of ising, allowed none, or a"),
        (board(neighbourhood="moore"), 'space.neighbourhood: found "moore", radius 1, allowed'),
        (board(radius=2), 'space.neighbourhood: found "von_neumann", radius 2, allowed'),
        (board(height=9), "space.height: found 9, allowed an even number for ising, or wrap false"),
        (board(61, width=61), "space.width: found 61, allowed an even number for ising"),
        (board(height=4, depth=4), "space.depth: found 4, allowed none"),
    ],
)
def test_spins_stand_on_a_chessboard(config: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        corec.World(config)
    assert said in str(caught.value)
    config["bloques"][-1]["space"] = {"kind": "graph", "edges": {"generator": "ring"}}
    with pytest.raises(ConfigError, match=r'space\.kind: found "graph", allowed a "grid"'):
        corec.World(config)


@pytest.mark.parametrize(
    "config", [board(60, 120), board(61, 61, width=61, height=7, wrap=False)]
)
def test_no_two_neighbours_of_a_chessboard_are_drawn_at_once(config: dict[str, Any]) -> None:
    """So hot that whoever is drawn becomes anything."""
    space, spins = config["bloques"][-1]["space"], config["bloques"][-1]
    spins["parametros"]["temperature"] = 1e9
    wide, high = space["width"], space["height"]
    with corec.World(config) as world:
        for _ in range(6):
            before = np.asarray(world.frame("spins")["spin"]).reshape(high, wide).copy()
            world.run(1)
            drawn = np.asarray(world.frame("spins")["spin"]).reshape(high, wide) != before
            assert 0.05 < drawn.mean() < 0.45
            for axis in (0, 1):
                beside = np.roll(drawn, 1, axis)
                if not space.get("wrap", True):
                    beside[0 if axis == 0 else slice(None), 0 if axis == 1 else slice(None)] = False
                if drawn.shape[axis] > 1:
                    assert not (drawn & beside).any()


def test_the_width_of_a_chessboard_stays() -> None:
    with corec.World(board()) as world, pytest.raises(ConfigError, match="found 30, allowed 60"):
        world.set("spins.width", 30)
    config = {**board(), "schedule": [{"at": 5, "set": {"spins.width": 30}}]}
    with pytest.raises(ConfigError, match=r"schedule\[0\].set.*found 30, allowed 60"):
        corec.World(config)


MEADOW = {"kind": "plane", "position": ["x", "y"], "size": 50.0, "radius": 1.5}
LIVING: list[dict[str, Any]] = [
    {"id": "grass", "canal": 1, "entidades": 2500, "procesador": "grass", "space": MEADOW},
    {"id": "sheep", "canal": 2, "entidades": 600, "capacidad": 4000, "procesador": "sheep",
     "space": MEADOW},
    {"id": "wolf", "canal": 3, "entidades": 80, "capacidad": 1000, "procesador": "wolf",
     "space": MEADOW},
]  # fmt: skip


def test_who_eats_is_who_was_named_and_nobody_dies_out() -> None:
    food = dict(wolf.params)["food"]
    caught = 0
    with corec.World({"bloques": LIVING}) as world:
        for _ in range(60):
            before = {name: world.frame(name) for name in ("sheep", "wolf")}
            named = np.asarray(before["sheep"]["eater"])[np.asarray(before["sheep"]["vivo"]) == 1]
            world.run(1)
            sheep, wolves = world.frame("sheep"), world.frame("wolf")
            prey = np.flatnonzero((np.asarray(before["sheep"]["eater"]) >= 0)
                                  & (np.asarray(before["sheep"]["vivo"]) == 1))  # fmt: skip
            assert (np.asarray(sheep["vivo"])[prey] == 0).all(), "who was caught dies"
            caught += prey.size
            energy = np.asarray(before["wolf"]["energy"]).astype(np.float64)
            meals = np.array([(named == one).sum() for one in np.asarray(wolves["id"])])
            full = energy + food * meals - 1.0
            lived = (np.asarray(before["wolf"]["vivo"]) == 1) & (np.asarray(wolves["vivo"]) == 1)
            after = np.asarray(wolves["energy"])[lived]
            whole = np.abs(after - full[lived]) < 1e-3
            half = np.abs(after - 0.5 * full[lived]) < 1e-3
            assert (whole | half).all()
            assert whole.sum() > 0.8 * whole.size
        assert caught > 100
        world.run(240)
        sheep_left, wolves_left = (int(np.asarray(world.frame(n)["vivo"]).sum())
                                   for n in ("sheep", "wolf"))  # fmt: skip
        assert sheep_left > 200
        assert wolves_left > 20
        assert not world.errors()
        digest = world.digest()
    found = {SplitWorld(LIVING, {}, k).run(20) for k in (1, 3)}
    assert len(found) == 1
    assert digest.tick == 300


WIDE, HIGH, PEOPLE = 20, 20, 340


def around(cell: int) -> list[int]:
    x, y = cell % WIDE, cell // WIDE
    steps = [(a, b) for b in (-1, 0, 1) for a in (-1, 0, 1) if a or b]
    return [(y + b) % HIGH * WIDE + (x + a) % WIDE for a, b in steps]


AROUND = [around(cell) for cell in range(WIDE * HIGH)]


def unhappy(groups: NDArray[Any], wanted: float) -> list[int]:
    """``groups``: of each cell, 0 of an empty one."""
    found = []
    for cell in np.flatnonzero(groups).tolist():
        near = groups[AROUND[cell]]
        if (near == groups[cell]).sum() < wanted * (near > 0).sum():
            found.append(cell)
    return found


def segregated(groups: NDArray[Any]) -> float:
    """The mean share of one's own around one."""
    shares = []
    for cell in np.flatnonzero(groups).tolist():
        near = groups[AROUND[cell]]
        if (near > 0).any():
            shares.append((near == groups[cell]).sum() / (near > 0).sum())
    return float(np.mean(shares))


def test_two_groups_part_as_in_a_model_of_the_same_rules() -> None:
    wanted, ticks, seeds = 0.5, 12, 24
    rng = np.random.default_rng(11)
    expected = []
    for _ in range(seeds):
        groups = np.zeros(WIDE * HIGH, np.int64)
        lived = rng.choice(WIDE * HIGH, PEOPLE, replace=False)
        groups[lived] = rng.integers(1, 3, PEOPLE)
        for _ in range(ticks):
            movers = unhappy(groups, wanted)
            cells = rng.permutation(np.flatnonzero(groups == 0))
            for old, new in zip(rng.permutation(movers).tolist(), cells.tolist(), strict=False):
                groups[new], groups[old] = groups[old], 0
        expected.append(segregated(groups))
    bloque = {"id": "town", "canal": 1, "entidades": PEOPLE, "capacidad": WIDE * HIGH,
              "procesador": "schelling", "parametros": {"wanted": wanted}, "umbral": "nunca",
              "entidades_por_bloque": 90,
              "space": {"kind": "grid", "width": WIDE, "height": HIGH}}  # fmt: skip
    got = []
    for seed in range(seeds):
        with corec.World({"bloques": [bloque]}, seed=seed) as world:
            for _ in range(ticks + 1):  # moves come before the next tick
                world.run(1)
                now, valor = lived_in(world), np.asarray(world.frame("town")["valor"])
                assert np.flatnonzero((valor == 1) & (now > 0)).tolist() == unhappy(now, wanted)
                assert np.count_nonzero(now) == PEOPLE
            got.append(segregated(now))
    error = np.sqrt((np.var(expected) + np.var(got)) / seeds)
    assert np.mean(expected) > 0.6, "it does part"
    assert abs(np.mean(got) - np.mean(expected)) < 4.0 * error


def lived_in(world: corec.World) -> NDArray[Any]:
    frame = world.frame("town")
    groups: NDArray[Any] = np.asarray(frame["group"]).astype(np.int64)
    groups[np.asarray(frame["vivo"]) == 0] = 0
    return groups
