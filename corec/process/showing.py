"""What a process says of itself in its slot beside its signs of life: its state, and why it waits.

One writer at a time: the process itself from its first moment on (``life``), the supervisor while
there is none. ``S_ERROR`` comes before ``S_STATE``, so whoever sees that it waits finds why; a word
is stored where it changes, since others' cores read it again and again.
"""

from __future__ import annotations

from corec import layout as L
from corec.process.runtime import Slot


class Showing:
    """``S_STATE`` and ``S_ERROR`` of one slot."""

    def __init__(self, slot: Slot) -> None:
        self._slot = slot

    @property
    def waits(self) -> bool:
        """Whether it says that it waits for a sink."""
        return self._slot.get(L.S_STATE) == L.PROC_WAITING_SINK

    def starting(self) -> None:
        """It is new; a predecessor's trouble is not its own."""
        self.error(L.REASON_NONE)
        self._state(L.PROC_STARTING)

    def works(
        self, *, waits: bool = False, reason: int | None = None, begun: bool = True
    ) -> None:  # fmt: skip
        """It is at work, or ``waits`` for what takes nothing; ``reason``: why it is not well, None:
        that is another's to say; not yet ``begun``: what it needs first is not there."""
        if reason is not None:
            self.error(reason)
        ready = L.PROC_READY if begun else L.PROC_STARTING
        self._state(L.PROC_WAITING_SINK if waits else ready)

    def error(self, reason: int) -> None:
        """Why it is not well (``L.REASON_*``), whatever it is at."""
        self._store(L.S_ERROR, reason)

    def drained(self) -> None:
        """It has done all that there was to do, and leaves."""
        self._state(L.PROC_DRAINED)

    def parked(self) -> None:
        """There is none: it died at once, again and again."""
        self._state(L.PROC_PARKED)

    def _state(self, state: int) -> None:
        self._store(L.S_STATE, state)

    def _store(self, word: int, value: int) -> None:
        if self._slot.get(word) != value:
            self._slot.set(word, value)
