"""The files of an instance in its runtime folder: made, adopted, removed.

Written by the supervisor before it forks; afterwards each word belongs to the process that
``corec.layout`` and ``docs/architecture.md`` name.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from corec import layout as L
from corec.config import Config
from corec.control.folders import CONTROL_FILE
from corec.control.memory import create_control, open_control
from corec.journal.past import Growth, Past
from corec.kernels.public import show_range
from corec.plan import Plan
from corec.process.roles import EVENT_LANES, committed_tick
from corec.process.runtime import Runtime
from corec.process.showing import Showing
from corec.supervisor import lanes
from corec.supervisor.wishes import WORKERS_MAX
from corec.world import counts, past, settings
from corec.world.checkpoint import Checkpoint
from corec.world.create import create_world
from corec.world.migrate import load_migrated
from corec.world.packing import columns_in, shape_of
from corec.world.restore import load_checkpoint
from corec.world.segment import WORLD_FILE, create_segment, open_segment
from corec.world.shape import write_shape
from corec.world.tables import Tables, make_tables
from shm.lane import Lane
from shm.segment import Segment, SegmentRefused
from shm.wake import Doorbell

WORLD: Final = WORLD_FILE
Progress = Callable[[int, int], None]


def _runtime(
    config: Config, plan: Plan, folder: Path, control: Segment, world: Segment,
    made: dict[str, Segment], count: int,
) -> Runtime:  # fmt: skip
    attached = {name: Lane.attach(segment.payload) for name, segment in made.items()}
    slots = range(L.SLOT_WORKER0 + count)
    bells = [Doorbell(control.words, L.slot_base(slot) + L.S_SLEEPING) for slot in slots]
    return Runtime(
        config=config, plan=plan, folder=folder, control_segment=control, world=world,
        inbox=attached[lanes.IN_FILE],
        out=[attached[lanes.out_file(k)] for k in range(count)],
        rows=[attached[lanes.rows_file(k)] for k in range(count)],
        events={role: attached[lanes.events_file(role)] for role in EVENT_LANES},
        doorbells=bells,
        db_conninfo="",
        redis_url="",
        journal=attached[lanes.JOURNAL_FILE],
        segments=[control, world, *made.values()],
    )  # fmt: skip


def create(
    config: Config, folder: Path, workers: int, checkpoint: Checkpoint | None,
    plan: Plan, progress: Progress, *, fresh: bool = False, largest: Plan | None = None,
    follows: Past | None = None, growths: Sequence[Growth] = (),
) -> tuple[Runtime, Tables]:  # fmt: skip
    """A new world at tick 0, or that of ``checkpoint``, which follows the journal and has its
    ``growths`` to come. ``control.seg`` is made last. The lanes are large enough for ``largest``.

    Raises:
        SegmentNoSpace: the tmpfs is full. CheckpointRefused, ProcessorError: as they say.
    """
    epoch = int(checkpoint.head["epoch"]) if checkpoint else secrets.randbelow(2**63 - 1) + 1
    tick = checkpoint.tick if checkpoint else 0
    world = create_segment(folder / WORLD, plan, config.seed, epoch)
    tables = make_tables(plan, world.payload)
    if checkpoint:
        if columns_in(checkpoint.head["swarms"]) == columns_in(shape_of(plan)):
            load_checkpoint(checkpoint, plan, world.payload, progress)
        else:
            said = settings.entries_in(checkpoint.head)
            past.settle_before(tables, tick + 1, config, plan, said, follows)
            create_world(plan, world.payload, tables, config.seed, progress)
            load_migrated(checkpoint, plan, tables, world.payload)
        show_range(tables.blocks, tables.swarms, 0, plan.n_blocks)
        progress(plan.entidades, plan.entidades)
    else:
        create_world(plan, world.payload, tables, config.seed, progress)
    starts = lanes.lane_starts(checkpoint)
    made = {
        name: lanes.create_lane(folder, name, capacity, epoch, starts.get(name, 0))
        for name, capacity in lanes.lane_files(largest or plan, workers).items()
    }
    write_shape(folder, plan, config.seed)
    half = folder / f"{CONTROL_FILE}.new"
    control = create_control(half, WORKERS_MAX, epoch)
    words = control.words
    words[L.C_WORLD_EPOCH] = epoch
    words[L.C_SEED] = config.seed
    words[L.C_BLOCKS] = plan.n_blocks
    words[L.C_ENTIDADES] = plan.entidades
    words[L.C_LANES] = workers
    words[L.C_WORKERS] = workers
    words[L.C_CONFIG_HASH] = plan.fingerprint(config.seed)
    words[L.C_FRESH] = int(fresh)
    words[L.C_GO_TICK] = tick
    # a checkpoint counts once Redis has everything before it
    words[L.slot_base(L.SLOT_BROKER) + L.S_TICK] = tick
    words[L.C_CUT : L.C_CUT + 4] = starts.get(lanes.IN_FILE, 0)
    for k in range(workers):
        words[L.slot_base(L.SLOT_WORKER0 + k) + L.S_TICK] = tick
    if checkpoint:
        size = L.CANALES * L.IN_POS_WORDS
        table = np.zeros(size, np.uint64)
        for row, *position in checkpoint.head["in_positions"]:
            table[row * L.IN_POS_WORDS : (row + 1) * L.IN_POS_WORDS] = position
        for copy in range(2):
            words[L.C_IN_POS + copy * size : L.C_IN_POS + (copy + 1) * size] = table
    rt = _runtime(config, plan, folder, control, world, made, workers)
    counts.begin(rt, checkpoint.head if checkpoint else None)
    if checkpoint:
        rt.growths = list(growths)
        past.begin(rt, checkpoint.head, follows)
    os.rename(half, folder / CONTROL_FILE)
    control.path = folder / CONTROL_FILE
    return rt, tables


def world_words(rt: Runtime) -> None:
    """What the control words say of the plan: at an adoption, and when a world has grown."""
    rt.set(L.C_BLOCKS, rt.plan.n_blocks)
    rt.set(L.C_ENTIDADES, rt.plan.entidades)
    rt.set(L.C_CONFIG_HASH, rt.plan.fingerprint(rt.config.seed))


def adoptable(folder: Path) -> bool:
    """Whether a whole world lies in ``folder``: its control segment is there (it is made last)."""
    return (folder / CONTROL_FILE).exists()


def adopt(config: Config, folder: Path, plan: Plan) -> tuple[Runtime, Tables]:
    """Take over the world that a dead supervisor left in ``folder``.

    Raises:
        SegmentRefused: a file there is damaged, missing, of another layout or another world's; the
            text says which and why. No file was changed.
    """
    control, world, found = _attach_all(config, folder, plan)
    runtime = _runtime(config, plan, folder, control, world, found, int(control.words[L.C_LANES]))
    world_words(runtime)
    past.go_on(runtime)
    return runtime, make_tables(plan, world.payload)


def _attach_all(
    config: Config, folder: Path, plan: Plan
) -> tuple[Segment, Segment, dict[str, Segment]]:
    control, count = attach_control(folder)
    made = plan.fingerprint(config.seed)
    world = _attach(
        folder / WORLD, lambda path: open_segment(path, made, writable=True), control.epoch
    )
    return control, world, attach_lanes(folder, plan, count, control.epoch)


def attach_control(folder: Path) -> tuple[Segment, int]:
    """control.seg, and how many worker lanes there are. Raises SegmentRefused."""
    control = _attach(
        folder / CONTROL_FILE, lambda path: open_control(path.parent, writable=True)
    )
    count, slots = int(control.words[L.C_LANES]), int(control.words[L.C_WORKERS])
    if not 1 <= slots <= count <= WORKERS_MAX:
        found = f"{slots} workers and {count} lanes"
        raise SegmentRefused(folder / CONTROL_FILE, found, f"1 to {WORKERS_MAX}, a lane for each")
    return control, count


def attach_lanes(folder: Path, plan: Plan, count: int, epoch: int) -> dict[str, Segment]:
    """Every lane of a world of ``plan`` with ``count`` worker lanes. Raises SegmentRefused."""
    found = {}
    for name, capacity in lanes.lane_files(plan, count).items():
        found[name] = _attach(folder / name, lanes.open_lane, epoch)
        try:
            Lane.attach(found[name].payload)
        except ValueError as error:
            raise SegmentRefused(folder / name, str(error), "a lane that makes sense") from None
        lanes.check_capacity(folder / name, found[name], capacity)
    return found


def _attach(path: Path, opened: Callable[[Path], Segment], epoch: int | None = None) -> Segment:
    """One file of the world; of this epoch, if one is given: else it is another world's."""
    try:
        found = opened(path)
    except OSError as error:
        raise SegmentRefused(path, str(error.strerror).lower(), "a segment") from None
    if epoch is not None and found.epoch != epoch:
        raise SegmentRefused(path, f"epoch {found.epoch}", f"epoch {epoch}, as in {CONTROL_FILE}")
    return found


