"""What failed calls leave behind, so that somebody can be told why: a sample, not a log.

The kernels write one record of ``TOLD_WORDS`` int64 for one failed entity of a block's run, each
time another one, into memory of their own process; nothing of the world depends on it. ``read``
turns a record into words, with the line of the user's file.

    TOLD_TICK          tick + 1 (0: nothing there)
    TOLD_ENTITY        its id
    TOLD_CODE          status code, ``guard.where``; 0: nothing was raised, what it returned is not
                       finite; CAUGHT: it ran out of steps, and went on; NO_ROOM: a child of it
                       found no place; below that: what it sent, or was sent to it, did not arrive
                       (``kernels.post``)
    TOLD_PICKLE        address of the pickle (exception class, constant arguments), part of the
                       machine code
    TOLD_PICKLE_BYTES  its size
    TOLD_RETURNED      bits of the number returned, as a float64
"""

from __future__ import annotations

import ctypes
import pickle
from dataclasses import dataclass
from pathlib import PurePath
from types import CodeType
from typing import Any

import numpy as np
from numba import float64, int64, types
from numpy.typing import NDArray

from corec.entities.calling import OUTCOME
from corec.entities.guard import where
from corec.kernels import desc as K
from corec.kernels.address import f8_at, i8_at
from corec.kernels.post import NO_ROOM_TO_SEND, NOT_RUN
from shm.jit import kept

CAUGHT = 1
NO_ROOM = -1
PICKLE_BYTES_MAX = 1 << 20
_LOST = {
    NO_ROOM_TO_SEND: ("SendLost", "its block has sent more in this tick than sends × entities"),
    NOT_RUN: ("SendLost", "it did not run in the tick in which something arrived for it"),
}


@kept(types.int64(types.uint8[::1], types.uint8[::1], types.int64))
def nth_failed(running, good, nth):
    """The ``nth`` place (from 0) that is marked as running and not as good."""
    for i in range(running.shape[0]):
        if running[i] != 0 and good[i] == 0:
            if nth == 0:
                return int64(i)
            nth -= 1
    return int64(0)


@kept(types.void(types.int64, types.int64, types.int64, OUTCOME))
def tell(told, tick, entity, outcome):
    """Write the record at address ``told``."""
    words = i8_at(told, K.TOLD_WORDS)
    words[K.TOLD_ENTITY] = entity
    words[K.TOLD_CODE] = outcome[3]
    words[K.TOLD_PICKLE] = outcome[4]
    words[K.TOLD_PICKLE_BYTES] = outcome[5]
    f8_at(told, K.TOLD_WORDS)[K.TOLD_RETURNED] = float64(outcome[1])
    words[K.TOLD_TICK] = tick + 1


@kept(types.void(types.int64, types.int64, types.int64))
def tell_no_room(told, tick, births):
    """Note at ``told`` that births of this step found no free place (``entities.lives``)."""
    words = i8_at(told, K.TOLD_WORDS)
    words[K.TOLD_ENTITY] = i8_at(births, 3)[2]
    words[K.TOLD_CODE] = NO_ROOM
    words[K.TOLD_TICK] = tick + 1


@dataclass(frozen=True)
class Failure:
    """Why an entity failed."""

    entity: int
    tick: int
    kind: str
    """Name of the exception, or ``NonFinite``."""
    text: str
    file: str
    line: int
    """In ``file``, whose name stands without its folder; 0: nothing was raised."""
    function: str

    @property
    def what(self) -> str:
        """``IndexError: index is out of bounds (bearing in my_first.py, line 12)``."""
        said = f"{self.kind}: {self.text}" if self.text else self.kind
        return f"{said} ({self.function} in {self.file}, line {self.line})" if self.line else said


def _text(argument: Any) -> str:
    return str(argument) if isinstance(argument, str | int | float) else "…"


def _raised(address: int, size: int) -> tuple[str, str]:
    """(name of the exception, its constant arguments as text)."""
    if not address or not 0 < size <= PICKLE_BYTES_MAX:
        return "Exception", ""
    try:
        kind, arguments, _ = pickle.loads(ctypes.string_at(address, size))  # of our own code
    except Exception:  # noqa: BLE001  # a class that can't be found again; it is only told
        return "Exception", ""
    name = getattr(kind, "__name__", str(kind))
    return name, ", ".join(_text(argument) for argument in arguments or ())


def read(record: NDArray[np.int64], sites: tuple[CodeType, ...]) -> Failure | None:
    """What ``record`` (int64[K.TOLD_WORDS]) says; None when there is nothing in it.

    ``sites``: of the entity's processor, ``compile.Kernels.sites``.
    """
    if not record[K.TOLD_TICK]:
        return None
    entity, code = int(record[K.TOLD_ENTITY]), int(record[K.TOLD_CODE])
    tick = int(record[K.TOLD_TICK]) - 1
    if not code:
        number = record.view(np.float64)[K.TOLD_RETURNED]
        text = "its position is no number" if np.isfinite(number) else f"it returns {number}"
        return Failure(entity, tick, "NonFinite", text, "", 0, "")
    if code == NO_ROOM:
        text = "me.spawn finds no free place"
        return Failure(entity, tick, "NoRoom", text, "", 0, "")
    if code in _LOST:
        return Failure(entity, tick, *_LOST[code], "", 0, "")
    if code == CAUGHT:
        text = "it ran out of loop steps, and a `try` of its own went on"
        return Failure(entity, tick, "TooManySteps", text, "", 0, "")
    kind, text = _raised(int(record[K.TOLD_PICKLE]), int(record[K.TOLD_PICKLE_BYTES]))
    function, offset = where(code)
    if not 0 <= function < len(sites):
        return Failure(entity, tick, kind, text, "", 0, "")
    site = sites[function]
    file = PurePath(site.co_filename).name
    return Failure(entity, tick, kind, text, file, site.co_firstlineno + offset, site.co_qualname)
