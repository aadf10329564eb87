"""The records of a frame of a generation (``corec.layout.frames``)."""

from __future__ import annotations

from typing import Final

import numpy as np

GENERATION: Final = np.dtype(
    [
        ("unix_ns", "<u8"),
        ("generacion", "<u8"),
        ("mejor", "<f8"),
        ("media", "<f8"),
        ("peor", "<f8"),
        ("diversidad", "<f8"),
        ("activas", "<u4"),
        ("hijos", "<u4"),
        ("mejor_id", "<u4"),  # its genes follow; without any finite fitness they are 0
        ("genes", "<u4"),
    ]
)
LINEAGE: Final = np.dtype([("hijo", "<u4"), ("madre", "<u4"), ("padre", "<u4"), ("how", "<u4")])
"""Its genes follow. ``padre`` is ``madre`` again where a child had one parent."""
BORN_CHILD: Final = 1
BORN_MIGRANT: Final = 2

assert GENERATION.itemsize % 8 == 0
assert LINEAGE.itemsize % 8 == 0
