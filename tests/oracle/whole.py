"""Drawn worlds as ``corec.World``: all blocks of a world in one process, tick by tick."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np

import corec
from corec.config import ConfigError
from corec.lab.oracle.block import Block, Reading
from corec.lab.oracle.compare import lists, same
from corec.lab.oracle.measures import same_statistics
from corec.lab.oracle.phases import KINDS, Told, same_told
from corec.lab.oracle.world import World
from tests.oracle.changing import LIMITS
from tests.oracle.drawn import EVEN, EVERYBODY, GROW, MODULES, WORKERS, WRITE, Drawn
from tests.oracle.edges import write_edges

FIGURES: Final = ("umbral", "fitness", "media", "desviacion", "errores", "activas")
SINCE: Final = {"failures": "failures", "repairs": "repaired", "mensajes": "emitted"}
"""Counts since tick 0, as ``blocks`` and as the oracle call them."""
MET: Final = ("sent", "undelivered", "births", "deaths", "no_room", "moves")
GROUP: Final = "oracle"


def check(drawn: Drawn, look_every: int = 1) -> None:
    """Run ``drawn``, whose processors keep their fields, in a ``corec.World`` and in the oracle;
    entities are looked at every so many ticks, blocks, messages and what is told of phases always.

    Raises:
        Disagreement: they differ.
    """
    # a world that grows reads the files of its configuration again
    with tempfile.TemporaryDirectory(prefix="corec-oracle-") as folder:
        write_edges(drawn, Path(folder))
        with corec.World(_config(drawn, Path(folder))) as found:
            _play(found, drawn, look_every)


def _play(found: corec.World, drawn: Drawn, look_every: int) -> None:
    world = drawn.oracle()
    _same_entities(found, world)
    for tick in range(1, drawn.ticks + 1):
        for path, value in drawn.changes.get(tick, {}).items():
            if path.endswith(LIMITS):
                _limit(found, path, value, world.allows(path, value))
            else:
                _change(found, path, value)
        found.tick(_given(drawn, tick))
        drawn.step(world)
        _same_blocks(found, world)
        _same_messages(found, world)
        if tick % look_every == 0 and tick > drawn.quiet:
            _same_entities(found, world)
    _same_repairs(found, world)
    _same_alerts(found, world)
    same_statistics(
        [(e["tick"], e["bloque"], e["detalle"]) for e in found.events("statistics")],
        world.statistics,
    )
    told = [Told(e["tick"], e["tipo"], e["bloque"], e["entidad"], e["detalle"])
            for kind in KINDS for e in found.events(kind)]  # fmt: skip
    same_told(told, world.told)


def _config(drawn: Drawn, folder: Path) -> dict[str, Any]:
    config = copy.deepcopy(drawn.config)
    for bloque in config["bloques"]:
        module, _, name = bloque["procesador"].rpartition(":")
        if module in MODULES:
            bloque["procesador"] = getattr(MODULES[module], name)
        space = bloque.get("space", {})
        if isinstance(space.get("edges"), str):
            space["edges"] = str(folder / space["edges"])
    return config


def _change(found: corec.World, path: str, value: Any) -> None:
    if path.startswith(GROW):
        found.grow(path.removeprefix(GROW), int(value))
    elif path.startswith(WRITE):
        found.write(path.removeprefix(WRITE), value["fields"], ids=value["ids"])
    elif path not in (WORKERS, EVEN):
        found.set(path, value)


def _limit(found: corec.World, path: str, value: Any, allowed: bool) -> None:
    """Set one, which is to be refused where it is not ``allowed``."""
    try:
        found.set(path, value)
    except ConfigError:
        same(f"{path} {value} after tick {found.ticks}", False, allowed)
    else:
        same(f"{path} {value} after tick {found.ticks}", True, allowed)


def _given(drawn: Drawn, tick: int) -> dict[str, Any]:
    """By swarm: ids, values, activo, in order of arrival."""
    found: dict[str, list[Reading]] = {}
    for reading in drawn.readings.get(tick, ()):
        name = drawn.swarm_of(reading[0])["id"]
        found.setdefault(name, []).append(drawn.full(reading))
    given = {}
    for name, readings in found.items():
        width = len(EVERYBODY[drawn.swarm_of(readings[0][0])["procesador"]].values)
        ids, values, active = map(list, zip(*readings, strict=True))
        if width:
            values = [v if isinstance(v, tuple) else (v,) * width for v in values]
        given[name] = ids, np.array(values, np.float32), active
    return given


def _same_entities(found: corec.World, world: World) -> None:
    blocks: dict[str, list[Block]] = {}
    for block in world.blocks:
        blocks.setdefault(block.settings.name.partition(":")[0], []).append(block)
    for name, mine in blocks.items():
        kind = mine[0].settings.kind
        frame = found.frame(
            name, ["id", "valor", "activo", "fallos", *kind.state, *kind.history, *kind.genes]
        )
        entities = [entity for block in mine for entity in block.entities]
        at = f"{name} tick {world.tick}"
        lists(f"{at} id", frame["id"].tolist(), [entity.id for entity in entities])
        for column in ("valor", *kind.state):
            its = np.array([e.state[column] for e in entities], frame[column].dtype)
            if frame[column].tobytes() != its.tobytes():
                lists(f"{at} {column}", frame[column].tolist(), its.tolist())
        lists(f"{at} activo", frame["activo"].tolist(), [e.activo for e in entities])
        lists(f"{at} fallos", frame["fallos"].tolist(), [e.fallos for e in entities])
        for gene in kind.genes:
            lists(f"{at} {gene}", frame[gene].tolist(), [float(e.genes[gene]) for e in entities])
        for ring, length in kind.history.items():
            nothing = float("nan")
            windows = [[nothing] * (length - len(e.state[ring])) + [float(v) for v in e.state[ring]]
                   for e in entities]  # fmt: skip
            lists(f"{at} {ring}", frame[ring].tolist(), windows)


def _same_blocks(found: corec.World, world: World) -> None:
    for said, its in zip(found.blocks(), world.blocks, strict=True):
        at = f"{its.settings.name} tick {world.tick}"
        same(f"{at} id", said["id"], its.settings.name)
        for name in FIGURES:
            mine, wanted = said[name], getattr(its, name)
            same(f"{at} {name}", mine, float(wanted) if isinstance(mine, float) else wanted)
        for name, wanted in SINCE.items():
            same(f"{at} {name}", said[name], getattr(its, wanted))
        for name in MET:
            if name in said:
                same(f"{at} {name}", said[name], getattr(its, name))


def _same_messages(found: corec.World, world: World) -> None:
    wanted = [
        (m.id, m.canal, float(m.valor), True) for block in world.blocks for m in block.done.messages
    ]
    mine = [(i, c, float(v), a) for i, c, v, a in found.messages().tolist()]
    lists(f"messages of tick {world.tick}", mine, wanted)


def _same_repairs(found: corec.World, world: World) -> None:
    mine = [
        (e["tick"], e["bloque"], e["entidad"], e["detalle"]["donor"], e["detalle"]["how"])
        for e in found.events("repair")
    ]
    lists("repairs", mine, [(r.tick, r.block, r.id, r.donor, r.how) for r in world.repairs])


def _same_alerts(found: corec.World, world: World) -> None:
    wanted = [
        (m.tick, m.id, float(m.valor), m.named)
        for tick in range(1, world.tick + 1)
        for block in world.blocks
        for m in block.messages if m.tick == tick and m.alert
    ]  # fmt: skip
    mine = [(a.tick, a.id, float(a.valor), tuple(a.fields.items())) for a in found.alerts(GROUP)]
    lists("alerts", mine, wanted)
