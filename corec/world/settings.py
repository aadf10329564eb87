"""What may be set while a world ticks is part of that world: it goes on so after a restart.

``tick_hz`` and ``carga`` have two words each: the value that counts (the nucleus', and at a start
or a reload, while there is none, the supervisor's) and what the configuration said when that began
to count (the supervisor's). As long as the configuration says the same, a value that was set stays;
who changes the configuration, or its option on the command line, means that. A new world begins
with it. Order of the stores: the value, then what was configured. A start that is killed between
the two is followed by one that finds the old word still, and does the same again.

Every other key that was set is an ``Entry`` of one JSON object, of which control.seg has two
copies at its end, each after its length; revision r, the word ``C_SETTINGS``, names copy r & 1::

    nucleus   holds the world after tick T (every worker has committed T, nobody runs T + 1);
              writes the other copy, with T + 1 as the first tick of what is new; stores
              C_SETTINGS = r + 1; lets the world go on
    leader    C_CUT_SETTINGS of T + 1 = C_SETTINGS, before it lets T + 1 go
    workers   read copy C_CUT_SETTINGS & 1 when it is another revision than their last

A tick that runs again after a kill finds its revision in ``C_CUT_SETTINGS``. The copy that a
revision overwrites is that of two revisions before, and every tick of that one is committed, since
the world was held in between. Killed before C_SETTINGS is stored, nothing was set. The supervisor
writes it in the same way at a start or a reload, while there is no nucleus and nobody ticks. What
it changes so, ``carga`` too, is written down (``corec.nucleus.journaled``), or a checkpoint made
behind it would not be known to be later than what the journal said before.

``carga`` is changed by the nucleus alone, while it holds the world after tick T, by an operator or
by the module ejecucion, which lowers it in an overload and brings it back::

    C_CARGA_BEFORE = what it is; C_CARGA_SINCE = T + 1, and by whom      read for the event alone
    C_CARGA_ASKED = what it is to come back to
    C_CARGA = the new value                                              T + 1 runs with it
    C_CARGA_ASKED = 0, if it is what was asked for
    C_CARGA_TOLD = C_CARGA_SINCE                                         the event is in its lane

Killed before C_CARGA is stored, it was not changed, and no event is told; killed behind it, the
successor tells it. Between the two the module finds another value asked for than counts, and
comes to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, Final, NamedTuple

import orjson

from corec import layout as L
from corec.config import Config, ConfigError
from corec.config.change import NotLive, changed, place_of, plain, value_at
from corec.plan_live import with_settings
from corec.process.runtime import Runtime, float_to_word, word_to_float
from corec.world.live import Since
from shm.killpoint import kill_point
from shm.segment import Segment

HEAD_BYTES: Final = 8


class Setting(NamedTuple):
    """A number that may be set: its name in the configuration and in ``set``, its words."""

    name: str
    word: int
    configured: int


SETTINGS: Final = (
    Setting("tick_hz", L.C_TICK_HZ, L.C_HZ_CONFIGURED),
    Setting("carga", L.C_CARGA, L.C_CARGA_CONFIGURED),
)
ASKED: Final = "carga_asked"
"""In a checkpoint: what carga comes back to, 0 if it is not lowered."""
WRITE: Final = "write."
"""What paths begin with that are no keys: of state that was written (``corec.world.writes``)."""
OPERATOR, EJECUCION = 0, 1
"""Who changed carga."""


class Entry(NamedTuple):
    """A key that was set."""

    value: Any
    configured: Any
    """What the configuration said then; when it says something else, that is meant."""
    tick: int
    """The first tick that runs with it."""
    revision: int
    asked: str
    """The path as it was asked for; it may be a part of what is kept."""
    before: Any


Entries = dict[str, Entry]


class TooMany(ValueError):
    """What was set does not fit; nothing was changed."""


def read(rt: Runtime, revision: int | None = None) -> Entries:
    """What was set, by path as it is kept; of the revision that counts from the next tick on."""
    return read_in(rt.control_segment, revision)


def read_in(control: Segment, revision: int | None = None) -> Entries:
    """``read`` of a control segment."""
    if revision is None:
        revision = int(control.words[L.C_SETTINGS])
    if revision == 0:
        return {}
    copy = _copy(control, revision)
    size = int.from_bytes(copy[:HEAD_BYTES].tobytes(), "little")
    found = orjson.loads(copy[HEAD_BYTES : HEAD_BYTES + size].tobytes())
    return {path: Entry(*entry) for path, entry in found.items()}


def write(rt: Runtime, entries: Mapping[str, Entry]) -> int:
    """All that was set, as the next revision; see above for when it may be called.

    Raises:
        TooMany: nothing was changed.
    """
    text = orjson.dumps({path: list(entry) for path, entry in entries.items()})
    if len(text) > L.SETTINGS_BYTES - HEAD_BYTES:
        raise TooMany(
            f"found {len(text)} bytes of settings, expected at most "
            f"{L.SETTINGS_BYTES - HEAD_BYTES}; write some into the configuration and reload"
        )
    revision = rt.get(L.C_SETTINGS) + 1
    copy = _copy(rt.control_segment, revision)
    copy[HEAD_BYTES : HEAD_BYTES + len(text)] = bytearray(text)
    copy[:HEAD_BYTES] = bytearray(len(text).to_bytes(HEAD_BYTES, "little"))
    kill_point("settings.written")
    rt.set(L.C_SETTINGS, revision)
    kill_point("settings.counts")
    return revision


def _copy(control: Segment, revision: int) -> Any:
    payload = control.payload
    start = payload.size - (2 - (revision & 1)) * L.SETTINGS_BYTES
    return payload[start : start + L.SETTINGS_BYTES]


def carga_since(tick: int, by: int) -> int:
    """The first tick of a carga and who changed it, as one word."""
    return tick << 2 | by


def of_world(path: str) -> bool:
    """Whether the blocks' kernels read the key kept at ``path``."""
    return path.startswith(("bloques.", "globals.")) and not path.endswith(".entidades")


