"""What the words of a frame mean: each is put together and taken apart by one pair of functions.

Plain functions, for compiled code as well (``shm.jit.shared``); all numbers are int64.

::

    KIND_MESSAGES_FRAME  a = block   b = messages   c = message_word(canal, step)
                         payload: MESSAGE[b], then from ``alert_fields_at(b)`` fields of 8 bytes,
                         message by message, where the processor's alerts name fields: each
                         in its first bytes as in its column, the rest of the 8 undefined
    KIND_READINGS_FRAME  a = canal   b = readings   c = 0
                         payload: READINGS_HEAD, then records of ``reading_bytes(args)``
    KIND_ROW_FRAME       a = block   b = repairs    c = row_word(step, log entries)
                         flags: ROW_HAS_ROW
                         payload: ROW, or only its first field (the time of the tick, ns since 1970)
                         when there is no row; REPAIR[b]; LOG_DTYPE[entries]

    KIND_GENERATION_FRAME  a = block  b = LINEAGE records  c = row_word(step, 0)
                         payload: GENERATION; the genes of the best, float32; then of each record
                         LINEAGE and its genes; genes in whole words of 8 bytes

    KIND_COLLECT_FRAME   a = block   b = 0   c = 0   payload: JSON, ``world.collecting``

    KIND_FUSION_FRAME    a = block   b = 0   c = row_word(step, 0)   payload: ``world.fusion.FRAME``

A frame of a phase is published in tick T and speaks of tick T − 1, behind all of whose rows it
comes: its key is (T − 1, number of the phase · PHASE_BLOCK + block, step).

``step`` counts the steps of one block in one tick (see ``kernels.block``); a consumer drops a frame
whose (tick, block, step) is not greater than that of the frame before it. A step takes one reading
at least, so a tick has fewer steps than an inbox lane has readings: 31 bits hold them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from corec import layout as L
from shm.jit import shared

PHASE_BLOCK: Final = 1 << 24
"""Twice above the number of any block."""
STEP_MAX: Final = (1 << 31) - 1
TIME_BYTES: Final = 8
_CANAL_BITS: Final = 8
_ENTRIES_BITS: Final = 32
_CANAL_MASK: Final = L.CANALES - 1
_ENTRIES_MASK: Final = (1 << _ENTRIES_BITS) - 1
_MESSAGE_BYTES: Final = L.MESSAGE.itemsize
_ROW_BYTES: Final = L.ROW.itemsize
_REPAIR_BYTES: Final = L.REPAIR.itemsize
_LOG_BYTES: Final = L.LOG_DTYPE.itemsize
_GENERATION_BYTES: Final = L.GENERATION.itemsize
_LINEAGE_BYTES: Final = L.LINEAGE.itemsize

assert 1 << _CANAL_BITS == L.CANALES
assert L.LOG_CAP_MAX <= _ENTRIES_MASK
assert L.READING.itemsize == 16  # reading_bytes(1)
assert L.ROW.names is not None
assert L.ROW.names[0] == "unix_ns"
assert L.ROW["unix_ns"].itemsize == TIME_BYTES


@shared
def message_word(canal: int, step: int) -> int:
    """Word c of a frame of messages; ``canal`` −128 … 127, ``step`` 0 … STEP_MAX."""
    return step << _CANAL_BITS | canal & _CANAL_MASK


@shared
def message_canal(word: int) -> int:
    """The canal in word c of a frame of messages, as 0 … 255 (its low byte)."""
    return word & _CANAL_MASK


@shared
def message_step(word: int) -> int:
    """The step in word c of a frame of messages."""
    return word >> _CANAL_BITS


@shared
def alert_fields_at(messages: int) -> int:
    """Where the fields of alerts begin in the payload of a frame of messages."""
    return (_MESSAGE_BYTES * messages + 7) // 8 * 8


@shared
def messages_bytes(messages: int, fields: int) -> int:
    """Bytes of the payload of a frame of messages, each with so many fields of its alert."""
    if fields == 0:
        return _MESSAGE_BYTES * messages
    return alert_fields_at(messages) + 8 * fields * messages


@shared
def alert_fields_in(payload_bytes: int, messages: int) -> int:
    """How many fields of each message lie behind the ``messages`` of a frame."""
    return max(0, payload_bytes - alert_fields_at(messages)) // (8 * max(messages, 1))


def field_values(words: NDArray[np.uint64], dtype: str) -> NDArray[Any]:
    """One alert field of some messages, out of its words in their frame (u8[n])."""
    size = np.dtype(dtype).itemsize
    return np.ascontiguousarray(words).view(dtype)[:: 8 // size]


def alert_columns(
    payload: bytes, messages: int, fields: tuple[tuple[str, str], ...]
) -> dict[str, NDArray[Any]]:
    """What alerts name of the ``messages`` of a frame; ``fields``: (name, dtype) of each."""
    words = np.frombuffer(payload[alert_fields_at(messages) :], np.uint64)
    return {
        name: field_values(words[k :: len(fields)], dtype) for k, (name, dtype) in enumerate(fields)
    }


@shared
def reading_bytes(values: int) -> int:
    """Bytes of a reading of so many values in the inbox: id, activo, the values, padded to 8."""
    return 8 + (values + 1) // 2 * 8


@shared
def row_word(step: int, entries: int) -> int:
    """Word c of a row frame; ``step`` 0 … STEP_MAX, ``entries`` of the log 0 … LOG_CAP_MAX."""
    return step << _ENTRIES_BITS | entries


@shared
def row_step(word: int) -> int:
    """The step in word c of a row frame."""
    return word >> _ENTRIES_BITS


@shared
def row_entries(word: int) -> int:
    """The number of log entries in word c of a row frame."""
    return word & _ENTRIES_MASK


@shared
def repairs_at(has_row: int) -> int:
    """Where the repairs begin in the payload of a row frame; ``has_row`` 0 or 1."""
    return _ROW_BYTES if has_row else TIME_BYTES


@shared
def log_at(has_row: int, repairs: int) -> int:
    """Where the log entries begin in the payload of a row frame."""
    return repairs_at(has_row) + _REPAIR_BYTES * repairs


@shared
def row_payload_bytes(has_row: int, repairs: int, entries: int) -> int:
    """Bytes of the payload of a row frame."""
    return log_at(has_row, repairs) + _LOG_BYTES * entries


class Messages(NamedTuple):
    """One frame of messages as the broker sees it."""

    tick: int
    step: int
    messages: NDArray[Any]  # MESSAGE[], 10 bytes each
    fields: Mapping[str, NDArray[Any]]  # what the processor's alerts name of each


class Rows(NamedTuple):
    """One frame for the persister: a row (or None), repairs, the messages since the last row."""

    tick: int
    step: int
    unix_ns: int  # time of the tick, ns since 1970
    row: NDArray[Any] | None  # ROW[1]
    repairs: NDArray[Any]  # REPAIR[]
    log: NDArray[Any]  # LOG_DTYPE[]


@shared
def genes_bytes(genes: int) -> int:
    """Bytes that so many genes take in a frame of a generation."""
    return (4 * genes + 7) & -8


@shared
def generation_bytes(genes: int, records: int) -> int:
    """Bytes of the payload of a frame of a generation."""
    return _GENERATION_BYTES + genes_bytes(genes) + records * (_LINEAGE_BYTES + genes_bytes(genes))
