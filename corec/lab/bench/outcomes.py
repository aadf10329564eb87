"""``python -m corec.lab.bench.outcomes [SEEDS]``: how models end, over seeds, beside Mesa's.

A world of each seed and a Mesa model of the same rules (``rivals/mesa_*.py``) begin in the same
state and draw different numbers; what both have become after some ticks are two samples of one
distribution, if the rules are the same. Compared are the mean of the differences with its standard
error, and the two distributions by Kolmogorov's and Smirnov's distance, each so that the same rules
are refused once in some ten thousand comparisons.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from corec.lab.bench.loading import Absent, load
from corec.lab.bench.results import Check
from corec.lab.bench.world import BenchWorld
from corec.world.read import BlockView

Numbers = NDArray[np.float64]
Outcome = Mapping[str, float]
SEEDS: Final = 100
ERRORS_MAX: Final = 4.0
ALPHA: Final = 1e-4
ROUNDING: Final = 0.01
SIDE: Final = 20
MEADOW: Final = {"kind": "plane", "position": ["x", "y"], "size": 20.0, "radius": 1.5}
NET: Final = {"generator": "watts_strogatz", "k": 6, "p": 0.2, "seed": 7}


class Model(NamedTuple):
    """A world, its rival, and what is looked at.

    ``rival(world, seed)`` is the Mesa model that begins as the world does; ``lags``: ticks that the
    world needs more, since it carries out between two ticks what one has decided.
    """

    name: str
    bloques: list[dict[str, Any]]
    ticks: int
    rival: Callable[[BenchWorld, int], Any]
    of_world: Callable[[BenchWorld], Outcome]
    of_rival: Callable[[Any], Outcome]
    lags: int = 0


def column(world: BenchWorld, name: str, swarm: str = "", *, living: bool = False) -> Any:
    """A column of a swarm (the first), in order of ids; ``living``: of who lives alone."""
    words, found = world.memory.view(np.uint64), []
    for k in range(world.plan.n_blocks):
        view = BlockView(world.plan, words, k)
        if view.swarm.id == (swarm or world.plan.swarms[0].id):
            one = view.column(name)
            found.append(one[view.column("vivo") == 1] if living else one)
    return np.concatenate(found)


def given(world: BenchWorld, swarm: int = 0) -> dict[str, float]:
    """The parameters that it runs with, in float64."""
    found = world.plan.swarms[swarm]
    return dict(zip(dict(found.processor.params), found.params, strict=True))


def town_groups(world: BenchWorld) -> NDArray[np.int64]:
    """Who lives where, on a square."""
    groups: NDArray[np.int64] = column(world, "group").astype(np.int64)
    groups[column(world, "vivo") == 0] = 0
    side = math.isqrt(groups.size)
    return groups.reshape(side, side)


def segregated(groups: NDArray[Any]) -> Outcome:
    """The mean share of one's own around one, on a torus."""
    steps = [(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1) if a or b]
    around = np.stack([np.roll(groups, step, (0, 1)) for step in steps])
    here = (groups > 0) & (around > 0).any(0)
    alike = ((around == groups) & (groups > 0)).sum(0)[here]
    return {"share of one's own": float((alike / (around > 0).sum(0)[here]).mean())}


def _town(world: BenchWorld, seed: int) -> Any:
    return load("mesa_town").MesaTown(town_groups(world), given(world)["wanted"], seed)


def _forest(world: BenchWorld, seed: int) -> Any:
    cells = column(world, "cell").reshape(SIDE, SIDE)
    return load("mesa_forest").MesaForest(cells, given(world), seed)


def epidemic(world: BenchWorld, seed: int) -> Any:
    """Mesa's, of the same contacts and the same ill."""
    source = world.plan.swarms[0].source
    assert source is not None
    made = load("mesa_epidemic").MesaEpidemic
    return made(column(world, "fase"), source.links.of, given(world), seed)


def flock(
    world: BenchWorld, _seed: int, made: tuple[str, str] = ("mesa_flock", "MesaFlock")
) -> Any:
    """Mesa's, or ``made``, of the same birds; nothing is drawn."""
    space = world.plan.swarms[0].space
    assert space is not None
    state = {n: column(world, n).astype(np.float64) for n in ("x", "y", "vx", "vy")}
    module, name = made
    return getattr(load(module), name)(state, given(world), space.sizes[0], space.radius)


def meadow(
    world: BenchWorld, seed: int, made: tuple[str, str] = ("mesa_meadow", "MesaMeadow")
) -> Any:
    """Mesa's, or ``made``, of the same animals."""
    space = world.plan.swarms[0].space
    assert space is not None
    start: dict[str, dict[str, Any]] = {}
    for kind in ("grass", "sheep", "wolf"):
        names = ("x", "y") if kind == "grass" else ("x", "y", "energy")
        start[kind] = {n: column(world, n, kind, living=kind != "grass") for n in names}
    parameters = {s.id: given(world, s.index) for s in world.plan.swarms}
    module, name = made
    return getattr(load(module), name)(start, parameters, space.sizes[0], space.radius, seed)


def _together(vx: Any, vy: Any) -> Outcome:
    """1 of a flock that flies one way."""
    mean = math.hypot(float(vx.mean()), float(vy.mean()))
    return {"flies one way": mean / float(np.hypot(vx, vy).mean())}


def _animals(world: BenchWorld) -> Outcome:
    counts = {k: float(column(world, "vivo", k).sum()) for k in ("sheep", "wolf")}
    return counts | {"green": float(column(world, "green", "grass").sum())}


def _bloque(**keys: Any) -> dict[str, Any]:
    return {"id": "all", "canal": 1, "umbral": "nunca"} | keys


