"""The directory in which compiled code finds any entity by its id (``corec.kernels.everyone``).

Memory of this process, made with its tables; nobody writes it afterwards.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from corec.kernels import desc as K
from corec.kernels import everyone as E
from corec.plan import Plan


def fill_everyone(plan: Plan, swarms: NDArray[np.int64]) -> tuple[NDArray[Any], ...]:
    """Write ``W_EVERYONE`` of the swarms that ask for entities by their ids, the rows of
    ``swarms`` having all that is public; the memory that has to be kept."""
    keep: dict[tuple[str, ...], NDArray[np.int64]] = {}
    for s in plan.swarms:
        if s.everyone is None:
            continue
        names = tuple(name for name, _ in s.everyone)
        if names not in keep:
            keep[names] = _directory(plan, swarms, names)
        swarms[s.index, K.W_EVERYONE] = keep[names].ctypes.data
    return tuple(keep.values())


def _directory(plan: Plan, swarms: NDArray[np.int64], names: tuple[str, ...]) -> NDArray[np.int64]:
    found = np.zeros(E.words_of(len(plan.swarms), len(names)), np.int64)
    found[0] = len(plan.swarms)
    rows = found[E.E_HEAD :].reshape(len(plan.swarms), -1)
    rows[:, E.E_FIELDS : E.E_FIELDS + len(names)] = E.NOT_SHOWN
    for s, row in zip(plan.swarms, rows, strict=True):
        row[E.E_FIRST], row[E.E_END] = s.first_id, s.end_id
        row[E.E_PUBLIC : E.E_BYTES + 1] = swarms[s.index, K.W_PUBLIC : K.W_PUBLIC_BYTES + 1]
        for k, name in enumerate(names):
            field = s.meeting.index(name) if s.meeting is not None else None
            if s.meeting is not None and field is not None:
                row[E.E_FIELDS + k] = s.meeting.offsets[field]
                code = E.CODES.index(s.meeting.fields[field][1])
                row[E.E_FIELDS + len(names) + k] = code
    return found