def is_write(path: str) -> bool:
    """Whether it is no key, but state that was written."""
    return path.startswith(WRITE)


def since(entries: Mapping[str, Entry]) -> dict[str, Since]:
    """What ``corec.world.live`` takes."""
    return {path: Since(one.tick, one.value) for path, one in entries.items() if of_world(path)}


def effective(config: Config, entries: Mapping[str, Entry]) -> tuple[Config, Entries]:
    """``config`` with what was set, and those entries that still count: what the configuration says
    otherwise by now, or has no more, is not among them."""
    kept: Entries = {}
    whole = config
    for path, entry in entries.items():
        if is_write(path):
            kept[path] = entry
            continue
        try:
            if plain(value_at(config, place_of(config, path))) != entry.configured:
                continue
            whole = changed(whole, path, entry.value)
        except (NotLive, ConfigError):
            continue  # there is no such bloque, parameter or value any more
        kept[path] = entry
    return whole, kept


@contextmanager
def told_as_set(config: Config, entries: Mapping[str, Entry]) -> Iterator[None]:
    """What is refused of a plan of ``config``, as it is written, with ``entries``: that it was set,
    which the file does not show, is told, and the way out."""
    try:
        yield
    except ConfigError as error:
        places = {}
        for path, entry in entries.items():
            with suppress(NotLive):
                place = place_of(config, path)
                where = "" if place.bloque is None else f"bloques[{place.bloque}]."
                places[where + ".".join(place.keys)] = entry
        raise ConfigError(
            replace(fault, allowed=f"{fault.allowed}; {_as_set(places[fault.path])}")
            if fault.path in places else fault
            for fault in error.faults
        ) from None  # fmt: skip


def _as_set(entry: Entry) -> str:
    said = "a value for it"
    if entry.configured is not None:
        said = f"another value than {orjson.dumps(entry.configured).decode()}"
    return f"it was set in the living world; {said} in the configuration counts instead"


def with_world(config: Config, entries: Mapping[str, Entry]) -> Config:
    """``config``, which processes were started with, and what of the blocks' was set since."""
    for path, entry in entries.items():
        try:
            if place_of(config, path).of_world:
                config = changed(config, path, entry.value)
        except (NotLive, ConfigError):
            continue
    return config


