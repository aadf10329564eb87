"""Whether this code can go on with the world of a living instance: what its upgrade asks of it."""

from __future__ import annotations

from pathlib import Path

from corec.config import Config, ConfigError, Fault
from corec.entities.processor import ProcessorError
from corec.plan import Plan, make_plan
from corec.supervisor.growing import plan_in_memory
from corec.supervisor.opening import set_in_memory
from corec.supervisor.refitting import CannotRefit, check_refit, misfitting, refit
from corec.supervisor.segments import check_layout
from corec.supervisor.upgrade import Refit
from corec.world.migrate import handed, migration
from corec.world.packing import parts_of
from corec.world.settings import effective, told_as_set
from corec.world.shape import Shape, differences_beside, read_shape, shape
from shm.segment import SegmentNoSpace, SegmentRefused


def takes_over(config: Config, folder: Path, asked: Refit | None) -> bool:
    """Whether this code would give the world in ``folder`` other fields, which whoever asks has to
    know of (``asked``); else it takes the world as it is.

    Raises:
        ConfigError: it can't go on with that world; one line that says what to do.
    """
    written = config
    entries = set_in_memory(folder)
    config, _ = effective(config, entries)
    with told_as_set(written, entries):
        whole = make_plan(config)
    there = plan_in_memory(config, whole, folder)
    try:
        if asked is not None and there is whole:
            found = misfitting(config, whole, folder)
            if found is not None:
                _refits(config, written, folder, found, asked)
                return True
        check_layout(config, folder, there)
    except (SegmentRefused, FileNotFoundError) as error:
        allowed = "a world this code can adopt; stop the instance and start it again"
        told = "; ".join(differences_beside(read_shape(folder) or {}, shape(there, config.seed)))
        raise ConfigError([Fault("bloques", told or str(error), allowed)]) from None
    return False


def _refits(
    config: Config, written: Config, folder: Path, found: Shape, asked: Refit
) -> None:  # fmt: skip
    plan: Plan = make_plan(config, parts=parts_of(found["swarms"]), grow=False)
    changes = migration(found, shape(plan, config.seed), handed(plan))
    lost = [change.text for change in changes if change.loses]
    if lost and not asked.migrating:
        told = f"values that would be lost: {'; '.join(lost)}"
        allowed = "fields whose values stay; corec-ctl upgrade --migrate goes on without them"
        raise ConfigError([Fault("bloques", told, allowed)])
    try:
        if asked.trying:
            refit(written, folder, found, plan, lasting=False)
        else:
            check_refit(folder, plan)
    except (CannotRefit, ProcessorError, SegmentNoSpace) as error:
        told = f"other fields that the living world can't be given: {error}"
        allowed = "fields that it has room for, from an init and a migrate that do not fail"
        raise ConfigError([Fault("bloques", told, allowed)]) from None
