"""Where the consumer group of a task begins that is there for the first time.

A task on messages is called with those of every tick behind the one that its instance was started
at, also where the world has sent some of them before this process came to ask: so the end of the
stream says nothing, and the ticks in it are looked at, from the end on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from corec.broker.link import Link
from corec.digits import whole_number

PAGE: Final = 16
FIRST: Final = "0"


async def beginning(link: Link, stream: str, behind: int | None) -> tuple[str, int]:
    """The entry of ``stream`` behind which a group begins, and how many entries there were up to
    it. ``behind``: the tick whose messages are the last that it leaves out; None: it begins behind
    all that is there. Raises SinkAway."""
    if behind == 0:
        return FIRST, 0
    (info,) = await link.call([("XINFO", "STREAM", stream)])
    if not isinstance(info, dict):
        return FIRST if "no such key" in str(info).lower() else "$", 0
    last, added = info[b"last-generated-id"].decode(), int(info[b"entries-added"])
    if behind is None:
        return last, added
    at, later = last, 0
    while True:
        (found,) = await link.call([("XREVRANGE", stream, at, "-", "COUNT", PAGE)])
        if isinstance(found, Exception):  # its user may not ask
            return last, added
        for entry, fields in found:
            tick = _tick(fields)
            if tick is not None and tick <= behind:
                return entry.decode(), added - later
            later += 1
        if len(found) < PAGE:
            return FIRST, added - later
        at = f"({found[-1][0].decode()}"


def _tick(fields: Sequence[Any]) -> int | None:
    """The tick of an entry; None: somebody else's, which says none."""
    said = dict(zip(fields[::2], fields[1::2], strict=True)).get(b"t", b"")
    return whole_number(said.decode("ascii", "replace"))
