"""CoreC: a million ultralight entities in shared memory, on every core, written in Python."""

from corec.cache import prepare as _prepare

_prepare()

from corec.entities.processor import celu, micro  # noqa: E402  # the cache is chosen before Numba

__all__ = ["celu", "micro"]
__version__ = "0.1.0"
