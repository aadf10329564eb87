"""A world in memory whose processors have other fields by now (``corec.world.migrate``).

At a start or an upgrade (``corec.supervisor.upgrading``), before anybody ticks, of a world that
stands still between two ticks: what its old code has begun only that code can finish. Order of the
stores, and what a kill leaves:

    world.seg.fitted      nothing: the next start removes it
    world.seg.json        says both shapes, the new one and the one before
    world.seg.fitted is renamed to world.seg
                          the world has the new fields
    C_CONFIG_HASH         stored again by whoever adopts it; it names the old segment until then

An upgrade has it tried before, up to the first of these stores. The ticks behind the last
checkpoint were made by the old code: whoever adopts the world makes another one at once.
"""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Final

from corec import layout as L
from corec.config import Config
from corec.kernels.public import show_range
from corec.plan import Plan
from corec.process.roles import committed_tick, counted
from corec.supervisor import lanes, segments
from corec.world.commits import tick_in
from corec.world.create import create_world
from corec.world.migrate import MigrateFailed, carry_over, migration
from corec.world.packing import plan_of
from corec.world.past import settle_before, stretch_ahead
from corec.world.segment import create_segment, open_segment
from corec.world.settings import is_write, read_in
from corec.world.shape import Shape, differences, read_shape, shape, write_shape
from corec.world.tables import make_tables
from shm.killpoint import kill_point, register
from shm.lane import Lane, lane_region_bytes
from shm.segment import Segment, SegmentRefused

FITTED: Final = f"{segments.WORLD}.fitted"
BY_OLD: Final = (
    "stop it with the code it was left by (start it once, if it does not run): the new code goes "
    "on from its checkpoint; or use --fresh to set it aside and begin a new world"
)
"""What to do where only the code that left a world in memory can go on with it."""
register("refit.tried")
register("refit.before_rename")
register("refit.after_rename")


class CannotRefit(Exception):
    """The world in memory was not changed; the text says why, and what can be done."""


def misfitting(config: Config, plan: Plan, folder: Path) -> Shape | None:
    """The shape of the world in ``folder`` if it is as ``plan`` has it but for the fields of its
    processors; None: it is another, or needs nothing."""
    found = read_shape(folder)
    wanted = shape(plan, config.seed)
    for one in (found, (found or {}).get("before")):
        if not isinstance(one, dict):
            continue
        if differences(one, wanted, growing=True, migrating=True):
            continue
        if not differences(one, wanted, growing=True) and not migration(one, wanted):
            continue
        try:
            control, world = _attached(folder)
        except (OSError, SegmentRefused):
            return None
        control.close()
        world.close()
        return one
    return None


def _attached(folder: Path) -> tuple[Segment, Segment]:
    """control.seg, and the world's segment as that names it. Raises OSError, SegmentRefused."""
    control, _count = segments.attach_control(folder)
    try:
        world = open_segment(folder / segments.WORLD, int(control.words[L.C_CONFIG_HASH]))
    except (OSError, SegmentRefused):
        control.close()
        raise
    return control, world


def check_refit(folder: Path, plan: Plan) -> None:
    """What can be known of ``refit`` while the ticks go on. Raises CannotRefit, SegmentRefused."""
    control, count = segments.attach_control(folder)
    with closing(control):
        _check_lanes(folder, plan, count, control.epoch)


def remove_fitted(folder: Path) -> None:
    """Remove what somebody who was killed had begun to make."""
    (folder / FITTED).unlink(missing_ok=True)


