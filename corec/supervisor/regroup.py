"""What a new configuration changes in a living world, decided without doing anything."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from corec.config import Config, ConfigError, Fault, load_config
from corec.config.effect import Effect, changed, effect_of, is_live
from corec.nucleus.loadable import check_loadable
from corec.plan import make_plan
from corec.process.roles import BROKER, NAMES, NUCLEUS, PERSISTER, TASKS, WORKER
from corec.process.runtime import Runtime
from corec.supervisor.wishes import Wishes
from corec.world import settings
from corec.world.past import check_journal
from corec.world.shape import Shape, differences, shape
from corec.world.tables import Tables, settle

EVERYBODY: Final = frozenset(NAMES)
_NOBODY_ELSE: Final[frozenset[str]] = frozenset()
_CONCERNS: Final[dict[str, frozenset[str]]] = {
    "$schema": _NOBODY_ELSE,
    "tick_hz": _NOBODY_ELSE,
    "carga": _NOBODY_ELSE,
    "checkpoint": _NOBODY_ELSE,
    "modules": _NOBODY_ELSE,
    "modules.sincronizacion": frozenset({WORKER.name}),
    "auditoria": _NOBODY_ELSE,
    "plugins": _NOBODY_ELSE,
    "persist": frozenset({PERSISTER.name}),
    "persist.every_ticks": frozenset({PERSISTER.name, WORKER.name}),
    "persist.payload": frozenset({PERSISTER.name, WORKER.name}),
    "persist.retention": frozenset({PERSISTER.name, TASKS.name}),
    "streams": frozenset({BROKER.name}),
    "streams.maxlen": frozenset({BROKER.name, TASKS.name}),
    "streams.readings_per_tick": frozenset({BROKER.name, WORKER.name}),
}
"""Who reads a key, beside the nucleus, which shows them all; a key without a row has that of the
section it stands in, and one without any is everybody's."""


def reloaded(
    old: Config, wishes: Wishes, entries: settings.Entries, found: Shape
) -> tuple[Config, list[str]]:  # fmt: skip
    """The configuration file read again, as it is written, and the paths of the keys that differ
    from ``old``, which the processes have, with what was set. ``found``: the world's shape.

    Raises:
        ConfigError: it is faulty, or changes what can't change under a living world.
    """
    assert wishes.config_path is not None
    fresh = load_config(wishes.config_path, overrides=wishes.overrides)
    check_loadable(fresh)
    differs = differing(old, fresh, entries)
    with settings.told_as_set(fresh, entries):
        plan = make_plan(settings.effective(fresh, entries)[0])  # its parameters, globals, schedule
    check_journal(fresh, plan)
    fixed = [path for path in differs if not is_live(path)]
    # of bloques that differ in number: there may be more behind the last
    more = (Effect.GROW, Effect.ROOM)
    growing = [path for path in fixed if path == "bloques" or effect_of(path) in more]
    if growing:
        fixed = [path for path in fixed if path not in growing]
        told = differences(found, shape(plan, fresh.seed), growing=True)
        if told:
            raise ConfigError([fault_of(text) for text in told])
    if fixed:
        raise ConfigError([
            Fault(path, "a change under a living world", f"a change {effect_of(path)}")
            for path in fixed
        ])  # fmt: skip
    return fresh, differs


def fault_of(text: str) -> Fault:
    """A line of ``differences`` as the fault of the key that it names."""
    path, _, found = text.partition(": found ")
    if not found:  # and so many more
        path, found = "bloques", text
    return Fault(path, found, f"a change {Effect.GROW}")


def differing(old: Config, fresh: Config, entries: settings.Entries) -> list[str]:
    """The paths of the keys that differ between ``old``, which the processes have, and ``fresh``,
    both with what was set."""
    whole, _ = settings.effective(fresh, entries)
    was = settings.with_world(old, entries)
    found = list(changed(was.compared(), whole.compared()))
    if len({"sincronizacion" in config.modules for config in (was, whole)}) == 2:
        found.append("modules.sincronizacion")  # what the workers do for it
    return found


def concerned(differs: Iterable[str]) -> frozenset[str]:
    """The roles that must be started again to know new values of the keys at these paths.

    A role that is not among them goes on undisturbed: a sink's limit can be raised while the
    workers wait for that very sink, and can't rest.
    """
    found: set[str] = set()
    for path in differs:
        found |= {NUCLEUS.name} | _readers(path)
    return frozenset(found)


def by_themselves(roles: frozenset[str]) -> frozenset[str]:
    """Which of ``roles`` are started again first: the sinks, for whose limits ticks may wait. Who
    looks after alerts, too, unless the workers rest: then everybody else ends with them."""
    later = {NUCLEUS.name, WORKER.name} | ({TASKS.name} if WORKER.name in roles else set())
    return roles - later


def _readers(path: str) -> frozenset[str]:
    while path not in _CONCERNS:
        path, dot, _name = path.rpartition(".")
        if not dot:
            return EVERYBODY
    return _CONCERNS[path]


def take_over(rt: Runtime, after: Config, tables: Tables, entries: settings.Entries) -> None:
    """What of ``after``, as it is written, with ``entries`` lies in memory. There is no nucleus, so
    its words have one writer; the workers are at rest where the swarms' settings change."""
    settings.settle(rt, after, entries)
    settle(tables.swarms, tables.params, rt.plan)
