"""Whether an in-stream still is the one that was read so far; decided without I/O.

A stream goes on upwards: an entry that comes gets a larger id than any before. That ends when a
server comes back without its last writes, or a stream is deleted and written anew, with a clock
that is behind or with ids of a client's own: what comes then lies below where the reader stands,
and XREAD never shows it. And input may be trimmed away before it was read. Both are seen by what
the server counts of each stream (``streams.StreamInfo``).

``Canal`` keeps, of one in-stream: how many entries there were up to the reader's place (``index``),
and the ids it took last (``recent``), which say of an older stream's entries that they are applied.
The look at the stream is made often enough that ``recent`` holds everything since the last one.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import chain
from typing import Final, NamedTuple

from corec.broker.positions import ZERO, EntryId
from corec.broker.streams import StreamInfo

RECENT_MAX: Final = 65_536
LOOK_ENTRIES: Final = RECENT_MAX // 2


class Verdict(NamedTuple):
    """What a look at a stream says."""

    scan_from: EntryId | None = None
    """The stream is another one: read on behind this entry, past what was taken already."""
    taken_up_to: EntryId = ZERO
    """With ``scan_from``: entries up to this one are old ones."""
    taken: frozenset[EntryId] = frozenset()
    """With ``scan_from``: and so are these."""
    unread: int = 0
    """Entries that went away and were never read; -1: some, nobody knows how many."""


@dataclass
class Canal:
    """What is known of one in-stream."""

    index: int | None = None
    """Entries the stream had ever got, up to and with the last one read; None: not known."""
    seen_added: int = 0
    recent: deque[list[EntryId]] = field(default_factory=deque)
    held: int = 0
    """Ids in ``recent``."""
    since_look: list[list[EntryId]] = field(default_factory=list)
    entries_since_look: int = 0

    def took(self, ids: list[EntryId]) -> None:
        """These entries were read, in this order."""
        if not ids:
            return
        if self.index is not None:
            self.index += len(ids)
        self.since_look.append(ids)
        self.recent.append(ids)
        self.entries_since_look += len(ids)
        self.held += len(ids)
        while self.held - len(self.recent[0]) >= RECENT_MAX:
            self.held -= len(self.recent.popleft())

    def look(self, at: EntryId, info: StreamInfo, applied: EntryId | None, *,
             went_back: bool) -> Verdict:  # fmt: skip
        """Compare the reader's place ``at`` with the stream as it is.

        ``applied``: the field ``in:<canal>`` as the server has it; ``went_back``: the server came
        back without its last writes, so its hash and its streams are of the same older moment.
        """
        if not info.added:
            return Verdict()  # there is none; what was seen of it is kept for the next one
        since, self.since_look, self.entries_since_look = self.since_look, [], 0
        seen, self.seen_added = self.seen_added, info.added
        if at > ZERO and (info.last < at or info.added < seen):
            self.index = None
            if applied is None or applied > info.last:
                return Verdict(ZERO, taken=frozenset(chain(*since)))
            if went_back and self.recent:
                # the older stream, and perhaps what came since
                return Verdict(applied, self.recent[0][0], frozenset(chain(*self.recent)))
            if not self.recent:
                return Verdict(applied, info.last)
            return Verdict(ZERO, taken=frozenset(chain(*since)))
        return Verdict(unread=self._unread(at, info))

    def _unread(self, at: EntryId, info: StreamInfo) -> int:
        caught_up = info.last == at
        if not caught_up and info.first is not None and info.first <= at:
            return 0  # what was read is partly there: nothing behind it is gone
        there = 0 if caught_up else info.length
        before, self.index = self.index, info.added - there
        if before is None:
            return -1 if info.added > info.length and not caught_up and at > ZERO else 0
        return max(0, self.index - before)