def fits(config: Config, folder: Path, plan: Plan) -> bool:
    """Whether ``adopt`` would take the world in ``folder``; changes nothing."""
    try:
        control, world, found = _attach_all(config, folder, plan)
    except SegmentRefused:
        return False
    for segment in (control, world, *found.values()):
        segment.close()
    return True


def set_aside(folder: Path) -> Path:
    """Move every file of the world in ``folder`` into a folder beside them; returns that one."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    aside = folder / f"aside-{stamp}-{secrets.token_hex(3)}"
    aside.mkdir(mode=0o700)
    for path in world_files(folder):
        path.rename(aside / path.name)
    return aside


def world_tick(rt: Runtime) -> int:
    """The highest tick that every worker has committed."""
    return committed_tick(rt.get)


def more_lanes(rt: Runtime, workers: int) -> None:
    """Make lanes and doorbells for workers that there were never before; the ticks go on.

    Lanes stay when workers leave: what is in them is still to be consumed.

    Raises:
        SegmentNoSpace: the tmpfs is full; everything is as it was.
    """
    for k in range(rt.lanes, workers):
        first, second = lanes.worker_files(rt.whole_plan, k).items()
        out = lanes.create_lane(rt.folder, *first, rt.epoch)
        try:
            rows = lanes.create_lane(rt.folder, *second, rt.epoch)
        except OSError:
            out.unlink()
            raise
        rt.segments += [out, rows]
        rt.out.append(Lane.attach(out.payload))
        rt.rows.append(Lane.attach(rows.payload))
        bell = Doorbell(rt.control, L.slot_base(L.SLOT_WORKER0 + k) + L.S_SLEEPING)
        rt.doorbells.append(bell)


def regroup_words(rt: Runtime, workers: int, shares: counts.Ranges | None = None) -> None:
    """Say that there are ``workers`` workers, with equal ``shares`` of the blocks or these, nobody
    ticking: every worker's word at the world's tick."""
    tick = world_tick(rt)
    rt.set(L.C_LANES, rt.lanes)
    for k in range(workers):
        rt.slot(L.SLOT_WORKER0 + k).set(L.S_TICK, tick)
    counts.carry_over(rt, workers, shares)
    rt.set(L.C_WORKERS, workers)


def start_words(rt: Runtime, *, keep_control: bool) -> None:
    """Control words for a new process group, before the first fork.

    ``keep_control``: the instance goes on as it was (paused, pace, counters), only its processes
    are new.
    """
    rt.set(L.C_STOP, L.STOP_NO)
    rt.set(L.C_REST, rt.get(L.C_REST) + (rt.get(L.C_REST) & 1))
    rt.set(L.C_SUPERVISOR_PID, os.getpid())
    rt.set(L.C_HOLD_RELEASE, rt.get(L.C_HOLD_REQUEST))
    rt.set(L.C_DIGEST_VALID, 0)
    rt.set(L.C_STATE, L.STATE_STARTING)
    rt.group_tick = world_tick(rt)
    for index in range(L.SLOT_WORKER0 + rt.lanes):
        slot = rt.slot(index)
        slot.set(L.S_UP, 0)
        # a worker that has done T passed the phases before it, and does not do them again: another
        # that was killed within T waits for it
        slot.set(L.S_PHASE, slot.get(L.S_TICK) << 8 | 0xFF)
        Showing(slot).starting()
    if keep_control:
        return
    rt.set(L.C_BASE_TICK, world_tick(rt))
    rt.set(L.C_START_MONO_NS, time.monotonic_ns())
    rt.set(L.C_START_UNIX_NS, time.time_ns())
    rt.set(L.C_PAUSED, 0)
    rt.set(L.C_STEP_LIMIT, 0)
    rt.set(L.C_OVERRUNS, 0)
    for index in range(L.SLOT_WORKER0 + rt.lanes):
        slot = rt.slot(index)
        for word in (L.S_PID, L.S_RESTARTS, L.S_BUSY_NS, L.S_WAIT_SINK_NS):
            slot.set(word, 0)
    rt.slot(L.SLOT_BROKER).set(L.S_COUNT0 + L.B_BEGUN, 0)
    rt.slot(L.SLOT_PERSISTER).set(L.S_COUNT0 + L.P_OVERLAP, 0)
    for k in range(rt.lanes):
        slot = rt.slot(L.SLOT_WORKER0 + k)
        for word in range(L.S_BUCKET0, L.S_BUCKET_SUM_NS + 1):
            slot.set(word, 0)


def check_layout(config: Config, folder: Path, plan: Plan) -> None:
    """Whether this code can go on with the world in ``folder``; changes nothing.

    Raises:
        SegmentRefused: with the file, what was found and what this code expects.
    """
    with open_control(folder) as control:
        count = int(control.words[L.C_LANES])
    open_segment(folder / WORLD, plan.fingerprint(config.seed)).close()
    for name, capacity in lanes.lane_files(plan, count).items():
        with lanes.open_lane(folder / name, writable=False) as lane:
            lanes.check_capacity(folder / name, lane, capacity)


def remove(folder: Path) -> None:
    """Remove every file of the instance's world; the lock is the caller's."""
    for path in world_files(folder):
        path.unlink(missing_ok=True)


def world_files(folder: Path) -> list[Path]:
    """Every file of the world, the one that makes it a whole world first."""
    control = folder / CONTROL_FILE
    others = [*sorted(folder.glob("*.seg*")), *sorted(folder.glob("*.lane"))]
    others += sorted(folder.glob("collected-*"))  # ``corec.world.collected``
    return [*([control] if control.exists() else []), *(p for p in others if p != control)]
