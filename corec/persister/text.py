"""The payloads' JSON and the tuples of a COPY, written by compiled code into arrays of bytes.

Nothing is bounds-checked: the callers (``payload``, ``encode``) make the arrays large enough.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba.core import types

from corec import layout as L
from corec.kernels.address import load_anywhere_u8, load_f4, store_anywhere_u8
from corec.persister.digits import FLOAT_TEXT_MAX, NUMBER_TEXT_MAX, SLACK, put_float, put_number
from shm.atomics import Indices, Words
from shm.jit import BYTES, BYTES_READ_ONLY, WORDS, WORDS_READ_ONLY, compiled, inlined
from shm.memory import Bytes, copy_bytes

_INT64: Any = np.int64
_UINT64: Any = np.uint64
_U32: Any = np.uint64(0xFFFFFFFF)
_INDICES: Any = types.Array(types.int64, 1, "C", readonly=True)
_1000: Any = np.uint64(1000)
EPOCH_2000_US: Final = 946_684_800_000_000
"""PostgreSQL counts microseconds from 2000-01-01, UTC."""
FROM_TICK: Final = -1
FROM_TIME: Final = -2
ZERO: Final = ord("0")
_COMMA_WORD: Any = np.uint64(ord(","))
_NO_TICK: Any = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
_WORD: Final = 8
COLON: Final = ord(":")
COMMA: Final = ord(",")


def offset_of(dtype: np.dtype[Any], name: str) -> int:
    """Where field ``name`` of a structured dtype begins."""
    assert dtype.fields is not None  # it is structured
    return int(dtype.fields[name][1])


def _at(name: str) -> int:
    return offset_of(L.ROW, name)


def _text(text: str) -> Bytes:
    return np.frombuffer(text.encode(), np.uint8)


ROW_WORDS: Final = L.ROW.itemsize // 8
ROW_BYTES: Final = L.ROW.itemsize
UNIX_NS: Final = _at("unix_ns")
_DESDE: Final = _at("desde") // 8
_OMITIDOS: Final = _at("omitidos") // 8
_BINS: Final = _at("histograma") // 8
_EXTREMES: Final = _at("hist_min")
_ENTRY_BYTES: Final = L.LOG_DTYPE.itemsize
_ENTRY_WORDS: Final = _ENTRY_BYTES // 8
_ENTRY_TICK: Final = offset_of(L.LOG_DTYPE, "tick") // 8
_ENTRY_LOCAL: Final = offset_of(L.LOG_DTYPE, "local") // 8
_ENTRY_VALOR: Final = offset_of(L.LOG_DTYPE, "valor")
assert _ENTRY_BYTES % 8 == offset_of(L.LOG_DTYPE, "tick") % 8 == 0
assert offset_of(L.LOG_DTYPE, "local") % 8 == 0  # the low half of its word
assert _at("desde") % 8 == _at("histograma") % 8 == _at("omitidos") % 8 == 0
assert _at("hist_max") == _at("hist_min") + 4

_T_DESDE: Final = _text('{"desde":')
_T_HASTA: Final = _text(',"hasta":')
_T_ID: Final = _text(',"mensajes":{"id":[')
_T_TICK: Final = _text('],"tick":[')
_T_VALOR: Final = _text('],"valor":[')
_T_OMITIDOS: Final = _text(']},"omitidos":')
_T_MIN: Final = _text(',"histograma":{"min":')
_T_MAX: Final = _text(',"max":')
_T_CUENTAS: Final = _text(',"cuentas":[')
_T_END: Final = _text("]}}")
ROW_TEXT_MAX: Final = (
    sum(t.size for t in (_T_DESDE, _T_HASTA, _T_ID, _T_TICK, _T_VALOR, _T_OMITIDOS))
    + sum(t.size for t in (_T_MIN, _T_MAX, _T_CUENTAS, _T_END))
    + 3 * NUMBER_TEXT_MAX + 2 * FLOAT_TEXT_MAX + (NUMBER_TEXT_MAX + 1) * L.HISTOGRAM_BINS + SLACK
)  # fmt: skip
"""Bytes of a row's JSON at most, less its messages."""
ENTRY_TEXT_MAX: Final = 2 * (NUMBER_TEXT_MAX + 1) + FLOAT_TEXT_MAX + 1
"""Bytes of a message at most."""


