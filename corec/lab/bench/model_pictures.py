"""``python -m corec.lab.bench.model_pictures FOLDER``: a picture of each model of docs/models.md.

Each is a world of a fixed seed, in the server's own kernels, some ticks old: cells as squares, what
moves as points, an epidemic by how many are ill. The same seed draws the same on any machine.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from corec.lab.bench.figure import BASELINE, BLUE, FOOT, GREEN, GREY, RED, YELLOW, figure, words
from corec.lab.bench.outcomes import column
from corec.lab.bench.world import BenchWorld

SIZE, MARGIN, FONT = 320, 8, 11
Shapes = list[str]


class Picture(NamedTuple):
    """A world, how many ticks it is old, what is drawn of it, and what stands below."""

    name: str
    bloques: list[dict[str, Any]]
    ticks: int
    drawn: Callable[[BenchWorld, int], Shapes]
    said: str


def _grid(side: int, **more: Any) -> dict[str, Any]:
    return {"kind": "grid", "width": side, "height": side} | more


def _bloque(procesador: str, entidades: int, space: Any, **keys: Any) -> dict[str, Any]:
    found = {"id": procesador, "canal": 1, "entidades": entidades, "procesador": procesador}
    return found | {"space": space, "umbral": "nunca"} | keys


def squares(cells: NDArray[Any], colours: Mapping[int, str]) -> Shapes:
    """A square for each cell whose number has a colour; those of a row side by side as one."""
    side = SIZE / cells.shape[0]
    found = []
    for number, colour in colours.items():
        path = []
        for y, row in enumerate(cells == number):
            edges = np.flatnonzero(np.diff(np.concatenate([[0], row.astype(np.int8), [0]])))
            for first, last in edges.reshape(-1, 2).tolist():
                x, long = MARGIN + first * side, (last - first) * side
                path.append(f"M{x:g} {MARGIN + y * side:g}h{long:g}v{side:g}h{-long:g}z")
        found.append(f'<path d="{"".join(path)}" fill="{colour}"/>')
    return found


def of_cells(name: str, colours: Mapping[int, str]) -> Callable[[BenchWorld, int], Shapes]:
    """What draws a field of a square grid after some ticks."""

    def drawn(world: BenchWorld, ticks: int) -> Shapes:
        world.run_to(ticks)
        cells = column(world, name)
        if world.plan.swarms[0].processor.mortal:
            cells = np.where(column(world, "vivo") == 1, cells, 0)
        side = math.isqrt(cells.size)
        return squares(cells.reshape(side, side), colours)

    return drawn


def heat(world: BenchWorld, ticks: int) -> Shapes:
    """Ten shades of a field between 0 and 1."""
    world.run_to(ticks)
    u = column(world, "u")
    side = math.isqrt(u.size)
    level = np.clip(((u - 0.3) / 0.4 * 10).astype(int), 0, 9).reshape(side, side)
    shade = {k: f"rgb({40 + 21 * k},{90 + 5 * k},{170 - 14 * k})" for k in range(10)}
    return squares(level, shade)


def birds(world: BenchWorld, ticks: int) -> Shapes:
    """A line for each, along its flight."""
    world.run_to(ticks)
    space = world.plan.swarms[0].space
    assert space is not None
    scale = SIZE / space.sizes[0]
    x, y, vx, vy = (column(world, name) * scale for name in ("x", "y", "vx", "vy"))
    long = 6.0 / np.hypot(vx, vy)
    rows = zip(x + MARGIN, y + MARGIN, vx * long, vy * long, strict=True)
    path = "".join(f"M{a:.1f} {b:.1f}l{c:.1f} {d:.1f}" for a, b, c, d in rows)
    return [f'<path d="{path}" stroke="{BLUE}" stroke-width="1.5" fill="none"/>']


def animals(world: BenchWorld, ticks: int) -> Shapes:
    """Points: green grass, sheep, wolves."""
    world.run_to(ticks)
    found = []
    for kind, colour, radius in (("grass", GREEN, 1.2), ("sheep", YELLOW, 2.5), ("wolf", RED, 3.0)):
        x, y = column(world, "x", kind), column(world, "y", kind)
        shown = column(world, "green" if kind == "grass" else "vivo", kind) == 1
        points = "".join(
            f"M{MARGIN + a * 6.4:.1f} {MARGIN + b * 6.4:.1f}h0"
            for a, b in zip(x[shown].tolist(), y[shown].tolist(), strict=True)
        )
        found.append(f'<path d="{points}" stroke="{colour}" stroke-linecap="round" '
                     f'stroke-width="{2 * radius:g}"/>')  # fmt: skip
    return found


def epidemic(world: BenchWorld, ticks: int) -> Shapes:
    """How many are susceptible, ill, recovered, as time goes by."""
    counts = []
    for tick in range(ticks + 1):
        world.run_to(tick)
        counts.append(np.bincount(column(world, "fase"), minlength=3) / world.n)
    found = []
    for phase, colour in enumerate((BLUE, RED, GREEN)):
        line = "L".join(
            f"{MARGIN + SIZE * tick / ticks:.1f} {MARGIN + SIZE * (1.0 - shares[phase]):.1f}"
            for tick, shares in enumerate(counts)
        )
        found.append(f'<path d="M{line}" stroke="{colour}" stroke-width="2" fill="none"/>')
    return found


MEADOW: Final = {"kind": "plane", "position": ["x", "y"], "size": 50.0, "radius": 1.5}
FLOCK: Final = {"kind": "plane", "position": ["x", "y"], "size": 30.0, "radius": 2.0}
NET: Final = {"kind": "graph", "edges": {"generator": "watts_strogatz", "k": 8, "p": 0.1}}
PICTURES: Final = (
    Picture("life", [_bloque("life", 6400, _grid(80))], 200, of_cells("alive", {1: BLUE}),
            "life, 80 x 80, tick 200"),
    Picture("schelling", [_bloque("schelling", 5800, _grid(80), capacidad=6400,
                                  parametros={"wanted": 0.5})], 30,
            of_cells("group", {1: BLUE, 2: RED}),
            "schelling, 80 x 80, wanted 0.5, tick 30"),
    Picture("forest_fire", [_bloque("forest_fire", 6400, _grid(80))], 300,
            of_cells("cell", {1: GREEN, 2: RED}), "forest_fire, 80 x 80, tick 300"),
    Picture("diffusion", [_bloque("diffusion", 1600, _grid(40, neighbourhood="von_neumann"))], 20,
            heat, "diffusion, 40 x 40, tick 20"),
    Picture("ising", [_bloque("ising", 6400, _grid(80, neighbourhood="von_neumann"),
                              parametros={"temperature": 2.2, "width": 80.0})], 400,
            of_cells("spin", {1: BLUE}), "ising, 80 x 80, temperature 2.2, tick 400"),
    Picture("sir_graph", [_bloque("sir_graph", 4000, NET)], 120, epidemic,
            "sir_graph, 4,000, 8 contacts each, 120 ticks: susceptible, ill, recovered"),
    Picture("boids", [_bloque("boids", 400, FLOCK, parametros={"box": 30.0})], 300, birds,
            "boids, 400, tick 300"),
    Picture("wolf_sheep", [
        _bloque("grass", 2500, MEADOW),
        _bloque("sheep", 600, MEADOW, capacidad=6000, canal=2),
        _bloque("wolf", 80, MEADOW, capacidad=2000, canal=3)], 200, animals,
        "grass, sheep, wolf, tick 200"),
)  # fmt: skip


def drawn(picture: Picture) -> str:
    """The SVG's text."""
    world = BenchWorld({"instance_id": "bench", "http": {"port": 0}, "bloques": picture.bloques})
    shapes = picture.drawn(world, picture.ticks)
    edge = (
        f'<rect x="{MARGIN}" y="{MARGIN}" width="{SIZE}" height="{SIZE}" fill="none" '
        f'stroke="{GREY}" stroke-opacity="0.4"/>'
    )
    below = words(f"{MARGIN}", f"{SIZE + MARGIN + BASELINE}", picture.said)
    sheet = SIZE + 2 * MARGIN, SIZE + 2 * MARGIN + FOOT
    return figure(sheet, picture.said, [*shapes, edge, below], FONT)


def main(arguments: list[str]) -> int:
    """Draw them all; the exit code."""
    if len(arguments) != 1:
        print("expected a folder to draw into", file=sys.stderr)
        return 2
    target = Path(arguments[0])
    target.mkdir(parents=True, exist_ok=True)
    for picture in PICTURES:
        (target / f"{picture.name}.svg").write_text(drawn(picture), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
