"""Which CoreC this is; ``corec.__version__`` is the same."""

from typing import Final

__version__: Final = "0.2.0.dev0"
