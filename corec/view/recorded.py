"""What an instance took in, tick by tick, for a world in this process that runs it again.

The journal in its state folder says where each tick's input ended and what was set
(``corec.journal.file``); the readings themselves are read from its in-streams, and judged as its
broker judges them. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from corec.broker.incoming import Incoming, skipped
from corec.broker.positions import EntryId, InPosition, Keys, choose_start
from corec.broker.readings import GOOD
from corec.broker.state import parse_state
from corec.config import Config, load_config
from corec.config.change import changed
from corec.control.console import client_of
from corec.control.discover import find_instance, redis_address
from corec.journal.file import journal_files, read_lines, read_stretch
from corec.journal.past import Past
from corec.plan import Plan
from corec.plan_live import with_settings
from corec.world.edits import apply
from corec.world.heads import positions_of
from corec.world.live import Live, Since
from corec.world.past import Retold, as_it_was, found_behind, head_after, past_of, settled_head
from corec.world.settings import Entries, Entry, effective, entries_in, since
from corec.world.tables import Tables
from corec.world.writes import Unreadable, due, edit_in

PAGE: Final = 256
Readings = tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.uint8]]


class Recorded:
    """The journal of one world behind a tick, and its in-streams."""

    def __init__(
        self, config: Config, plan: Plan, head: Mapping[str, Any] | None, url: str, past: Past
    ) -> None:
        """``head``: of the checkpoint that the world begins at; None: at tick 0. ``url``: of its
        Redis. ``past``: what the journal says of the ticks behind that (``past_recorded``)."""
        epoch = int(head["epoch"]) if head is not None else _last_epoch(config.state_folder)
        self.past, self._config, self._plan = past, config, plan
        self.head = head_after(past, {}) if head is None else settled_head(head, past)
        """With the settings that count behind the ticks that are run again, as in an instance."""
        self._behind = entries_in(self.head)
        self._over: Mapping[str, Since] = {}
        self._retold = Retold(past, config, plan)
        self._incoming = Incoming(plan)
        self._keys = Keys(config.instance_id)
        self._url = url
        self._start = _start_of(self._keys, url, epoch)
        applied = positions_of(dict(head)) if head is not None else {}
        for canal in self._incoming.canales:
            place = self._begin(canal)
            if canal in applied:
                place = InPosition(*applied[canal])
            self._incoming.open(canal, place, place, 0)

    def _begin(self, canal: int) -> InPosition:
        """Where the world began to read a canal, also one that nobody was on yet."""
        return choose_start(None, None, self._start.get(canal))

    @property
    def until(self) -> int:
        """The last tick that the journal says something of; where that waits, the one before."""
        return self.past.last if self.past.behind is None else self.past.until

    def grown(self, plan: Plan) -> None:
        """The world is that of ``plan`` from now on."""
        self._retold, self._plan = Retold(self.past, self._config, plan), plan
        self._retold.set_over(self._over)
        cursors, self._incoming = self._incoming.cursors, Incoming(plan)
        self._incoming.cursors = cursors
        for canal in self._incoming.canales:
            if canal not in cursors:
                self._incoming.open(canal, self._begin(canal), self._begin(canal), 0)

    def settings(self, tables: Tables, tick: int) -> None:
        """Have the kernels begin entities before ``tick`` with the settings that counted in it."""
        self._retold.settle(tables, tick)

    def settle(self, tables: Tables, tick: int) -> bool:
        """Have the kernels run ``tick`` with the settings that counted in it, and write what was
        written before it. Raises ValueError: that is gone, or does not fit this world."""
        entries = {path: Entry(*one) for path, one in self.past.state(tick).entries.items()}
        self._write(entries, tables, tick)
        return self._retold.settle(tables, tick)

    def write_behind(self, tables: Tables, tick: int) -> None:
        """Write what was written before ``tick``, which had not gone. Raises as ``settle``."""
        self._write(self._behind, tables, tick)

    def _write(self, entries: Entries, tables: Tables, tick: int) -> None:
        for file in due(entries, tick):
            try:
                edit = edit_in(self._config.state_folder, self._plan, file)
            except Unreadable as error:
                text = f"replay: tick {tick}: what was written can't be written again: {error}"
                raise ValueError(text) from None
            apply(self._plan, tables, [edit], lambda block: True)

    def counting(
        self, tick: int, carga: Since | None
    ) -> tuple[Config, Live, Mapping[str, Since]] | None:
        """For a world of its own that begins with ``tick``: the configuration with what counted in
        it, and that as the kernels are told of it. None: nothing of ``tick`` is known. ``carga``:
        set instead of what counted then."""
        if tick > self.until:
            return None
        state = self.past.state(tick)
        written = as_it_was(self._config, self._plan, state.config)
        entries = {path: Entry(*one) for path, one in state.entries.items()}
        given = since(entries) | dict(self._over)
        whole, _ = effective(written, entries)
        carga = carga or Since(tick, self.past.carga(tick, whole.carga))
        for path, one in {"carga": carga, **given}.items():
            whole = changed(whole, path, one.value)
        return whole, Live(written, with_settings(self._plan, written)), given

    def set_over(self, given: Mapping[str, Since]) -> None:
        """What counts instead of what counted then."""
        self._over = given
        self._retold.set_over(given)

    def readings(self, tick: int) -> Readings | None:
        """What ``tick`` took in: ids, values (f4[n, width]), activo, in order of arrival. Ticks are
        asked for in order.

        Raises ValueError: not all of it is in the streams any more. AskFailed: what Redis says.
        """
        cut = self.past.cut(tick)
        if cut is None:
            return None
        with client_of(self._url) as client:
            found = [self._of(client, c, InPosition(*at)) for c, at in sorted(cut.until.items())]
        messages = np.concatenate(found) if found else np.zeros(0, self._dtype())
        if len(messages) != cut.readings:
            raise ValueError(
                f"replay: tick {tick}: found {len(messages)} readings in the in-streams, expected "
                f"the {cut.readings} that it took in; the others were trimmed, or the Redis is "
                "another one"
            )
        if not len(messages):
            return None
        values = np.column_stack([messages["valor"], messages["more"]]).astype(np.float32)
        return messages["id"].astype(np.int64), values, messages["activo"].astype(np.uint8)

    def _dtype(self) -> np.dtype[np.void]:
        return np.dtype(
            [("id", ">u4"), ("canal", "i1"), ("valor", ">f4"), ("activo", "u1"),
             ("more", ">f4", (self._incoming.values.width - 1,))]
        )  # fmt: skip

    def _of(self, client: Any, canal: int, until: InPosition) -> NDArray[Any]:
        """The good messages of a canal from where it was read to ``until``."""
        parts = []
        while True:
            cursor = self._incoming.cursors[canal]
            name = self._keys.incoming(canal)
            entries = client.xrange(name, f"({cursor.done}", str(until.id), PAGE)
            if not entries:
                break
            raw = [(one, [part for pair in fields.items() for part in pair])
                   for one, fields in entries]  # fmt: skip
            work = self._incoming.judge(canal, raw)
            limit = skipped(work, until)
            whole = work.packed.view(self._dtype())[work.begin : limit]
            parts.append(whole[work.verdict[work.begin : limit] == GOOD])
            self._incoming.progress(work, work.begin, limit)
            if limit < work.count or len(entries) < PAGE:
                break
        return np.concatenate(parts) if parts else np.zeros(0, self._dtype())


def check_may_grow(recorded: Recorded | None, tick: int) -> None:
    """Raises ValueError: within what is replayed there is what there was then."""
    if recorded is not None and tick < recorded.until:
        raise ValueError(
            f"entidades: this world, at tick {tick}, replays what an instance did up to tick "
            f"{recorded.until}, and has as many as that had; expected more behind it, or in a fork"
        )


def past_recorded(config: Config, head: Mapping[str, Any] | None) -> Past:
    """What the journal says of the ticks behind the checkpoint of ``head``, or behind tick 0.

    Raises ValueError: nothing.
    """
    folder = config.state_folder
    if head is not None:
        past = _past_behind(folder, head)
    else:
        past = past_of(folder, _last_epoch(folder), 0)
    if past is None or not (past.last or past.behind):
        tick = 0 if head is None else int(head["tick"])
        raise ValueError(
            f"replay: {folder}: found nothing in its journal of the ticks behind {tick}"
        )
    return past


def _past_behind(folder: Path, head: Mapping[str, Any]) -> Past | None:
    """As an instance has it; where no tick runs again, but something was set to count from the next
    one on, the past of none, with that."""
    found, past = found_behind(folder, head)
    if past is not None or found is head:
        return past
    tick = int(head["tick"])
    return Past(read_stretch(folder, int(head["epoch"]), tick), tick)


def _start_of(keys: Keys, url: str, epoch: int) -> Mapping[int, EntryId]:
    """By canal, behind which entry the world ``epoch`` began to read."""
    with client_of(url) as client:
        found = parse_state(client.hgetall(keys.pos))
    return found.start if found.epoch == epoch else {}


def _last_epoch(folder: Path) -> int:
    for path in reversed(journal_files(folder)):
        if records := read_lines(path).records:
            return int(records[0]["epoch"])
    return 0


def address_of(config: object, replay: bool | str) -> str:
    """The Redis that ``replay`` means for the world of ``config``. Raises NoInstance."""
    if replay is not True:
        return str(replay)
    return server_of(Path(config) if isinstance(config, str | Path) else None)


def server_of(config: Path | None) -> str:
    """The Redis of the instance with this configuration file: the one that is named there, or that
    it runs itself.

    Raises NoInstance: that is its own, and it does not run.
    """
    if config is not None:
        servers = load_config(config).redis
        if not servers.embedded:
            url = servers.connection_url()
            return url.replace("://", "+cluster://", 1) if servers.cluster else url
    return redis_address(find_instance(config=config))
