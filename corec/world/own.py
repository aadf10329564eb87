"""The own words of a swarm (``kernels.desc.M_*``): what the step of a block that runs works with.

Memory of this process, made with its tables; nobody reads it after a step.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from corec.entities.lives import BIRTHS_ROOM, births_bytes
from corec.entities.post import (
    children_at,
    has_post,
    moves_at,
    post_bytes,
    post_offset,
    record_bytes,
)
from corec.kernels import desc as K
from corec.placing import cold_bytes
from corec.plan import Plan, Swarm

_RANGE = 3


def fill_own(plan: Plan, s: Swarm, row: NDArray[np.int64]) -> tuple[NDArray[Any], ...]:
    """Write into the swarm's row where its own words are, and what its post is; the memory that
    has to be kept."""
    processor = s.processor
    if not (has_post(processor) or processor.reads_inbox):
        return ()
    own = np.zeros(K.M_SWARMS + _RANGE * len(plan.swarms), np.int64)
    keep: list[NDArray[Any]] = [own]
    row[K.W_OWN] = own.ctypes.data
    row[K.W_SENDS], row[K.W_INBOX] = processor.sends, processor.reads_inbox
    row[K.W_POST] = post_offset(processor, s.cap, cold_bytes(s.cap))
    row[K.W_POST_BYTES] = post_bytes(processor, s.cap)
    row[K.W_CHILDREN], row[K.W_RECORD] = children_at(processor, s.cap), record_bytes(processor)
    row[K.W_MOVES] = moves_at(processor, s.cap)
    own[K.M_LIMIT] = processor.sends
    own[K.M_SETTLES] = processor.mortal and s.blocks > 1
    own[K.M_RANGES] = len(plan.swarms)
    for k, other in enumerate(plan.swarms):
        at = K.M_SWARMS + _RANGE * k
        own[at : at + _RANGE] = other.first_id, other.end_id, other.processor.takes
    if processor.mortal:
        births = np.zeros(births_bytes(processor, s.cap) // 8, np.int64)
        births[BIRTHS_ROOM] = s.cap
        row[K.W_BIRTHS] = own[K.M_BIRTHS] = births.ctypes.data
        keep.append(births)
    if processor.reads_inbox:
        starts = np.zeros(s.cap + 1, np.uint32)
        own[K.M_STARTS] = starts.ctypes.data
        keep.append(starts)
    return tuple(keep)