@inlined
def _put(out: Bytes, at: int, text: Bytes) -> int:
    copy_bytes(out, at, text, 0, text.size)
    return at + text.size


@inlined
def _put_number(out: Bytes, at: int, number: int) -> int:
    """Write a u64 in decimal."""
    end: int = put_number(out.ctypes.data + at, number) - out.ctypes.data
    return end


@inlined
def _put_ids(to: int, first_id: int, logs: Words, begin: int, end: int) -> int:
    """The ids of log entries, each with a comma behind it."""
    for j in range(begin, end):
        local = logs[_ENTRY_WORDS * j + _ENTRY_LOCAL] & _U32
        to = put_number(to, (first_id + local) & _U32)
        store_anywhere_u8(to, _COMMA_WORD)
        to += 1
    return to


@inlined
def _put_ticks(to: int, logs: Words, begin: int, end: int) -> int:
    """The ticks of log entries, likewise; a text is copied while the tick is the same."""
    before = _NO_TICK
    text = to
    for j in range(begin, end):
        tick = logs[_ENTRY_WORDS * j + _ENTRY_TICK]
        size = to - text
        if tick == before and size <= _WORD:
            store_anywhere_u8(to, load_anywhere_u8(text))
            text = to
            to += size
            continue
        before = tick
        text = to
        to = put_number(to, tick)
        store_anywhere_u8(to, _COMMA_WORD)
        to += 1
    return to


@inlined
def _put_values(to: int, logs: Words, begin: int, end: int) -> int:
    """The values of log entries, likewise."""
    for j in range(begin, end):
        to = put_float(to, load_f4(logs.ctypes.data + _ENTRY_BYTES * j + _ENTRY_VALOR))
        store_anywhere_u8(to, _COMMA_WORD)
        to += 1
    return to


