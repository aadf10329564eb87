"""What the slot of the nucleus shows of the disk that takes no files.

Several write to it, each in its time; who writes again must not hide that another still can't.
"""

from __future__ import annotations

from corec import layout as L
from corec.process.runtime import Runtime
from corec.process.showing import Showing


class Disk:
    """Who of the nucleus finds no room; as long as anybody does, the instance is degraded."""

    def __init__(self, rt: Runtime) -> None:
        self._showing = Showing(rt.slot(L.SLOT_NUCLEUS))
        self._without: set[str] = set()

    def show(self, who: str, *, full: bool) -> None:
        """Whether ``who`` finds none."""
        if full:
            self._without.add(who)
        else:
            self._without.discard(who)
        self._showing.error(L.REASON_FULL if self._without else L.REASON_NONE)
