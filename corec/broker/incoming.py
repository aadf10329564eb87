"""What comes in: stream entries into checked messages, dead letters and positions. No I/O here.

The entries of one reply and canal become one ``Work``: their messages end to end (``readings``
checks and publishes them in compiled passes) and the letters for what was bad. An entry with
``datos`` is one message. The order of things, and what a kill between them leaves:

    1  dead letters, with ``dead:<canal>`` in the same MULTI   again: skipped, they are <= dead
    2  readings into the inbox, a frame at a time              again: the lane's last frame says
                                                               which message comes next
    3  about once a second ``read:<canal>``, ``total_in``      again: messages behind ``read`` are
                                                               counted, not published

So three marks per canal say how far it was published, counted and judged; each moves alone.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from corec.broker import readings as R
from corec.broker.dead import DeadLetter, bad_messages, whole_entry
from corec.broker.positions import ZERO, EntryId, InPosition, after, parse_id
from corec.broker.values import Refused, Values, counts_of
from corec.digits import fits_float32

DATOS_BYTES_MAX: Final = 4096
_MESSAGE = struct.Struct("!Ibf?")
_RAW = {4: struct.Struct("!f"), 8: struct.Struct("!d")}


@dataclass
class Cursor:
    """How far one canal was taken in."""

    read: EntryId
    """XREAD goes on behind this entry."""
    published: InPosition
    counted: InPosition
    total: int = 0
    """Messages published up to ``counted``, this world."""

    @property
    def done(self) -> EntryId:
        """The last entry all of which is in the inbox."""
        return self.published.done_before()


@dataclass
class Work:
    """The entries of one reply and canal. ``begin`` and ``count_from`` are message indices."""

    canal: int
    packed: NDArray[np.uint8]
    verdict: NDArray[np.uint8]
    starts: NDArray[np.int64]
    ids: list[EntryId]
    width: int = 1
    """Values of a message, as ``readings`` packs them."""
    begin: int = 0
    count_from: int = 0
    raw_bytes: int = 0
    """Bytes of all fields, as they came."""
    moves: bool = True
    """Whether something of it was not published yet."""
    dead: list[DeadLetter] = field(default_factory=list)

    @property
    def count(self) -> int:
        """Messages, good and bad."""
        return int(self.verdict.size)

    def entries(self) -> NDArray[np.int64]:
        """int64[segments, 2] for ``readings.publish``."""
        words = np.array([(e.ms, e.seq) for e in self.ids], np.uint64)
        return words.view(np.int64)

    def position(self, index: int) -> InPosition:
        """Where the stream stands when the messages before ``index`` are in."""
        if index >= self.count:
            return after(self.ids[-1])
        segment = int(np.searchsorted(self.starts, index, side="right")) - 1
        return InPosition(*self.ids[segment], index - int(self.starts[segment]), 0)

    def good(self, begin: int, end: int) -> int:
        """Good messages with an index in ``begin``..``end``."""
        part = self.verdict[begin:end]
        return int(part.size - np.count_nonzero(part))


class Incoming:
    """Judges entries against one world's swarms."""

    def __init__(self, plan: Any) -> None:
        """``plan``: a ``corec.plan.Plan``."""
        self.swarms = np.zeros((len(plan.swarms), R.SWARM_COLUMNS), np.int64)
        self.values = Values(plan)
        self._value_names: list[str] = []
        for row, swarm in zip(self.swarms, plan.swarms, strict=True):
            row[R.SWARM_FIRST] = swarm.first_id
            row[R.SWARM_END] = swarm.first_id + swarm.entidades
            row[R.SWARM_CANAL] = swarm.canal
            row[R.SWARM_CELU] = swarm.processor.kind == "celu"
            row[R.SWARM_VALUES] = len(swarm.processor.values)
            names = swarm.processor.values or (swarm.processor.value_name,)
            self._value_names.append(names[0])
        self.canales = sorted({int(swarm.canal) for swarm in plan.swarms})
        self.cursors: dict[int, Cursor] = {}

    def open(self, canal: int, published: InPosition, counted: InPosition, total: int) -> None:
        """Begin a canal: XREAD starts where the earlier of the two marks stands."""
        read = min(published.done_before(), counted.done_before())
        self.cursors[canal] = Cursor(read, published, counted, total)

    def judge(
        self, canal: int, raw: Sequence[tuple[bytes, Sequence[bytes]]], dead_to: EntryId = ZERO
    ) -> Work:
        """The work that ``raw`` makes: (entry id, [name, value, …]) as XREAD gives them.

        Letters are made for entries behind ``dead_to`` only. At least one entry.
        """
        cursor = self.cursors[canal]
        ids: list[EntryId] = []
        parts: list[bytes] = []
        starts = [0]
        forms: list[int] = []
        letters: dict[EntryId, DeadLetter] = {}
        size = 0
        for text, flat in raw:
            entry = parse_id(text)
            size += sum(map(len, flat))
            part, form = b"", 0
            if len(flat) == 2 and flat[0] == b"m" and flat[1] and not len(flat[1]) % 10:
                part = self.values.widened(flat[1])
            else:
                try:
                    part, form = self._interpret(canal, flat)
                except Refused as error:
                    letters[entry] = whole_entry(entry, flat, str(error))
            ids.append(entry)
            parts.append(part)
            forms.append(form)
            starts.append(starts[-1] + len(part) // self.values.message_bytes)
        packed = np.frombuffer(parts[0] if len(parts) == 1 else b"".join(parts), np.uint8)
        bounds = np.array(starts, np.int64)
        came = counts_of(forms, bounds)
        work = Work(
            canal, packed, came.copy(), bounds, ids, self.values.width, raw_bytes=size,
        )  # fmt: skip
        if R.check(packed, work.width, canal, self.swarms, work.verdict):
            self._bad_letters(work, came, letters)
        work.dead = [letters[entry] for entry in sorted(letters) if entry > dead_to]
        work.begin = skipped(work, cursor.published)
        work.count_from = skipped(work, cursor.counted)
        here, last = cursor.published, ids[-1]
        work.moves = last > here.id or (last == here.id and not here.last)
        return work

    def progress(self, work: Work, begin: int, end: int) -> None:
        """The messages ``begin``..``end`` of ``work`` are in the inbox (or were before)."""
        cursor = self.cursors[work.canal]
        position = work.position(end)
        cursor.published = max(cursor.published, position, key=order)
        if order(position) > order(cursor.counted):
            cursor.total += work.good(max(begin, work.count_from), end)
            cursor.counted = position
        cursor.read = max(cursor.read, position.done_before())

    def _bad_letters(
        self, work: Work, came: NDArray[np.uint8], letters: dict[EntryId, DeadLetter]
    ) -> None:
        bad = np.flatnonzero(work.verdict)
        messages = work.packed.reshape(-1, self.values.message_bytes)
        for segment in np.unique(np.searchsorted(work.starts, bad, side="right") - 1).tolist():
            begin, end = int(work.starts[segment]), int(work.starts[segment + 1])
            entry, count = work.ids[segment], int(came[begin])
            letters[entry] = bad_messages(
                entry, messages[begin:end], work.verdict[begin:end], count, self.values
            )

    def _interpret(self, canal: int, flat: Sequence[bytes]) -> tuple[bytes, int]:
        """The packed messages of an entry that is not just ``m``, and how many values each came
        with, 0 in an ``m``. Raises Refused."""
        names = flat[::2]
        fields = dict(zip(names, flat[1::2], strict=True))
        for name in (b"m", b"v", b"id", b"datos"):
            if names.count(name) > 1:
                raise Refused(f"field {name.decode()} is there {names.count(name)} times")
        packed, values = fields.get(b"m"), fields.get(b"v")
        datos = fields.get(b"datos")
        there = [name for name in ("m", "v", "datos") if name.encode() in fields]
        if len(there) > 1:
            both = " and ".join(there[:2])
            raise Refused(f"both {both} are there; an entry carries one of them")
        if values is not None:
            return self.values.of_packed(canal, values)
        if packed is not None:
            if not packed:
                raise Refused("m is empty")
            if len(packed) % R.MESSAGE_BYTES:
                raise Refused(f"m has {len(packed)} bytes, which is no multiple of 10")
            return self.values.widened(packed), 0
        if datos is None or b"id" not in fields:
            raise Refused("neither m, nor v, nor id and datos are there")
        return self._datos(canal, fields[b"id"], datos)

    def _datos(self, canal: int, id_text: bytes, datos: bytes) -> tuple[bytes, int]:
        if not id_text.isdigit() or len(id_text) > 10:
            raise Refused("id is no whole number from 0 to 4294967295")
        entity = int(id_text)
        found = np.flatnonzero(
            (self.swarms[:, R.SWARM_FIRST] <= entity) & (entity < self.swarms[:, R.SWARM_END])
        )
        if not found.size:
            raise Refused(f"{R.BAD_TEXT[R.BAD_UNKNOWN_ID]}: {entity}")
        swarm = int(found[0])
        if self.swarms[swarm, R.SWARM_CANAL] != canal:
            raise Refused(R.BAD_TEXT[R.BAD_ENTITY_CANAL])
        if not self.swarms[swarm, R.SWARM_CELU]:
            raise Refused("datos is for Celu entities, and this one is Micro")
        if len(datos) > DATOS_BYTES_MAX:
            raise Refused(f"datos has {len(datos)} bytes, at most {DATOS_BYTES_MAX} are taken")
        if self.swarms[swarm, R.SWARM_VALUES] > 1:
            return self.values.of_object(canal, swarm, entity, datos)
        value = value_of(datos, self._value_names[swarm])
        if not fits_float32(value):
            raise Refused(R.BAD_TEXT[R.BAD_VALOR])
        return self.values.widened(_MESSAGE.pack(entity, canal, value, True)), 0


def value_of(datos: bytes, value_name: str) -> float:
    """The number in ``datos``: JSON first, then a number's text, then 4 or 8 bytes as !f or !d.

    Of a JSON object ``valor``, ``value`` or ``value_name`` counts. Raises Refused.
    """
    try:
        parsed = orjson.loads(datos)
    except orjson.JSONDecodeError:
        return _raw_value(datos)
    if isinstance(parsed, dict):
        names = [name for name in ("valor", "value", value_name) if name in parsed]
        if not names:
            wanted = " or ".join(dict.fromkeys(("valor", "value", value_name)))
            raise Refused(f"datos is an object without {wanted}")
        parsed = parsed[names[0]]
    if isinstance(parsed, bool) or not isinstance(parsed, (int, float)):
        raise Refused("datos is JSON but no number")
    return float(parsed)


def _raw_value(datos: bytes) -> float:
    try:
        return float(datos.decode("ascii"))
    except ValueError:
        pass  # no text of a number
    raw = _RAW.get(len(datos))
    if raw is None:
        raise Refused("datos is neither JSON, nor the text of a number, nor 4 or 8 bytes")
    return float(raw.unpack(datos)[0])


def order(position: InPosition) -> tuple[EntryId, int, int]:
    """What positions are compared by; where an entry is through, the next message says nothing."""
    return position.id, position.last, 0 if position.last else position.next_msg


def skipped(work: Work, mark: InPosition) -> int:
    """Messages of ``work`` that lie before ``mark``: always its first ones."""
    if work.ids[0] > mark.id:
        return 0
    sizes = np.diff(work.starts).tolist()
    return sum(mark.skip(entry, size) for entry, size in zip(work.ids, sizes, strict=True))
