"""How long frames wait for more before they are moved, to the database or to the disk.

Few at a time cost a transaction, or a sync, each; many at a time make whoever reads the tables
wait. So enough of them move at once, and less than that once it has waited for a while.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

ENOUGH_BYTES: Final = 1 << 20
"""So much is moved at once."""
LINGER_S: Final = 0.2
"""Less than that waits so long for more."""


class Linger:
    """Since when something waits."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock``: seconds that never go back."""
        self._clock = clock
        self._since: float | None = None

    def reset(self) -> None:
        """Nothing waits, or what did is moved now."""
        self._since = None

    def over(self) -> bool:
        """Something waits; whether it has for long enough since the first time that this was
        asked."""
        now = self._clock()
        if self._since is None:
            self._since = now
        return now - self._since >= LINGER_S
