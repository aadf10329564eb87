"""What all blocks add up to, read at most once a second and shared by status, metrics and page.

``corec.world.inspect.totals`` walks every block's dynamic words; the copy kept here makes its cost
independent of how many clients ask.
"""

from __future__ import annotations

import time
from typing import Any

from corec.log import get_logger
from corec.process.roles import committed_tick
from corec.process.runtime import Runtime
from corec.world.counts import by_slot
from corec.world.inspect import totals

log = get_logger(__name__)
_FRESH_SECONDS = 0.9


class Totals:
    """The last totals, and the rate between the last two."""

    def __init__(self, rt: Runtime) -> None:
        self.rt = rt
        self.updates_per_second = 0.0
        self.ticks_per_second = 0.0
        self._last: dict[str, Any] = {}
        self._at = 0.0
        self._tick = 0
        self._failed = False

    def read(self) -> dict[str, Any]:
        """Totals not older than a second; ``{}`` while the world cannot be read."""
        now = time.monotonic()
        elapsed = now - self._at
        if self._at and elapsed < _FRESH_SECONDS:
            return self._last
        try:
            fresh = totals(self.rt) | {"workers": by_slot(self.rt)}
        except Exception as error:  # noqa: BLE001 - a status without totals is better than none
            if not self._failed:
                log.warning("the world's totals cannot be read", error=repr(error))
            self._failed = True
            return self._last
        self._failed = False
        tick = committed_tick(self.rt.get)
        if self._at:
            gained = fresh["entity_updates"] - self._last.get("entity_updates", 0)
            self.updates_per_second = max(0.0, gained / elapsed)
            self.ticks_per_second = max(0.0, (tick - self._tick) / elapsed)
        self._last, self._at, self._tick = fresh, now, tick
        return fresh
