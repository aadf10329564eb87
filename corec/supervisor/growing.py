"""More entities in a world that is there: behind all that exist, whose ids and places stay.

What a bloque grows by is a part of its own (``plan.Part``): blocks behind the last block, ids
behind the last id. So nothing of a world moves when it grows; a larger segment is made beside the
old one, the old blocks are copied as they are, the new ones are made as in a new world, at the
world's tick.

Nobody ticks, and no other process has the world mapped: at a start before the first fork, or while
everybody has left at a tick boundary (``changes``). Order of the stores, and what a kill leaves:

    world.seg.grown       nothing: the next start removes it
    world.seg.json        says both shapes, the new one and the one before; ``plan_in_memory`` takes
                          the one that ``world.seg`` has
    world.seg.grown is renamed to world.seg
                          the world has grown; what it grows by is part of it from here on
    C_BLOCKS, C_ENTIDADES, C_CONFIG_HASH
                          stored again by whoever adopts it
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import numpy as np

from corec import layout as L
from corec.config import Config
from corec.entities.silence import HEARD
from corec.entities.told import WORDS
from corec.kernels.public import show_range
from corec.kernels.whole import init_range
from corec.plan import Plan, make_plan
from corec.runtime import Runtime
from corec.supervisor import segments
from corec.world import counts
from corec.world.create import first_genes, write_headers
from corec.world.lanes import out_lane_bytes, rows_lane_bytes
from corec.world.packing import parts_of
from corec.world.read import BlockView
from corec.world.shape import (
    WORLD_KIND,
    Shape,
    differences,
    read_shape,
    shape,
    write_shape,
)
from corec.world.tables import Tables, make_tables
from shm.killpoint import kill_point
from shm.segment import Segment, SegmentRefused

GROWN: Final = f"{segments.WORLD}.grown"


class CannotGrow(Exception):
    """Not while it lives; nothing was changed. The text says why, and what can be done."""


def plan_in_memory(config: Config, plan: Plan, folder: Path, *, growing: bool = True) -> Plan:
    """The plan of the world in ``folder``, if ``config`` (whose own is ``plan``) has all of it,
    and, ``growing``, perhaps more; else ``plan``, which does not fit it."""
    found = read_shape(folder)
    for one in (found, (found or {}).get("before")):
        if isinstance(one, dict) and (there := _there(config, plan, one, growing)) is not None:
            try:
                wanted = segments.world_hash(there, config.seed)
                Segment.attach(
                    folder / segments.WORLD, kind=WORLD_KIND, layout_hash=wanted,
                    writable=False,
                ).close()  # fmt: skip
            except (OSError, SegmentRefused):
                continue
            return there
    return plan


def _there(config: Config, plan: Plan, found: Shape, growing: bool) -> Plan | None:
    try:
        if differences(found, shape(plan, config.seed), growing=growing):
            return None
        return make_plan(config, parts=parts_of(found["swarms"]), grow=False)
    except (KeyError, TypeError, ValueError):
        return None


def larger(config: Config, there: Plan) -> Plan | None:
    """The plan with all that ``config`` has; None when ``there`` has it all. Raises ConfigError."""
    plan = make_plan(config, parts=there.parts)
    return plan if plan.n_blocks > there.n_blocks else None


def grow(rt: Runtime, tables: Tables, plan: Plan) -> Tables:
    """Let the world of ``rt`` become that of ``plan``; the tables for it.

    Raises:
        CannotGrow: the lanes are too small for its frames. SegmentNoSpace: no room for both worlds.
    """
    out, rows = (min(lane.capacity for lane in lanes) for lanes in (rt.out, rt.rows))
    if out_lane_bytes(plan) > out or rows_lane_bytes(plan) > rows:
        raise CannotGrow(
            "the rows or messages of the new blocks need larger lanes than this instance has; "
            "stop it and start it again"
        )
    old, before = rt.plan, counts.by_slot(rt)
    tick = segments.world_tick(rt)
    (rt.folder / GROWN).unlink(missing_ok=True)
    world = Segment.create(
        rt.folder / GROWN, kind=WORLD_KIND,
        layout_hash=segments.world_hash(plan, rt.config.seed), payload_bytes=plan.world_bytes,
        epoch=rt.epoch,
    )  # fmt: skip
    try:
        made = _filled(rt, plan, world, tick)
        write_shape(rt.folder, plan, rt.config.seed, before=shape(old, rt.config.seed))
        kill_point("grow.before_rename")
        os.rename(rt.folder / GROWN, rt.folder / segments.WORLD)
    except BaseException:
        world.unlink()
        world.close()
        raise
    kill_point("grow.after_rename")
    world.path = rt.folder / segments.WORLD
    rt.segments = [world if one is rt.world else one for one in rt.segments]
    gone, rt.world, rt.plan = rt.world, world, plan
    tables.keep = ()
    gone.close()
    segments.world_words(rt)
    counts.go_on_from(rt, before)
    return made


def _filled(rt: Runtime, plan: Plan, world: Segment, tick: int) -> Tables:
    """The old blocks as they are, the new ones as in a new world, but at ``tick``."""
    first = rt.plan.n_blocks
    kept = rt.plan.blocks_bytes
    world.payload[:kept] = rt.world.payload[:kept]
    tables = make_tables(plan, world.payload)
    write_headers(plan, world.payload)
    told = np.zeros(WORDS, np.int64)
    seed = np.uint64(rt.config.seed)
    first_genes(plan, tables, first, int(seed))
    if init_range(tables.blocks, tables.swarms, first, plan.n_blocks, seed, told.ctypes.data):
        raise CannotGrow("the init of a processor fails for some of the new entities")
    words = world.payload.view(np.uint64)
    for index in range(first, plan.n_blocks):
        start = int(plan.blocks["offset"][index])
        for word in (L.D_TICK, L.D_ROW_TICK):
            words[(start + L.OFF_DYN[0]) // 8 + word] = tick
        words[(start + L.OFF_COMMIT) // 8] = tick << 16
        view = BlockView(plan, words, index)
        if view.swarm.processor.silence:
            view.column(HEARD)[:] = tick
    show_range(tables.blocks, tables.swarms, 0, plan.n_blocks)
    return tables
