"""The process ``tasks``: follows alerts through their life, and runs what is to be done about them,
and about messages.

One loop. ``_follow`` reads the streams of alerts and acknowledgements, decides (``life``), writes
PostgreSQL (``store``), then publishes the notices. A ``Runner`` for each task of the configuration
takes them from there, and one for each out-stream of a task ``on: mensajes``. ``_watch`` beats, and
leaves when the instance stops or the supervisor is gone. What is not done then is pending in its
stream, and is done after the next start.

It alone writes the words of its slot. No tick waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import psycopg
import uvloop

from corec import layout as L
from corec.broker.groups import canales_of
from corec.broker.link import Link, SinkAway, key_of, sort_error
from corec.config.acting import Alertas
from corec.log import get_logger
from corec.notices import load_task
from corec.persister.reasons import reason_of, text_of
from corec.persister.schema import without_nul
from corec.persister.writer import connect
from corec.plan import Plan
from corec.process import life
from corec.process.backoff import Backoff
from corec.process.runtime import Runtime
from corec.tasks.elsewhere import Elsewhere
from corec.tasks.life import REPEATED, Life, Message
from corec.tasks.pool import Pool
from corec.tasks.runner import Counts, Pace, Runner
from corec.tasks.source import OfAlerts, OfMessages, Source
from corec.tasks.store import Moved, Stand, Store
from corec.tasks.streams import (
    TOLD,
    Command,
    Names,
    letter_of,
    lost,
    messages_of,
    publish,
    unread,
    written_ms,
)
from corec.tasks.trimmed import Read, kept, order
from shm.killpoint import kill_point

log = get_logger("corec.tasks")
BEAT_SECONDS: Final = 0.1
IDLE_SECONDS: Final = 0.1
LOOK_SECONDS: Final = 5.0
FORGET_SECONDS: Final = 3600.0
WHO_MAX: Final = 1000
"""Characters that an acknowledgement may have in each of its fields."""
ENTRIES: Final = 100
NOTICES: Final = 500
LETTERS_LEAST: Final = 10_000
"""So many failures the stream keeps in any case: more than come between two looks."""


def run(rt: Runtime) -> int:
    """Serve until told to stop; the exit code: 0 stopped, 1 the supervisor died."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(Acting(rt).main())


