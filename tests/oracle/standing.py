"""How Hypothesis draws where entities stand, how they evolve, and what is written into them."""

from __future__ import annotations

import itertools
from typing import Any, Final

import numpy as np
from hypothesis import strategies as st

from corec.lab.oracle.world import places_of
from tests.oracle.drawn import (
    CHANGELING,
    EVERYBODY,
    FORMS,
    PACK,
    PER_BLOCK,
    REEF,
    form,
    places_for,
)
from tests.support.evolving import RULES

RADII: Final = {"flat": [0.25, 1.0, 1.7, 3.5], "deep": [0.5, 2.0, 3.3, 8.0]}
WEIGHTS: Final = st.one_of(st.sampled_from([0.0, 1.0, -2.5, 1e-40]), st.floats(-2.0, 2.0, width=32))
NUMBERS: Final = st.one_of(
    st.sampled_from([0.0, -1.5, 2000.0, 3.4028234663852886e38, 1e-45]),
    st.floats(-8.0, 8.0, width=32),
)
MIN_FITNESS: Final = st.sampled_from([0.2, 0.5, 0.93, 0.9375, 0.945, 1.0])
FADING: Final = st.sampled_from(
    [(0.0625, 0.93), (0.0625, 0.9375), (0.0625, 0.94), (0.5, 0.5), (0.0625, 0.95)]
)
"""The share of calls that fail, and a ``min_fitness`` near what comes of it."""
SYMBIOSES: Final = ["fusion", "division", "ninguna"]
TOLD: Final = st.fixed_dictionaries(
    {}, optional={"generaciones": st.sampled_from([0, 1, 2, 3]),
                  "linaje": st.sampled_from([0.0, 0.25, 1.0, 2.0**-32, 1e-9])},
)  # fmt: skip
"""What an evolution says of itself."""
EATING: Final = {
    "wolf": st.fixed_dictionaries({}, optional={"birth": st.just(0.5), "food": st.just(2.0)}),
    "sheep": st.fixed_dictionaries(
        {}, optional={"birth": st.just(0.5), "catch": st.sampled_from([0.0, 1.5]),
                      "food": st.just(0.25)}),
    "grass": st.fixed_dictionaries(
        {}, optional={"growth": st.just(0.5), "reach": st.sampled_from([0.0, 1.5])}),
}  # fmt: skip
STATS: Final = ("mean", "std", "min", "max", "sum", "count")


@st.composite
def graphs(draw: st.DrawFn, n: int, weighted: bool) -> tuple[Any, list[list[float]] | None]:
    """``edges`` of a graph of ``n``, and what is in its file, if it is one."""
    if not weighted and draw(st.booleans()):
        generator: dict[str, Any] = draw(
            st.one_of(
                st.fixed_dictionaries(
                    {"generator": st.just("erdos_renyi"),
                     "p": st.sampled_from([0.0, 0.01, 0.1, 0.7, 1.0])}),
                st.fixed_dictionaries(
                    {"generator": st.just("watts_strogatz"), "k": st.integers(1, n - 1),
                     "p": st.sampled_from([0.0, 0.1, 1.0])}),
                st.fixed_dictionaries(
                    {"generator": st.just("barabasi_albert"), "m": st.sampled_from([1, 2, n - 1])}),
                st.sampled_from([{"generator": name} for name in ("complete", "ring", "cycle")]),
            )
        )  # fmt: skip
        return {**generator, **draw(st.sampled_from([{}, {"seed": 7}, {"n": n}]))}, None
    ends = st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda e: e[0] != e[1])
    pairs = draw(st.lists(ends, min_size=1, max_size=4 * n))
    if not weighted:
        return None, [list(map(float, pair)) for pair in pairs]
    once = {frozenset(pair): pair for pair in pairs}.values()
    return None, [[float(a), float(b), draw(WEIGHTS)] for a, b in once]


def evolutions() -> st.SearchStrategy[dict[str, Any]]:
    """Rules of an evolution, and what is told of it."""
    return st.builds(lambda rules, told: {**rules, **told}, RULES, TOLD)


@st.composite
def placed(draw: st.DrawFn, bloque: dict[str, Any], short: str) -> dict[str, list[list[float]]]:
    """Give a bloque the space, the places and the rules that its processor wants; the files of its
    graph."""
    bloque.update(places_for(short))
    if "capacidad" in bloque:
        bloque["entidades"] = draw(st.integers(1, bloque["capacidad"]))
    elif short in ("breeder", "heir") and draw(st.booleans()):
        bloque["capacidad"] = bloque["entidades"]
        bloque["entidades"] = draw(st.integers(1, bloque["capacidad"]))
    if short == "evolver":
        bloque["evolucion"] = draw(evolutions())
    whole = bloque.get("evolucion", {}).get("alcance") == "enjambre"
    if short in ("evolver", "heir") and not whole and draw(st.booleans()):
        bloque["simbiosis"] = draw(st.sampled_from(SYMBIOSES))
        bloque["autoreparacion"] = {"min_fitness": draw(MIN_FITNESS)}
    if short == "fader":
        bloque["simbiosis"] = draw(st.sampled_from([*SYMBIOSES[:2] * 3, "ninguna"]))
        share, least = draw(FADING)
        bloque["parametros"] = {"share": share}
        bloque["autoreparacion"] = {"min_fitness": least}
    space = bloque.get("space", {})
    if space.get("kind") == "plane":
        space["radius"] = draw(st.sampled_from(RADII["deep" if short == "swift" else "flat"]))
    if space.get("kind") != "graph":
        return {}
    space["directed"] = draw(st.booleans())
    edges, held = draw(graphs(places_of(bloque), bool(space.get("weights"))))
    if held is None:
        space["edges"] = edges
        return {}
    space["edges"] = f"{bloque['id']}.{draw(st.sampled_from(['csv', 'csv', 'npz']))}"
    return {space["edges"]: held}


