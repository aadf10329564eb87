"""Rows and events as PostgreSQL's binary COPY format, built in bulk.

A COPY stream is a header, tuples, and a trailer of two bytes.  A tuple is a 16-bit count of fields,
then for each a 32-bit length and that many bytes, big endian.  All fields of a row of ``bloques``
but the names and the payload have a fixed size, so they come first and are filled as columns of one
packed structured array; the two names are made once per block.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from corec import layout as L
from corec.log import get_logger
from corec.persister.batch import has_row
from corec.persister.payload import PayloadEncoder, repairs_of
from corec.plan import Plan
from shm.lane import Frame

log = get_logger(__name__)
HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
TRAILER = struct.pack(">h", -1)
NULL = struct.pack(">i", -1)
EPOCH_2000_US = 946_684_800_000_000
"""PostgreSQL counts microseconds from 2000-01-01, UTC."""
CHUNK_ROWS = 96
"""About 64 to 128 KiB of COPY stream at 100 messages a row: what one ``Copy.write`` gets."""
EVENT_CHUNK_BYTES = 96 << 10

_FIXED = (
    ("canal", ">i2"),
    ("tick", ">i8"),
    ("timestamp", ">i8"),
    ("num_entidades", ">i4"),
    ("activas", ">i4"),
    ("errores", ">i4"),
    ("reparadas", ">i4"),
    ("carga", ">f8"),
    ("umbral", ">f8"),
    ("fitness", ">f8"),
    ("media", ">f8"),
    ("desviacion", ">f8"),
    ("mensajes", ">i8"),
)
ROW_COLUMNS = (*(name for name, _ in _FIXED), "instance_id", "id", "payload")
EVENT_COLUMNS = ("timestamp", "tick", "instance_id", "tipo", "bloque", "entidad", "detalle")
_SAME_NAME = (
    "canal", "num_entidades", "activas", "errores", "reparadas", "carga", "umbral", "fitness",
    "media", "desviacion", "mensajes",
)  # fmt: skip
_TUPLE = np.dtype(
    [("fields", ">i2")]
    + [part for name, kind in _FIXED for part in ((f"{name}_len", ">i4"), (name, kind))]
)
_EVENT_HEAD = struct.Struct(">hiqiq")
_LENGTH = struct.Struct(">i")
_INT8 = struct.Struct(">iq")
_HOW = {L.REPAIR_INHERIT: "inherit", L.REPAIR_RESET: "reset"}
REPAIR_TIPO = "repair"


class Event(NamedTuple):
    """One row of ``eventos``; ``detalle`` is JSON text."""

    unix_ns: int
    tick: int
    tipo: str
    bloque: str | None
    entidad: int | None
    detalle: bytes


class Encoder:
    """Makes COPY streams for one instance; for one thread."""

    def __init__(self, plan: Plan, instance_id: str, payload: str) -> None:
        """``payload``: the configuration's ``persist.payload``, "json" or "none"."""
        self._plan = plan
        self._instance = field(instance_id.encode())
        self._payloads = PayloadEncoder(plan.blocks["first_id"]) if payload == "json" else None
        self._names: dict[int, bytes] = {}

    def block_id(self, block: int) -> str:
        """The id of a block in the tables, ``<swarm>:<00000>``."""
        return self._plan.block_id(block)

    def _block_names(self, block: int) -> bytes:
        """The fields instance_id and id of a block's rows."""
        found = self._names.get(block)
        if found is None:
            found = self._instance + field(self._plan.block_id(block).encode())
            self._names[block] = found
        return found

    def rows(self, frames: Sequence[Frame], rows: npt.NDArray[np.void]) -> Iterator[bytes]:
        """A COPY stream of ``ROW_COLUMNS`` in pieces; ``rows`` is ROW[len(frames)], theirs."""
        head = HEADER
        for begin in range(0, len(frames), CHUNK_ROWS):
            chunk = slice(begin, begin + CHUNK_ROWS)
            yield head + self._rows_chunk(frames[chunk], rows[chunk])
            head = b""
        yield head + TRAILER

    def _rows_chunk(self, frames: Sequence[Frame], rows: npt.NDArray[np.void]) -> bytes:
        ticks = np.fromiter((frame.tick for frame in frames), np.int64, len(frames))
        fixed = fixed_fields(rows, ticks).tobytes()
        size = _TUPLE.itemsize
        parts: list[bytes] = []
        if self._payloads is None:
            for k, frame in enumerate(frames):
                parts += (fixed[k * size : (k + 1) * size], self._block_names(frame.a), NULL)
            return b"".join(parts)
        pack = _LENGTH.pack
        for k, payload in enumerate(self._payloads.encode(frames, rows)):
            parts += (
                fixed[k * size : (k + 1) * size],
                self._block_names(frames[k].a),
                pack(len(payload)),
                payload,
            )
        return b"".join(parts)

    def events(self, events: Sequence[Event]) -> Iterator[bytes]:
        """A COPY stream of ``EVENT_COLUMNS`` in pieces."""
        piece = bytearray(HEADER)
        for event in events:
            piece += _EVENT_HEAD.pack(
                len(EVENT_COLUMNS), 8, event.unix_ns // 1000 - EPOCH_2000_US, 8, event.tick
            )
            piece += self._instance
            piece += field(event.tipo.encode())
            piece += NULL if event.bloque is None else field(event.bloque.encode())
            piece += NULL if event.entidad is None else _INT8.pack(8, event.entidad)
            piece += field(b"\x01" + event.detalle)
            if len(piece) >= EVENT_CHUNK_BYTES:
                yield bytes(piece)
                piece.clear()
        yield bytes(piece + TRAILER)

    def repairs(self, frames: Sequence[Frame], unix_ns: int) -> list[Event]:
        """The repairs in row frames as events; one without a row gets the time ``unix_ns``."""
        found: list[Event] = []
        for frame in frames:
            if not frame.b:
                continue
            when = int.from_bytes(frame.payload[:8], "little") if has_row(frame) else unix_ns
            name = self._plan.block_id(frame.a)
            for entity, donor, how, _ in repairs_of(frame).tolist():
                detail = b'{"how":"%s","donor":%d}' % (_HOW.get(how, str(how)).encode(), donor)
                found.append(Event(when, frame.tick, REPAIR_TIPO, name, entity, detail))
        return found


