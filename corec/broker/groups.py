"""Consumer groups of the tasks on messages, and where one begins that is there for the first time.

A task on messages is called with those of every tick behind the one that its instance's processes
began at (a start, an upgrade: who configures a task has one of them), whatever dies before the
process of tasks has come to ask for any of them. So the broker makes the groups, before it sends
anything: who starts next, at a later tick, finds them, or nothing was sent. The process of tasks
looks for them, too: it may be there before the broker.

The end of a stream says nothing of where a group begins, for the broker may be the second one of
this start: the ticks in the stream are looked at, from the end on.

    epoch in the hash       [K broker.after_world, broker.before_groups]
    the groups              nothing of this start is in the streams before  [K broker.after_groups]
    the first MULTI
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from corec.broker.link import Command, Link
from corec.config import Config
from corec.config.acting import TaskConfig
from corec.digits import whole_number
from corec.keys import Keys
from corec.log import get_logger
from corec.plan import Plan
from shm.killpoint import kill_point

log = get_logger(__name__)
PAGE: Final = 16
FIRST: Final = "0"


def group_of(title: str) -> str:
    """The consumer group of a task."""
    return f"tarea:{title}"


def canales_of(one: TaskConfig, plan: Plan) -> list[int]:
    """Whose messages start the task; none where it waits for alerts."""
    if one.on != "mensajes":
        return []
    return sorted({s.canal for s in plan.swarms if one.canal in (None, s.canal)})


class Groups:
    """Those of an instance, made once."""

    def __init__(self, keys: Keys, config: Config, plan: Plan, behind: int) -> None:
        """``behind``: the tick that the processes began at (``Runtime.group_tick``)."""
        self._behind = behind
        self._missing = [
            (keys.out(canal), group_of(one.title))
            for one in config.tasks for canal in canales_of(one, plan)
        ]  # fmt: skip

    async def make(self, link: Link) -> None:
        """To be called before anything is sent. Raises SinkAway."""
        if not self._missing:
            return
        kill_point("broker.before_groups")
        streams = sorted({stream for stream, _ in self._missing})
        there = dict(zip(streams, await _groups(link, streams), strict=True))
        for stream, group in self._missing:
            if group not in there[stream]:
                error = await make_group(link, stream, group, self._behind)
                if error is not None:
                    log.info("left to the tasks", stream=stream, group=group, reason=str(error))
        self._missing = []
        kill_point("broker.after_groups")


async def _groups(link: Link, streams: Iterable[str]) -> list[set[str]]:
    """The names of each stream's groups, of those that can be seen. Raises SinkAway."""
    replies = await link.call([("XINFO", "GROUPS", stream) for stream in streams])
    return [
        {one[b"name"].decode("utf-8", "replace") for one in reply}
        if isinstance(reply, list) else set() for reply in replies
    ]  # fmt: skip


async def make_group(
    link: Link, stream: str, group: str, behind: int | None, *, start: str | None = None
) -> Exception | None:
    """Make it where there is none, behind the tick ``behind`` (see ``beginning``) or at ``start``.
    What the server refused. Raises SinkAway."""
    read = 0
    if start is None:
        (there,) = await _groups(link, [stream])
        if group in there:
            return None
        start, read = await beginning(link, stream, behind)
    command: Command = (
        "XGROUP", "CREATE", stream, group, start, "MKSTREAM", "ENTRIESREAD", read,
    )  # fmt: skip
    (reply,) = await link.call([command])
    return reply if isinstance(reply, Exception) and "BUSYGROUP" not in str(reply) else None


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
