"""How Hypothesis draws worlds: swarms, parameters, readings, changes."""

from __future__ import annotations

import itertools
import random
from typing import Any, Final

import numpy as np
from hypothesis import strategies as st

from corec.lab.oracle.block import Reading
from corec.lab.oracle.world import places_of
from tests.oracle.drawn import (
    BOARD_WIDE,
    EVERYBODY,
    FADER,
    KINDS,
    LARGE,
    MODULE,
    PER_BLOCK,
    PER_LARGE_BLOCK,
    Drawn,
)
from tests.oracle.standing import MIN_FITNESS, collected, placed, reefs, writings

CANALES: Final = st.one_of(st.sampled_from([-128, -1, 0, 1, 9, 10, 127]), st.integers(-128, 127))
SHARES: Final = st.sampled_from([0.07, 0.29, 1 / 3, 0.5, 0.1, 0.01, 0.55, 0.95, 1e-9, 5e-324, 1.0])
CARGAS: Final = st.one_of(st.just(1.0), SHARES, st.floats(0.001, 1.0))
MAX_ERRORES: Final = st.one_of(st.sampled_from([0.0, 0.05, 0.29, 1.0]), SHARES)
SEEDS: Final = st.one_of(st.sampled_from([0, 42, 2**64 - 1]), st.integers(0, 2**64 - 1))
ROW_EVERY: Final = st.sampled_from([1, 2, 3, 4, 7, 10**9])
FLOAT32_MAX: Final = float(np.finfo(np.float32).max)
VALUES: Final = st.one_of(
    st.sampled_from([0.0, 0.5, 0.75, 2.0, -3.5, 2000.0, -2000.0, 0.25, 1e-40, 3.4e38]),
    st.sampled_from([FLOAT32_MAX, -FLOAT32_MAX, 2.0**-149, -(2.0**-149), 2.0**-126, -0.0]),
    st.floats(-4.0, 4.0, width=32),
)
UMBRALES: Final = st.one_of(
    st.sampled_from(["siempre", "nunca", 0.25, -1.5, {"min": 0.3}, {"max": 0.4, "inicial": 0.2}]),
    st.sampled_from(
        [
            FLOAT32_MAX,
            -FLOAT32_MAX,
            {"min": -FLOAT32_MAX, "max": FLOAT32_MAX},
            {"min": 0.7, "max": 0.7, "inicial": 0.7},
        ]
    ),
    st.floats(-2.0, 2.0),
    st.tuples(st.floats(-1.0, 1.0), st.floats(0.0, 2.0)).map(
        lambda pair: {"min": pair[0], "max": pair[0] + pair[1]}
    ),
)
LIMITS: Final = st.one_of(
    st.sampled_from([-FLOAT32_MAX, -1.0, 0.0, 0.2, 0.5, 0.7, 0.95, 2.0]), st.floats(-2.0, 2.0)
)
HALVES: Final[list[Any]] = [{"min": 0.3}, {"min": -0.5}, {"max": 0.4}, {"max": 2.0}]
"""Umbrales of which the other limit is the default."""
PARAMS: Final[dict[str, st.SearchStrategy[dict[str, Any]]]] = {
    "fragile": st.fixed_dictionaries({"share": st.sampled_from([0.0, 0.04, 0.15, 0.3, 0.5])}),
    "drift": st.fixed_dictionaries({}, optional={"noise": st.sampled_from([0.0, 1.0, 2.5])}),
    "sensor": st.fixed_dictionaries({}, optional={"noise": st.just(1.0), "phi": st.just(0.5)}),
    "ewma": st.fixed_dictionaries(
        {
            "warmup": st.sampled_from([0, 1, 3]),
            "z0": st.sampled_from([1.5, 4.0]),
            "clip": st.sampled_from([1.0, 6.0]),
        }
    ),
    "detector": st.fixed_dictionaries(
        {"warmup": st.sampled_from([0, 1, 3]), "pause": st.sampled_from([0, 1, 30])},
        optional={"grain": st.just(0.01), "z0": st.just(0.1)},
    ),
    "spot": st.fixed_dictionaries(
        {"learn": st.sampled_from([2, 5]), "quantile": st.sampled_from([0.6, 0.95])},
        optional={"risk": st.just(0.1), "pause": st.just(0)},
    ),
    "seasonal": st.fixed_dictionaries(
        {
            "period": st.sampled_from([1, 3, 4]),
            "bins": st.sampled_from([2, 3, 64]),
            "periods": st.sampled_from([0, 1]),
        },
        optional={"width": st.just(1.5), "pause": st.just(0)},
    ),
    "rate": st.fixed_dictionaries(
        {"after": st.sampled_from([0, 2]), "times": st.sampled_from([1, 8])},
        optional={"limit": st.just(0.5), "pause": st.just(1)},
    ),
    "stuck": st.fixed_dictionaries(
        {"many": st.sampled_from([1, 2, 2.5]), "band": st.sampled_from([0.0, 0.5])},
        optional={"again": st.just(1), "pause": st.just(2)},
    ),
    "kuramoto": st.fixed_dictionaries({}, optional={"K": st.just(0.5), "dt": st.just(0.5)}),
    "sir": st.fixed_dictionaries({}, optional={"seeded": st.just(0.25), "beta": st.just(2.0)}),
    "kite": st.fixed_dictionaries({}, optional={"pull": st.sampled_from([0.0, 0.25, 1.5])}),
    "breeder": st.fixed_dictionaries(
        {},
        optional={
            "birth": st.sampled_from([0.0, 0.05, 0.9]),
            "death": st.sampled_from([0.0, 0.05, 0.6]),
        },
    ),
    "nomad": st.fixed_dictionaries({}, optional={"restless": st.sampled_from([0.0, 0.05, 1.0])}),
    "wader": st.fixed_dictionaries({}, optional={"step": st.sampled_from([0.0, 1.0, 64.0])}),
    "voter": st.fixed_dictionaries({}, optional={"restless": st.sampled_from([0.0, 0.125, 1.0])}),
    "hoarder": st.fixed_dictionaries({"many": st.sampled_from([0, 1, 4, 5])}),
    "changeling": st.fixed_dictionaries({}, optional={"up": st.sampled_from([0.0, 0.5])}),
    "life": st.fixed_dictionaries({}, optional={"seeded": st.sampled_from([0.5, 1.0])}),
    "schelling": st.fixed_dictionaries({}, optional={"wanted": st.sampled_from([0.5, 0.75, 1.0])}),
    "forest_fire": st.fixed_dictionaries(
        {"seeded": st.sampled_from([0.5, 1.0]), "lightning": st.sampled_from([0.0, 0.01, 0.25])},
        optional={"growth": st.sampled_from([0.25, 1.0])},
    ),
    "sir_graph": st.fixed_dictionaries(
        {"seeded": st.sampled_from([0.05, 0.5])}, optional={"beta": st.sampled_from([0.25, 2.0])}
    ),
    "boids": st.fixed_dictionaries(
        {}, optional={"speed": st.just(1.5), "part": st.just(0.0), "box": st.just(1.0)}
    ),
    "diffusion": st.fixed_dictionaries({}, optional={"rate": st.sampled_from([0.0, 0.25, 3e38])}),
    "ising": st.fixed_dictionaries(
        {"width": st.just(float(BOARD_WIDE))},
        optional={"temperature": st.sampled_from([1e-6, 0.5, 40.0, 1e9])},
    ),
    "fader": st.fixed_dictionaries({"share": st.sampled_from([0.0625, 0.5])}),
    "tide": st.fixed_dictionaries({"base": st.sampled_from([2.0e7, 1.0e6, -3.0e30])}),
}
WINDS: Final = st.sampled_from([0.0, 0.1, -1.5, 3.0])
CHANGES: Final = st.one_of(
    WINDS.map(lambda value: {"globals.wind": value}),
    CARGAS.map(lambda value: {"carga": value}),
    UMBRALES.map(lambda value: {"bloques.b0.umbral": value}),
    MAX_ERRORES.map(lambda value: {"bloques.b0.autoreparacion.max_errores": value}),
)
"""The first two by ``set``, as parameters are; the others by a reload."""
BLOCK_MB: Final = st.sampled_from([1, 1, 1, 2, 5])
Edges = dict[str, list[list[float]]]


