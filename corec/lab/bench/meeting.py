"""Of group ``meet``: Schelling, boids, wolves and sheep, an epidemic, beside NumPy and Mesa.

One table each, in entities' ticks a second on one core: CoreC and NumPy (with SciPy's cKDTree on
the plane) at the same size, Mesa at one that it can do. Rivals begin in CoreC's state and keep the
same rules; that they end alike over seeds, and the flock bird by bird, is checked in the same run.
Of the town, which comes to rest, only the first ticks count, always again; hardly anybody falls ill
or recovers, and the flock flies straight on, so that a tick is as much work late as early.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np

from corec.lab.bench import outcomes
from corec.lab.bench.linked import LINKS, flock_bloque
from corec.lab.bench.loading import Absent, load
from corec.lab.bench.outcomes import column, given
from corec.lab.bench.results import Check, Table
from corec.lab.bench.rounds import Contender, Effort, interleave, rate_of
from corec.lab.bench.world import BenchWorld

CHECK_TICKS: Final = 10
CHECK_SEEDS: Final = 12
APART_MAX: Final = 1e-4


class Case(NamedTuple):
    """A model, its worlds by their size, and NumPy's form of it."""

    name: str
    title: str
    bloques: Callable[[int], list[dict[str, Any]]]
    numpy: Callable[[BenchWorld, int], Any]
    mesa_n: int
    fresh: int = 0
    """A sample is of the first so many ticks, always again; 0: it goes on."""


def town_bloques(n: int) -> list[dict[str, Any]]:
    """A town of people who want three quarters of their own, in about so many cells."""
    side = math.isqrt(n)
    space = {"kind": "grid", "width": side, "height": side}
    return [_bloque("schelling", side * side * 9 // 10, space, {"wanted": 0.75},
                    capacidad=side * side)]  # fmt: skip


def bird_bloques(n: int) -> list[dict[str, Any]]:
    """A flock that flies straight on."""
    return [flock_bloque(n)]


