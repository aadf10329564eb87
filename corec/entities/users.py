"""Which modules are the user's own, as far as a processor is concerned."""

from __future__ import annotations

import sys
from typing import Final

_LIBRARIES: Final = frozenset(
    {"numba", "numpy", "llvmlite", "math", "cmath", "operator", "builtins"}
)


def is_users(module: str) -> bool:
    """Whether functions of the module with this name are compiled along, and seen as plain text."""
    top = module.partition(".")[0]
    return top not in _LIBRARIES and top not in sys.stdlib_module_names - {"__main__"}
