"""Whether the code on disk can be imported, every part of it that a process of an instance needs.

An upgrade becomes that code. What is imported late (a client's library within a function, a plugin
of the nucleus) would otherwise fail after there is no way back.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from typing import Final

import corec
import shm
from corec.config import Config, ConfigError, Fault
from corec.project import look_in

_OF_CELERY: Final = "corec.tasks.queue"
NOT_OF_AN_INSTANCE: Final = (
    "corec.__main__", "corec.bootstrap", "corec.cli", "corec.core", "corec.lab", "corec.replay",
    "corec.testing", "corec.view", "corec.embedded.launch", _OF_CELERY,
)  # fmt: skip
"""By the beginning of their names; what needs more than CoreC's own requirements is among them."""


def module_names(config: Config) -> list[str]:
    """CoreC's own modules, and those that the configuration names."""
    found = []
    for package in (corec, shm):
        found += [m.name for m in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")]
    for name in [n for n in found if not n.startswith(NOT_OF_AN_INSTANCE)]:
        inside = importlib.util.find_spec(name)
        places = inside.submodule_search_locations if inside is not None else None
        if places:
            found += [m.name for m in pkgutil.iter_modules(list(places), f"{name}.")]
    needed = [name for name in found if not name.startswith(NOT_OF_AN_INSTANCE)]
    if any(one.pool == "celery" for one in config.tasks):
        needed.append(_OF_CELERY)
    named = [name for name in config.modules if "." in name or ":" in name]
    return needed + [name.rpartition(":" if ":" in name else ".")[0] for name in named]


def import_all(config: Config) -> None:
    """Import all of them. Raises ConfigError, with what each says that can't be imported."""
    look_in(config.plugin_folders)
    faults = []
    for name in module_names(config):
        try:
            importlib.import_module(name)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - broken code raises anything
            faults.append(Fault(name, f"{type(error).__name__}: {error}", "code that is imported"))
    if faults:
        raise ConfigError(faults)
