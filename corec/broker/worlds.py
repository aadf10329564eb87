"""One world's streams give way to another's: set aside for a day, and brought back.

Who writes: the broker of the world that begins or comes back. Order of the stores:

    1  one MULTI: the older world's streams renamed to ``aside:<stamp>:…``, its hash copied there,
       ``aside:<epoch>`` = stamp, and the hash made this world's
       [K broker.before_world, broker.after_world]
    2  consumer groups made anew on the new streams; or, of a world that is back, no more expiry

A kill before 1 leaves the older world's hash, after it this one's: nothing is decided twice. After
a kill before 2, clients make their groups themselves, as after any new world on another server.

A new world begins behind the last entry each in-stream ever had, of whichever canal: it takes in
only what arrives from then on. Where there was no older world and nobody asked for a fresh one,
what waits is its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from corec.broker.link import Command, Link
from corec.broker.positions import EntryId, Keys, aside_stamp
from corec.broker.state import SinkState, new_world, parse_state
from corec.broker.streams import last_entry
from corec.layout import CANALES
from corec.log import get_logger
from shm.killpoint import kill_point

log = get_logger(__name__)
ASIDE_SECONDS: Final = 86_400
_OWN: Final = (b"writer",)
"""Fields of the hash that are the connection's, not a world's."""

Fields = Mapping[bytes, bytes]


class WorldChange:
    """What the broker of ``epoch`` does when the hash is another world's."""

    def __init__(self, link: Link, keys: Keys, canales: Iterable[int], epoch: int) -> None:
        self._link = link
        self._keys = keys
        self._canales = list(canales)
        self._epoch = epoch

    async def run(self, old: SinkState, fields: Fields, *, new: bool) -> SinkState:
        """Make the streams this world's; ``new``: it begins behind what is unread.

        Returns its state. Raises SinkAway.
        """
        keys = self._keys
        ends = None
        if new:
            ends = await self._ends(old)
        now = datetime.now(UTC)
        stamp = aside_stamp(now)
        there = await self._existing(self._streams(old))
        groups = await self._groups(there)
        commands = self._set_aside(old, fields, there, stamp)
        back = await self._kept(old)
        if back is None:
            state, drop, write = new_world(old, self._epoch, ends)
        else:
            state, drop, write = await self._come_back(old, fields, back, commands)
        long_gone = aside_stamp(now - timedelta(seconds=ASIDE_SECONDS))
        for epoch in [epoch for epoch, text in state.aside.items() if text < long_gone]:
            del state.aside[epoch]
            write.pop(f"aside:{epoch}", None)
            drop.append(f"aside:{epoch}")
        if old.epoch is not None:
            state.aside[old.epoch] = stamp
            write[f"aside:{old.epoch}"] = stamp
        if drop:
            commands.append(("HDEL", keys.pos, *drop))
        commands.append(("HSET", keys.pos, *(part for pair in write.items() for part in pair)))
        kill_point("broker.before_world")
        await self._link.transact((), commands)
        kill_point("broker.after_world")
        log.info("the streams are another world's now", set_aside=there, back=back is not None,
                 input_behind={c: str(entry) for c, entry in state.start.items()})  # fmt: skip
        await self._afterwards(groups if back is None else [], self._streams(state))
        return state

    async def _ends(self, old: SinkState) -> dict[int, EntryId]:
        """By canal, the last entry that each in-stream ever had. Those of other canals count, too:
        a bloque that is added later reads on from there."""
        names = {self._keys.incoming(canal): canal for canal in range(-CANALES // 2, CANALES // 2)}
        there = {names[name] for name in await self._existing(list(names))}
        return {
            canal: await last_entry(self._link, name)
            for name, canal in names.items()
            if canal in there or canal in old.applied or canal in self._canales
        }

    def _streams(self, state: SinkState) -> list[str]:
        keys = self._keys
        canales = sorted({*self._canales, *state.total_out})
        return [*(keys.out(canal) for canal in canales), keys.alerts, keys.dead]

    async def _existing(self, names: list[str]) -> list[str]:
        replies = await self._link.checked([("EXISTS", name) for name in names])
        return [name for name, found in zip(names, replies, strict=True) if found]

    def _set_aside(
        self, old: SinkState, fields: Fields, there: list[str], stamp: str
    ) -> list[Command]:
        commands: list[Command] = []
        for key in there:
            kept = self._keys.aside(key, stamp)
            commands += [("RENAME", key, kept), ("EXPIRE", kept, ASIDE_SECONDS)]
        if old.epoch is not None:
            kept = self._keys.aside(self._keys.pos, stamp)
            pairs = [part for name, text in fields.items() if name not in _OWN
                     for part in (name, text)]  # fmt: skip
            commands += [("HSET", kept, *pairs), ("EXPIRE", kept, ASIDE_SECONDS)]
        return commands

    async def _kept(self, old: SinkState) -> tuple[str, Fields] | None:
        """This world's stamp and hash, if it was set aside and is still there."""
        stamp = old.aside.get(self._epoch)
        if stamp is None:
            return None
        place = self._keys.aside(self._keys.pos, stamp)
        (fields,) = await self._link.checked([("HGETALL", place)])
        return (stamp, dict(fields)) if fields else None

    async def _come_back(
        self, old: SinkState, fields: Fields, back: tuple[str, Fields], commands: list[Command]
    ) -> tuple[SinkState, list[str], dict[str, Any]]:
        """Add the renames to ``commands``; the state, the fields to delete, those to write."""
        stamp, saved = back
        state = parse_state(saved)
        names = {self._keys.aside(key, stamp): key for key in self._streams(state)}
        there = await self._existing(list(names))
        commands.extend(("RENAME", kept, names[kept]) for kept in there)
        state.aside = {**state.aside, **old.aside}
        state.aside.pop(self._epoch, None)
        write: dict[str, Any] = {name.decode(): text for name, text in saved.items()}
        write |= {f"aside:{epoch}": text for epoch, text in state.aside.items()}
        write.pop(f"aside:{self._epoch}", None)
        drop = [name.decode() for name in fields if name not in _OWN]
        return state, [name for name in drop if name not in write], write

    async def _groups(self, streams: list[str]) -> list[tuple[str, bytes]]:
        """(stream, name) of the consumer groups that read ``streams``; those that can be seen."""
        replies = await self._link.call([("XINFO", "GROUPS", key) for key in streams])
        found = []
        for key, reply in zip(streams, replies, strict=True):
            for group in [] if isinstance(reply, Exception) else reply:
                if not isinstance(group, dict):
                    group = dict(zip(group[::2], group[1::2], strict=True))
                found.append((key, group[b"name"]))
        return found

    async def _afterwards(self, groups: list[tuple[str, bytes]], streams: list[str]) -> None:
        """What may fail: the same groups on the new streams, no more expiry of what came back."""
        commands: list[Command] = [
            ("XGROUP", "CREATE", key, name, "0", "MKSTREAM", "ENTRIESREAD", 0)
            for key, name in groups
        ]
        commands += [("PERSIST", key) for key in streams]
        for command, reply in zip(commands, await self._link.call(commands), strict=True):
            if isinstance(reply, Exception):
                log.info("left to others", command=" ".join(map(str, command[:3])),
                         reason=str(reply))  # fmt: skip