def refit(
    config: Config, folder: Path, found: Shape, plan: Plan, *, lasting: bool = True
) -> None:  # fmt: skip
    """Let the world of shape ``found`` in ``folder`` have the fields of ``plan``; not ``lasting``:
    only find out whether it could. ``config``: as it is written.

    Raises:
        CannotRefit: it is within a tick, or what ``plan`` needs is not there. SegmentRefused: a
        file is missing or damaged. SegmentNoSpace: no room for both worlds. ProcessorError: an
        ``init`` fails.
    """
    control, old = _attached(folder)
    try:
        tick = _tick_at_rest(control)
        _check_lanes(folder, plan, int(control.words[L.C_LANES]), control.epoch)
        _check_waiting(found, plan, folder, control)
        remove_fitted(folder)
        world = create_segment(folder / FITTED, plan, config.seed, control.epoch)
        try:
            tables = make_tables(plan, world.payload)
            past = stretch_ahead(config.state_folder, control, tick)
            settle_before(tables, tick + 1, config, plan, read_in(control), past)
            create_world(plan, world.payload, tables, config.seed, lambda done, total: None)
            carry_over(plan_of(found["swarms"]), old.payload, plan, tables, world.payload)
            commits = world.words[(plan.blocks["offset"] + L.OFF_COMMIT) // 8]
            if (tick_in(commits) != tick).any():
                raise CannotRefit(f"not all of its blocks are at tick {tick}; {BY_OLD}")
            show_range(tables.blocks, tables.swarms, 0, plan.n_blocks)
            if not lasting:
                kill_point("refit.tried")
                return
            write_shape(folder, plan, config.seed, before={k: found[k] for k in ("seed", "swarms")})
            kill_point("refit.before_rename")
            os.rename(folder / FITTED, folder / segments.WORLD)
            kill_point("refit.after_rename")
        finally:
            remove_fitted(folder)
            world.close()
    except MigrateFailed as error:
        raise CannotRefit(str(error)) from None
    finally:
        old.close()
        control.close()


def _tick_at_rest(control: Segment) -> int:
    words = control.words
    went = int(words[L.C_GO_TICK])
    if committed_tick(lambda word: int(words[word])) != went:
        raise CannotRefit(f"it was left within tick {went}, which only its old code can finish; "
                          f"{BY_OLD}")  # fmt: skip
    return went


def _check_waiting(found: Shape, plan: Plan, folder: Path, control: Segment) -> None:
    """What waits in the lanes, or as rows on the disk, was written with the old fields."""
    now = {s.id: [gene.name for gene in s.processor.genes] for s in plan.swarms}
    before = {one["id"]: [name for name, *_ in one.get("genes", ())] for one in found["swarms"]}
    others = any(before[name] != now[name] for name in before)
    spooled = counted(lambda word: int(control.words[word]), "spool_bytes")
    if others and (spooled or _waits(folder, lanes.ROWS_FILES)):
        raise CannotRefit("generations with its old genes wait to be written to PostgreSQL; "
                          f"{BY_OLD}")  # fmt: skip
    entries = read_in(control)
    went = int(control.words[L.C_GO_TICK])
    if any(is_write(path) and one.tick > went for path, one in entries.items()):
        raise CannotRefit("state with its old fields is written before its next tick; run one "
                          "(corec-ctl step), and try again")  # fmt: skip
    if _reading_waits(found, plan, folder, int(control.words[L.C_CUT + (went & 3)])):
        raise CannotRefit(f"readings of its old values wait to be taken in; {BY_OLD}")
    alerts = [s.processor.alert_columns for s in plan.swarms]
    alerts += [one.get("alerts") for one in found["swarms"]]
    if any(alerts) and _waits(folder, lanes.OUT_FILES):
        raise CannotRefit(f"alerts that name its old fields wait to be sent; {BY_OLD}")


def _reading_waits(found: Shape, plan: Plan, folder: Path, cut: int) -> bool:
    """Whether a reading that no tick has taken in yet, behind ``cut`` of the inbox, may be of a
    bloque whose readings have other values by now."""
    before = {one["id"]: one["value"] for one in found["swarms"] if "value" in one}
    now = {s.id: list(s.processor.values) for s in plan.swarms}
    canales = {s.canal & 0xFF for s in plan.swarms if before.get(s.id, now[s.id]) != now[s.id]}
    if not canales:
        return False
    with lanes.open_lane(folder / lanes.IN_FILE, writable=False) as lane:
        frames = Lane.attach(lane.payload).frames(cut)
        return any(one.kind == L.KIND_READINGS_FRAME and one.a in canales for one in frames)


def _waits(folder: Path, files: str) -> bool:
    """Whether a sink has not had all of what is in these lanes."""
    for path in folder.glob(files):
        with lanes.open_lane(path, writable=False) as lane:
            if Lane.attach(lane.payload).used:
                return True
    return False


def _check_lanes(folder: Path, plan: Plan, count: int, epoch: int) -> None:
    """What ``segments.adopt`` would refuse is refused before anything is changed."""
    for k in range(count):
        for name, wanted in lanes.worker_files(plan, k).items():
            path = folder / name
            if path.exists() and path.stat().st_size < lane_region_bytes(wanted):
                raise CannotRefit("rows or messages of its new fields need larger lanes than "
                                  f"{name}; {BY_OLD}")  # fmt: skip
    for lane in segments.attach_lanes(folder, plan, count, epoch).values():
        lane.close()
