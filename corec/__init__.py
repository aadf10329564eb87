"""CoreC: a million ultralight entities in shared memory, on every core, written in Python."""

from corec.interrupts import unheard as _unheard

_unheard()

from typing import TYPE_CHECKING  # noqa: E402  # all that follows takes its time

from corec.cache import prepare as _prepare  # noqa: E402  # as above

_prepare()

from corec.entities.processor import celu, micro  # noqa: E402  # the cache is chosen before Numba
from corec.version import __version__ as _version  # noqa: E402  # as above

if TYPE_CHECKING:
    from corec.notices import GiveUp, Notice, task
    from corec.view.attached import attach
    from corec.view.designs import latin_hypercube
    from corec.view.sweep import sweep
    from corec.view.world import World

__all__ = [
    "GiveUp", "Notice", "World", "attach", "celu", "latin_hypercube", "micro", "sweep", "task",
]  # fmt: skip
__version__ = _version

_LATER = {
    "World": "corec.view.world", "attach": "corec.view.attached", "sweep": "corec.view.sweep",
    "latin_hypercube": "corec.view.designs",
    "task": "corec.notices", "Notice": "corec.notices", "GiveUp": "corec.notices",
}  # fmt: skip
"""Names of this package whose modules are imported when they are first asked for."""


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module 'corec' has no attribute {name!r}")
    from importlib import import_module

    found = globals()[name] = getattr(import_module(_LATER[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
