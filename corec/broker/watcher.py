"""Looks at the in-streams themselves: were they lost and written anew, was unread input trimmed?

``continuity`` decides; this asks the server, tells what was found and sets the reader back where it
must be. Order of the stores when a stream is read from another place, and what a kill leaves:

    1  the hash: rewound:<canal>, in:, done:, read:, dead:, total_in: in one MULTI
       [K broker.after_rewind]
       before it: it is found again; after it: a reader that stands at the old place goes to the new
    2  the reader's cursor, in memory
    3  frames with the new, smaller ids into the inbox: from the first one on, they say where it is
"""

from __future__ import annotations

import time
from typing import Any, Final

from corec import layout as L
from corec.broker.continuity import LOOK_ENTRIES, Canal, Verdict
from corec.broker.events import Events
from corec.broker.incoming import Incoming
from corec.broker.link import Command, Link
from corec.broker.positions import EntryId, after, format_in_position, parse_id
from corec.broker.state import Added, Rewound
from corec.broker.status import Status
from corec.broker.streams import StreamInfo, look
from corec.broker.writer import Writer
from corec.log import get_logger
from corec.process.events import REASON
from shm.killpoint import kill_point

log = get_logger(__name__)
LOOK_SECONDS: Final = 1.0
LOOK_BYTES_PER_SECOND: Final = 1 << 20
_PAGE: Final = 256


