"""How Hypothesis draws whole worlds, whose blocks meet, for ``corec.World`` and for instances."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from hypothesis import strategies as st

from tests.oracle.drawn import (
    CHANGELING,
    EVEN,
    EVERYBODY,
    FADER,
    FORMS,
    GROW,
    KINDS,
    LABORER,
    MET,
    MIGRATE,
    MODULE,
    PACK,
    PER_BLOCK,
    PER_LARGE_BLOCK,
    PLACED,
    WORKERS,
    Drawn,
)
from tests.oracle.standing import SYMBIOSES, evolutions, pack
from tests.oracle.strategies import CANALES, ROW_EVERY, VALUES, bloques, lives

QUIET: Final = st.sampled_from([100, 99, 98, 101, 200, 0])
"""Ticks before anything comes in: blocks take over from each other behind every hundredth."""
MOSTLY_NOT: Final = st.sampled_from([0] * 9 + [98])
APART: Final = (FADER, LABORER, *PACK)
"""Worlds of theirs are not like others."""
MODELS: Final = ("life", "schelling", "forest_fire", "sir_graph", "boids", "diffusion", "ising")
GROUPS: Final = (
    tuple(KINDS), tuple(name for name in EVERYBODY if name not in APART), MET, MET,
    tuple(PLACED), tuple(PLACED), (FADER,), (LABORER,), MODELS, PACK,
    tuple(f"oracle_placed:{name}" for name in ("wader", "coral", "swift")),
    tuple(f"oracle_placed:{name}" for name in ("voter", "catcher", "spy")) + MET,
    tuple(f"oracle_placed:{name}" for name in ("heir", "evolver")),
    (f"{MODULE}:weigher", f"{MODULE}:sitter", f"{MODULE}:relay"), (CHANGELING,),
)  # fmt: skip
"""Whose swarms stand in one world."""
LARGE_MEETING: Final = {"gossip": 16, "relay": 16, "breeder": 24}
"""Of these also the largest blocks, and the MiB such a block takes."""
PAYLOADS: Final = st.sampled_from(["json", "json", "histogram", "none"])
LETTERS: Final = st.sampled_from(["nan", "inf", "-inf", "nobody", "length", "both", "text"])
"""What can't be understood."""


@st.composite
def whole_worlds(draw: st.DrawFn, only: tuple[str, ...] = ()) -> Drawn:
    """A world for a ``corec.World``, which perhaps grows: sizes from a block on, since smaller
    blocks are compiled anew."""
    names = only or draw(st.sampled_from(GROUPS))
    if names == (LABORER,):
        return draw(uneven())
    if set(names) <= set(PACK):
        return draw(lives(draw(pack(CANALES)), 16, True))
    fade = names == (FADER,)
    sizes = st.integers(2 * PER_BLOCK + 1 if fade else PER_BLOCK, 3 * PER_BLOCK)
    swarms, edges = draw(bloques(names, sizes, True))
    take_over = any("simbiosis" in bloque for bloque in swarms)
    quiet = draw(QUIET) if fade else draw(MOSTLY_NOT) if take_over else 0
    drawn: Drawn = draw(lives(swarms, 6 if quiet else 16, True, edges, quiet))
    if fade and draw(st.integers(0, 3)):
        drawn = replace(drawn, config={**drawn.config, "carga": 1.0})
    if fade and quiet and draw(st.booleans()):
        drawn = _weak_from(drawn, quiet + 1)
    return draw(grown(drawn)) if draw(st.integers(0, 2)) == 0 else drawn


def _weak_from(drawn: Drawn, tick: int) -> Drawn:
    """The same, with nobody weak until that is set to count from ``tick`` on."""
    bloques, sets = [], {}
    for bloque in drawn.config["bloques"]:
        cared = bloque["autoreparacion"]
        sets[f"bloques.{bloque['id']}.autoreparacion.min_fitness"] = cared["min_fitness"]
        bloques.append({**bloque, "autoreparacion": {**cared, "min_fitness": 0.0}})
    changes = {**drawn.changes, tick: {**sets, **drawn.changes.get(tick, {})}}
    return replace(drawn, config={**drawn.config, "bloques": bloques}, changes=changes)


@st.composite
def large_worlds(draw: st.DrawFn) -> Drawn:
    """A world of one swarm whose first block is as large as a block can be."""
    name = draw(st.sampled_from(sorted(LARGE_MEETING)))
    sizes = st.sampled_from([PER_LARGE_BLOCK, PER_LARGE_BLOCK + 1])
    swarms, _ = draw(bloques((f"{MODULE}:{name}",), sizes, True))
    swarm = {**swarms[0], "entidades_por_bloque": PER_LARGE_BLOCK,
             "max_size_mb": LARGE_MEETING[name]}  # fmt: skip
    return draw(lives([swarm], 2))