@st.composite
def bloques(
    draw: st.DrawFn, names: tuple[str, ...], sizes: st.SearchStrategy[int], whole: bool = False
) -> tuple[list[dict[str, Any]], Edges]:
    """One to three swarms, most of a few blocks, and the edges of their graphs. ``whole``: they are
    one world, and what blocks alone don't have is drawn, too."""
    found: list[dict[str, Any]] = []
    edges: Edges = {}
    for number in range(draw(st.integers(1, 3))):
        begins = sum(map(places_of, found))
        name = draw(st.sampled_from([n for n in names if n != "ising" or begins % BOARD_WIDE == 0]))
        bloque: dict[str, Any] = {
            "id": f"b{number}",
            "canal": draw(CANALES),
            "entidades": draw(sizes),
            "entidades_por_bloque": PER_BLOCK,
            "procesador": name,
        }
        if (short := name.rpartition(":")[2]) in PARAMS:
            bloque["parametros"] = draw(PARAMS[short])
        like_the_first = name == FADER and len(found) > 0
        if like_the_first and draw(st.booleans()):
            bloque["canal"] = found[0]["canal"]  # they are of one kind
        edges |= draw(placed(bloque, short))
        if whole and draw(st.integers(0, 3)) == 0:
            bloque["collect"] = draw(collected(bloque))
        if whole and short != "hoarder":
            bloque["max_size_mb"] = draw(BLOCK_MB)
        if draw(st.integers(0, 3)) == 0:
            bloque["umbral"] = draw(UMBRALES)
            if number == 0 and _first_umbral(bloque["umbral"]):
                del bloque["umbral"]  # b0's is changed by a reload
        if draw(st.booleans()):
            kept = bloque.get("autoreparacion", {})
            bloque["autoreparacion"] = {**kept, "max_errores": draw(MAX_ERRORES)}
        found.append(bloque)
    if any(bloque["procesador"].endswith(":wader") for bloque in found):
        found.append(draw(reefs()))
    last = sum(map(places_of, found)) - 1
    for bloque in found:
        if "reach" in EVERYBODY[bloque["procesador"]].params:  # whom it sends to
            bloque["parametros"] = {"reach": draw(st.integers(0, last + 3))}
    return found, edges