class Acting:
    """The state of the process."""

    def __init__(self, rt: Runtime) -> None:
        self.rt, self.slot = rt, rt.slot(L.SLOT_TASKS)
        self.life = life.Life(rt, L.SLOT_TASKS)
        self.names = Names(rt.config.instance_id)
        self.counts = Counts()
        self.clear_after = (rt.config.alertas or Alertas()).clear_after_ticks
        self.link = self._link()
        self.stand = Stand()
        self.letter, self.uncut = b"0-0", False
        """The last failure in the table, and whether there came any since the stream was cut."""
        self.read = Read("0-0")
        """The stream of alerts."""
        self.rewound: set[str] = set()
        """The streams that are to be read from their beginning."""
        self.runners = [one for index in range(len(rt.config.tasks)) for one in self._of(index)]

    def _link(self) -> Link:
        return Link(self.rt.redis_url, self.names.pos, self.rt.config.redis.cluster)

    def _of(self, index: int) -> list[Runner]:
        """The runners of one task, which share its processes and its pace."""
        config, plan = self.rt.config, self.rt.whole_plan
        one = config.tasks[index]
        options = one.model_dump(mode="json")
        if one.secret_file is not None:
            options["secret_file"] = str(config.absolute(one.secret_file))
        options["command"] = one.words(config.absolute)
        folders = config.plugin_folders
        pool: Pool | Elsewhere
        if one.pool == "celery":
            pool = Elsewhere(one.run, options, folders, self.rt.redis_url, config.instance_id,
                             self._link)  # fmt: skip
        else:
            pool = Pool(load_task(one.run, folders), one.run, options, folders)
        sources: list[Source] = [OfAlerts(self.names, one)]
        if one.on == "mensajes":
            epoch, behind = self.rt.epoch, self.rt.group_tick
            sources = [
                OfMessages(self.names, plan, c, epoch, behind) for c in canales_of(one, plan)
            ]
        pace = Pace(one.per_second)
        return [
            Runner(one, source, pool, pace, plan, self.names, self._link, self.counts)
            for source in sources
        ]

    async def main(self) -> int:
        """Work until the instance stops, or the supervisor is gone."""
        self.life.begin()
        follow = asyncio.create_task(self._always())
        watch = asyncio.create_task(self._watch())
        try:
            await asyncio.wait({follow, watch}, return_when=asyncio.FIRST_COMPLETED)
            if not watch.done():
                follow.result()  # it never ends but by what it raises
            return watch.result()
        finally:
            for task in (follow, watch):
                task.cancel()
            await asyncio.gather(follow, watch, return_exceptions=True)
            self.life.showing.drained()

    async def _watch(self) -> int:
        while True:
            self.life.beat()
            for word, value in (
                (L.T_DONE, self.counts.done), (L.T_RETRIED, self.counts.retried),
                (L.T_FAILED, self.counts.failed), (L.T_WAITING, self.counts.waiting),
            ):  # fmt: skip
                self.slot.set(L.S_COUNT0 + word, value)
            if self.rt.get(L.C_STOP) >= L.STOP_SINKS:
                return 0
            if self.life.orphaned():
                return 1
            await asyncio.sleep(BEAT_SECONDS)

    async def _always(self) -> None:
        """Follow the alerts; servers may go and come."""
        backoff, running = Backoff(), None
        try:
            while True:
                try:
                    await self.link.connect()
                    for runner in self.runners:
                        if runner.source.epoch is None:  # the others wait for their world
                            await runner.make_group(self.link)
                    if running is None:
                        running = asyncio.gather(*(runner.run() for runner in self.runners))
                    await self._connected(backoff, running)
                except (psycopg.Error, OSError) as error:
                    self._waits(reason_of(error), text_of(error, self.rt.db_conninfo))
                except SinkAway as error:
                    self._waits(error.reason, str(error))
                except Moved:
                    log.warning("another process wrote the alerts of this world: reading them anew")
                await asyncio.sleep(backoff.next_seconds())
        finally:
            if running is not None:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
            for runner in self.runners:
                await runner.close()

    def _waits(self, reason: int, text: str) -> None:
        if not self.life.showing.waits:
            log.warning("alerts wait for a server", reason=text)
        self.life.showing.works(waits=True, reason=reason)

    async def _connected(self, backoff: Backoff, running: Any) -> None:
        """One connection's life; raises what ended it."""
        embedded = self.rt.config.db.embedded
        connection = await connect(self.rt.db_conninfo, embedded=embedded)
        try:
            store = Store(connection, self.rt.config.instance_id, self.rt.epoch)
            await store.prepare()
            (told,) = await self.link.checked([("HGET", self.names.progress, TOLD)])
            life, self.stand = await store.load(self.clear_after, int(told or 0))
            await self._lost(told, await store.known(self.stand.notice))
            life.repeats = any(REPEATED in one.events for one in self.rt.config.tasks)
            self.read = Read(self.stand.entry)
            looked = forgot = 0.0
            while not running.done() or not self.runners:
                now = time.monotonic()
                if now - looked > LOOK_SECONDS:
                    looked = now
                    await self._look()
                retention = self.rt.config.persist.retention_seconds
                if retention is not None and now - forgot > FORGET_SECONDS:
                    forgot = now
                    await store.forget(retention)
                busy = await self._follow(store, life)
                backoff.reset()
                self.life.showing.works(reason=L.REASON_NONE)
                if not busy:
                    await asyncio.sleep(IDLE_SECONDS)
            running.result()
        finally:
            await connection.close()

    async def _follow(self, store: Store, life: Life) -> bool:
        """What came since the last look, all the way to the notices; whether there was anything."""
        behind, ack = (
            "0-0" if name in self.rewound else at
            for name, at in (
                (self.names.alerts, self.stand.entry), (self.names.acks, self.stand.ack),
            )
        )  # fmt: skip
        self.rewound.clear()
        commands: list[Command] = [
            ("HMGET", self.names.pos, "epoch", "out_tick"),
            ("XINFO", "STREAM", self.names.alerts),
            ("XREAD", "COUNT", ENTRIES, "STREAMS", self.names.alerts, self.names.acks,
             self.names.failed, behind, ack, self.letter),
            ("HGET", self.names.pos, "out_part"), ("HGET", self.names.pos, "out_tick"),
        ]  # fmt: skip
        replies = await self.link.call(commands)
        info = replies.pop(1)  # an error where there is no such stream
        del commands[1]
        for command, reply in zip(commands, replies, strict=True):
            if isinstance(reply, Exception):
                raise sort_error(reply, key_of(command))
        (epoch, out_tick), found, part, reached = replies
        if epoch is None or int(epoch) != self.rt.epoch:
            return False  # the broker has not begun this world's streams yet
        by_name = {bytes(name).decode(): entries for name, entries in (found or {}).items()}
        alerts, acks = by_name.get(self.names.alerts, []), by_name.get(self.names.acks, [])
        before = self.stand
        if isinstance(info, dict):
            await self._missed(self.read.before(info, behind))
        self.read.took(len(alerts))
        last_tick = max(int(reached or 0), int((part or b"0").partition(b":")[0]))
        for entry, fields in alerts:
            take_alert(life, bytes(entry), fields, last_tick, self.rt.whole_plan)
        for _, fields in acks:
            _acknowledge(life, fields)
        if len(alerts) < ENTRIES and out_tick is not None:
            life.passed(int(out_tick))
        after = Stand(
            alerts[-1][0].decode() if alerts else before.entry,
            acks[-1][0].decode() if acks else before.ack,
            life.tick, before.notice + len(life.notices), before.raised + life.raised,
        )  # fmt: skip
        if replace(after, tick=before.tick) != before or life.changed:
            kill_point("tasks.before_write")
            await store.write(life, before, after)
            kill_point("tasks.after_write")
            self.stand, life.raised = after, 0
            life.written()
        self.slot.set(L.S_COUNT0 + L.T_RAISED, after.raised)
        self.slot.set(L.S_COUNT0 + L.T_OPEN, len(life.open))
        sent = await self._publish(store) if after.notice else 0
        letters = by_name.get(self.names.failed, [])
        if letters:
            await store.failed(letters_of(letters))
            self.letter, self.uncut = bytes(letters[-1][0]), True
        if self.uncut and len(letters) < ENTRIES:  # what is left of it is in the table
            most = max(self.rt.config.streams.maxlen, LETTERS_LEAST)
            await self.link.call([("XTRIM", self.names.failed, "MAXLEN", "~", most)])
            self.uncut = False
        return bool(alerts or acks or letters or sent)

    async def _missed(self, entries: int | None) -> None:
        """A letter about alerts that were trimmed before they were read."""
        if entries == 0:
            return
        log.error("alerts were trimmed before they were read", entries=entries)
        words = unread("alertas", "", self.names.alerts, entries)
        await self.link.checked([("XADD", self.names.failed, "*", *words)])

    async def _lost(self, said: bytes | None, known: int) -> None:
        """A letter about notices that were in their stream, and are not: the server came back
        without its last writes, which it can't but with another connection."""
        command = lost(self.names, said, known)
        if command is not None:
            log.error("Redis lost notices", known=known, there=int(said or 0))
            await self.link.checked([command])

    async def _publish(self, store: Store) -> int:
        """Bring the notices from their table to their stream, each once."""
        notices = await store.notices(NOTICES)
        if not notices:
            return 0
        kill_point("tasks.before_publish")
        await self.link.checked([publish(self.names, notices)])
        kill_point("tasks.after_publish")
        await store.sent(notices[-1][0])
        return len(notices)

    async def _look(self) -> None:
        """Trim what every task is through with; notice a stream that lost what it had."""
        ends = {self.names.alerts: self.stand.entry, self.names.acks: self.stand.ack,
                self.names.failed: self.letter.decode()}  # fmt: skip
        commands: list[Command] = [("XINFO", "STREAM", name) for name in ends]
        mine = {one.group for one in self.runners if one.source.epoch is None}
        commands += [("XPENDING", self.names.notices, group) for group in mine]
        commands += [("XINFO", kind, self.names.notices) for kind in ("GROUPS", "STREAM")]
        replies = await self.link.call(commands)
        for (name, end), info in zip(ends.items(), replies, strict=False):
            last = info[b"last-generated-id"].decode() if isinstance(info, dict) else end
            if order(last) < order(end):
                log.warning("a stream lost its end: it is read anew", stream=name, last=last)
                self._rewind(name)
        *pending, groups, notices = replies[len(ends) :]
        if isinstance(groups, list) and isinstance(notices, dict):
            most = self.rt.config.streams.maxlen
            words = kept(notices[b"length"], most, groups, mine, pending)
            await self.link.call([("XTRIM", self.names.notices, *words)])

    def _rewind(self, name: str) -> None:
        if name == self.names.failed:
            self.letter = b"0-0"
            return
        self.rewound.add(name)
        if name == self.names.alerts:
            self.read = Read("0-0")


