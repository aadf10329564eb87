"""How far the publisher is ahead of the instance that reads. Pure bookkeeping.

Unread input is never trimmed, so a publisher that outruns the instance fills the server's
memory. Each published entry is remembered by its id and size until the instance's position (the
id of the last entry it applied, `corec:{<instance>}:pos`, field `in:<canal>`) has passed it.
"""

from __future__ import annotations

from collections import deque

StreamId = tuple[int, int]
"""(ms, seq) of an entry id; compares as the server orders them."""

ENTRY_OVERHEAD_BYTES = 64
"""What an entry costs the server beyond its messages: id, field name, listpack and radix node."""


def parse_stream_id(text: bytes | str) -> StreamId:
    """`1700000000000-5` or `1700000000000`. Raises ValueError on anything else."""
    if isinstance(text, bytes):
        text = text.decode("ascii", errors="replace")
    ms, _, seq = text.partition("-")
    return int(ms), int(seq or 0)


class Lead:
    """Bytes published and not yet applied."""

    def __init__(self) -> None:
        self._entries: deque[tuple[StreamId, int]] = deque()
        self.unread_bytes = 0

    def published(self, entry_id: StreamId, message_bytes: int) -> None:
        cost_bytes = message_bytes + ENTRY_OVERHEAD_BYTES
        self._entries.append((entry_id, cost_bytes))
        self.unread_bytes += cost_bytes

    def applied(self, position: StreamId) -> bool:
        """Forget what `position` has passed; whether that was anything."""
        before = len(self._entries)
        while self._entries and self._entries[0][0] <= position:
            self.unread_bytes -= self._entries.popleft()[1]
        return len(self._entries) < before

    def forget(self) -> None:
        """The server lost what it held: nothing of it is waiting any more."""
        self._entries.clear()
        self.unread_bytes = 0
