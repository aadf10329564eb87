"""The models whose entities meet on graphs and planes, against others' arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import corec
from corec.graph.generators import generated
from corec.graph.links import Links, links_of
from corec.processors.boids import boids
from corec.testing import Block

pytestmark = pytest.mark.slow
N, SEEDS = 400, 40
NET = {"generator": "watts_strogatz", "k": 6, "p": 0.2, "seed": 7}
RATES = {"beta": 0.06, "gamma": 0.15, "seeded": 0.02}


def who_was_ill(links: Links, rng: np.random.Generator) -> int:
    """An epidemic person by person, contact by contact, until nobody is ill."""
    fase = np.where(rng.random(N) < RATES["seeded"], 1, 0)
    while (fase == 1).any():
        before = fase.copy()
        for i in range(N):
            if before[i] == 0:
                # each contact infects or does not, for itself: 1 - exp(-beta) each
                ill = int((before[links.of(i)] == 1).sum())
                if (rng.random(ill) < 1.0 - np.exp(-RATES["beta"])).any():
                    fase[i] = 1
            elif before[i] == 1 and rng.random() < RATES["gamma"]:
                fase[i] = 2
    return int((fase == 2).sum())


def test_an_epidemic_ends_as_often_as_one_of_the_same_rules() -> None:
    source, target = generated(N, NET, 0)
    links = links_of(N, source, target, None, False)
    rng = np.random.default_rng(5)
    expected = np.array([who_was_ill(links, rng) for _ in range(SEEDS)])
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
