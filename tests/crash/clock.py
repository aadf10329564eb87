"""A wall clock that a test can set, for every process of an instance under test.

``SITECUSTOMIZE`` is written into a folder on PYTHONPATH, so Python runs it before anything else:
``time.time``, ``time.time_ns`` and ``datetime.now`` then show the machine's clock plus what stands
in the first eight bytes of the file ``CLOCK_SHIFT``, which all processes have mapped. CoreC's
compiled code asks no clock.
"""

from __future__ import annotations

import struct

from tests.support.instance import Instance

SITECUSTOMIZE = """
import datetime, mmap, os, struct, time

with open(os.environ["CLOCK_SHIFT"], "rb") as file:
    shift = mmap.mmap(file.fileno(), 8, prot=mmap.PROT_READ)
real_ns, real = time.time_ns, datetime.datetime

def time_ns():
    return real_ns() + struct.unpack("<q", shift[:8])[0]

class Shifted(real):
    @classmethod
    def now(cls, tz=None):
        return real.fromtimestamp(time_ns() / 1e9, tz)

time.time_ns = time_ns
time.time = lambda: time_ns() / 1e9
datetime.datetime = Shifted
"""


class Clock:
    """The wall clock of ``one``; set it up before the instance starts."""

    def __init__(self, one: Instance) -> None:
        folder = one.home / "clock"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(SITECUSTOMIZE)
        self._shift = folder / "shift"
        self._shift.write_bytes(bytes(8))
        one.environment["CLOCK_SHIFT"] = str(self._shift)
        one.environment["PYTHONPATH"] = f"{folder}:{one.environment['PYTHONPATH']}"

    def jump_to(self, seconds: float) -> None:
        """Be ``seconds`` beside the machine's clock from now on."""
        with open(self._shift, "r+b", buffering=0) as file:
            file.write(struct.pack("<q", int(seconds * 1e9)))
