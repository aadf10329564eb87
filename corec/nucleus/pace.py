"""How fast the ticks go, against how fast they should."""

from __future__ import annotations

from collections import deque
from typing import Final

WINDOW_SECONDS: Final = 10.0
WINDOW_PERIODS: Final = 5
LOOKS: Final = 50
"""So many looks are kept of a window."""
BEHIND: Final = 0.9
FAR_BEHIND: Final = 0.5


class Pace:
    """Ticks a second over a window of ten seconds, or of five periods if they are longer.

    The window begins anew when the wanted pace changes and when the world stands still on purpose.
    """

    def __init__(self) -> None:
        self._looks: deque[tuple[float, int]] = deque()
        self._hz = 0.0
        self._full = False

    def look(self, now: float, tick: int, hz: float, *, still: bool) -> None:
        """The last committed tick and the wanted pace as of ``now``; to be called often."""
        if still or hz != self._hz or (self._looks and tick < self._looks[-1][1]):
            self._looks.clear()
            self._full = False
        self._hz = hz
        span = max(WINDOW_SECONDS, WINDOW_PERIODS / hz if hz > 0 else 0.0)
        if len(self._looks) > 1 and now - self._looks[-2][0] < span / LOOKS:
            self._looks.pop()
        self._looks.append((now, tick))
        while len(self._looks) > 2 and now - self._looks[1][0] >= span:
            self._looks.popleft()
        self._full = self._full or now - self._looks[0][0] >= span

    @property
    def achieved_hz(self) -> float:
        """Ticks a second; 0 before there was time to see any."""
        if len(self._looks) < 2:
            return 0.0
        (began, first), (ended, last) = self._looks[0], self._looks[-1]
        return (last - first) / (ended - began) if ended > began else 0.0

    def _below(self, share: float) -> bool:
        return self._full and self._hz > 0 and self.achieved_hz < share * self._hz

    @property
    def behind(self) -> bool:
        """The world is slower than it should be, and not for a moment only."""
        return self._below(BEHIND)

    @property
    def far_behind(self) -> bool:
        """Less than half of the ticks that are wanted."""
        return self._below(FAR_BEHIND)
