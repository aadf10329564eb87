"""Rows and events as PostgreSQL's binary COPY format, built in bulk.

A COPY stream is a header, tuples, and a trailer of two bytes.  A tuple is a 16-bit count of fields,
then for each a 32-bit length and that many bytes, big endian.  All fields of a row of ``bloques``
but the names and the payload have a fixed size, so they come first: a template of them is copied
and filled.  A row costs no Python object but the one of its compressed payload.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from corec import layout as L
from corec.log import get_logger
from corec.persister.bulk import NO_FIX_HEADS, NO_FIXES, Bulk
from corec.persister.payload import PayloadEncoder, Payloads
from corec.persister.schema import without_nul
from corec.persister.stream import THREADS, Job, Stream
from corec.persister.text import (
    EPOCH_2000_US,
    FROM_TICK,
    FROM_TIME,
    offset_of,
    write_tuples,
)
from corec.plan import Plan
from corec.process.events import REPAIR, REPAIR_HOW

log = get_logger(__name__)
HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
TRAILER = struct.pack(">h", -1)
NULL = struct.pack(">i", -1)
CHUNK_BYTES = 64 << 10
"""Of rows and their logs.  It becomes about as much COPY stream or twice that, for one
``Copy.write``, and all that is made on the way stays in a core's cache."""
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
_TUPLE = np.dtype(
    [("fields", ">i2")]
    + [part for name, kind in _FIXED for part in ((f"{name}_len", ">i4"), (name, kind))]
)


def _template() -> npt.NDArray[np.uint8]:
    """The fixed part of a tuple, with the lengths and without the values."""
    out = np.zeros(1, _TUPLE)
    out["fields"] = len(ROW_COLUMNS)
    for name, kind in _FIXED:
        out[f"{name}_len"] = np.dtype(kind).itemsize
    return out.view(np.uint8)


def _moves() -> npt.NDArray[np.int64]:
    """What ``write_tuples`` puts into the template."""
    moves: list[tuple[int, int, int]] = []
    computed = {"tick": FROM_TICK, "timestamp": FROM_TIME}
    for name, kind in _FIXED:
        size = np.dtype(kind).itemsize
        source = computed.get(name)
        if source is None:
            source = offset_of(L.ROW, name)
        moves.append((source, offset_of(_TUPLE, name), size))
    return np.array(moves, np.int64).reshape(-1)


_TEMPLATE = _template()
_MOVES = _moves()
_EVENT_HEAD = struct.Struct(">hiqiq")
_LENGTH = struct.Struct(">i")
_INT8 = struct.Struct(">iq")


class Event(NamedTuple):
    """One row of ``eventos``; ``detalle`` is JSON text."""

    unix_ns: int
    tick: int
    tipo: str
    bloque: str | None
    entidad: int | None
    detalle: bytes


class _Own(threading.local):
    """What each thread has for itself: a compressor and its memory."""

    def __init__(self) -> None:
        self.payloads = PayloadEncoder()