def meadow_bloques(n: int) -> list[dict[str, Any]]:
    """Four fifths of it grass."""
    side = math.sqrt(n) * 0.9
    parts = {"grass": n * 8 // 10, "sheep": n * 18 // 100, "wolf": n * 2 // 100}
    found = []
    for k, (kind, many) in enumerate(parts.items()):
        room = {} if kind == "grass" else {"capacidad": 4 * many}
        found.append(_bloque(kind, many, _plane(side, 1.5), {"box": side}, id=kind, canal=k + 1,
                             **room))  # fmt: skip
    return found


def contact_bloques(n: int) -> list[dict[str, Any]]:
    """An epidemic that stays as it is: four fifths count their contacts in every tick."""
    space = {"kind": "graph", "edges": {"generator": "erdos_renyi", "p": LINKS / (n - 1)}}
    return [_bloque("sir_graph", n, space, {"beta": 1e-7, "gamma": 1e-7, "seeded": 0.2})]


def _plane(side: float, radius: float) -> dict[str, Any]:
    return {"kind": "plane", "position": ["x", "y"], "size": side, "radius": radius}


def _bloque(
    procesador: str, entidades: int, space: Any, parametros: dict[str, float], **keys: Any
) -> dict[str, Any]:
    found = {"id": "all", "canal": 1, "entidades": entidades, "procesador": procesador}
    return found | {"space": space, "parametros": parametros, "umbral": "nunca"} | keys


def _numpy_town(world: BenchWorld, seed: int) -> Any:
    made = load("numpy_meet").NumpyTown
    return made(outcomes.town_groups(world), given(world)["wanted"], seed)


def _numpy_epidemic(world: BenchWorld, seed: int) -> Any:
    source = world.plan.swarms[0].source
    assert source is not None
    made = load("numpy_meet").NumpyEpidemic
    return made(column(world, "fase"), source.links.starts, source.links.who, given(world), seed)


def _numpy_flock(world: BenchWorld, seed: int) -> Any:
    return outcomes.flock(world, seed, ("tree_meet", "TreeFlock"))


def _numpy_meadow(world: BenchWorld, seed: int) -> Any:
    return outcomes.meadow(world, seed, ("tree_meet", "TreeMeadow"))


CASES: Final = (
    Case(
        "schelling",
        "Schelling, nine tenths of the cells lived in",
        town_bloques,
        _numpy_town,
        2500,
        10,
    ),
    Case(
        "sir_graph",
        "An epidemic in a graph, ten contacts each",
        contact_bloques,
        _numpy_epidemic,
        2000,
    ),
    Case("boids", "A flock, twelve neighbours each", bird_bloques, _numpy_flock, 1000),
    Case("wolf_sheep", "Wolves, sheep and grass on a plane", meadow_bloques, _numpy_meadow, 2000),
)


def world_of(bloques: list[dict[str, Any]]) -> BenchWorld:
    """A world that emits nothing."""
    return BenchWorld({"instance_id": "bench", "http": {"port": 0}, "bloques": bloques})


def measure(effort: Effort) -> list[Table]:
    """A table for each model."""
    return [_one(case, effort) for case in CASES]


def _one(case: Case, effort: Effort) -> Table:
    table = Table(f"meet-{case.name}", f"{case.title}, one core", "M entities/s")
    n, mesa_n = (10_000, case.mesa_n // 4) if effort.quick else (100_000, case.mesa_n)
    world, small = world_of(case.bloques(n)), world_of(case.bloques(mesa_n))
    mesa = outcomes.BY_NAME[case.name].rival
    contenders = [_contender("CoreC", case, world.tick, lambda: _living(world), effort)]
    if case.fresh:
        contenders = [_of_first_ticks("CoreC", case, world, lambda: world_of(case.bloques(n)))]
    for whose, start, made in (("NumPy", world, case.numpy), ("Mesa", small, mesa)):
        try:
            rival = made(start, 1)
        except Absent as absent:
            table.notes.append(f"{whose}, {case.name}: skipped, {absent}")
            continue
        count = _counter(rival, _living(start))
        if case.fresh:
            begin = partial(made, start, 1)
            contenders.append(_of_first_ticks(whose, case, start, begin))
        else:
            contenders.append(_contender(whose, case, rival.tick, count, effort))
        table.checks += _checks(case, whose, made)
    table.rows = interleave(contenders, effort.rounds)
    return table


def _contender(
    whose: str, case: Case, tick: Callable[[], None], count: Callable[[], int], effort: Effort
) -> Contender:
    """Ticks for about one sample; entities that are born and die count as the mean of both ends."""
    rate = rate_of(tick, 1e-6, effort.sample_seconds)

    def sample() -> float:
        before = count()
        ticks = rate()
        return ticks * 0.5 * (before + count())

    return Contender(f"{whose}, {case.name}, {count():,} entities", sample, whose == "CoreC")


def _of_first_ticks(
    whose: str, case: Case, start: BenchWorld, begin: Callable[[], Any]
) -> Contender:
    """The first ticks of what ``begin`` makes, as many entities as in ``start``, which waits."""
    count = _living(start)

    def sample() -> float:
        one = begin()
        began = time.perf_counter()
        for _ in range(case.fresh):
            one.tick()
        return count * case.fresh / 1e6 / (time.perf_counter() - began)

    name = f"{whose}, {case.name}, {count:,} entities, first {case.fresh} ticks"
    return Contender(name, sample, whose == "CoreC")


def _living(world: BenchWorld) -> int:
    """How many entities live in it."""
    total = 0
    for swarm in world.plan.swarms:
        mortal = swarm.processor.mortal
        total += int(column(world, "vivo", swarm.id).sum()) if mortal else swarm.entidades
    return total


def _counter(rival: Any, at_first: int) -> Callable[[], int]:
    """How many it has now; of a rival without births as many as ``at_first``."""
    if not hasattr(rival, "count"):
        return lambda: at_first
    return lambda: sum(rival.count(kind) for kind in ("grass", "sheep", "wolf"))


def _checks(case: Case, whose: str, made: Callable[[BenchWorld, int], Any]) -> list[Check]:
    """Whether it is the same model: the flock bird by bird, the others over some seeds."""
    if case.name == "boids":
        return [_same_flock(whose, made)]
    return outcomes.checks(outcomes.BY_NAME[case.name]._replace(rival=made), CHECK_SEEDS, whose)


def _same_flock(whose: str, made: Callable[[BenchWorld, int], Any]) -> Check:
    """After some ticks, by the real rules: float32 beside float64."""
    world = world_of(outcomes.BY_NAME["boids"].bloques)
    rival = made(world, 1)
    world.run_to(CHECK_TICKS)
    for _ in range(CHECK_TICKS):
        rival.tick()
    space = world.plan.swarms[0].space
    assert space is not None
    side, worst = space.sizes[0], 0.0
    for name in ("x", "y", "vx", "vy"):
        far = np.abs(column(world, name) - rival.column(name))
        worst = max(worst, float((np.minimum(far, side - far) if name in "xy" else far).max()))
    what = f"boids: CoreC and {whose} fly the same way"
    return Check(what, worst < APART_MAX, f"{worst:.1e} apart after {CHECK_TICKS} ticks")
