"""The streams about tasks: names, what an entry says, and the script that ends notices once."""

from __future__ import annotations

import reprlib
import struct
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from corec.broker.groups import group_of
from corec.broker.positions import Keys
from corec.config.schedule import TICK_MAX
from corec.digits import fits_float32
from corec.notices import Notice
from corec.persister.schema import without_nul
from corec.plan import Plan
from corec.tasks.life import Message

Command = tuple[Any, ...]
_MESSAGE: Final = struct.Struct("!Ibf?")
_MS_MAX: Final = 253_402_300_799_999
"""The last millisecond of the year 9999."""
_DEPTH_MAX: Final = 100
"""Levels of JSON in an entry. orjson reads 1,024 of them and writes 254; Python's own recursion
ends somewhere between."""

ANSWERS_MAX: Final = 10_000
"""Of one call: they go to Redis in one step, which everybody else waits for."""

END_NOTICES: Final = """
local field = KEYS[1] .. ' ' .. ARGV[1] .. ' ' .. ARGV[2]
local from, to, all = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[2], ARGV[2], 1) == 0 then return 0 end
if tonumber(redis.call('HGET', KEYS[2], field) or '0') ~= from then return -1 end
local last, looked = '18446744073709551615', {}
for k = 3, #KEYS do
  local key = KEYS[k]
  if not looked[key] then
    if redis.call('XREAD', 'COUNT', 1, 'STREAMS', key, last .. '-18446744073709551614') then
      return redis.error_reply('ERR ' .. key .. ' has an entry with the last id there is, so '
        .. 'nothing can be added; rename it')
    end
    looked[key] = true
  end
end
local at = 6
for k = 3, #KEYS do
  local n = tonumber(ARGV[at])
  redis.call('XADD', KEYS[k], '*', unpack(ARGV, at + 1, at + n))
  at = at + 1 + n
end
if to < all then
  redis.call('HSET', KEYS[2], field, to)
else
  redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
  if from > 0 then redis.call('HDEL', KEYS[2], field) end
end
return 1
"""
"""KEYS: the stream that the notices are of, the hash of how far entries with many are done, then
one stream for each entry to be added. ARGV: group, id, the notices of the entry that end here
(from, to) and how many it has, then for each entry to be added how many words, and the words. It
adds them only if these notices were not ended before, and only all of them: what a script did
before it failed stays, so the keys are looked at first, and the notices are ended last. It
returns 1; 0: the entry is ended; ELSEWHERE."""
ELSEWHERE: Final = -1
"""The notices before these are not ended, or these are."""

PUBLISH: Final = """
local told = tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or '0')
for at = 2, #ARGV, 2 do
  local number = tonumber(ARGV[at])
  if number > told then
    local id = ARGV[at] .. '-0'
    if redis.pcall('XADD', KEYS[1], id, 'aviso', ARGV[at + 1]).err then
      local behind = string.format('%.0f-18446744073709551615', number - 1)
      local found = redis.call('XREAD', 'COUNT', 1, 'STREAMS', KEYS[1], behind)
      local there = found and found[1][2][1]
      if not there or there[1] ~= id or there[2][2] ~= ARGV[at + 1] then
        redis.call('XADD', KEYS[1], '*', 'aviso', ARGV[at + 1])
      end
    end
    redis.call('HSET', KEYS[2], ARGV[1], ARGV[at])
  end
end
"""
"""KEYS: the stream of notices, the hash that says which is the last one in it. ARGV: the field of
the hash, then number and text of each notice, in order. It adds those that are not there yet: under
their numbers, or, where somebody else wrote an entry with that id or a larger one, behind it."""
LOST: Final = """
if (redis.call('HGET', KEYS[1], ARGV[1]) or '0') ~= ARGV[2] then return 0 end
redis.call('XADD', KEYS[2], '*', unpack(ARGV, 4))
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
"""
"""KEYS: that hash, the stream of failures. ARGV: the field, the number it has, the one it is to
have, the words of a letter about those between: it is written once."""
TOLD: Final = "avisos"
"""The field of the hash."""