class Encoder:
    """Makes COPY streams for one instance; any thread may."""

    def __init__(self, plan: Plan, instance_id: str, payload: str) -> None:
        """``payload``: the configuration's ``persist.payload``."""
        self._plan = plan
        self.threads = ThreadPoolExecutor(THREADS, "encode")
        self._instance = field(instance_id.encode())
        self._with_payload = payload != "none"
        self._own = _Own()
        names = [swarm.id.encode() for swarm in plan.swarms]
        self._names = np.frombuffer(b"".join(names), np.uint8)
        self._name_ends = np.cumsum([0, *map(len, names)], dtype=np.int64)
        first = [swarm.first_block - swarm.first_number for swarm in plan.swarms]
        self._first_block = np.array(first, np.int64)  # where its number 0 would be
        # a block's number has at least five digits, and more than twenty no number has
        self._tuple_max = _TEMPLATE.size + len(self._instance) + 8 + max(map(len, names)) + 21

    def block_id(self, block: int) -> str:
        """The id of a block in the tables, ``<swarm>:<00000>``."""
        return self._plan.block_id(block)

    def stream(self, bulks: Sequence[Bulk], made: Callable[[], None] | None = None) -> Stream:
        """``rows``, made ahead in the encoder's threads; ``made``: called after the last piece."""
        return Stream(self._jobs(bulks), self.threads, made)

    def event_stream(self, events: Sequence[Event]) -> Stream:
        """``events``, likewise."""
        return Stream(iter([lambda: b"".join(self.events(events))]), self.threads)

    def rows(self, bulks: Iterable[Bulk]) -> Iterator[bytes]:
        """A COPY stream of ``ROW_COLUMNS`` in pieces, each encoded when it is asked for."""
        for job in self._jobs(bulks):
            yield job()

    def _jobs(self, bulks: Iterable[Bulk]) -> Iterator[Job]:
        head = HEADER
        for bulk in bulks:
            for chunk in chunks(bulk):
                yield partial(self._tuples, chunk, head)
                head = b""
        yield partial(bytes, head + TRAILER)

    def _tuples(self, bulk: Bulk, head: bytes) -> bytes:
        n = len(bulk.rows)
        if int(bulk.blocks.max(initial=0)) >= self._plan.n_blocks:
            raise ValueError(f"a row of block {bulk.blocks.max()} of {self._plan.n_blocks}")
        places = self._plan.blocks[bulk.blocks]
        swarms = places["swarm"].astype(np.int64)
        if self._with_payload:
            payloads = self._own.payloads.encode(bulk, places["first_id"].astype(np.uint64))
        else:
            payloads = Payloads(b"", np.full(n, -1, np.int64))
        out = np.empty(n * self._tuple_max + len(payloads.data), np.uint8)
        used = write_tuples(
            bulk.rows.view(np.uint8), bulk.ticks, _TEMPLATE, _MOVES,
            np.frombuffer(self._instance, np.uint8), swarms, self._names, self._name_ends,
            bulk.blocks - self._first_block[swarms], np.frombuffer(payloads.data, np.uint8),
            payloads.lengths, out,
        )  # fmt: skip
        return head + out[:used].tobytes()

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

    def repairs(self, bulk: Bulk) -> list[Event]:
        """The repairs as events, at the time of their tick."""
        found: list[Event] = []
        columns = (bulk.fix_times, bulk.fix_ticks, bulk.fix_blocks, bulk.fixes)
        for when, tick, block, (entity, donor, how, _) in zip(
            *(column.tolist() for column in columns), strict=True
        ):
            detail = b'{"how":"%s","donor":%d}' % (REPAIR_HOW.get(how, str(how)).encode(), donor)
            name = self._plan.block_id(block)
            found.append(Event(when, tick, REPAIR, name, entity, detail))
        return found


def chunks(bulk: Bulk) -> Iterator[Bulk]:
    """The rows of ``bulk`` in pieces of about ``CHUNK_BYTES``; without the repairs."""
    n = len(bulk.rows)
    ends = np.cumsum(bulk.counts)
    sizes = ends * L.LOG_DTYPE.itemsize + np.arange(1, n + 1) * L.ROW.itemsize
    begin = log_begin = done = 0
    while begin < n:
        end = max(begin + 1, int(np.searchsorted(sizes, done + CHUNK_BYTES, "right")))
        log_end, done = int(ends[end - 1]), int(sizes[end - 1])
        part = slice(begin, end)
        yield Bulk(
            bulk.rows[part], bulk.ticks[part], bulk.blocks[part], bulk.counts[part],
            bulk.logs[log_begin:log_end], NO_FIXES, *NO_FIX_HEADS,
        )  # fmt: skip
        begin, log_begin = end, log_end


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
        without_nul(str(body["tipo"])),
        None if block is None else without_nul(str(block)),
        None if entity is None else int(entity),
        orjson.dumps(without_nul(body.get("detalle"))),
    )
    for number in (event.unix_ns, event.tick, event.entidad or 0):
        if not 0 <= number < 2**63:
            raise ValueError(f"event: found {number}, expected 0 to 2**63 - 1")
    return event
