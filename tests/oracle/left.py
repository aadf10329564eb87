"""What an instance says of itself, in memory and in its summary, against the oracle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from corec.lab.oracle import compare
from corec.lab.oracle.compare import Disagreement, lists
from corec.lab.oracle.world import World
from tests.support.instance import Running

GAIN_MIN: Final = 1.15
"""What docs/evolution.md says it is worth at least."""


@dataclass
class Left:
    """Entities, blocks and the counters of ``status`` of a world that stands still."""

    entities: list[dict[str, Any]]
    blocks: list[dict[str, Any]]
    status: dict[str, Any]


def told(value: Any) -> Any:
    """As JSON has it: no NaN, no infinity, no NumPy."""
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value


def left_by(run: Running, entidades: int) -> Left:
    """As the control socket tells."""
    entities = [run.ask("entity", id=number) for number in range(entidades)]
    return Left(entities, run.ask("blocks", limit=1000)["blocks"], run.status())


def same(found: Left, world: World) -> None:
    """Every entity's fields, every block's figures.

    Raises:
        Disagreement: at the first difference.
    """
    for number, entity in enumerate(found.entities):
        block, place = world.entity(number)
        wanted = block.entities[place]
        at = f"entity {number}"
        for name, value in (
            ("id", number), ("canal", block.settings.canal), ("bloque", block.settings.name),
            ("activo", wanted.activo), ("fallos", wanted.fallos), ("tick", world.tick),
            ("valor", float(wanted.state["valor"])),
        ):  # fmt: skip
            compare.same(f"{at}.{name}", entity[name], told(value))
        for name in block.settings.kind.state:
            compare.same(f"{at}.estado.{name}", entity["estado"][name], told(wanted.state[name]))
        for name in block.settings.kind.genes:
            compare.same(f"{at}.genes.{name}", entity["genes"][name], float(wanted.genes[name]))
        for name in block.settings.kind.history:
            values = [told(float(v)) for v in wanted.state[name]]
            lists(f"{at}.estado.{name}", entity["estado"][name], values)
    for said, its in zip(found.blocks, world.blocks, strict=True):
        at = f"block {its.settings.name}"
        for name, value in (
            ("id", its.settings.name), ("canal", its.settings.canal), ("errores", its.errores),
            ("activas", its.activas), ("umbral", float(its.umbral)), ("fitness", its.fitness),
            ("media", its.media), ("desviacion", its.desviacion),
        ):  # fmt: skip
            compare.same(f"{at}.{name}", said[name], told(value))


def same_shares(events: list[dict[str, Any]], world: World, evened: int, undisturbed: bool) -> None:
    """What was told of blocks that moved, which were seen to move so often.

    Raises:
        Disagreement: it makes no sense, or nothing was told and nobody had died.
    """
    told = [event["detalle"] for event in events if event["tipo"] == "workers_evened"]
    if undisturbed:
        compare.same("shares evened out", len(told), evened)
    for number, one in enumerate(told):
        at = f"shares evened out, {number}"
        for name in ("before", "now"):
            compare.same(f"{at}: blocks {name}", sum(one[name]), len(world.blocks))
        compare.same(f"{at}: workers", len(one["now"]), len(one["before"]))
        if one["now"] == one["before"] or one["gain"] < GAIN_MIN:
            raise Disagreement(f"{at}: {one['now']} for {one['before']}, gain {one['gain']}")
        if abs(sum(one["busy"]) - 1.0) > 0.01 or len(one["busy"]) != len(one["now"]):
            raise Disagreement(f"{at}: busy {one['busy']}")


def same_summary(summary: dict[str, Any], world: World, *, updates: bool) -> None:
    """The counters of a run's last summary; ``updates`` of a world that was started once."""
    for name, value in (
        ("tick", world.tick), ("messages_out", len(world.messages)),
        ("rows_persisted", len(world.rows)), ("messages_in", world.messages_in),
    ):  # fmt: skip
        compare.same(f"summary.{name}", summary[name], value)
    if updates:
        wanted = sum(block.updates for block in world.blocks)
        compare.same("summary.entity_updates", summary["entity_updates"], wanted)
