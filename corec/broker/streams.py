"""What the server says of a stream beside its entries: how many it ever got, and the last one's id.

``XINFO STREAM`` is asked; a user that may not ask it goes without what depends on it (``None``),
which is logged once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from redis import exceptions as X

from corec.broker.link import Link, sort_error
from corec.broker.positions import ZERO, EntryId, Keys, parse_id
from corec.log import get_logger

log = get_logger(__name__)
_PAGE: Final = 256
_told: set[str] = set()


class StreamInfo(NamedTuple):
    """A stream as ``XINFO STREAM`` shows it. All zero: there is no such key."""

    last: EntryId
    """Of the last entry it ever got."""
    added: int
    """Entries it ever got."""
    length: int
    first: EntryId | None
    """The first entry that is there."""
    shown_bytes: int = 0
    """What it took to say so: the reply holds two entries whole."""


ABSENT: Final = StreamInfo(ZERO, 0, 0, None)


def parse_info(reply: Any) -> StreamInfo:
    """The reply to ``XINFO STREAM``, as a RESP3 map or a flat list."""
    if not isinstance(reply, dict):
        reply = dict(zip(reply[::2], reply[1::2], strict=True))
    first, last = reply.get(b"first-entry"), reply.get(b"last-entry")
    shown = sum(len(part) for entry in (first, last) if entry for part in entry[1])
    return StreamInfo(
        parse_id(reply[b"last-generated-id"]), int(reply[b"entries-added"]),
        int(reply[b"length"]), parse_id(first[0]) if first else None, shown,
    )  # fmt: skip


async def look(link: Link, names: Iterable[str]) -> list[StreamInfo | None]:
    """Each stream's info; None where the server will not say. Raises SinkAway."""
    wanted = list(names)
    replies = await link.call([("XINFO", "STREAM", name) for name in wanted])
    found: list[StreamInfo | None] = []
    for name, reply in zip(wanted, replies, strict=True):
        if not isinstance(reply, Exception):
            found.append(parse_info(reply))
        elif "no such key" in str(reply).lower():
            found.append(ABSENT)
        else:
            if isinstance(reply, X.BusyLoadingError):
                await link.close()
                raise sort_error(reply)
            if str(reply) not in _told:
                _told.add(str(reply))
                log.warning("the server does not say how its streams are; what it loses of them "
                            "cannot be told", stream=name, reason=str(reply))  # fmt: skip
            found.append(None)
    return found


async def entries_added(link: Link, keys: Keys, canales: Iterable[int]) -> int | None:
    """Entries that the out-streams of ``canales`` have ever got; None: not known."""
    found = await look(link, [keys.out(canal) for canal in canales])
    if any(info is None for info in found):
        return None
    return sum(info.added for info in found if info is not None)


async def last_entry(link: Link, name: str) -> EntryId:
    """The id of the last entry the stream ever got. Raises SinkAway.

    Where the server will not say, the stream is read to its end.
    """
    (info,) = await look(link, [name])
    if info is not None:
        return info.last
    last = ZERO
    while True:
        (reply,) = await link.call([("XREAD", "COUNT", _PAGE, "STREAMS", name, str(last))])
        if isinstance(reply, Exception):
            if str(reply).startswith("WRONGTYPE"):
                return last  # what becomes a stream of that name is new, all of it
            await link.close()
            raise sort_error(reply, name)
        if not reply:
            return last
        (entries,) = reply.values() if isinstance(reply, dict) else (reply[0][1],)
        last = parse_id(entries[-1][0])
