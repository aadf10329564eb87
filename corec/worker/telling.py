"""Between two ticks, now and then: what the kernels noted of failed entities, into a file.

What is noted, and why it is a sample: ``corec.control.failed``; the file and its readers:
``corec.control.errors``.
"""

from __future__ import annotations

from typing import Final

from corec import layout as L
from corec.control.errors import read_errors, worker_file, write_errors
from corec.control.failed import Failed
from corec.process.runtime import Runtime
from corec.world.tables import Tables

LOOK_SECONDS: Final = 0.5


class Telling:
    """Worker ``k``'s kinds of failures since its world began."""

    def __init__(self, rt: Runtime, tables: Tables, k: int) -> None:
        self.epoch = rt.get(L.C_WORLD_EPOCH)
        self.path = worker_file(rt.folder, k)
        earlier = read_errors(self.path, self.epoch)
        more = int(earlier.get("more", 0))
        self.failed = Failed(rt.plan, tables, earlier.get("kinds", ()), more)
        self._due = 0.0
        self._unwritten = False

    def look(self, now: float) -> None:
        """Take what the kernels left since the last look, and tell it; cheap when there is none."""
        if now < self._due:
            return
        self._due = now + LOOK_SECONDS
        if self.failed.look():
            self._unwritten = True
        if self._unwritten:
            content = {"kinds": list(self.failed.kinds.values()), "more": self.failed.more}
            self._unwritten = not write_errors(self.path, self.epoch, content)
