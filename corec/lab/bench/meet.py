"""Group ``meet``: entities that see each other, on one core, beside NumPy, Mesa and SciPy.

Game of Life on a torus. NumPy once as most write it (eight rolled copies) and once as an expert
does: bytes, a padded copy, rows added in threes, nothing else. CoreC's world keeps the old copy
until one store commits the new one, has a ``valor``, a mean and a deviation per block, and may be
killed at any store. Mesa has an agent for each cell. That all live the same life is checked, cell
by cell.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from corec.lab.bench import linked, meet_cores, meeting, sizes
from corec.lab.bench.loading import Absent, load
from corec.lab.bench.results import Check, Table
from corec.lab.bench.rounds import Contender, Effort, interleave, rate_of
from corec.lab.bench.world import BenchWorld

Cells = NDArray[np.uint8]
CHECK_SIDE: Final = 96
CHECK_TICKS: Final = 50
RULES: Final = ("life", "forest_fire")


def rolled(cells: Cells) -> Cells:
    """A generation by eight rolled copies."""
    near = sum(
        np.roll(np.roll(cells, dy, 0), dx, 1) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx
    )
    alive: NDArray[np.bool_] = (near == 3) | ((near == 2) & (cells == 1))
    return alive.astype(np.uint8)


class Padded:
    """A generation as an expert writes it: the torus as a border, sums of three twice."""

    def __init__(self, cells: Cells) -> None:
        high, wide = cells.shape
        self.cells = cells.copy()
        self._padded = np.zeros((high + 2, wide + 2), np.uint8)
        self._rows = np.empty((high + 2, wide), np.uint8)
        self._sums, self._flag = np.empty_like(cells), np.empty(cells.shape, np.bool_)

    def tick(self) -> None:
        """One generation; nothing is allocated."""
        p, cells = self._padded, self.cells
        p[1:-1, 1:-1] = cells
        p[0, 1:-1], p[-1, 1:-1] = cells[-1], cells[0]
        p[:, 0], p[:, -1] = p[:, -2], p[:, 1]
        np.add(p[:, :-2], p[:, 1:-1], out=self._rows)
        np.add(self._rows, p[:, 2:], out=self._rows)
        np.add(self._rows[:-2], self._rows[1:-1], out=self._sums)
        np.add(self._sums, self._rows[2:], out=self._sums)
        np.equal(self._sums, 4, out=self._flag)  # the cell itself is in the sum
        np.logical_and(self._flag, cells, out=self._flag)
        np.equal(self._sums, 3, out=self._sums.view(np.bool_))
        np.logical_or(self._flag, self._sums.view(np.bool_), out=cells.view(np.bool_))


class Rolled:
    """``rolled``, tick by tick."""

    def __init__(self, cells: Cells) -> None:
        self.cells = cells.copy()

    def tick(self) -> None:
        """One generation."""
        self.cells = rolled(self.cells)


def world_of(side: int, procesador: str = "life") -> BenchWorld:
    """A square torus of so many cells a side, which emits nothing."""
    space = {"kind": "grid", "width": side, "height": side}
    bloque: dict[str, Any] = {
        "id": "grid", "canal": 1, "entidades": side * side, "procesador": procesador,
        "space": space, "umbral": "nunca",
    }  # fmt: skip
    return BenchWorld({"instance_id": "bench", "http": {"port": 0}, "bloques": [bloque]})


def cells_of(world: BenchWorld) -> Cells:
    """Which live: ``valor`` of life says it."""
    side = math.isqrt(world.n)
    return world.valor().astype(np.uint8).reshape(side, side)


def measure(effort: Effort) -> list[Table]:
    """One table: sizes by contenders."""
    table = Table("meet", "Cells that see their eight neighbours, one core", "M cells/s")
    table.checks.append(_same_life())
    for side in (320,) if effort.quick else (320, 1000, 2000):
        worlds = [(name, world_of(side, name)) for name in RULES]
        start = cells_of(worlds[0][1])
        rivals: list[tuple[str, Callable[[], None], bool]] = [
            *((f"CoreC, {name}", world.tick, True) for name, world in worlds),
            ("NumPy, life, padded", Padded(start).tick, False),
            ("NumPy, life, rolled", Rolled(start).tick, False),
        ]
        contenders = [
            Contender(f"{name}, {side} x {side}", rate_of(tick, side * side / 1e6,
                      effort.sample_seconds), ours, "")
            for name, tick, ours in rivals
        ]  # fmt: skip
        table.rows += interleave(contenders, effort.rounds)
    _beside_mesa(table, effort)
    others = (linked, meeting, sizes, meet_cores)
    return [table, *(found for one in others for found in one.measure(effort))]


def _beside_mesa(table: Table, effort: Effort) -> None:
    """A row and a check, where Mesa is installed; else a note."""
    try:
        made = load("mesa_life").MesaLife
    except Absent as absent:
        table.notes.append(f"Mesa, life: skipped, {absent}")
        return
    side = 40 if effort.quick else 100
    world = world_of(side)
    model = made(cells_of(world))
    for _ in range(CHECK_TICKS):
        world.tick()
        model.tick()
    same = bool((cells_of(world) == model.cells).all())
    text = f"{int(model.cells.sum())} of {side * side} cells live after {CHECK_TICKS} generations"
    table.checks.append(Check("life: CoreC and Mesa agree in every cell", same, text))
    rate = rate_of(model.tick, side * side / 1e6, effort.sample_seconds)
    table.rows += interleave([Contender(f"Mesa, life, {side} x {side}", rate)], effort.rounds)


def _same_life() -> Check:
    world = world_of(CHECK_SIDE)
    start = cells_of(world)
    padded, plain = Padded(start), Rolled(start)
    for _ in range(CHECK_TICKS):
        for each in (world, padded, plain):
            each.tick()
    found = cells_of(world)
    same = bool((found == padded.cells).all() and (found == plain.cells).all())
    text = f"{int(found.sum())} of {found.size} cells live after {CHECK_TICKS} generations"
    return Check("life: CoreC and NumPy agree in every cell", same and bool(found.any()), text)
