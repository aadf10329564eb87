"""A stretch of a world's life that it runs again: what the journal says of it, tick by tick.

A world that goes on from a checkpoint of tick A, and whose journal says that ticks up to B may have
gone, *follows* it up to B (``C_FOLLOW``): each of these ticks takes in the readings it took in,
those of which the journal has no record nothing, and runs with the settings that counted in it.
Whoever sets something meanwhile sets it for B + 1: what the ticks up to B made is out, perhaps.
Who does what:

    supervisor  reads the journal, before it forks; C_FOLLOW = B before the world counts as made;
                makes the world grow where it grew (``corec.world.grown``)
    broker      puts the readings of each record into in.lane and behind them a KIND_FED_FRAME with
                its tick, as many ticks ahead as there is room (``corec.broker.feed``)
    leader      cuts a tick that has a record behind that frame, any other at once with nothing
                taken in; writes nothing of them into the journal, where they are already
    workers     run each tick with the settings of that tick (``Retold``)

Killed anywhere, the same words and the same file say the same again. A supervisor that adopts the
world meanwhile reads the journal once more, from the tick that the world is at.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import orjson
import zstandard

from corec import layout as L
from corec.config import Config, ConfigError, Fault
from corec.config.change import NotLive, Place, changed, plain, value_at
from corec.journal.file import Record, State, Stretch, read_stretch
from corec.journal.past import Growth, Past, set_behind
from corec.log import get_logger
from corec.plan import Part, Plan
from corec.plan_live import symbiosis_of, with_settings
from corec.process.roles import committed_tick
from corec.process.runtime import Runtime
from corec.world import settings
from corec.world.collecting import collected_as, collecting_of
from corec.world.live import Live, Since
from corec.world.packing import columns_in, shape_of
from corec.world.settings import Entries, Entry, since
from corec.world.tables import Tables
from shm.segment import Segment

log = get_logger(__name__)
PLAIN_BYTES_MAX: Final = 1 << 16
"""What the configuration says is packed where it is longer."""
CONFIG_BYTES_MAX: Final = 240_000
"""So much of it a record may hold, beside all that may be set (``L.SETTINGS_BYTES``) and the
position of every canal: ``journal.lane`` takes half a MiB."""
_MARK_BYTES: Final = 8
UNLIKE: Final = (
    "the configuration has changed in what the journal does not repeat: ticks that run again may "
    "not be the same"
)
_OF_BLOQUE: Final = (
    ("umbral",), ("autoreparacion", "max_errores"), ("autoreparacion", "min_fitness"),
)  # fmt: skip


def head_after(past: Past, head: Mapping[str, Any]) -> dict[str, Any]:
    """The head of a checkpoint (of a world at tick 0: empty) with what counted at the end of the
    stretch."""
    if past.behind is not None:
        return _with(head, past.behind)
    carga = past.carga(past.until, head.get("settings", {}).get("carga", (1.0, None))[0])
    return _with(head, replace(past.states[-1][1], carga=carga, asked=past.asked))


def _with(head: Mapping[str, Any], state: State) -> dict[str, Any]:
    """``head`` with what counts by ``state``."""
    kept = head.get("settings", {})
    carga, said = kept.get("carga", (1.0, None))
    now = {**kept, "carga": [carga if state.carga is None else state.carga, said]}
    if state.asked is not None:
        now[settings.ASKED] = [state.asked]
    return {**head, "set": state.entries, "revision": state.revision, "settings": now}


class Retold:
    """The settings of a stretch, for what ticks blocks; ticks are asked for in order."""

    def __init__(self, past: Past, config: Config, plan: Plan) -> None:
        """``config``: the configuration of now, as it is written."""
        self.past, self._config, self._plan = past, config, plan
        self._state: State | None = None
        self._live: Live
        self._collects = plan
        self._over: dict[str, Since] = {}

    def set_over(self, given: Mapping[str, Since]) -> None:
        """What counts instead of what counted then, by path as it is kept."""
        self._over, self._state = dict(given), None

    def settle(self, tables: Tables, tick: int) -> bool:
        """Have the kernels run ``tick`` with what counted in it; whether anything was done."""
        self._go_to(tick)
        return self._live.settle(tables, tick)

    def collects(self, tick: int) -> Plan:
        """The plan with what was collected behind the tick before ``tick``; an older version did
        not say: what is now."""
        self._go_to(tick)
        return self._collects

    def _go_to(self, tick: int) -> None:
        state = self.past.state(tick)
        if state is self._state:
            return
        config = as_it_was(self._config, self._plan, state.config)
        self._live = Live(config, with_settings(self._plan, config))
        entries = since({path: Entry(*one) for path, one in state.entries.items()})
        self._live.take(entries | self._over)
        said = state.config.get("collect")
        said = _unpacked(said) if isinstance(said, str) else said
        self._collects = self._plan if said is None else collected_as(self._plan, config, said)
        self._state = state

    def rows(self, tick: int) -> tuple[int, str] | None:
        """How often blocks wrote a row in ``tick``, and with which payload; None: an older version
        did not say."""
        found = self.past.state(tick).config.get("rows")
        return None if found is None else (int(found[0]), str(found[1]))


def settle_before(
    tables: Tables, tick: int, config: Config, plan: Plan, entries: Entries, past: Past | None
) -> None:
    """Have entities that begin before ``tick``, the next one, begin with what counts in it; within
    a stretch that is run again, with what counted. ``config``: as it is written; ``plan``: with
    ``entries``, which were set."""
    if past is not None and tick <= past.until:
        Retold(past, config, plan).settle(tables, tick)
        return
    whole, kept = settings.effective(config, entries)
    live = Live(whole, plan)
    live.take(since(kept))
    live.settle(tables, tick)


def live_values(config: Config, plan: Plan) -> dict[str, Any]:
    """What ``config`` says of everything that may be set for a tick, by path."""
    places = [Place(f"globals.{name}", None, ("globals", name)) for name in config.globals]
    found: dict[str, Any] = {}
    for swarm in plan.swarms:
        bloque = config.bloques[swarm.bloque]
        place = f"bloques.{bloque.id}"
        places += [Place(f"{place}.{'.'.join(keys)}", swarm.bloque, keys) for keys in _OF_BLOQUE]
        for name, default in swarm.processor.params:
            given = bloque.parametros.get(name)
            found[f"{place}.parametros.{name}"] = default if given is None else float(given)
    found |= {place.path: plain(value_at(config, place)) for place in places}
    return found


def as_it_was(config: Config, plan: Plan, said: Mapping[str, Any]) -> Config:
    """``config`` with what the journal says that the configuration said (``in_journal``)."""
    now = live_values(config, plan)
    for path, value in _said_live(said).items():
        if path in now and now[path] != value:
            try:
                config = changed(config, path, value)
            except (NotLive, ConfigError):
                continue  # it can't be said any more; ``rules`` differ then
    return config


def in_journal(config: Config, plan: Plan, now: Config | None = None) -> Record:
    """What a record says of the configuration as it is written, of which entities there are, and of
    what workers read when they start: ``now``, with what was set."""
    live, parts = live_values(config, plan), [list(part) for part in plan.parts]
    text, text_parts = orjson.dumps(live), orjson.dumps(parts)
    said: Record = {"live": live, "parts": parts}
    if len(text) + len(text_parts) > PLAIN_BYTES_MAX:
        said = {"packed": _packed(text), "parts": _packed(text_parts)}
    persist, collect = (now or config).persist, collecting_of(config)
    text = orjson.dumps(collect)
    said["collect"] = collect if len(text) <= PLAIN_BYTES_MAX else _packed(text)
    said["rows"] = [persist.every_ticks, persist.payload]
    return {**said, "rules": rules_of(config, plan)}


def _packed(text: bytes) -> str:
    return b64encode(zstandard.compress(text)).decode()


def _unpacked(text: str) -> Any:
    return orjson.loads(zstandard.decompress(b64decode(text)))


def _said_live(said: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = _unpacked(said["packed"]) if "packed" in said else said.get("live", {})
    return found


def parts_said(said: Mapping[str, Any]) -> tuple[Part, ...]:
    """Which entities there were (``in_journal``); nothing: an older version did not say."""
    found = said.get("parts", ())
    found = _unpacked(found) if isinstance(found, str) else found
    return tuple(Part(str(name), int(count), int(cap)) for name, count, cap in found)


def check_journal(config: Config, plan: Plan) -> None:
    """Refuse a configuration of which no record of the journal can tell. Raises ConfigError."""
    size = len(orjson.dumps(in_journal(config, plan)))
    if size > CONFIG_BYTES_MAX:
        text = f"{len(config.bloques)} whose values take {size:,} bytes of the journal"
        allowed = f"values that take at most {CONFIG_BYTES_MAX:,}, packed; fewer bloques"
        raise ConfigError([Fault("bloques", text, allowed)])


def rules_of(config: Config, plan: Plan) -> str:
    """A mark of what else a tick depends on."""
    bloques = sorted({swarm.bloque for swarm in plan.swarms})  # there may be more by now
    said = [
        f"{plan.fingerprint(config.seed):016x}",
        [symbiosis_of(config, index) for index in bloques],
        [one.model_dump(mode="json", by_alias=True) for one in config.schedule],
        [plain(one.evolucion) if (one := config.bloques[index]).evolucion else None
         for index in bloques],
    ]  # fmt: skip
    return hashlib.blake2b(orjson.dumps(said), digest_size=_MARK_BYTES).hexdigest()


def past_of(folder: Path, epoch: int, tick: int, *, until: int | None = None) -> Past | None:
    """What the journal in ``folder`` says of the ticks behind ``tick``; None: nothing. ``until``:
    the last tick that may have gone if no record behind ``tick`` says so; None: as is said before.
    """
    return _past_in(read_stretch(folder, epoch, tick), tick, until)


def _past_in(stretch: Stretch, tick: int, until: int | None) -> Past | None:
    if stretch.after is not None and stretch.after > tick:
        log.warning(
            "the journal does not reach back to the checkpoint: ticks that run again may take in "
            "readings at other ticks than the first time", begins=stretch.after, tick=tick,
        )  # fmt: skip
        return None
    if stretch.after is None:
        return None
    past = Past(stretch, stretch.state.until if until is None else until)
    return past if past.until > tick else None


def found_behind(
    folder: Path, head: Mapping[str, Any]
) -> tuple[Mapping[str, Any], Past | None]:  # fmt: skip
    """``head``, of a checkpoint, and what the journal in ``folder`` says of the ticks behind it;
    where no tick runs again, ``head`` with what was set behind it."""
    tick = int(head["tick"])
    stretch = read_stretch(folder, int(head["epoch"]), tick)
    past = _past_in(stretch, tick, _until_of(head, stretch))
    ended = past is not None or head.get("final")
    behind = None if ended else set_behind(stretch, stretch.state)
    if behind is None or behind.revision < int(head.get("revision", 0)):
        return head, past
    return _with(head, behind), None


def _until_of(head: Mapping[str, Any], stretch: Stretch) -> int | None:
    """The last tick that may have gone, if the checkpoint of ``head`` knows it."""
    tick, follow = int(head["tick"]), int(head.get("follow", 0))
    if head.get("final"):
        return follow  # behind one that a stop made no tick had gone, but those to run again
    if follow <= tick and _holds_more(head, stretch):
        return tick  # whoever lets the next tick go writes down first what was changed
    return None


def _holds_more(head: Mapping[str, Any], stretch: Stretch) -> bool:
    """Whether the checkpoint of ``head`` holds a change of which the journal has no record."""
    if stretch.records:
        return False
    state, parts = stretch.state, parts_said(stretch.state.config)
    carga = head.get("settings", {}).get("carga", (state.carga, None))[0]
    return (
        head.get("set", state.entries) != state.entries
        or (state.carga is not None and carga != state.carga)
        or (bool(parts) and int(head["entidades"]) > sum(part.entidades for part in parts))
    )


def settled_head(head: Mapping[str, Any], past: Past | None) -> Mapping[str, Any]:
    """``head`` with the settings that the world of this checkpoint is to go on with."""
    if past is None:
        return head
    if past.behind is not None and past.behind.revision >= int(head.get("revision", 0)):
        return head_after(past, head)
    # made within the stretch: what was set by then counts behind it, and the journal has not got it
    if int(head.get("follow", 0)) >= past.until:
        return head
    # without a later record nothing was changed behind it: it says itself what counts
    return head_after(past, head) if past.last > int(head["tick"]) else head


def _without_held(head: Mapping[str, Any], past: Past | None) -> Mapping[str, Any]:
    """``head`` and its stretch without what was written after its tick: its blocks hold that, and
    as other fields by now."""
    tick, entries = int(head["tick"]), head.get("set", {})
    if int(head.get("follow", 0)) >= tick:
        return head  # what is written within a stretch is in no block before its end
    held = {
        path: one for path, one in entries.items()
        if settings.is_write(path) and Entry(*one).tick == tick + 1
    }  # fmt: skip
    for _, state in past.states if past is not None else ():
        state.entries = {p: one for p, one in state.entries.items() if held.get(p) != one}
    return {**head, "set": {p: one for p, one in entries.items() if p not in held}}


def begin(rt: Runtime, head: Mapping[str, Any], past: Past | None) -> None:
    """The settings of a world that comes from the checkpoint of ``head``, and its stretch; before
    the world counts as made. ``rt.growths`` is known."""
    if columns_in(head["swarms"]) != columns_in(shape_of(rt.plan)):
        head = _without_held(head, past)
    tick = int(head["tick"])
    rt.past = past
    settings.restore(rt, settled_head(head, past))
    await_growth(rt)
    if past is None:
        return
    rt.set(L.C_FOLLOW, past.until)
    log.info("ticks run again as the journal says", from_tick=tick + 1, until_tick=past.until)
    if not same_rules(rt.config, rt.plan, rt.growths, past):
        log.warning(UNLIKE, until_tick=past.until)


def same_rules(config: Config, plan: Plan, growths: Sequence[Growth], past: Past) -> bool:
    """Whether ``config``, as it is written, says of what the journal does not repeat what it said
    in the stretch. ``plan``: of the world at its begin; ``growths``: where that grows."""
    rules, coming = rules_of(config, plan), list(growths)
    for tick, state in past.states:
        while coming and coming[0].first_tick <= tick:
            rules = rules_of(config, coming.pop(0).plan)
        if state.config.get("rules", rules) != rules:
            return False
    return True


def await_growth(rt: Runtime) -> None:
    """Let no tick go that comes behind the next growth. Nobody ticks."""
    rt.set(L.C_GROW_FIRST, rt.growths[0].first_tick if rt.growths else 0)


def go_on(rt: Runtime) -> None:
    """The stretch of an adopted world that is still within one."""
    # from the tick before: one that went may have to run again
    rt.past = stretch_ahead(rt.config.state_folder, rt.control_segment, rt.get(L.C_GO_TICK) - 1)


def half_run(rt: Runtime) -> Past | None:
    """What the journal says of the tick that the world in memory is within, its own stretch of one:
    blocks that have not run it do so as the others did, whatever the configuration says by now.
    None: it is within none, or follows its journal, or that says nothing."""
    tick = rt.get(L.C_GO_TICK)
    if committed_tick(rt.get) >= tick or tick <= rt.get(L.C_FOLLOW):
        return None
    waiting = [orjson.loads(frame.payload) for frame in rt.journal.frames(rt.journal.tail)]
    stretch = read_stretch(rt.config.state_folder, rt.epoch, tick - 1, waiting)
    found = _past_in(stretch, tick - 1, tick)
    if found is not None:
        found.end(tick)
    return found


def stretch_ahead(folder: Path, control: Segment, tick: int) -> Past | None:
    """What the journal in ``folder`` says of the ticks behind ``tick`` that the world in memory
    runs again; None: it runs none again."""
    until = int(control.words[L.C_FOLLOW])
    found = past_of(folder, control.epoch, tick, until=until) if until > tick else None
    if found is not None:
        found.end(until)
    return found
