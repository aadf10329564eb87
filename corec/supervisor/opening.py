"""Which world an instance goes on with: the one in memory, one from a checkpoint, or a new one."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

from corec.cache import alone
from corec.config import Config, ConfigError, Fault
from corec.control.memory import open_control
from corec.entities.compile import compile_processor, is_compiled, kernel_key
from corec.entities.processor import ProcessorError
from corec.exits import EXIT_USAGE, StartFailed
from corec.journal.past import Growth, Past
from corec.log import get_logger
from corec.plan import Plan, Swarm, make_plan
from corec.proc import look_less_for_garbage
from corec.process.runtime import Runtime
from corec.supervisor import segments
from corec.supervisor.beside import Failed, work
from corec.supervisor.face import Face
from corec.supervisor.growing import GROWN, CannotGrow, grow, plan_in_memory
from corec.supervisor.refitting import BY_OLD, FITTED, CannotRefit, misfitting, refit
from corec.world.checkpoint import (
    Checkpoint,
    CheckpointRefused,
    read_head,
    set_aside_bad,
)
from corec.world.grown import growths, larger
from corec.world.kept import DAMAGED, ODD, PassedOver, look, survey
from corec.world.migrate import handed, migration
from corec.world.packing import parts_of
from corec.world.past import await_growth, found_behind, settled_head
from corec.world.restore import check_parts
from corec.world.settings import (
    Entries,
    effective,
    entries_in,
    read,
    read_in,
    told_as_set,
)
from corec.world.shape import Shape, differences, differences_beside, read_shape, shape
from corec.world.tables import Tables
from shm.segment import SegmentNoSpace, SegmentRefused

log = get_logger("corec.supervisor")
COMPILE_SECONDS_MAX: Final = 3600.0


def compile_processors(plan: Plan) -> None:
    """Compile what the blocks run, or load it from the cache, and read the links of graphs, before
    anything is started.

    Raises:
        ConfigError: a processor can't be compiled, or a file of edges can't be used; each is named
            by its key.
    """
    for source in (swarm.source for swarm in plan.swarms if swarm.source is not None):
        began = time.monotonic()
        log.info("links", where=source.where, links=source.links.count,
                 seconds=round(time.monotonic() - began, 1))  # fmt: skip
    missing = [s for s in plan.swarms if not is_compiled(s.processor, s.cap, s.meeting)]
    if missing:
        _compile_apart(missing)
    faults = []
    for swarm in plan.swarms:
        try:
            compile_processor(swarm.processor, swarm.cap, swarm.meeting)
        except ProcessorError as error:
            key = f"bloques[{swarm.index}].procesador"
            faults.append(Fault(key, str(error), "a processor that compiles"))
    if faults:
        raise ConfigError(faults)


def _compile_apart(swarms: Sequence[Swarm]) -> None:
    """Compile in a child, which keeps the machine code: what the compiler took (hundreds of MiB)
    goes with it. What it cannot do, the caller finds out again, and says."""

    def compiled() -> None:
        look_less_for_garbage()
        for swarm in swarms:
            key = kernel_key(swarm.processor, swarm.cap, swarm.meeting)
            with contextlib.suppress(ProcessorError), alone(key):
                compile_processor(swarm.processor, swarm.cap, swarm.meeting)

    with contextlib.suppress(Failed, OSError):
        for _ in work(compiled, "compiling", COMPILE_SECONDS_MAX, lambda: None):
            time.sleep(0.01)


def fitting_checkpoint(config: Config, plan: Plan, *, growing: bool = True) -> Checkpoint | None:
    """The sound checkpoint made last that fits; None when there is none. What is passed over is
    told, and set aside if it is damaged. ``growing``: the configuration may have more.

    Raises:
        StartFailed: there are some, and none can be used: damaged, unreadable, or of another world
            than the config describes. None is touched then, so that nobody begins a new world by
            starting again.
    """
    folder = config.state_folder
    found, passed = survey(folder, read_head)
    misfits: list[Checkpoint] = []
    chosen = None
    for one in found:
        if differences(one.head, _wanted(config, plan, one.head), growing=growing, migrating=True):
            misfits.append(one)
            continue
        whole = look(one.path, check_parts)
        if isinstance(whole, Checkpoint):
            chosen = whole
            break
        passed.append(whole)
    refused = [one for one in passed if one.kind != ODD]
    if chosen is None and misfits:
        what = f"checkpoint {misfits[0].path}"
        wanted = _wanted(config, plan, misfits[0].head)
        differs = differences(misfits[0].head, wanted, growing=growing, migrating=True)
        raise StartFailed(EXIT_USAGE, _misfit(differs, what))
    if chosen is None and refused:
        raise StartFailed(EXIT_USAGE, f"{refused[0].why}; --fresh begins a new world")
    _tell_passed_over(passed, misfits, chosen)
    return chosen


def _tell_passed_over(
    passed: list[PassedOver], misfits: list[Checkpoint], chosen: Checkpoint | None
) -> None:
    tick = None if chosen is None else chosen.tick
    for one in passed:
        if one.kind != DAMAGED:
            log.warning("a file that looks like a checkpoint is passed over", found=one.why)
            continue
        try:
            aside = str(set_aside_bad(one.path))
        except OSError as error:
            aside = f"not moved: {error.strerror}"
        log.error("a damaged checkpoint is passed over", found=one.why, aside=aside, tick=tick)
    for other in misfits:
        log.warning("a checkpoint of another configuration is passed over", path=str(other.path),
                    tick=tick)  # fmt: skip


def _wanted(config: Config, plan: Plan, head: Mapping[str, Any]) -> Shape:
    """What a world must be to go on, with the entities it was given while it lived."""
    entries = entries_in(head)
    if not entries:
        return shape(plan, config.seed)
    with told_as_set(config, entries):
        return shape(make_plan(effective(config, entries)[0]), config.seed)


def remove_half_made(folder: Path) -> None:
    """Remove the worlds that a killed supervisor had begun to make beside the one in ``folder``:
    who makes one begins anew."""
    for name in (GROWN, FITTED):
        (folder / name).unlink(missing_ok=True)


class World(NamedTuple):
    """The world that an instance goes on with, before it is opened."""

    plan: Plan
    """Of what is there; of a new world all of it."""
    grown: Plan | None
    """With what the configuration has more; None: nothing."""
    checkpoint: Checkpoint | None
    past: Past | None = None
    """What the journal says of the ticks behind the checkpoint; None: nothing."""
    growths: tuple[Growth, ...] = ()
    """Where it is to grow within them and behind them, ``grown`` at last."""
    found: Shape | None = None
    """That of a world in memory whose processors have other fields by now; None: they have not."""
    changes: tuple[str, ...] = ()
    """What becomes of their fields, a line each."""

    @property
    def beside(self) -> int:
        """Bytes that are needed beside the largest world while it grows."""
        if self.grown is None:
            return 0
        sizes = [self.plan.world_bytes, *(one.plan.world_bytes for one in self.growths)]
        sizes += [] if self.growths else [self.grown.world_bytes]
        return max(map(sum, pairwise(sizes))) - self.grown.world_bytes


def find_world(
    config: Config, plan: Plan, folder: Path, *, adopting: bool, fresh: bool, growing: bool,
    migrating: bool = False,
) -> World:  # fmt: skip
    """``plan``: that of a new world of ``config``; ``growing``: one that is there may have less;
    ``migrating``: values of fields that are gone may go.

    Raises:
        StartFailed: see ``fitting_checkpoint``. ConfigError: what it would grow by is impossible.
    """
    checkpoint = past = in_memory = None
    there = plan
    if fresh:
        compile_processors(plan)
        return World(plan, None, None)
    if adopting:
        written, entries = config, set_in_memory(folder)
        config, _ = effective(config, entries)
        with told_as_set(written, entries):
            whole = make_plan(config)
        there = plan_in_memory(config, whole, folder, growing=growing)
        if there is whole and (in_memory := misfitting(config, whole, folder)) is not None:
            there = make_plan(config, parts=parts_of(in_memory["swarms"]), grow=False)
    elif (checkpoint := fitting_checkpoint(config, plan, growing=growing)) is not None:
        head, past = found_behind(config.state_folder, checkpoint.head)
        checkpoint = Checkpoint(checkpoint.path, dict(head))
        config, _ = effective(config, entries_in(settled_head(checkpoint.head, past)))
        there = make_plan(config, parts=parts_of(checkpoint.head["swarms"]), grow=False)
    steps = growing_again(config, there, past)
    grown = steps[-1].plan if steps else larger(config, there)
    what, shown = f"the world in {folder}", in_memory
    if checkpoint is not None:
        what, shown = f"checkpoint {checkpoint.path}", checkpoint.head
    told = () if shown is None else _tell_migration(shown, there, config, what, migrating)
    compile_processors(grown or there)
    return World(there, grown, checkpoint, past, steps, in_memory, told)


def _tell_migration(
    found: Shape, there: Plan, config: Config, what: str, migrating: bool
) -> tuple[str, ...]:
    """What becomes of the fields. Raises StartFailed: values would be lost, and nobody has said
    that they may."""
    changes = migration(found, shape(there, config.seed), handed(there))
    if not migrating and any(change.loses for change in changes):
        told = "; ".join(change.text for change in changes if change.loses)
        raise StartFailed(
            EXIT_USAGE, f"values of {what} would be lost: {told}; "
            "--migrate starts without them, --fresh begins a new world",
        )  # fmt: skip
    for change in changes:
        log.warning("the world's fields change", what=change.text)
    return tuple(change.text for change in changes)


def growing_again(config: Config, there: Plan, past: Past | None) -> tuple[Growth, ...]:
    """Where the world of ``there`` grows while it follows ``past``, and behind that. ``config``:
    with what was set.

    Raises:
        StartFailed: it has less than the world had in the end. ConfigError: it is impossible.
    """
    if past is None:
        return ()
    try:
        found = growths(config, there, past)
    except ConfigError as error:
        raise StartFailed(
            EXIT_USAGE, f"the world grew behind its checkpoint, as its journal says: {error}"
        ) from None
    last = found[-1].plan if found else there
    seed = config.seed
    if found and (told := differences(shape(last, seed), shape(make_plan(config), seed),
                                      growing=True)):  # fmt: skip
        raise StartFailed(EXIT_USAGE, _misfit(told, "the journal behind its checkpoint"))
    if (more := larger(config, last)) is not None:
        found.append(Growth(past.until + 1, more))
    return tuple(found)


def next_start(config: Config, plan: Plan, folder: Path) -> list[str]:
    """What the next start would change of the world that is there, a line each; nothing when it
    would find none, or refuse it."""
    if segments.adoptable(folder):
        in_memory = misfitting(config, plan, folder)
        return [] if in_memory is None else _told(in_memory, shape(plan, config.seed), plan)
    found, _ = survey(config.state_folder, read_head)
    for one in found:
        wanted = _wanted(config, plan, one.head)
        if differences(one.head, wanted, growing=True, migrating=True):
            continue
        return _told(one.head, wanted, plan)
    return []


def _told(found: Shape, wanted: Shape, plan: Plan) -> list[str]:
    changes = migration(found, wanted, handed(plan))
    return [
        change.text + (" (it takes --migrate)" if change.loses else "") for change in changes
    ] + [f"{text}: it grows" for text in differences(found, wanted, migrating=True)]


def set_in_memory(folder: Path) -> Entries:
    """What was set in the world that lies in ``folder``."""
    try:
        control = open_control(folder)
    except (OSError, SegmentRefused):
        return {}  # adopting it says what is wrong
    with control:
        return read_in(control)


def _misfit(differs: list[str], what: str) -> str:
    return (
        f"the world in {what} does not fit the config "
        f"({'; '.join(differs) or 'what differs is not known'}); "
        "use its config, or --fresh to set it aside and begin a new world"
    )


def _refused(config: Config, plan: Plan, folder: Path, error: SegmentRefused) -> str:
    """Why the world in memory is not taken; nothing of it was changed."""
    if error.path.name == segments.WORLD and error.found.startswith("layout"):
        found = read_shape(folder)
        differs = differences(found, shape(plan, config.seed)) if found is not None else []
        if found is None or differs:
            return _misfit(differs, str(folder))
        if told := differences_beside(found, shape(plan, config.seed)):
            return f"the world in {folder} does not fit the config ({'; '.join(told)}); {BY_OLD}"
    return (
        f"the world in {folder} is damaged, or not of this version: {error.path.name}: found "
        f"{error.found}, expected {error.expected}; nothing was changed; put the right file back, "
        "or use --fresh to set it aside and begin a new world"
    )


def open_world(
    config: Config, world: World, folder: Path, face: Face, workers: int, *,
    adopting: bool, meanwhile: Callable[[], None], fresh: bool = False,
) -> tuple[Runtime, Tables]:  # fmt: skip
    """Adopt, restore or create the world; ``meanwhile`` is called now and then. A restored one has
    grown then, an adopted one has not.

    Raises:
        StartFailed: it does not fit, is damaged, or finds no room; the text says which.
    """
    plan = world.plan
    try:
        if adopting:
            face.note("adopting the world in memory")
            if world.found is not None:
                refit(config, folder, world.found, plan)
            rt, tables = segments.adopt(config, folder, plan)
            rt.refitted = world.changes
            whole, _ = effective(config, read(rt))
            rt.growths = list(growing_again(whole, plan, rt.past))
            await_growth(rt)
            return rt, tables
        what = "restoring the world" if world.checkpoint else "creating the world"
        with face.progress(what, plan.entidades) as progress:

            def told(done: int, total: int) -> None:
                meanwhile()
                progress(done, total)

            made = segments.create(
                config, folder, workers, world.checkpoint, plan, told, fresh=fresh,
                largest=world.grown, follows=world.past, growths=world.growths,
            )  # fmt: skip
        if world.grown is None or world.growths:
            return made
        face.note(f"growing from {plan.entidades:,} to {world.grown.entidades:,} entities")
        return made[0], grow(*made, world.grown)
    except CannotGrow as error:
        raise StartFailed(EXIT_USAGE, f"bloques: {error}") from None
    except CannotRefit as error:
        raise StartFailed(EXIT_USAGE, f"the world in {folder} has other fields: {error}") from None
    except SegmentNoSpace as error:
        raise StartFailed(
            EXIT_USAGE, f"bloques: the world does not fit into runtime_dir: {error}"
        ) from None
    except SegmentRefused as error:
        raise StartFailed(EXIT_USAGE, _refused(config, plan, folder, error)) from None
    except CheckpointRefused as error:
        raise StartFailed(EXIT_USAGE, f"{error}; --fresh begins a new world") from None
    except ProcessorError as error:
        fault = Fault("bloques.procesador", str(error), "an init that does not fail")
        raise StartFailed(EXIT_USAGE, str(ConfigError([fault]))) from None