GRID: Final = {"kind": "grid", "width": SIDE, "height": SIDE}
MODELS: Final = (
    Model(
        "schelling",
        [_bloque(procesador="schelling", entidades=340, capacidad=SIDE * SIDE, space=GRID,
                 parametros={"wanted": 0.5}, entidades_por_bloque=90)],
        8, _town, lambda w: segregated(town_groups(w)), lambda m: segregated(m.groups), lags=1,
    ),
    Model(
        "forest_fire",
        [_bloque(procesador="forest_fire", entidades=SIDE * SIDE, space=GRID,
                 parametros={"growth": 0.05, "lightning": 0.01})],
        60, _forest,
        lambda w: {"trees": float((column(w, "cell") == 1).sum()),
                   "burning": float((column(w, "cell") == 2).sum())},
        lambda m: {"trees": float(m.count(1)), "burning": float(m.count(2))},
    ),
    Model(
        "sir_graph",
        [_bloque(procesador="sir_graph", entidades=400, space={"kind": "graph", "edges": NET},
                 parametros={"beta": 0.06, "gamma": 0.15, "seeded": 0.02})],
        30, epidemic,
        lambda w: _ill(column(w, "fase")), lambda m: _ill(m.fase),
    ),
    Model(
        "boids",
        [_bloque(procesador="boids", entidades=100, parametros={"box": 8.0},
                 space={"kind": "plane", "position": ["x", "y"], "size": 8.0, "radius": 1.5})],
        100, flock,
        lambda w: _together(column(w, "vx"), column(w, "vy")),
        lambda m: _together(m.column("vx"), m.column("vy")),
    ),
    Model(
        "wolf_sheep",
        [_bloque(id=kind, canal=k + 1, procesador=kind, entidades=(400, 96, 13)[k], space=MEADOW,
                 parametros={"box": 20.0}, **({} if k == 0 else {"capacidad": 2000}))
         for k, kind in enumerate(("grass", "sheep", "wolf"))],
        40, meadow, _animals,
        lambda m: {k: float(m.count(k)) for k in ("sheep", "wolf")} | {"green": float(m.green)},
    ),
)  # fmt: skip
BY_NAME: Final = {model.name: model for model in MODELS}


def _ill(fase: NDArray[Any]) -> Outcome:
    return {"ill": float((fase == 1).sum()), "were ill": float((fase == 2).sum())}


def run(model: Model, seeds: int, **parametros: float) -> dict[str, tuple[Numbers, Numbers]]:
    """By what is looked at: the world's and the rival's, of each seed. ``parametros``: others than
    the rival is given, to see that it is told apart. Raises Absent: Mesa is not there."""
    found: dict[str, list[tuple[float, float]]] = {}
    for seed in range(seeds):
        config = {"instance_id": "bench", "http": {"port": 0}, "seed": seed}
        world = BenchWorld(config | {"bloques": model.bloques})
        rival = model.rival(world, seed + 1)
        if parametros:
            first = {**model.bloques[0], "parametros": model.bloques[0]["parametros"] | parametros}
            world = BenchWorld(config | {"bloques": [first, *model.bloques[1:]]})
        world.run_to(model.ticks + model.lags)
        for _ in range(model.ticks):
            rival.tick()
        theirs = model.of_rival(rival)
        for name, value in model.of_world(world).items():
            found.setdefault(name, []).append((value, theirs[name]))
    return {name: _columns(pairs) for name, pairs in found.items()}


def _columns(pairs: list[tuple[float, float]]) -> tuple[Numbers, Numbers]:
    both = np.array(pairs)
    return both[:, 0], both[:, 1]


def apart(ours: Numbers, theirs: Numbers) -> float:
    """The largest distance of the two shares that lie below a value."""
    at = np.sort(np.concatenate([ours, theirs]))
    shares = [np.searchsorted(np.sort(one), at, "right") / one.size for one in (ours, theirs)]
    return float(np.abs(shares[0] - shares[1]).max())


def alike(what: str, ours: Numbers, theirs: Numbers, whose: str = "Mesa") -> Check:
    """Whether both may be samples of one distribution, taken in pairs."""
    d = ours - theirs
    error = float(d.std(ddof=1)) / math.sqrt(d.size)
    distance = apart(ours, theirs)
    most = math.sqrt(-math.log(ALPHA / 2) / d.size)
    rounding = ROUNDING * float(theirs.std())  # float32 beside Python's float64
    ok = abs(float(d.mean())) <= ERRORS_MAX * error + rounding and distance <= most
    text = (
        f"{ours.mean():.4g} ± {ours.std():.2g}, {whose} {theirs.mean():.4g} ± {theirs.std():.2g}, "
        f"{d.mean() / (error or 1.0):+.1f} standard errors, "
        f"distance {distance:.2f} of at most {most:.2f}, {d.size} seeds"
    )
    return Check(f"{what}: CoreC and {whose} end alike", ok, text)


def checks(model: Model, seeds: int, whose: str = "Mesa", **parametros: float) -> list[Check]:
    """One for each thing that is looked at. Raises Absent: the rival is not there."""
    found = run(model, seeds, **parametros)
    return [alike(f"{model.name}, {name}", *pair, whose) for name, pair in found.items()]


def main(words: list[str]) -> int:
    """Print them all; the exit code."""
    if len(words) > 1 or not all(word.isdigit() and int(word) > 1 for word in words):
        print(f"expected how many seeds, 2 or more ({SEEDS})", file=sys.stderr)
        return 2
    ok = True
    for model in MODELS:
        try:
            found = checks(model, int(words[0]) if words else SEEDS)
        except Absent as absent:
            print(absent, file=sys.stderr)
            return 1
        for check in found:
            print(f"{'ok' if check.ok else 'NOT'}  {check.what}: {check.detail}", flush=True)
            ok &= check.ok
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
