"""Of group ``meet``: an epidemic in a graph and a flock on a plane, on one core, beside NumPy.

A link is one look at a contact, a pair one neighbour within the radius, seen from one side. NumPy
counts the ill contacts of everybody with one gather and one ``add.reduceat`` over the same links;
CoreC's tick also draws, infects, heals and keeps the old copy. On the plane SciPy's cKDTree finds
the pairs of one tick, and nothing is computed of them; a flock small enough is counted by brute
force, too.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from corec.lab.bench.loading import Absent, load
from corec.lab.bench.results import Check, Table
from corec.lab.bench.rounds import Contender, Effort, interleave, rate_of
from corec.lab.bench.world import BenchWorld
from corec.world.read import BlockView

LINKS: Final = 10
NEAR: Final = 12.0
CHECKED: Final = 2000


def graph_bloque(n: int) -> dict[str, Any]:
    """An epidemic without an end: all have about ``LINKS`` contacts, anywhere, and count the ill
    ones in every tick."""
    space = {"kind": "graph", "edges": {"generator": "erdos_renyi", "p": LINKS / (n - 1)}}
    return _bloque(n, "corec.lab.bench.processors:contact", space, {})


def flock_bloque(n: int) -> dict[str, Any]:
    """A flock whose birds have about ``NEAR`` others around them, and fly straight on."""
    side = float(np.sqrt(n * np.pi / NEAR))
    space = {"kind": "plane", "position": ["x", "y"], "size": side, "radius": 1.0}
    still = {"gather": 0.0, "part": 0.0, "align": 0.0}
    return _bloque(n, "boids", space, {"box": side} | still)


def _bloque(
    n: int, procesador: str, space: dict[str, Any], parametros: dict[str, float]
) -> dict[str, Any]:
    return {
        "id": "all", "canal": 1, "entidades": n, "procesador": procesador, "space": space,
        "parametros": parametros, "umbral": "nunca",
    }  # fmt: skip


def world_of(bloque: dict[str, Any]) -> BenchWorld:
    """A world of one bloque."""
    return BenchWorld({"instance_id": "bench", "http": {"port": 0}, "bloques": [bloque]})


def column(world: BenchWorld, name: str) -> Any:
    """A column of the whole world, in order of ids."""
    words = world.memory.view(np.uint64)
    views = (BlockView(world.plan, words, k) for k in range(world.plan.n_blocks))
    return np.concatenate([view.column(name) for view in views])


def measure(effort: Effort) -> list[Table]:
    """Two tables: links, and pairs."""
    sizes = (20_000,) if effort.quick else (100_000, 1_000_000)
    links = Table("meet-graph", "Contacts in a graph, ten each, one core", "M links/s")
    pairs = Table("meet-plane", "Neighbours on a plane, twelve each, one core", "M pairs/s")
    pairs.checks.append(_same_pairs())
    for n in sizes:
        world = world_of(graph_bloque(n))
        source = world.plan.swarms[0].source
        assert source is not None
        who, starts = source.links.who, source.links.starts[:-1]
        ill = (column(world, "ill") == 1).astype(np.uint8)

        def numpy_counts(who: Any = who, starts: Any = starts, ill: Any = ill) -> None:
            np.add.reduceat(ill[who], np.minimum(starts, who.size - 1), dtype=np.int32)

        count = who.size / 1e6
        rivals = [
            Contender(f"{name}, {n:,} entities", rate_of(tick, count, effort.sample_seconds),
                      ours, "")
            for name, tick, ours in (("CoreC, contacts", world.tick, True),
                                     ("NumPy, counts alone", numpy_counts, False))
        ]  # fmt: skip
        links.rows += interleave(rivals, effort.rounds)
        flock = world_of(flock_bloque(n))
        flock.run_to(1)
        near = float(flock.valor().sum()) * 24.0 / 1e6
        flocks = [
            Contender(f"CoreC, boids, {n:,} entities",
                      rate_of(flock.tick, near, effort.sample_seconds), True)
        ]  # fmt: skip
        if (tree := _tree(flock, pairs)) is not None:
            tree.tick()
            seen, ours = tree.count / 1e6, _seen(flock)
            same = abs(seen - ours) < 1e-4 * seen  # those on the circle, of float64 and float32
            text = f"{ours:.6f} M, SciPy {seen:.6f} M"
            pairs.checks.append(Check(f"pairs: as many as SciPy's tree finds, {n:,}", same, text))
            rate = rate_of(tree.tick, seen, effort.sample_seconds)
            flocks.append(Contender(f"SciPy, cKDTree, pairs alone, {n:,} entities", rate))
        pairs.rows += interleave(flocks, effort.rounds)
    return [links, pairs]


def _seen(flock: BenchWorld) -> float:
    """Neighbours that its birds see in the next tick, as the last one left them, in millions."""
    flock.tick()
    return float(flock.valor().astype(np.float64).sum()) * 24.0 / 1e6


def _tree(flock: BenchWorld, table: Table) -> Any:
    """The rival, of the flock as it is; None, and a note, where it is not installed."""
    try:
        made = load("tree_pairs").TreePairs
    except Absent as absent:
        table.notes.append(f"SciPy, cKDTree: skipped, {absent}")
        return None
    space = flock.plan.swarms[0].space
    assert space is not None
    points = np.stack([column(flock, name).astype(np.float64) for name in ("x", "y")], axis=1)
    return made(points, space.sizes[0], 1.0)


def _same_pairs() -> Check:
    world = world_of(flock_bloque(CHECKED))
    x, y = column(world, "x").astype(np.float64), column(world, "y").astype(np.float64)
    space = world.plan.swarms[0].space
    assert space is not None
    side = space.sizes[0]
    world.tick()
    found = round(float(world.valor().astype(np.float64).sum()) * 24.0)
    total = np.zeros((CHECKED, CHECKED))
    for place in (x, y):
        d = place[None, :] - place[:, None]
        total += (d - side * np.round(d / side)) ** 2
    expected = int((total <= 1.0).sum()) - CHECKED
    same = abs(found - expected) <= 2  # one that lies on the circle, of float64 and float32
    return Check("pairs: as many as by brute force", same, f"{found} of {expected}")
