"""NumPy with SciPy's cKDTree, as an expert writes them: a flock by the rules of ``boids``, wolves,
sheep and grass by those of ``wolf_sheep``; the trees are built anew for each tick."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Reals = NDArray[np.float64]
Given = Mapping[str, Mapping[str, float]]


def wrapped(points: Reals, side: float) -> Reals:
    """On the torus; what rounds to ``side`` is 0."""
    found = points % side
    found[found >= side] = 0.0
    return found


class TreeFlock:
    """A torus. ``state``: f[n] by the fields' names; ``given``: the parameters of ``boids``."""

    def __init__(
        self, state: Mapping[str, Any], given: Mapping[str, float], side: float, radius: float
    ) -> None:
        self._given, self._side, self._radius = given, side, radius
        self._at = wrapped(np.stack([state["x"], state["y"]], 1).astype(np.float64), side)
        self._v = np.stack([state["vx"], state["vy"]], 1).astype(np.float64)
        self.pairs = 0

    def tick(self) -> None:
        """One step of every bird; ``pairs`` is how many neighbours they saw."""
        given, at, v = self._given, self._at, self._v
        tree = cKDTree(at, boxsize=self._side)
        i, j = tree.query_pairs(self._radius, output_type="ndarray").T
        d = at[j] - at[i]
        d -= self._side * np.round(d / self._side)
        pull = given["gather"] - given["part"] / ((d * d).sum(1) + 0.01)
        force = given["align"] * (v[j] - v[i]) + (given["speed"] * pull)[:, None] * d
        n = len(at)
        total = np.empty_like(v)
        for axis in range(2):
            f = force[:, axis]
            total[:, axis] = np.bincount(i, f, n) - np.bincount(j, f, n)
        many = np.bincount(i, minlength=n) + np.bincount(j, minlength=n)
        v = v + total / np.maximum(many, 1)[:, None]
        self._v = given["speed"] * v / (np.hypot(v[:, 0], v[:, 1]) + 1e-9)[:, None]
        self._at = wrapped(at + self._v, self._side)
        self.pairs = 2 * i.size

    def column(self, name: str) -> Reals:
        """f8[n]: a field of every bird."""
        both = self._v if name.startswith("v") else self._at
        return both[:, 0 if name.endswith("x") else 1]


class TreeMeadow:
    """A torus. ``start``: by kind the columns x, y (and energy) of who lives; ``given``: by kind
    the parameters of the processor."""

    def __init__(
        self, start: Mapping[str, Mapping[str, Any]], given: Given, side: float, radius: float,
        seed: int,
    ) -> None:  # fmt: skip
        reach = given["grass"]["reach"] + given["sheep"]["step"]
        if max(reach, given["sheep"]["catch"] + given["wolf"]["step"]) > radius:
            raise ValueError(f"found radius {radius}, expected that who eats sees its food")
        self._given, self._side = given, side
        self._rng = np.random.default_rng(seed)
        self._at = {
            kind: wrapped(np.stack([of["x"], of["y"]], 1).astype(np.float64), side)
            for kind, of in start.items()
        }
        self._energy = {k: start[k]["energy"].astype(np.float64) for k in ("sheep", "wolf")}
        self._eater = {k: np.full(len(self._at[k]), -1, np.int64) for k in ("grass", "sheep")}
        self._green = np.ones(len(self._at["grass"]), bool)

    def _nearest(self, of: Reals, kind: str, within: float) -> NDArray[np.int64]:
        """Of each place the nearest of that kind, or -1."""
        if not len(self._at[kind]) or not len(of):
            return np.full(len(of), -1, np.int64)
        tree = cKDTree(self._at[kind], boxsize=self._side)
        found: NDArray[np.int64] = tree.query(of, distance_upper_bound=within)[1].astype(np.int64)
        found[found == tree.n] = -1
        return found

    def tick(self) -> None:
        """One step of everybody, by what the last left."""
        given, eater = self._given, self._eater
        meals = {
            who: np.bincount(eater[food][eater[food] >= 0], minlength=self.count(who))
            for who, food in (("sheep", "grass"), ("wolf", "sheep"))
        }
        green = np.flatnonzero(self._green)
        named = np.full(self._green.size, -1, np.int64)
        named[green] = self._nearest(self._at["grass"][green], "sheep", given["grass"]["reach"])
        grown = ~self._green & (self._rng.random(self._green.size) < given["grass"]["growth"])
        self._green = (self._green & (named < 0)) | grown
        caught = self._nearest(self._at["sheep"], "wolf", given["sheep"]["catch"])
        hunger, dying = given["sheep"]["hunger"], eater["sheep"] >= 0
        kept_sheep = self._live("sheep", meals["sheep"], hunger, dying, caught < 0)
        kept_wolf = self._live("wolf", meals["wolf"], 1.0, np.zeros(self.count("wolf"), bool), None)
        eaten = _renumbered(caught[kept_sheep], kept_wolf)
        born = self.count("sheep") - eaten.size
        eater["sheep"] = np.concatenate([eaten, np.full(born, -1, np.int64)])
        eater["grass"] = _renumbered(named, kept_sheep)

    def _live(
        self, kind: str, meals: NDArray[Any], hunger: float, dying: NDArray[np.bool_],
        free: NDArray[np.bool_] | None,
    ) -> NDArray[np.bool_]:  # fmt: skip
        """Eat, die, walk, bear; who stays. ``free``: who walks, all without."""
        given, rng = self._given[kind], self._rng
        energy = self._energy[kind] + given["food"] * meals - hunger
        kept: NDArray[np.bool_] = ~dying & (energy >= 0.0)
        at, energy = self._at[kind][kept], energy[kept]
        walks = np.ones(energy.size, bool) if free is None else free[kept]
        angle = 2.0 * np.pi * rng.random(energy.size)
        step = given["step"] * np.stack([np.cos(angle), np.sin(angle)], 1)
        at = wrapped(at + step * walks[:, None], self._side)
        mothers = walks & (rng.random(energy.size) < given["birth"])
        energy[mothers] *= 0.5
        self._at[kind] = np.concatenate([at, at[mothers]])
        self._energy[kind] = np.concatenate([energy, energy[mothers]])
        return kept

    def count(self, kind: str) -> int:
        """How many there are."""
        return len(self._at[kind])

    @property
    def green(self) -> int:
        """How much grass is."""
        return int(self._green.sum())


def _renumbered(who: NDArray[np.int64], kept: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Indices as they are when those that are not kept are gone; -1 of these."""
    if not kept.size:
        return np.full(who.size, -1, np.int64)
    return np.where((who >= 0) & kept[who], np.cumsum(kept)[who] - 1, -1)
