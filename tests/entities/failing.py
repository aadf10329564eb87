"""Who failed in a block, and what the kernels left to be told of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from corec.entities.processor import Processor
from corec.entities.told import Failure, read
from corec.kernels import desc as K
from corec.testing import Block


def failures(block: Block) -> list[Failure]:
    """What the kernels left to be told."""
    start = block.tables.scratch_address - int(block.tables.scratch.ctypes.data)
    start += int(block.tables.scratch_offsets[K.X_TOLD])
    records = block.tables.scratch[start : start + K.TOLD_PLACES * K.TOLD_BYTES].view(np.int64)
    sites = block.tables.kernels[0].sites
    found = [read(record, sites) for record in records.reshape(K.TOLD_PLACES, -1)]
    return [failure for failure in found if failure is not None]


def failed_ids(processor: Processor, entities: int) -> tuple[list[int], Block]:
    """Who fails in one tick."""
    block = Block(processor, entities=entities, max_errores=1.0)
    block.tick()
    return [int(i) for i in np.flatnonzero(block.view.fallos)], block


def line_of(function: Any, text: str) -> int:
    """The line of this file in which ``function`` says ``text``."""
    code = getattr(function, "function", function).__code__
    with open(code.co_filename) as file:
        lines = file.read().splitlines()
    start = code.co_firstlineno - 1
    return next(k for k in range(start, len(lines)) if text in lines[k]) + 1