@st.composite
def arrivals(draw: st.DrawFn, entidades: int, most: int) -> list[Reading]:
    """What comes in at one tick: single readings, and many for one entity."""
    ids = st.one_of(st.integers(0, entidades - 1), st.integers(0, min(3, entidades - 1)))
    on = st.sampled_from([True, True, True, False])
    found = draw(st.lists(st.tuples(ids, VALUES, on), max_size=most))
    if draw(st.integers(0, 4)) == 0:
        who, value, times = draw(st.tuples(ids, VALUES, st.sampled_from([3, 5, 9, 17, 60])))
        found += [(who, value + k % 3 if abs(value) < 100 else value, True) for k in range(times)]
        found += draw(st.lists(st.tuples(ids, VALUES, on), max_size=3))
    return found


@st.composite
def floods(draw: st.DrawFn, swarms: Any) -> list[Reading]:
    """What comes in when most entities of a Celu swarm say something, perhaps several times: in the
    order of ids or in any, some of it fails, some switches off. None without such a swarm."""
    firsts = itertools.accumulate(map(places_of, swarms), initial=0)
    celu = [
        (first, places_of(swarm)) for first, swarm in zip(firsts, swarms, strict=False)
        if EVERYBODY[swarm["procesador"]].kind == "celu"
    ]  # fmt: skip
    if not celu:
        return []
    first, count = draw(st.sampled_from(celu))
    share = draw(st.sampled_from([0.5, 0.8, 1.0, 1.0]))
    wrong = draw(st.sampled_from([0.0, 0.0, 0.05]))
    off = draw(st.sampled_from([0.0, 0.0, 0.02, 0.2]))
    mixed = draw(st.booleans())
    dice = random.Random(draw(st.integers(0, 2**32)))
    found: list[Reading] = []
    for _ in range(draw(st.integers(1, 3))):
        who = [i for i in range(first, first + count) if dice.random() < share]
        if mixed:
            dice.shuffle(who)
        for i in who:
            value = dice.choice([2000.0, -2000.0]) if dice.random() < wrong else dice.random() * 4
            found.append((i, float(np.float32(value)), dice.random() >= off))
    return found


