"""Modules and plugins by name: found before anything starts, or a fault of the configuration."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from corec.config import Config, ConfigError, Fault
from corec.config.module_names import MODULES
from corec.modules.base import ModuloBase
from corec.modules.forest import MISSING, available
from corec.notices import TaskError, load_task
from corec.project import imported

BUILT_IN: Final = {name: f"corec.modules.{name}:Modulo{name.title()}" for name in MODULES}
_ALLOWED: Final = (
    f"{', '.join(sorted(BUILT_IN))}, or package.module:Class of your own, "
    "derived from corec.modules.base.ModuloBase"
)
_TASK: Final = "webhook, command, or package.module:attribute of a function with @corec.task"


class NotLoadable(Exception):
    """There is no such module, or it can't be imported; the text says why."""


def load_class(name: str, config: Config) -> type[ModuloBase]:
    """The class of a module: a built-in one, or ``package.module:Class`` (or with a dot).

    Looked for as processors are: in the project's ``plugins/``, in the project, among what is
    installed.

    Raises:
        NotLoadable: naming what is missing or what its import raised.
    """
    target = BUILT_IN.get(name, name)
    package, _, attribute = target.rpartition(":" if ":" in target else ".")
    if not package:
        raise NotLoadable("no module of this name is built in")
    try:
        found = getattr(imported(package, config.plugin_folders), attribute)
    except (Exception, SystemExit) as error:
        raise NotLoadable(f"{type(error).__name__}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, ModuloBase)):
        raise NotLoadable("it is no class derived from ModuloBase")
    return found


def check_loadable(config: Config) -> None:
    """Raise ``ConfigError``, a fault for each module and enabled plugin that can't be loaded."""
    faults = list(_faults(config))
    if faults:
        raise ConfigError(faults)


def _no_secret(path: Path) -> str | None:
    """Why nothing can be signed with what is in ``path``."""
    try:
        if not path.is_file():
            return "is no file"
        return None if path.read_bytes().strip() else "is empty"
    except OSError:
        return "can't be read"


def module_faults(config: Config) -> Iterator[Fault]:
    """A fault for each module that can't be loaded."""
    for index, name in enumerate(config.modules):
        if name in BUILT_IN:
            continue
        try:
            load_class(name, config)
        except NotLoadable as error:
            yield Fault(f"modules[{index}]", f'"{name}": {error}', _ALLOWED)


def _faults(config: Config) -> Iterator[Fault]:
    yield from module_faults(config)
    for index, one in enumerate(config.tasks):
        try:
            load_task(one.run, config.plugin_folders)
        except TaskError as error:
            yield Fault(f"tasks[{index}].run", f'"{one.run}": {error}', _TASK)
        if one.pool == "celery" and find_spec("celery") is None:
            missing = '"celery", and Celery is not installed'
            yield Fault(f"tasks[{index}].pool", missing, "pip install 'corec[celery]', or \"own\"")
        words = one.words(config.absolute)
        if words and one.pool == "own" and shutil.which(words[0]) is None:
            where = f"tasks[{index}].command[0]"
            yield Fault(where, f'"{words[0]}"', "a program that is there and can be run")
        if one.secret_file and (why := _no_secret(config.absolute(one.secret_file))):
            where = f"tasks[{index}].secret_file"
            yield Fault(where, f'"{one.secret_file}", which {why}', "a file with the key")
    for where, collect in config.collecting():
        if collect.columns and find_spec("pyarrow") is None:
            yield Fault(f"{where}.columns", "columns for files, and pyarrow is not installed",
                        "pip install 'corec[parquet]', or stats alone")  # fmt: skip
    if config.auditoria.bosque and not available():
        yield Fault("auditoria.bosque", f"true, and {MISSING.partition(':')[0]}",
                    f"false, or first:{MISSING.partition(':')[2]}")  # fmt: skip
    for name, plugin in config.plugins.items():
        if plugin.enabled:
            yield Fault(
                f"plugins.{name}",
                "an enabled plugin, and this version loads none beside processors and modules",
                '"enabled": false, or its class in modules and its functions as procesador',
            )