@st.composite
def uneven(draw: st.DrawFn) -> Drawn:
    """A world whose first worker computes long: its blocks move to others before all else."""
    both = {"entidades_por_bloque": PER_BLOCK, "entidades": 3 * PER_BLOCK}
    swarms = [
        {**both, "id": "b0", "canal": draw(CANALES), "procesador": LABORER,
         "parametros": {"work": 120_000.0}},
        {**both, "id": "b1", "canal": draw(CANALES), "procesador": f"{MODULE}:drift"},
    ]  # fmt: skip
    drawn: Drawn = draw(lives(swarms, 4, True))
    config = {**drawn.config, "carga": draw(st.sampled_from([1.0, 0.5])),
              "modules": ["sincronizacion"]}  # fmt: skip
    changes = {**drawn.changes, 1: {EVEN: 1, **drawn.changes.get(1, {})}}
    workers = tuple(max(2, count) for count in drawn.workers)
    return replace(drawn, config=config, changes=changes, workers=workers)


def _is_a_row(bloque: dict[str, Any]) -> bool:
    """Whether it grows as a whole: where its entities are the last, and its last block is full."""
    kind = EVERYBODY[bloque["procesador"]]
    return bool(kind.mortal or kind.genes or kind.public or bloque.get("space"))


def _is_fixed(bloque: dict[str, Any]) -> bool:
    """Whether there are as many as its space has places."""
    return bloque.get("space", {}).get("kind") in ("grid", "graph")


@st.composite
def grown(draw: st.DrawFn, drawn: Drawn) -> Drawn:
    """``drawn``, in which a bloque becomes larger, if one of them can."""
    bloques = drawn.config["bloques"]
    able = [bloque["id"] for bloque in bloques if not _is_a_row(bloque)]
    last = bloques[-1]
    if _is_a_row(last) and "capacidad" not in last and not _is_fixed(last):
        whole = -(-last["entidades"] // PER_BLOCK) * PER_BLOCK  # its last block is to be full
        bloques = [*bloques[:-1], {**last, "entidades": whole}]
        drawn = replace(drawn, config={**drawn.config, "bloques": bloques})
        able.append(last["id"])
    if not able:
        return drawn
    tick = draw(st.integers(drawn.quiet + 1, drawn.ticks))
    more = draw(st.integers(1, 90))
    changes = dict(drawn.changes)
    changes[tick] = {**changes.get(tick, {}), f"{GROW}{draw(st.sampled_from(able))}": more}
    readings = dict(drawn.readings)
    for later in range(tick, drawn.ticks + 1):
        if draw(st.booleans()):
            new = st.tuples(st.integers(0, more - 1), VALUES, st.sampled_from([True, True, False]))
            came = [(drawn.entidades + i, v, a) for i, v, a in draw(st.lists(new, max_size=8))]
            readings[later] = [*readings.get(later, []), *came]
    return replace(drawn, changes=changes, readings=readings)


@st.composite
def other_rules(draw: st.DrawFn, bloque: dict[str, Any]) -> dict[str, Any]:
    """What a reload says of how its entities evolve, or of what becomes of its weak blocks."""
    at = f"bloques.{bloque['id']}"
    if bloque["procesador"] == FADER:
        return {f"{at}.simbiosis": draw(st.sampled_from(SYMBIOSES))}
    if "evolucion" in bloque and "simbiosis" not in bloque:
        return {f"{at}.evolucion": draw(st.one_of(st.none(), evolutions()))}
    return {}


@st.composite
def live_worlds(draw: st.DrawFn, only: tuple[str, ...] = ()) -> Drawn:
    """A world for an instance: one for a ``corec.World``, in which processors get other fields and
    to which comes what can't be understood."""
    drawn: Drawn = draw(whole_worlds(only=only))
    changes = {tick: dict(change) for tick, change in drawn.changes.items()}
    for bloque in drawn.config["bloques"]:
        if draw(st.integers(0, 1)):
            tick = draw(st.integers(drawn.quiet + 1, drawn.ticks))
            changes[tick] = {**changes.get(tick, {}), **draw(other_rules(bloque))}
    if any(bloque["procesador"] == CHANGELING for bloque in drawn.config["bloques"]):
        ticks = st.lists(st.integers(1, drawn.ticks), min_size=1, max_size=2, unique=True)
        for form, tick in zip(range(1, len(FORMS)), sorted(draw(ticks)), strict=False):
            changes[tick] = {MIGRATE: form, **changes.get(tick, {})}
    payload = draw(PAYLOADS)
    persist = {**drawn.config["persist"], "payload": payload}
    drawn = replace(drawn, config={**drawn.config, "persist": persist})
    busy = range(drawn.quiet + 1, drawn.ticks + 1)
    for tick in busy:
        if draw(st.integers(0, 15)) == 0:
            rows: dict[str, Any] = {"persist.every_ticks": draw(ROW_EVERY)}
            if payload != "none":  # which says how a row is written, whenever it was made
                rows["persist.payload"] = draw(st.sampled_from(["json", "histogram"]))
            path = draw(st.sampled_from([*rows]))
            changes[tick] = {**changes.get(tick, {}), path: rows[path]}
    for tick in busy:
        if draw(st.integers(0, 15)) == 0:
            changes[tick] = {**changes.get(tick, {}), WORKERS: 1}
    letters = st.lists(
        st.tuples(st.integers(0, drawn.entidades - 1), LETTERS),
        min_size=1, max_size=3,
    )  # fmt: skip
    bad = {tick: draw(letters) for tick in busy if draw(st.integers(0, 5)) == 0}
    return replace(drawn, changes=changes, letters=bad)
