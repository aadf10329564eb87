"""The payloads' JSON and the tuples of a COPY, written by compiled code into arrays of bytes.

Numbers with a fraction come as text that orjson has written (a list per column: ``[0.5,0.25]``):
the shortest text that reads back as the same float32 is not worth doing twice.  Nothing is
bounds-checked: the callers (``payload``, ``encode``) make the arrays large enough.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba.core import types

from corec import layout as L
from shm.atomics import Indices, Words
from shm.jit import BYTES, BYTES_READ_ONLY, WORDS, WORDS_READ_ONLY, compiled, inlined
from shm.memory import Bytes, copy_bytes

_INT64: Any = np.int64
_UINT64: Any = np.uint64
_10: Any = np.uint64(10)
_48: Any = np.uint64(48)
_U16: Any = np.uint64(0xFFFF)
_U32: Any = np.uint64(0xFFFFFFFF)
_INDICES: Any = types.Array(types.int64, 1, "C", readonly=True)
_1000: Any = np.uint64(1000)
EPOCH_2000_US: Final = 946_684_800_000_000
"""PostgreSQL counts microseconds from 2000-01-01, UTC."""
FROM_TICK: Final = -1
FROM_TIME: Final = -2
WIDENED: Final = 1 << 20
"""Beside an offset in ROW: an unsigned number of four bytes that becomes one of eight."""
ZERO: Final = ord("0")
COLON: Final = ord(":")
COMMA: Final = ord(",")
MINUS: Final = ord("-")
BRACKET: Final = ord("]")


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
assert _at("desde") % 8 == _at("histograma") % 8 == 0
assert _at("omitidos") % 8 == 4
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
    + 2 * 20 + 10 + 11 * L.HISTOGRAM_BINS
)  # fmt: skip
"""Bytes of a row's JSON at most, less its messages and the text of its floats."""
ENTRY_TEXT_MAX: Final = 11 + 22
"""Bytes of a message at most, less the text of its value."""


@inlined
def _put(out: Bytes, at: int, text: Bytes) -> int:
    copy_bytes(out, at, text, 0, text.size)
    return at + text.size


@inlined
def _put_number(out: Bytes, at: int, number: int) -> int:
    """Write a uint64 in decimal."""
    value = _UINT64(number)
    digits = 1
    rest = value // _10
    while rest:
        digits += 1
        rest = rest // _10
    for k in range(at + digits - 1, at - 1, -1):
        rest = value // _10
        out[k] = _48 + (value - rest * _10)
        value = rest
    return at + digits


@inlined
def _put_float(out: Bytes, at: int, text: Bytes, cursor: int) -> tuple[int, int]:
    """Copy one element of a JSON list of numbers; where ``out`` and ``text`` go on."""
    while text[cursor] != COMMA and text[cursor] != BRACKET:
        out[at] = text[cursor]
        at += 1
        cursor += 1
    return at, cursor + 1


@compiled(
    types.int64(
        WORDS_READ_ONLY, _INDICES, WORDS_READ_ONLY, _INDICES, WORDS_READ_ONLY, BYTES_READ_ONLY,
        BYTES_READ_ONLY, BYTES, WORDS,
    )
)  # fmt: skip
def write_json(
    rows: Words,
    ticks: Indices,
    first_ids: Words,
    counts: Indices,
    logs: Words,
    values: Bytes,
    extremes: Bytes,
    out: Bytes,
    segments: Words,
) -> int:
    """The JSON of rows, one after the other; the bytes of ``out`` that are used.

    ``rows`` are ROW[n] and ``logs`` their LOG_DTYPE[sum of ``counts``] as words; ``first_ids`` is
    the id of entity 0 of each row's block; ``values`` is the JSON list of the logs' ``valor``,
    ``extremes`` that of hist_min, hist_max, hist_min, …  ``segments`` u64[2 n] gets offset and
    length of each.  Room of ``out``: ``ROW_TEXT_MAX``, ``ENTRY_TEXT_MAX``, and the two texts.
    """
    at = 0
    entry = 0
    value_at = extreme_at = 1
    for k in range(ticks.size):
        base = k * ROW_WORDS
        begin = at
        end = entry + counts[k]
        at = _put_number(out, _put(out, at, _T_DESDE), rows[base + _DESDE])
        at = _put_number(out, _put(out, at, _T_HASTA), ticks[k])
        at = _put(out, at, _T_ID)
        for j in range(entry, end):
            at = _put_number(out, at, (first_ids[k] + (logs[j] & _U16)) & _U32)
            out[at] = COMMA
            at += 1
        at = _put(out, at - (counts[k] > 0), _T_TICK)
        for j in range(entry, end):
            when = ticks[k] - _INT64(logs[j] >> _UINT64(16) & _U16)
            if when < 0:
                out[at] = MINUS
                at += 1
                when = -when
            at = _put_number(out, at, when)
            out[at] = COMMA
            at += 1
        at = _put(out, at - (counts[k] > 0), _T_VALOR)
        for _ in range(entry, end):
            at, value_at = _put_float(out, at, values, value_at)
            out[at] = COMMA
            at += 1
        at = _put(out, at - (counts[k] > 0), _T_OMITIDOS)
        entry = end
        at = _put_number(out, at, rows[base + _OMITIDOS] >> _UINT64(32))
        at, extreme_at = _put_float(out, _put(out, at, _T_MIN), extremes, extreme_at)
        at, extreme_at = _put_float(out, _put(out, at, _T_MAX), extremes, extreme_at)
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
            elif source & WIDENED:
                _put_big(out, target, _little(rows, base + (source ^ WIDENED), 4), size)
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