@compiled(
    types.int64(
        WORDS_READ_ONLY, _INDICES, WORDS_READ_ONLY, _INDICES, WORDS_READ_ONLY, BYTES, WORDS,
    )
)  # fmt: skip
def write_json(
    rows: Words,
    ticks: Indices,
    first_ids: Words,
    counts: Indices,
    logs: Words,
    out: Bytes,
    segments: Words,
) -> int:
    """The JSON of rows, one after the other; the bytes of ``out`` that are used.

    ``rows`` are ROW[n] and ``logs`` their LOG_DTYPE[sum of ``counts``] as words; ``first_ids`` is
    the id of entity 0 of each row's block.  ``segments`` u64[2 n] gets offset and length of each.
    Room of ``out``: ``ROW_TEXT_MAX`` and ``ENTRY_TEXT_MAX``.
    """
    here = out.ctypes.data
    at = 0
    entry = 0
    for k in range(ticks.size):
        base = k * ROW_WORDS
        begin = at
        end = entry + counts[k]
        some = counts[k] > 0  # then a comma is one too many
        at = _put_number(out, _put(out, at, _T_DESDE), rows[base + _DESDE])
        at = _put_number(out, _put(out, at, _T_HASTA), ticks[k])
        at = _put(out, at, _T_ID)
        at = _put_ids(here + at, first_ids[k], logs, entry, end) - here
        at = _put(out, at - some, _T_TICK)
        at = _put_ticks(here + at, logs, entry, end) - here
        at = _put(out, at - some, _T_VALOR)
        at = _put_values(here + at, logs, entry, end) - here
        at = _put(out, at - some, _T_OMITIDOS)
        entry = end
        at = _put_number(out, at, rows[base + _OMITIDOS])
        extremes = rows.ctypes.data + k * ROW_BYTES + _EXTREMES
        at = _put(out, at, _T_MIN)
        at = put_float(here + at, load_f4(extremes)) - here
        at = _put(out, at, _T_MAX)
        at = put_float(here + at, load_f4(extremes + 4)) - here
        at = _put(out, at, _T_CUENTAS)
        for j in range(L.HISTOGRAM_BINS // 2):
            pair = rows[base + _BINS + j]
            at = _put_number(out, at, pair & _U32)
            out[at] = COMMA
            at = _put_number(out, at + 1, pair >> _UINT64(32))
            out[at] = COMMA
            at += 1
        at = _put(out, at - 1, _T_END)
        segments[2 * k] = begin
        segments[2 * k + 1] = at - begin
    return at


@inlined
def _little(data: Bytes, at: int, size: int) -> int:
    """The unsigned little-endian number of ``size`` bytes at ``at``."""
    value = _UINT64(0)
    for k in range(size):
        value = value | _UINT64(data[at + k]) << _UINT64(8 * k)
    number: int = value
    return number


@inlined
def _time(rows: Bytes, at: int) -> int:
    """PostgreSQL's time of the ns since 1970 at ``at``."""
    us: int = _INT64(_little(rows, at, 8) // _1000)
    return us - EPOCH_2000_US


@inlined
def _put_big(out: Bytes, at: int, value: int, size: int) -> None:
    """The low ``size`` bytes of ``value``, big endian."""
    rest = _UINT64(value)
    for k in range(at + size - 1, at - 1, -1):
        out[k] = rest & _UINT64(0xFF)
        rest = rest >> _UINT64(8)


@compiled(
    types.int64(
        BYTES_READ_ONLY, _INDICES, BYTES_READ_ONLY, _INDICES, BYTES_READ_ONLY, _INDICES,
        BYTES_READ_ONLY, _INDICES, _INDICES, BYTES_READ_ONLY, _INDICES, BYTES,
    )
)  # fmt: skip
def write_tuples(
    rows: Bytes,
    ticks: Indices,
    template: Bytes,
    moves: Indices,
    instance: Bytes,
    swarms: Indices,
    names: Bytes,
    name_ends: Indices,
    numbers: Indices,
    payloads: Bytes,
    lengths: Indices,
    out: Bytes,
) -> int:
    """The COPY tuples of rows: fixed fields, instance_id, id, payload; the bytes used of ``out``.

    ``rows`` are ROW[n] as bytes.  ``template`` is the fixed part of a tuple with its lengths, into
    which ``moves`` (int64[3 m]: offset in ROW, offset in the tuple, bytes; ``FROM_TICK`` and
    ``FROM_TIME`` for the first) put the values.  ``instance`` is the whole field; a row's id is
    ``names[name_ends[s]:name_ends[s + 1]]`` with s its swarm, ":" and its number (five digits or
    more).  ``payloads`` are joined; a length of -1 is NULL.
    """
    at = 0
    payload_at = 0
    for k in range(ticks.size):
        copy_bytes(out, at, template, 0, template.size)
        base = k * ROW_BYTES
        for m in range(0, moves.size, 3):
            source, target, size = moves[m], at + moves[m + 1], moves[m + 2]
            if source == FROM_TICK:
                _put_big(out, target, ticks[k], size)
            elif source == FROM_TIME:
                _put_big(out, target, _time(rows, base + UNIX_NS), size)
            else:
                for j in range(size):
                    out[target + j] = rows[base + source + size - 1 - j]
        at = _put(out, at + template.size, instance)
        start = name_ends[swarms[k]]
        length = name_ends[swarms[k] + 1] - start
        name_at = at + 4
        copy_bytes(out, name_at, names, start, length)
        at = name_at + length
        out[at] = COLON
        at += 1
        bound = 10_000
        while numbers[k] < bound and bound > 1:
            out[at] = ZERO
            at += 1
            bound //= 10
        at = _put_number(out, at, numbers[k])
        _put_big(out, name_at - 4, at - name_at, 4)
        _put_big(out, at, lengths[k], 4)
        at += 4
        if lengths[k] > 0:
            copy_bytes(out, at, payloads, payload_at, lengths[k])
            at += lengths[k]
            payload_at += lengths[k]
    return at


def as_words(array: npt.NDArray[Any]) -> Words:
    """A contiguous array as u64."""
    words: Words = np.ascontiguousarray(array).view(np.uint64)
    return words
