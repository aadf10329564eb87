"""A running instance's memory, mapped to be read: the control words and the world."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np

from corec import layout as L
from corec.control.client import Unreachable
from corec.control.folders import CONTROL_FILE
from corec.control.memory import open_control
from corec.plan import Plan
from corec.view.reading import Words
from corec.world.packing import plan_of
from corec.world.segment import WORLD_FILE, open_segment
from corec.world.shape import read_shape
from shm.segment import Segment, SegmentRefused


class Mapped:
    """Both segments of the instance in ``folder``, and the plan of its world.

    Raises:
        Unreachable: the world is not made yet, or is another version's.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self.inodes = _inodes(folder)
            self.control = open_control(folder)
            fingerprint = int(self.control.words[L.C_CONFIG_HASH])
            self.world = open_segment(folder / WORLD_FILE, fingerprint)
        except FileNotFoundError:
            raise Unreachable(f"{folder}: its world is not made yet; try again soon") from None
        except SegmentRefused as error:
            raise Unreachable(f"{error} (is it run by another version of CoreC?)") from None
        shape = read_shape(folder)
        if shape is None or self.world.epoch != self.control.epoch:
            raise Unreachable(f"{folder}: its world is being made; try again soon")
        self.plan: Plan = plan_of(shape["swarms"])
        self.words = _as_words(self.world)

    def is_still(self, folder: Path) -> bool:
        """Whether the instance in ``folder`` has this memory and no other by now."""
        try:
            return _inodes(folder) == self.inodes
        except FileNotFoundError:
            return False

    def get(self, word: int) -> int:
        """A control word."""
        return int(self.control.words[word])

    def close(self) -> None:
        """Let go of it; it is unmapped with the last who looks at ``words``."""
        del self.words
        self.control.close()
        self.world.close()


def _inodes(folder: Path) -> tuple[int, int]:
    """Of both files: a restart makes both anew, growing the world's."""
    return (folder / CONTROL_FILE).stat().st_ino, (folder / WORLD_FILE).stat().st_ino


def _as_words(segment: Segment) -> Words:
    """The segment as an array that compiled code takes, which wants it writable. It is not: the
    mapping is read-only, so a store through this array would end the process, not the world. It
    stays mapped as long as the array or a view of it is there."""
    payload = segment.payload
    memory: Any = (ctypes.c_uint8 * payload.size).from_address(payload.ctypes.data)
    memory.mapped = payload  # an address keeps nothing
    return np.ctypeslib.as_array(memory).view(np.uint64)
