"""How many entries each stream may keep, so that together they stay within ``streams.max_mb``.

Redis trims by number of entries, so bytes are bounded by way of the mean size of the entries of
each stream: the higher of the mean of the last few and of about as many as are kept. After a change
of size a stream may hold up to twice its share until the older entries are gone.

The room is dealt out as water fills unequal vessels: a stream that needs less than an equal share
keeps all it needs (its ``maxlen`` entries), the others share the rest. A stream that never got an
entry needs nothing. No I/O here.
"""

from __future__ import annotations

from typing import Final

ENTRY_OVERHEAD_BYTES: Final = 128
"""Of an entry's id, its field names and its place in the stream, about."""
_FEW: Final = 8
_WORTH_IT: Final = 0.05
"""The room is dealt out anew when a mean has moved by this share of it."""


class Bounds:
    """The streams that one broker writes."""

    def __init__(self, maxlen: int, max_bytes: int) -> None:
        """At most ``maxlen`` entries in each stream, and ``max_bytes`` in all of them together."""
        self._maxlen = maxlen
        self._max_bytes = max_bytes
        self._recent: dict[str, float] = {}
        self._kept: dict[str, float] = {}
        self._limits: dict[str, int] = {}
        self._dealt: dict[str, float] = {}

    def maxlen(self, key: str, size: int) -> int:
        """MAXLEN for an entry of ``size`` payload bytes that is added to the stream ``key``."""
        size += ENTRY_OVERHEAD_BYTES
        kept = self._limits.get(key, self._maxlen)
        for means, count in ((self._recent, _FEW), (self._kept, max(_FEW, kept))):
            before = means.get(key, float(size))
            means[key] = before + (size - before) / count
        dealt = self._dealt.get(key, 0.0)
        if abs(max(self._recent[key], self._kept[key]) - dealt) > _WORTH_IT * dealt:
            self._deal()
        return self._limits[key]

    def _deal(self) -> None:
        means = {key: max(self._recent[key], mean) for key, mean in self._kept.items()}
        self._dealt = means
        left, waiting = float(self._max_bytes), len(means)
        for key in sorted(means, key=lambda name: means[name]):
            share = min(means[key] * self._maxlen, left / waiting)
            left -= share
            waiting -= 1
            self._limits[key] = max(1, min(self._maxlen, int(share / means[key])))