def gather(frames: Sequence[Frame]) -> npt.NDArray[np.void]:
    """The ROWs of frames that have one: ROW[len(frames)], a copy.

    Raises ValueError when a frame is too short to hold what its header says.
    """
    size = L.ROW.itemsize
    return np.frombuffer(b"".join(frame.payload[:size] for frame in frames), L.ROW, len(frames))


def fixed_fields(rows: npt.NDArray[np.void], ticks: npt.NDArray[np.int64]) -> npt.NDArray[np.void]:
    """The count of fields and the fields of fixed size, of each row of ``bloques``."""
    out = np.empty(len(rows), _TUPLE)
    out["fields"] = len(ROW_COLUMNS)
    for name, kind in _FIXED:
        out[f"{name}_len"] = np.dtype(kind).itemsize
    for name in _SAME_NAME:
        out[name] = rows[name]
    out["tick"] = ticks
    out["timestamp"] = (rows["unix_ns"] // 1000).astype(np.int64) - EPOCH_2000_US
    return out


def field(value: bytes) -> bytes:
    """One field of a tuple: its length and its bytes."""
    return _LENGTH.pack(len(value)) + value


def parse_event(payload: bytes | memoryview) -> Event:
    """The event in a frame's JSON.

    PostgreSQL's text and jsonb hold every character but NUL, which becomes U+FFFD.
    Raises ValueError when it is no such JSON (``docs/architecture.md``).
    """
    body: Any = orjson.loads(payload)
    if not isinstance(body, dict):
        raise ValueError(f"event: found a {type(body).__name__}, expected an object")
    entity = body.get("entidad")
    block = body.get("bloque")
    event = Event(
        int(body["unix_ns"]),
        int(body["tick"]),
        str(body["tipo"]).replace("\0", "\ufffd"),
        None if block is None else str(block).replace("\0", "\ufffd"),
        None if entity is None else int(entity),
        orjson.dumps(_without_nul(body.get("detalle"))),
    )
    for number in (event.unix_ns, event.tick, event.entidad or 0):
        if not 0 <= number < 2**63:
            raise ValueError(f"event: found {number}, expected 0 to 2**63 - 1")
    return event


def parse_events(frames: Iterable[Frame]) -> tuple[list[Event], int]:
    """The events in frames, and how many of them make no sense; those are logged."""
    events: list[Event] = []
    bad = 0
    for frame in frames:
        try:
            events.append(parse_event(frame.payload))
        except (ValueError, KeyError, TypeError, orjson.JSONEncodeError) as error:
            bad += 1
            log.error("an event makes no sense and is dropped", error=str(error))
    return events, bad


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, dict):
        return {_without_nul(name): _without_nul(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_nul(inner) for inner in value]
    return value