def take_alert(
    life: Life, entry: bytes, fields: Sequence[bytes], last_tick: int, plan: Plan
) -> None:
    """What an entry of ``…:alertas`` adds; one that says no alert of this world is told, and adds
    nothing. ``last_tick``: the world has sent nothing of a later one."""
    try:
        text = dict(zip(fields[::2], fields[1::2], strict=True))[b"alerta"]
        found = messages_of(written_ms(entry), text)
        if found and found[0].tick > last_tick:
            raise ValueError(f"tick: found {found[0].tick}, expected at most {last_tick}")
        for one in found:
            _check_canal(one, plan)
    except Exception as error:  # noqa: BLE001  # what it raises would be met again after each start
        log.warning("found no alert in the stream", entry=entry.decode(), error=repr(error)[:500])
        return
    for one in found:
        life.message(one)


def _check_canal(one: Message, plan: Plan) -> None:
    """Raise ValueError where there is no such entity on its canal: its alert would be taken for the
    entity's own, of which nobody who waits for another canal is told."""
    swarm = plan.swarm_of(one.entity)
    if swarm is None or swarm.canal != one.canal:
        raise ValueError(f"id: found {one.entity} on canal {one.canal}, where it is not")


def _acknowledge(life: Life, fields: Sequence[bytes]) -> None:
    said = dict(zip(fields[::2], fields[1::2], strict=True))
    alert, who = (
        without_nul(said.get(name, b"").decode("utf-8", "replace"))[:WHO_MAX]
        for name in (b"id", b"quien")
    )
    if not life.acknowledge(alert, who):
        log.info("an acknowledgement changed nothing", alert=alert[:200], who=who[:200])


def letters_of(entries: Sequence[Any]) -> list[tuple[Any, ...]]:
    """The rows of what entries of ``…:tareas_fallidas`` say; those that say none are left out."""
    found = []
    for entry, fields in entries:
        with contextlib.suppress(Exception):  # what it raises would be met again after each start
            found.append(letter_of(bytes(entry), fields))
    return found