@st.composite
def pack(draw: st.DrawFn, canales: st.SearchStrategy[int]) -> list[dict[str, Any]]:
    """Wolves, sheep and grass, in any order."""
    found = []
    for name in draw(st.permutations(PACK)):
        bloque: dict[str, Any] = {"id": name, "canal": draw(canales), "procesador": name,
                                  "entidades_por_bloque": PER_BLOCK}  # fmt: skip
        draw(placed(bloque, name))
        bloque["parametros"] = draw(EATING[name])
        found.append(bloque)
    return found


@st.composite
def reefs(draw: st.DrawFn) -> dict[str, Any]:
    """The bloque that waders look for."""
    bloque: dict[str, Any] = {**REEF, **places_for("coral")}
    bloque["space"]["radius"] = draw(st.sampled_from(RADII["flat"]))
    return bloque


def _fitting(dtype: str) -> st.SearchStrategy[Any]:
    """Numbers for a field of this type."""
    number = np.dtype(dtype)
    if number.kind == "f":
        return NUMBERS
    limits = np.iinfo(number)
    low, high = max(int(limits.min), -(2**40)), min(int(limits.max), 2**40)
    return st.one_of(st.sampled_from([low, high, 0, 1]), st.integers(0, 100))


def _kept(bloque: dict[str, Any]) -> list[str]:
    """The state fields that its processor has, whatever form it takes."""
    if bloque["procesador"] != CHANGELING:
        return list(EVERYBODY[bloque["procesador"]].state)
    kinds = [form(number)[CHANGELING] for number in range(len(FORMS))]
    return [n for n, (t, _) in kinds[0].state.items()
            if all(k.state.get(n, ("",))[0] == t for k in kinds)]  # fmt: skip


@st.composite
def writings(draw: st.DrawFn, swarms: Any) -> dict[str, Any]:
    """A write into one of the swarms: some fields, of all or of some."""
    firsts = list(itertools.accumulate(map(places_of, swarms), initial=0))
    k = draw(st.integers(0, len(swarms) - 1))
    bloque, kind = swarms[k], EVERYBODY[swarms[k]["procesador"]]
    ids = None
    if draw(st.booleans()):
        who = st.integers(firsts[k], firsts[k + 1] - 1)
        ids = draw(st.lists(who, min_size=1, max_size=9, unique=True))
    space = bloque.get("space", {})
    fields: dict[str, Any] = {}
    names = st.sampled_from(["valor", "activo", *_kept(bloque)])
    for name in draw(st.lists(names, min_size=1, max_size=3, unique=True)):
        dtype = "f4" if name == "valor" else kind.state.get(name, ("u1",))[0]
        one = _fitting(dtype)
        if name in ("activo", "quiet") or (name == "vivo" and kind.mortal):
            one = st.sampled_from([0, 1])
        elif name == "generacion":
            one = st.integers(0, 100)
        elif name in space.get("position", ()):
            one = st.sampled_from([0.0, 0.5, 3.25, 6.999])
        if ids is not None and draw(st.booleans()):
            one = st.lists(one, min_size=len(ids), max_size=len(ids))
        fields[name] = draw(one)
    return {f"write.{bloque['id']}": {"ids": ids, "fields": fields}}


@st.composite
def collected(draw: st.DrawFn, bloque: dict[str, Any]) -> Any:
    """A ``collect`` of a bloque: one object or a list of them."""
    kind = EVERYBODY[bloque["procesador"]]
    names = st.sampled_from(["valor", "activo", "fallos", *_kept(bloque), *kind.genes])
    compared = st.tuples(
        st.sampled_from([" == ", " != ", "<", " <= ", ">", " >= "]),
        st.sampled_from(["0", "1", "0.1", "-0.25", "0.5"]),
    ).map("".join)
    expression = st.one_of(
        st.builds(lambda how, name, more: f"{how}({name}{more})", st.sampled_from(STATS), names,
                  st.one_of(st.just(""), compared)),
        st.builds(lambda name, q: f"quantile({name}, {q})", names,
                  st.sampled_from(["0", "0.25", "0.5", "0.9", "1"])),
    )  # fmt: skip
    one = st.fixed_dictionaries(
        {"every": st.integers(1, 4), "stats": st.lists(expression, min_size=1, max_size=4)}
    )
    return draw(st.one_of(one, st.lists(one, max_size=2)))
