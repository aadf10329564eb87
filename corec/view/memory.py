"""Memory for a world in this process."""

from __future__ import annotations

import mmap

import numpy as np
from numpy.typing import NDArray

from corec import layout as L


def zeroed(size: int) -> NDArray[np.uint8]:
    """u8[size] of zeroed memory, page by page as it is touched; it goes with the last view.

    Raises MemoryError: the machine has no room for it.
    """
    try:
        pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        text = f"a world needs {size / L.MIB:,.0f} MiB of memory: {error.strerror}"
        raise MemoryError(text) from None
    return np.frombuffer(pages, np.uint8)
