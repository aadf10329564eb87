"""What a new configuration changes in a living world, decided without doing anything."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from corec.config import Config, ConfigError, Fault, load_config
from corec.config.effect import changed, effect_of, is_live
from corec.nucleus.loadable import check_loadable
from corec.plan import with_settings
from corec.runtime import Runtime
from corec.supervisor.wishes import Wishes
from corec.world import settings
from corec.world.tables import Tables, settle

EVERYBODY: Final = frozenset({"nucleus", "persister", "broker", "worker"})
_NOBODY_ELSE: Final[frozenset[str]] = frozenset()
_CONCERNS: Final[dict[str, frozenset[str]]] = {
    "$schema": _NOBODY_ELSE,
    "tick_hz": _NOBODY_ELSE,
    "carga": _NOBODY_ELSE,
    "checkpoint": _NOBODY_ELSE,
    "modules": _NOBODY_ELSE,
    "plugins": _NOBODY_ELSE,
    "persist": frozenset({"persister"}),
    "persist.every_ticks": frozenset({"persister", "worker"}),
    "persist.payload": frozenset({"persister", "worker"}),
    "streams": frozenset({"broker"}),
    "streams.readings_per_tick": frozenset({"broker", "worker"}),
}
"""Who reads a key, beside the nucleus, which shows them all; a key without a row has that of the
section it stands in, and one without any is everybody's."""


def reloaded(old: Config, wishes: Wishes) -> tuple[Config, list[str]]:
    """The configuration file read again, and the paths of the keys that differ.

    Raises:
        ConfigError: it is faulty, or changes what can't change under a living world.
    """
    assert wishes.config_path is not None
    fresh = load_config(wishes.config_path, overrides=wishes.overrides)
    check_loadable(fresh)
    differs = list(changed(old.public_dict(), fresh.public_dict()))
    fixed = [path for path in differs if not is_live(path)]
    if fixed:
        raise ConfigError([
            Fault(path, "a change under a living world", f"a change {effect_of(path)}")
            for path in fixed
        ])  # fmt: skip
    return fresh, differs


def concerned(differs: Iterable[str]) -> frozenset[str]:
    """The roles that must be started again to know new values of the keys at these paths.

    A role that is not among them goes on undisturbed: a sink's limit can be raised while the
    workers wait for that very sink, and can't rest.
    """
    found: set[str] = set()
    for path in differs:
        found |= {"nucleus"} | _readers(path)
    return frozenset(found)


def _readers(path: str) -> frozenset[str]:
    while path not in _CONCERNS:
        path, dot, _name = path.rpartition(".")
        if not dot:
            return EVERYBODY
    return _CONCERNS[path]


def take_over(rt: Runtime, after: Config, tables: Tables) -> None:
    """What of ``after``, which is ``rt.config`` now, lies in memory. The nucleus is gone meanwhile,
    so its words have one writer; the workers are at rest where the swarms' settings change."""
    rt.plan = with_settings(rt.plan, after)
    settle(tables.swarms, rt.plan)
    settings.settle(rt)