def _first_umbral(umbral: Any) -> bool:
    """Whether it says ``inicial``, which a living world does not take over."""
    return isinstance(umbral, dict) and "inicial" in umbral


@st.composite
def parameters(draw: st.DrawFn, swarms: Any, number: int) -> dict[str, Any]:
    """Values of some parameters of a swarm, by path; of one without parameters none."""
    short = swarms[number]["procesador"].rpartition(":")[2]
    values: dict[str, Any] = draw(PARAMS[short]) if short in PARAMS else {}
    at = f"bloques.{swarms[number]['id']}"
    more = {f"{at}.autoreparacion.min_fitness": draw(MIN_FITNESS)} if short == "fader" else {}
    return {**more, **{f"{at}.parametros.{name}": value for name, value in values.items()}}


@st.composite
def limits(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """One limit of a swarm's umbral, or both of them."""
    low, high = sorted(draw(st.lists(LIMITS, min_size=2, max_size=2)))
    both = {f"bloques.{name}.umbral.min": low, f"bloques.{name}.umbral.max": high}
    only = draw(st.sampled_from([*both, None]))
    return {path: value for path, value in both.items() if only in (path, None)}


@st.composite
def umbrales(draw: st.DrawFn, swarms: Any) -> dict[str, Any]:
    """What ``set`` says of the umbral of a swarm that no reload changes."""
    name = swarms[draw(st.integers(1, len(swarms) - 1))]["id"]
    umbral = draw(st.one_of(st.sampled_from(HALVES), UMBRALES))
    if _first_umbral(umbral) or draw(st.integers(0, 2)) == 0:
        one = draw(limits(name))
        return {path: one[path] for path in list(one)[:1]}  # both at once are one change
    return {f"bloques.{name}.umbral": umbral}


@st.composite
def beside(draw: st.DrawFn, changes: dict[int, dict[str, Any]], near: list[int]) -> dict[str, Any]:
    """An entry of a schedule for the umbral that is set at one of these ticks, or just behind."""
    tick = draw(st.sampled_from(near))
    path = [path for path in changes[tick] if ".umbral" in path][-1]
    name, given = path.split(".")[1], changes[tick][path]
    both = draw(st.sampled_from(["siempre", *HALVES, {"min": 0.2, "max": 0.3}]))
    sets = draw(st.one_of(limits(name), st.just({f"bloques.{name}.umbral": both})))
    if given in HALVES and draw(st.booleans()):
        sets = {f"{path}.{limit}": draw(LIMITS) for limit in given}
    return {"at": tick + draw(st.integers(0, 2)), "set": sets}


@st.composite
def entries(draw: st.DrawFn, swarms: Any, ticks: int) -> dict[str, Any]:
    """An entry of a schedule; what a reload changes is not in it."""
    tick = st.integers(1, ticks + 1)
    entry: dict[str, Any] = {"at": draw(tick)}
    if draw(st.booleans()):
        entry = {"every": draw(st.integers(1, 5))}
        entry |= {"from": draw(tick)} if draw(st.booleans()) else {}
        least = entry.get("from", entry["every"])
        entry |= (
            {"until": draw(st.integers(least, max(least, ticks) + 1))}
            if draw(st.booleans())
            else {}
        )
    number = draw(st.integers(0, len(swarms) - 1))
    sets: dict[str, Any] = {"globals.wind": draw(WINDS)} if draw(st.booleans()) else {}
    sets |= draw(parameters(swarms, number))
    if number:
        name = swarms[number]["id"]
        sets |= {f"bloques.{name}.autoreparacion.max_errores": draw(MAX_ERRORES)}
        umbral = draw(UMBRALES)
        if draw(st.booleans()):
            sets |= draw(limits(name))
        else:
            sets |= {} if _first_umbral(umbral) else {f"bloques.{name}.umbral": umbral}
    return {**entry, "set": sets or {"globals.wind": draw(WINDS)}}


@st.composite
def lives(
    draw: st.DrawFn, swarms: Any, ticks_max: int, live: bool = False, edges: Edges | None = None,
    quiet: int = 0,
) -> Drawn:  # fmt: skip
    """A world of these swarms, what comes in and what changes; ``live``: all that can. Nothing
    does in the first ``quiet`` ticks."""
    config: dict[str, Any] = {
        "seed": draw(SEEDS),
        "carga": draw(CARGAS),
        "persist": {"every_ticks": draw(ROW_EVERY)},
        "autoreparacion": {"max_errores": draw(MAX_ERRORES)},
        "globals": {"wind": draw(WINDS)},
        "bloques": swarms,
    }
    ticks = quiet + draw(st.integers(1, ticks_max))
    entidades = sum(map(places_of, swarms))
    readings, changes, near = {}, {}, list[int]()
    for tick in range(quiet + 1, ticks + 1):
        if draw(st.integers(0, 2)):
            readings[tick] = draw(arrivals(entidades, 2 * min(entidades, 12)))
            if draw(st.integers(0, 2)) == 0:
                readings[tick] += draw(floods(swarms))
        if draw(st.integers(0, 7)) == 0:
            change = draw(CHANGES if live else CARGAS.map(lambda value: {"carga": value}))
            if not _first_umbral(change.get("bloques.b0.umbral")):
                at = f"bloques.{swarms[0]['id']}."
                changes[tick] = {path.replace("bloques.b0.", at): v for path, v in change.items()}
        if live and draw(st.integers(0, 7)) == 0:
            changes.setdefault(tick, {}).update(draw(parameters(swarms, 0)))
        if live and draw(st.integers(0, 7)) == 0:
            changes.setdefault(tick, {}).update(draw(writings(swarms)))
        if live and len(swarms) > 1 and draw(st.integers(0, 7)) == 0:
            changes.setdefault(tick, {}).update(draw(umbrales(swarms)))
            near.append(tick)
    if live and draw(st.booleans()):
        config["schedule"] = draw(st.lists(entries(swarms, ticks), max_size=3))
    if near:
        config["schedule"] = [*config.get("schedule", ()), draw(beside(changes, near))]
    if live and draw(st.integers(0, 3)) == 0:
        config["collect"] = _of_a_swarm(draw(collected(swarms[-1])), swarms[-1]["id"])
    if live and draw(st.integers(0, 3)) == 0:
        config["entidades_por_bloque"] = PER_BLOCK
        for bloque in swarms:
            del bloque["entidades_por_bloque"]
    workers = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
    return Drawn(config, ticks, readings, changes, workers, edges or {}, quiet=quiet)


def _of_a_swarm(collect: Any, name: str) -> Any:
    """As it is said at the top level."""
    many = [{"swarm": name, **one} for one in ([collect] if isinstance(collect, dict) else collect)]
    return many[0] if isinstance(collect, dict) else many


@st.composite
def worlds(draw: st.DrawFn, *, large: bool = False, only: tuple[str, ...] = ()) -> Drawn:
    """Any world for the kernels; ``large``: one block of up to the most entities; ``only`` of
    these processors."""
    if not large:
        swarms, _ = draw(bloques(only or tuple(KINDS), st.integers(1, 90)))
        return draw(lives(swarms, 12))
    name = draw(st.sampled_from(sorted(LARGE)))
    swarm = {
        "id": "b0", "canal": draw(CANALES), "procesador": f"{MODULE}:{name}",
        "entidades": draw(st.sampled_from([65_535, 40_001])),
        "entidades_por_bloque": PER_LARGE_BLOCK, "max_size_mb": LARGE[name],
    }  # fmt: skip
    return draw(lives([swarm], 2))
