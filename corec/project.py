"""Where a project lies: the folder that a configuration's relative paths and plugins belong to.

A configuration in a folder named ``configs`` belongs to the folder that holds it, any other to the
folder it lies in. A link counts where it lies: what a mounted ConfigMap, or a link into a store,
points to moves with each change. Whoever starts it, and from where, changes nothing: a checkout's
``run.sh`` can run a project that lies elsewhere. Standard library only: needed before anything is
compiled.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from types import ModuleType
from typing import Final

HOME: Final = "COREC_HOME"
"""Set by a user who wants relative paths to start somewhere else."""
CHECKOUT: Final = "COREC_CHECKOUT"
"""Set by ``run.sh``: the checkout it stands in."""
CONFIGS: Final = "configs"
DEFAULT_CONFIG: Final = Path(CONFIGS, "corec_config.json")
_added: Final[set[Path]] = set()
"""The folders of projects that Python looks in because ``look_in`` said so."""


def project_of(config: Path, environ: Mapping[str, str] = os.environ) -> Path:
    """The absolute folder that ``config`` belongs to."""
    if environ.get(HOME):
        return Path(environ[HOME]).absolute()
    folder = config.absolute().parent
    return folder.parent if folder.name == CONFIGS else folder


def default_config(environ: Mapping[str, str] = os.environ) -> Path:
    """``configs/corec_config.json`` of the current folder, else of ``COREC_HOME``, else of the
    checkout whose ``run.sh`` was asked; the first, which is not there, when none is."""
    places = [Path(), *(Path(environ[name]) for name in (HOME, CHECKOUT) if environ.get(name))]
    found = (place / DEFAULT_CONFIG for place in places)
    return next((path for path in found if path.exists()), DEFAULT_CONFIG)


def look_in(folders: Iterable[Path]) -> None:
    """Have Python find a user's modules in these folders, behind all places it knows."""
    for folder in folders:
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
            _added.add(folder)


def imported(name: str, folders: Sequence[Path]) -> ModuleType:
    """The module ``name``, looked for in ``folders``, too, which are those of one project.

    Raises ImportError: as ``check_project``. Whatever its code raises.
    """
    look_in(folders)
    found = importlib.import_module(name)
    check_project(name, folders)
    return found


def check_project(name: str, folders: Sequence[Path]) -> None:
    """Whether the module ``name``, which was imported, and the packages around it are those that
    were meant: a process has one of a name, that of the project whose ``folders`` it looked in
    first.

    Raises ImportError: they have one of this name with other text, and it is another project's.
    """
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        _check_module(parts[:count], folders)


def _check_module(parts: Sequence[str], folders: Sequence[Path]) -> None:
    file = getattr(sys.modules.get(".".join(parts)), "__file__", None)
    if file is None:  # a folder without __init__.py: each module in it stands for itself
        return
    place = Path(file)
    whole = place.name == "__init__.py"
    inside = Path(*(parts if whole else parts[:-1]), place.name)
    folder = Path(*place.parts[: -len(inside.parts)])
    if folder not in _added - set(folders):
        return
    try:
        differs = any(
            (one / inside).read_bytes() != place.read_bytes()
            for one in folders
            if (one / inside).exists()
        )
    except OSError:  # what was imported is gone: nobody can tell
        return
    if differs:
        raise ImportError(
            f"this process has the {'.'.join(parts)} of another project, {folder}, and can have "
            "one of a name; use another process, or another name"
        )


def named_config(words: Sequence[str]) -> Path | None:
    """The configuration file that a command line names, None when it names none."""
    for word, following in zip_longest(words, words[1:], fillvalue=""):
        if word in ("--config", "-c"):
            return Path(following)
        if word.startswith("--config="):
            return Path(word.partition("=")[2])
    files = [word for word in words if word.endswith(".json") and not word.startswith("-")]
    return Path(files[0]) if files else None