class Names:
    """The keys of one instance, in its hash slot."""

    def __init__(self, instance_id: str) -> None:
        keys = Keys(instance_id)
        prefix = keys.alerts.removesuffix("alertas")
        self.keys, self.alerts, self.pos = keys, keys.alerts, keys.pos
        self.notices = f"{prefix}avisos"
        self.acks = f"{prefix}acuses"
        self.failed = f"{prefix}tareas_fallidas"
        self.progress = f"{prefix}tareas"


def written_ms(entry: bytes) -> int:
    """When an entry was written, ms since 1970. The server numbers on from the largest id that
    anybody wrote, so one that is ahead of the clock says no time: then it is now."""
    return min(int(entry.partition(b"-")[0]), time.time_ns() // 1_000_000)


def messages_of(ms: int, text: bytes) -> list[Message]:
    """The messages in an entry of ``…:alertas``. Raises whatever else it holds makes it raise."""
    said = without_nul(_loaded(text))
    head = (_within(said["canal"], -128, 127), str(said["procesador"]))
    tick = _within(said["tick"], 0, TICK_MAX)
    _within(ms, 0, _MS_MAX)
    found = []
    for one in said["entidades"]:
        entity, valor = _within(one.pop("id"), 0, 2**32 - 1), one.pop("valor")
        if isinstance(valor, bool) or not isinstance(valor, int | float | None):
            raise ValueError(f"valor: found {valor!r}, expected a number")
        found.append(Message(tick, entity, *head, valor, one, ms))
    return found


def _loaded(text: bytes) -> Any:
    """What JSON says, if it is no deeper than all that goes on from here can follow. Raises
    ValueError."""
    said = orjson.loads(text)
    level = [said]
    for _ in range(_DEPTH_MAX):
        inner = [one.values() if isinstance(one, dict) else one for one in level
                 if isinstance(one, dict | list)]  # fmt: skip
        if not inner:
            return said
        level = [one for some in inner for one in some]
    raise ValueError(f"found JSON of more than {_DEPTH_MAX} levels, expected fewer")


def _within(found: Any, low: int, high: int) -> int:
    """``found`` as a whole number that the tables can hold. Raises ValueError."""
    number = int(found)
    if not low <= number <= high:
        raise ValueError(f"found {number}, expected {low} to {high}")
    return number


def notice_of(fields: Sequence[bytes]) -> Notice:
    """The notice in an entry of ``…:avisos``. Raises whatever else it holds makes it raise."""
    one = Notice.from_dict(_loaded(dict(zip(fields[::2], fields[1::2], strict=True))[b"aviso"]))
    if not isinstance(one.fields, dict):
        raise TypeError(f"fields: found {one.fields!r}, expected a mapping")
    return one


def letter_of(entry: bytes, fields: Sequence[bytes]) -> tuple[Any, ...]:
    """The row of ``tareas_fallidas``, without the instance, of an entry. Raises as above."""
    said = without_nul(_loaded(dict(zip(fields[::2], fields[1::2], strict=True))[b"tarea"]))
    at = datetime.fromtimestamp(written_ms(entry) / 1000, UTC)
    return (
        entry.decode(), at, str(said["tarea"]), str(said["run"]),
        orjson.dumps(said["aviso"]).decode(), _within(said["intentos"], 0, 2**31 - 1),
        str(said["error"]),
    )  # fmt: skip


def failure(
    title: str, run: str, notice: Mapping[str, Any], attempts: int, error: str
) -> list[Any]:
    """The words of an entry of ``…:tareas_fallidas``."""
    said = {"tarea": title, "run": run, "aviso": notice, "intentos": attempts, "error": error}
    return ["tarea", orjson.dumps(said)]


def unread(title: str, run: str, stream: str, entries: int | None) -> list[Any]:
    """The same of what was trimmed before it was read; ``entries``: how many, if that is known."""
    many = "some" if entries is None else f"{entries:,}"
    text = f"entries of {stream} trimmed before they were read: {many}; raise streams.maxlen"
    lost = {"key": stream, "stream": stream, "entries": entries}
    return failure(title, run, lost, 0, text)


def answers_of(plan: Plan, names: Names, returned: Any) -> list[tuple[str, list[Any]]]:
    """What a task returned as entries of in-streams: (key, words).

    Raises:
        ValueError: it is none of what docs/tasks.md allows.
    """
    if returned is None:
        return []
    several = [returned] if _is_one(returned) else returned
    if len(several) > ANSWERS_MAX:
        raise ValueError(f"found {len(several)} answers, expected {ANSWERS_MAX} at most")
    found = []
    for one in map(_as_mapping, several):
        if not isinstance(one, Mapping) or type(one.get("id")) is not int:
            raise ValueError(
                f"found {reprlib.repr(one)}, expected a mapping with id and valor, or a pair"
            )
        entity = one["id"]
        swarm = plan.swarm_of(entity)
        if swarm is None:
            raise ValueError(f"found an answer for entity {entity}, which there is not")
        names_in = swarm.processor.values or ("valor",)
        values = {name: one.get(name) for name in names_in}
        for name, value in values.items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError(
                    f"found {name} = {reprlib.repr(value)} for entity {entity}, expected a number"
                )
            if not fits_float32(value):
                raise ValueError(
                    f"found {name} = {reprlib.repr(value)} for entity {entity}, expected a number "
                    "that float32 can hold"
                )
        key = names.keys.incoming(swarm.canal)
        if swarm.processor.kind == "micro":
            packed = _MESSAGE.pack(entity, swarm.canal, values["valor"], one.get("activo", True))
            found.append((key, ["m", packed]))
        else:
            found.append((key, ["id", str(entity), "datos", orjson.dumps(values)]))
    return found


def _is_one(returned: Any) -> bool:
    """Whether it is an answer, and not several."""
    return isinstance(returned, Mapping) or (len(returned) == 2 and type(returned[0]) is int)


def _as_mapping(one: Any) -> Any:
    """A pair ``(id, valor)`` as what it stands for."""
    if isinstance(one, list | tuple) and len(one) == 2:
        return {"id": one[0], "valor": one[1]}
    return one


def publish(names: Names, notices: Sequence[tuple[int, Notice]]) -> Command:
    """The command that adds notices to their stream, each once."""
    words = [word for number, one in notices for word in (number, orjson.dumps(one.as_dict()))]
    return ("EVAL", PUBLISH, 2, names.notices, names.progress, TOLD, *words)


def lost(names: Names, said: bytes | None, known: int) -> Command | None:
    """The command that tells what a server lost that had notices up to ``known``, and says ``said``
    of itself; None: it has them all."""
    last = int(said or 0)
    if last >= known:
        return None
    entries = None if said is None else known - last
    many = "some" if entries is None else f"{entries:,}"
    text = f"entries of {names.notices} that Redis lost: {many}; tasks may not have had them"
    told = {"key": names.notices, "stream": names.notices, "entries": entries}
    words = failure("avisos", "", told, 0, text)
    return ("EVAL", LOST, 2, names.progress, names.failed, TOLD, last, known, *words)


def end_notices(
    names: Names, stream: str, title: str, entry: bytes, span: tuple[int, int, int],
    entries: Sequence[tuple[str, list[Any]]],
) -> Command:  # fmt: skip
    """The command that ends the notices ``span`` (from, to, of how many) of an entry, which is
    acknowledged with the last of them, and adds what follows from them: once."""
    keys = [stream, names.progress, *(key for key, _ in entries)]
    words: list[Any] = [group_of(title), entry, *span]
    for _, one in entries:
        words += [len(one), *one]
    return ("EVAL", END_NOTICES, len(keys), *keys, *words)