def settle(rt: Runtime, config: Config, known: Entries | None = None) -> None:
    """Take over what ``config``, the configuration as it is written, says where it is not what it
    said before; ``rt`` has it afterwards, with what was set. Nobody ticks, there is no nucleus.
    ``known``: of the keys that processes read when they start, those that are taken over now; who
    set one since has asked for it to be, and must not find that done which was not. None: all.

    Raises:
        ConfigError: a processor can't take a parameter or a global.
    """
    said = rt.get(L.C_CARGA_CONFIGURED)
    for name, word, configured in SETTINGS:
        wanted = float_to_word(_configured(config, name))
        if rt.get(configured) != wanted:
            rt.set(word, wanted)
            if word == L.C_CARGA:
                rt.set(L.C_CARGA_ASKED, 0)
                rt.set(L.C_CARGA_TOLD, rt.get(L.C_CARGA_SINCE))
            rt.set(configured, wanted)
    entries = read(rt)
    whole, kept = effective(config, entries)
    if known is not None:
        now = {p: one if of_world(p) or is_write(p) else known.get(p) for p, one in kept.items()}
        whole, _ = effective(config, {path: one for path, one in now.items() if one is not None})
    rt.plan = with_settings(rt.plan, whole)
    rt.config, rt.as_written = whole, config
    if kept != entries:
        write(rt, kept)
    if kept != entries or said not in (0, rt.get(L.C_CARGA_CONFIGURED)):  # 0: a new world
        rt.set(L.C_WRITE_DOWN, rt.get(L.C_WRITE_DOWN) + 1)


def restore(rt: Runtime, head: Mapping[str, Any]) -> None:
    """The settings of a world that comes from a checkpoint, before ``settle``."""
    kept = head.get("settings", {})
    for name, word, configured in SETTINGS:
        if name in kept:
            value, said = kept[name]
            rt.set(word, float_to_word(float(value)))
            rt.set(configured, float_to_word(float(said)))
    rt.set(L.C_CARGA_ASKED, float_to_word(float(kept.get(ASKED, (0.0,))[0])))
    entries = entries_in(head)
    if revision := max([int(head.get("revision", 0)), *(e.revision for e in entries.values())]):
        rt.set(L.C_SETTINGS, revision - 1)
        rt.set(L.C_TOLD_SET, write(rt, entries))
    rt.set(L.C_TOLD_SCHEDULE, told_word(int(head["tick"]) + 1, 0) - 1)


def entries_in(head: Mapping[str, Any]) -> Entries:
    """What had been set in the world of a checkpoint."""
    return {path: Entry(*entry) for path, entry in head.get("set", {}).items()}


def told_word(tick: int, place: int) -> int:
    """Up to which of the schedule's changes events were emitted, as one word."""
    return tick << 16 | place


def in_head(rt: Runtime) -> dict[str, list[float]]:
    """What ``restore`` needs of a world, as JSON data: [value, what was configured] by name."""
    return {
        name: [word_to_float(rt.get(word)), word_to_float(rt.get(configured))]
        for name, word, configured in SETTINGS
    } | {ASKED: [word_to_float(rt.get(L.C_CARGA_ASKED))]}


def set_in_head(rt: Runtime) -> dict[str, list[Any]]:
    """The entries, as JSON data."""
    return {path: list(entry) for path, entry in read(rt).items()}


def set_otherwise(rt: Runtime) -> dict[str, tuple[Any, Any]]:
    """The settings that count and are not what the configuration says: (value, configured)."""
    found: dict[str, tuple[Any, Any]] = {
        name: (word_to_float(rt.get(word)), word_to_float(rt.get(configured)))
        for name, word, configured in SETTINGS
        if rt.get(word) != rt.get(configured)
    }
    return found | {
        path: (one.value, one.configured) for path, one in read(rt).items() if not is_write(path)
    }  # fmt: skip


def _configured(config: Config, name: str) -> float:
    return float(getattr(config, name))