class Watcher:
    """One look a second, fewer where the entries are so large that a look is dear."""

    def __init__(self, writer: Writer, incoming: Incoming, status: Status, events: Events) -> None:
        self._writer = writer
        self._incoming = incoming
        self._status = status
        self._events = events
        self._canales: dict[int, Canal] = {}
        self._next = 0.0
        self._before: dict[int, EntryId] = {}  # what the hash said of ``in:`` when it had gone back
        self._old: dict[int, tuple[EntryId, frozenset[EntryId]]] = {}

    def wanted(self) -> None:
        """Look at the next occasion."""
        self._next = 0.0

    def reloaded(self) -> None:
        """The hash was read anew."""
        writer = self._writer
        if writer.went_back:
            self._before = dict(writer.state.applied)
        self._next = 0.0

    def took(self, canal: int, ids: list[EntryId]) -> None:
        """The reader has passed over these entries."""
        state = self._of(canal)
        state.took(ids)
        if state.entries_since_look >= LOOK_ENTRIES:
            self._next = 0.0

    def unknown(
        self, canal: int, found: list[tuple[bytes, list[bytes]]]
    ) -> list[tuple[bytes, list[bytes]]]:
        """What of ``found`` was not taken before the stream was written anew."""
        until, taken = self._old.get(canal, (None, frozenset()))
        if until is None:
            return found
        if parse_id(found[0][0]) > until:
            del self._old[canal]
            return found
        return [entry for entry in found if parse_id(entry[0]) not in taken]

    def hash_fields(self) -> list[Any]:
        """``added:<canal>`` of the canales where it is known, and what went away unread."""
        fields: list[Any] = ["total_unread", self._writer.state.total_unread]
        for canal, state in self._canales.items():
            if state.index is not None:
                place = Added(self._incoming.cursors[canal].done, state.index)
                fields += [f"added:{canal}", str(place)]
        return fields

    async def look(self, link: Link) -> None:
        """Look if it is due. Raises SinkAway, TakenOver."""
        if time.monotonic() < self._next:
            return
        keys, canales = self._writer.keys, self._incoming.canales
        found = await look(link, [keys.incoming(canal) for canal in canales])
        size = sum(info.shown_bytes for info in found if info is not None)
        pause = max(LOOK_SECONDS, size / LOOK_BYTES_PER_SECOND)
        for canal, info in zip(canales, found, strict=True):
            if info is not None:
                await self._judge(link, canal, info)
        self._before = {}
        self._next = time.monotonic() + pause

    async def _judge(self, link: Link, canal: int, info: StreamInfo) -> None:
        at = self._incoming.cursors[canal].done
        applied = self._before.get(canal, self._writer.state.applied.get(canal))
        verdict = self._of(canal).look(at, info, applied, went_back=bool(self._before))
        if verdict.scan_from is not None:
            await self._anew(link, canal, at, info, verdict)
        elif verdict.unread:
            self._tell_unread(canal, at, info, verdict.unread)

    async def _anew(
        self, link: Link, canal: int, at: EntryId, info: StreamInfo, verdict: Verdict
    ) -> None:
        """The stream is another one: go to the entry before the first that is new."""
        to = await self._last_old(link, self._writer.keys.incoming(canal), verdict)
        detail: dict[str, Any] = {
            "stream": self._writer.keys.incoming(canal), "at": str(at), "to": str(min(to, at)),
            "last": str(info.last),
            REASON: "the stream was lost or written anew; it is read on from there",
        }  # fmt: skip
        log.warning("an in-stream is not the one that was read", **detail)
        self._events.emit("input_rewound", self._tick(), detail)
        if to >= at:
            return
        if not self._writer.went_back:
            self._old[canal] = (at, verdict.taken)
        await self._rewind(canal, at, to)

    async def _rewind(self, canal: int, at: EntryId, to: EntryId) -> None:
        place = format_in_position(after(to))
        # what a killed predecessor took in and had not counted can't be read again to be counted
        cursors = self._incoming.cursors
        counted = sum(cursor.total for cursor in cursors.values())
        uncounted = max(0, self._status.count(L.B_MESSAGES_IN) - counted)
        total = cursors[canal].total + uncounted
        commands: list[Command] = [
            (
                "HSET", self._writer.keys.pos, f"rewound:{canal}", str(Rewound(at, to)),
                f"in:{canal}", str(to), f"done:{canal}", place, f"read:{canal}", place,
                f"dead:{canal}", str(to), f"total_in:{canal}", total,
            )
        ]  # fmt: skip
        async with self._writer.lock:
            await self._writer.ensure()
            kill_point("broker.before_rewind")
            await self._writer.commit((), commands)
            kill_point("broker.after_rewind")
            state = self._writer.state
            state.rewound[canal] = Rewound(at, to)
            state.applied[canal] = state.dead[canal] = to
            state.done[canal] = state.read[canal] = after(to)
            state.total_in[canal] = total
        self._incoming.open(canal, after(to), after(to), total)

    async def _last_old(self, link: Link, name: str, verdict: Verdict) -> EntryId:
        """The last entry before the first one that was not taken yet."""
        assert verdict.scan_from is not None
        last = verdict.scan_from
        while True:
            (reply,) = await link.checked([("XREAD", "COUNT", _PAGE, "STREAMS", name, str(last))])
            if not reply:
                return last
            for identifier, _ in reply[name.encode()]:
                entry = parse_id(identifier)
                if entry > verdict.taken_up_to and entry not in verdict.taken:
                    return last
                last = entry

    def _tell_unread(self, canal: int, at: EntryId, info: StreamInfo, unread: int) -> None:
        known = unread > 0
        detail: dict[str, Any] = {
            "stream": self._writer.keys.incoming(canal), "entries": unread if known else None,
            "after": str(at), "before": str(info.first) if info.first else None,
            REASON: "it was trimmed or deleted before it was read",
        }  # fmt: skip
        log.warning("unread input is gone", **detail)
        lost = self._status.count(L.B_UNREAD_LOST) + max(1, unread)
        self._status.set_count(L.B_UNREAD_LOST, lost)
        self._writer.state.total_unread = lost
        self._events.emit("input_lost", self._tick(), detail)

    def _tick(self) -> int:
        return self._writer.state.out_tick

    def _of(self, canal: int) -> Canal:
        known = self._canales.get(canal)
        if known is None:
            known = self._canales[canal] = Canal()
            place = self._writer.state.added.get(canal)
            if place is not None and place.id == self._incoming.cursors[canal].done:
                known.index = place.entries
        return known
