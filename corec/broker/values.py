"""Readings of several values: their two forms in a stream, and what is wrong with one. No I/O here.

``v`` is packed, ``struct`` format ``!I`` (id) and ``!f`` for each value, any number of records; all
of an entry have as many values. ``datos`` is a JSON object with their names. Both become messages
as ``readings`` packs them, which have room for the most values of any swarm (``width``).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from corec.broker import readings as R
from corec.digits import fits_float32

_ID_BYTES: Final = 4
_VALOR: Final = 5
"""Where the first value lies in a packed message; activo is behind it."""
_ACTIVO: Final = 9


class Refused(ValueError):
    """An entry that makes no sense; the text is the dead letter's reason."""


class Values:
    """What the readings of one world have."""

    def __init__(self, plan: Any) -> None:
        """``plan``: a ``corec.plan.Plan``."""
        self.names: list[tuple[str, ...]] = [s.processor.values for s in plan.swarms]
        self._canales = [int(s.canal) for s in plan.swarms]
        self._ends = [(s.first_id, s.first_id + s.entidades) for s in plan.swarms]
        self.width = max((len(names) for names in self.names), default=1) or 1
        self.message_bytes = R.message_bytes(self.width)

    def widened(self, packed: bytes) -> bytes:
        """Messages of 10 bytes as messages of this world."""
        if self.width == 1:
            return packed
        found = self._room(len(packed) // R.MESSAGE_BYTES)
        found[:, : R.MESSAGE_BYTES] = _records(packed, R.MESSAGE_BYTES)
        return found.tobytes()

    def of_packed(self, canal: int, raw: bytes) -> tuple[bytes, int]:
        """(messages, values in each) of a field ``v``. Raises Refused."""
        if not raw:
            raise Refused("v is empty")
        count = self._count(canal, raw)
        size = _ID_BYTES + R.VALUE_BYTES * count
        if len(raw) % size:
            what = "an id and a value" if count == 1 else f"an id and {count} values"
            raise Refused(f"v has {len(raw)} bytes, which is no multiple of {size}: {what}")
        return self._messages(canal, _records(raw, size)), count

    def of_object(self, canal: int, swarm: int, entity: int, datos: bytes) -> tuple[bytes, int]:
        """(message, values in it) of the JSON object ``datos``. Raises Refused."""
        names = self.names[swarm]
        wanted = f"expected an object with the numbers {', '.join(names)}"
        try:
            parsed = orjson.loads(datos)
        except orjson.JSONDecodeError:
            raise Refused(f"datos is no JSON, {wanted}") from None
        if not isinstance(parsed, dict):
            raise Refused(f"datos is JSON but no object, {wanted}")
        numbers = [_number(parsed, name, wanted) for name in names]
        raw = struct.pack(f"!I{len(names)}f", entity, *numbers)
        return self._messages(canal, _records(raw, len(raw))), len(names)

    def original(self, messages: NDArray[np.uint8], count: int) -> tuple[bytes, bytes]:
        """(name of the field, its bytes) that ``messages`` (u8[n, message_bytes]) came in, with
        ``count`` values each, 0: an ``m``."""
        if count == 0:
            return b"m", messages[:, : R.MESSAGE_BYTES].tobytes()
        more = R.MESSAGE_BYTES + R.VALUE_BYTES * (count - 1)
        parts = (messages[:, :_ID_BYTES], messages[:, _VALOR:_ACTIVO],
                 messages[:, R.MESSAGE_BYTES : more])  # fmt: skip
        return b"v", np.concatenate(parts, axis=1).tobytes()

    def reason(self, code: int, message: NDArray[np.uint8], count: int) -> str:
        """What is wrong with a message of ``count`` values that was judged ``code``."""
        swarm = self._swarm(int.from_bytes(message[:_ID_BYTES].tobytes(), "big"))
        names = self.names[swarm] if swarm is not None else ()
        if code == R.BAD_WIDTH:
            takes = f"({', '.join(names)})" if names else "one value"
            came = "a message of m, which has one" if count == 0 else f"a reading of {count}"
            return f"the entity takes {takes}, and this is {came}"
        if code >= R.BAD_FIELD and names:
            return f"{names[code - R.BAD_FIELD]} is not a finite number"
        return R.BAD_TEXT[code]

    def _count(self, canal: int, raw: bytes) -> int:
        """Values of each record: what all entities of the canal take, else what the first does."""
        of_canal = {
            max(1, len(names))
            for names, own in zip(self.names, self._canales, strict=True)
            if own == canal
        }
        if len(of_canal) == 1:
            return of_canal.pop()
        swarm = self._swarm(int.from_bytes(raw[:_ID_BYTES], "big"))
        if len(raw) < _ID_BYTES or swarm is None:
            raise Refused("v begins with an unknown id, so how many values follow is unknown")
        return max(1, len(self.names[swarm]))

    def _swarm(self, entity: int) -> int | None:
        return next((k for k, (a, b) in enumerate(self._ends) if a <= entity < b), None)

    def _room(self, count: int) -> NDArray[np.uint8]:
        return np.zeros((count, self.message_bytes), np.uint8)

    def _messages(self, canal: int, records: NDArray[np.uint8]) -> bytes:
        found = self._room(len(records))
        found[:, :_ID_BYTES] = records[:, :_ID_BYTES]
        found[:, _ID_BYTES] = canal & 0xFF
        found[:, _VALOR:_ACTIVO] = records[:, _ID_BYTES : _ID_BYTES + R.VALUE_BYTES]
        found[:, _ACTIVO] = 1
        rest = records[:, _ID_BYTES + R.VALUE_BYTES :]
        found[:, R.MESSAGE_BYTES : R.MESSAGE_BYTES + rest.shape[1]] = rest
        return found.tobytes()


def _records(raw: bytes, size: int) -> NDArray[np.uint8]:
    return np.frombuffer(raw, np.uint8).reshape(-1, size)


def _number(parsed: dict[str, Any], name: str, wanted: str) -> float:
    if name not in parsed:
        raise Refused(f"datos has no {name}, {wanted}")
    value = parsed[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Refused(f"datos: {name} is no number, {wanted}")
    if not fits_float32(value):
        raise Refused(f"datos: {name} is not a finite number as float32, {wanted}")
    return float(value)


def counts_of(forms: Sequence[int], starts: NDArray[np.int64]) -> NDArray[np.uint8]:
    """For each message how many values it came with: ``forms`` says it of each entry."""
    return np.repeat(np.array(forms, np.uint8), np.diff(starts))
