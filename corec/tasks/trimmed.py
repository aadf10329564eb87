"""What a stream lost before it was read: an entry's number is how many it ever got with it. And
what it may lose.

A server knows how many entries a stream ever got and how many it holds, so the number of the first
one that is left; whoever reads in order knows the number of the last one that it read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any


def order(entry: str) -> tuple[int, int]:
    """The id of an entry, to be compared."""
    ms, _, seq = entry.partition("-")
    return int(ms), int(seq)


def gone(info: Mapping[bytes, Any]) -> int:
    """How many entries of the stream are gone; ``info``: the reply to XINFO STREAM."""
    return int(info[b"entries-added"]) - int(info[b"length"])


def kept(
    length: int, most: int, groups: Iterable[Mapping[bytes, Any]], mine: Collection[str],
    pending: Iterable[Any],
) -> tuple[Any, ...]:  # fmt: skip
    """How XTRIM is to cut a stream of ``length`` entries: what a group has still before it stays.

    Of a group that is none of ``mine`` (somebody's, or of a task that is no more) not more than
    ``most`` entries do, nor where there is no group. ``pending``: the replies to XPENDING of mine.
    """
    needed = [order(one[1].decode()) for one in pending if isinstance(one, list) and one[0]]
    needed += [
        order(group[b"last-delivered-id"].decode())
        for group in groups
        if length <= most or group[b"name"].decode("utf-8", "replace") in mine
    ]
    if needed:
        return ("MINID", "~", "{}-{}".format(*min(needed)))
    return ("MAXLEN", "~", most)


class Read:
    """How far one reader has come in a stream."""

    def __init__(self, at: str) -> None:
        """``at``: the last entry that it read."""
        self._number = 0 if at == "0-0" else None

    def before(self, info: Mapping[bytes, Any], at: str) -> int | None:
        """To be called ahead of a read behind ``at``: how many entries it will miss; None: some."""
        trimmed, last = gone(info), info[b"last-generated-id"].decode()
        if self._number is None:
            if order(at) == order(last):
                self._number = int(info[b"entries-added"])
                return 0
            if not trimmed or order(at) >= order(info[b"recorded-first-entry-id"].decode()):
                return 0
            self._number = trimmed
            return None
        missed = max(0, trimmed - self._number)
        self._number += missed
        return missed

    def took(self, count: int) -> None:
        """So many entries were read."""
        if self._number is not None:
            self._number += count
