"""More entities in the world of an instance (``corec.world.grown`` has what they are).

A larger segment is made beside the old one while the ticks go on (``room_for``). Then the old
blocks are copied as they are, the new ones are made at the world's tick.

Nobody ticks then, and no other process has the world mapped: at a start before the first fork, or
while everybody has left at a tick boundary (``changes``). Order of the stores, and what a kill
leaves:

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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from corec import layout as L
from corec.config import Config
from corec.entities.processor import ProcessorError
from corec.plan import Plan, make_plan
from corec.process.runtime import Runtime
from corec.supervisor import segments
from corec.supervisor.memory import memory_limit
from corec.supervisor.room import bytes_needed, memory_allowed
from corec.world import counts, settings
from corec.world.grown import fill_grown
from corec.world.lanes import out_lane_bytes, rows_lane_bytes
from corec.world.packing import parts_of
from corec.world.past import settle_before
from corec.world.segment import create_segment, open_segment
from corec.world.shape import Shape, differences, read_shape, shape, write_shape
from corec.world.tables import Tables
from shm.killpoint import kill_point
from shm.segment import Segment, SegmentNoSpace, SegmentRefused

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
                open_segment(folder / segments.WORLD, there.fingerprint(config.seed)).close()
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


def check_may_grow(rt: Runtime) -> None:
    """Raises CannotGrow: within a stretch that runs again there is what there was then."""
    tick, until = segments.world_tick(rt), rt.get(L.C_FOLLOW)
    if rt.growths or tick < until:
        raise CannotGrow(
            f"bloques: found more entities while the world, at tick {tick}, runs ticks again as "
            f"its journal says; expected that behind tick {until}: try again then"
        )


@contextmanager
def room_for(rt: Runtime, plan: Plan) -> Iterator[Segment]:
    """The larger segment, empty and all of it allocated, while the ticks may still go; it goes
    again unless the world has become it.

    Raises:
        CannotGrow: the lanes are too small for its frames, or there is no room for both worlds.
    """
    out, rows = (min(lane.capacity for lane in lanes) for lanes in (rt.out, rt.rows))
    if out_lane_bytes(plan) > out or rows_lane_bytes(plan) > rows:
        raise CannotGrow(
            "the rows or messages of the new blocks need larger lanes than this instance has; "
            "stop it and start it again"
        )
    needed = rt.plan.world_bytes + bytes_needed(plan, rt.lanes)
    if (allowed := memory_allowed(needed, memory_limit())) is not None:
        raise CannotGrow(  # the kernel would end somebody for it, without a word
            f"no memory beside the world that grows: found {needed / L.MIB:.0f} MiB for both, "
            f"expected {allowed}"
        )
    (rt.folder / GROWN).unlink(missing_ok=True)
    try:
        world = create_segment(rt.folder / GROWN, plan, rt.config.seed, rt.epoch)
    except SegmentNoSpace as error:
        raise CannotGrow(f"no room beside the world that grows: {error.strerror}") from None
    try:
        yield world
    finally:
        if rt.world is not world:
            world.unlink()
            world.close()


def grow(rt: Runtime, tables: Tables, plan: Plan) -> Tables:
    """Let the world of ``rt`` become that of ``plan``; the tables for it. Raises CannotGrow."""
    with room_for(rt, plan) as world:
        return grow_into(rt, tables, plan, world)


def grow_into(rt: Runtime, tables: Tables, plan: Plan, world: Segment) -> Tables:
    """``grow``, where there is room already (``room_for``). Raises CannotGrow."""
    old, before = rt.plan, counts.by_slot(rt)
    tick, seed = segments.world_tick(rt), rt.config.seed

    def settle(tables: Tables, tick: int) -> None:
        settle_before(tables, tick, rt.written, plan, settings.read(rt), rt.past)

    try:
        made = fill_grown(rt.plan, rt.world.payload, plan, world.payload, tick, seed, settle)
    except ProcessorError as error:
        raise CannotGrow(str(error)) from None
    write_shape(rt.folder, plan, seed, before=shape(old, seed))
    kill_point("grow.before_rename")
    os.rename(rt.folder / GROWN, rt.folder / segments.WORLD)
    kill_point("grow.after_rename")
    world.path = rt.folder / segments.WORLD
    rt.segments = [world if one is rt.world else one for one in rt.segments]
    gone, rt.world, rt.plan = rt.world, world, plan
    tables.keep = ()
    gone.close()
    segments.world_words(rt)
    counts.go_on_from(rt, before)
    return made
