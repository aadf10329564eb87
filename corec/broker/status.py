"""What the broker says about itself: state, error and counters in its slot, ``broker.json``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import orjson

from corec import layout as L
from corec.broker.link import SinkAway
from corec.control.folders import BROKER_FILE
from corec.log import get_logger
from corec.process.runtime import Runtime, Slot
from corec.process.showing import Showing
from corec.process.shown_file import ShownFile

log = get_logger(__name__)
_TOTALS: Final = ("out", "in", "dead")
"""The tables of ``broker.json``."""


class Status:
    """Collects the troubles of the broker's tasks; logs a trouble when it comes and when it goes.

    ``S_ERROR`` is the first trouble's reason. ``S_STATE`` is PROC_WAITING_SINK while there is any,
    or while the inbox is full, which is no error: the workers are behind.
    """

    def __init__(self, rt: Runtime) -> None:
        self._slot: Slot = rt.slot(L.SLOT_BROKER)
        self._showing = Showing(self._slot)
        self._troubles: dict[str, tuple[int, str]] = {}
        self._inbox_full = False
        self._ready = False
        self._no_streams: dict[str, str] = {}
        self._file = ShownFile(Path(rt.folder), BROKER_FILE)

    def ready(self) -> None:
        """The positions are known: from now on the state is shown."""
        self._ready = True
        self._show()

    def trouble(self, part: str, error: SinkAway) -> None:
        """``part`` cannot do its work because of ``error``."""
        before = self._troubles.get(part)
        self._troubles[part] = (error.reason, str(error))
        if before is None or before[0] != error.reason:
            log.warning("redis cannot be used", part=part, reason=str(error))
        self._show()

    def fine(self, part: str) -> None:
        """``part`` works again."""
        if self._troubles.pop(part, None) is not None:
            log.info("redis can be used again", part=part)
            self._show()

    def disk(self, trouble: str | None) -> None:
        """The disk takes no journal because of ``trouble``; None: it does."""
        if trouble is None:
            if self._troubles.pop("journal", None) is not None:
                log.info("the journal can be written again")
                self._show()
        elif "journal" not in self._troubles:
            self._troubles["journal"] = (L.REASON_FULL, trouble)
            log.error("nothing can be sent or written before the journal is", reason=trouble)
            self._show()

    def inbox_full(self, full: bool) -> None:
        """Whether input waits for room in the inbox lane."""
        if full != self._inbox_full:
            self._inbox_full = full
            self._show()

    def no_stream(self, key: str, kind: str) -> None:
        """Input can't be read: ``key`` holds a ``kind``. Told once; ``doctor`` shows it."""
        if key not in self._no_streams:
            log.warning("input key holds no stream; rename it", key=key, holds=kind)
        self._no_streams[key] = kind

    def streams(self, keys: Iterable[str]) -> None:
        """Input can be read from all of ``keys``."""
        for key in keys if self._no_streams else ():
            if self._no_streams.pop(key, None) is not None:
                log.info("input can be read again", key=key)

    def drained(self) -> None:
        """Everything is sent; the process leaves."""
        self._showing.drained()

    def count(self, word: int) -> int:
        """Counter ``L.B_*``."""
        return self._slot.get(L.S_COUNT0 + word)

    def set_count(self, word: int, value: int) -> None:
        """Store counter ``L.B_*``."""
        if self._slot.get(L.S_COUNT0 + word) != value:
            self._slot.set(L.S_COUNT0 + word, value)

    def raise_count(self, word: int, value: int) -> None:
        """Store counter ``L.B_*`` unless it is higher: what counts for a world never goes back."""
        if self.count(word) < value:
            self._slot.set(L.S_COUNT0 + word, value)

    def read_totals(self) -> dict[str, dict[int, int]]:
        """``broker.json`` as a predecessor left it, by its tables; empty without one."""
        try:
            found = orjson.loads(self._file.path.read_bytes())
            return {name: {int(c): int(n) for c, n in found.get(name, {}).items()}
                    for name in _TOTALS}  # fmt: skip
        except (OSError, ValueError, AttributeError):
            return {}

    def write_totals(
        self, out: dict[int, int], incoming: dict[int, int], dead: dict[int, int]
    ) -> None:
        """Write ``broker.json`` (messages by canal, this world, and keys of input that hold no
        stream) if it changed; whole or not."""
        tables = dict(zip(_TOTALS, (out, incoming, dead), strict=True))
        totals = {name: {str(c): table[c] for c in sorted(table)} for name, table in tables.items()}
        self._file.write(orjson.dumps({**totals, "no_streams": self._no_streams}))

    def _show(self) -> None:
        trouble = next(iter(self._troubles.values()), None)
        waits = trouble is not None or self._inbox_full
        reason = trouble[0] if trouble else L.REASON_NONE
        self._showing.works(waits=waits, reason=reason, begun=self._ready)
