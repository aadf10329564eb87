"""NumPy columns handed over by the Arrow C data interface, without a copy and without a library.

https://arrow.apache.org/docs/format/CDataInterface.html and …/CStreamInterface.html; the capsules
are those of the PyCapsule interface: pandas, Polars, DuckDB, pyarrow and others take them.

Theory.  Every structure that is given away carries in ``private_data`` a number; under it
``_KEPT`` holds what the structure points to: names, buffers, children, the arrays themselves.  Its
``release`` drops that entry and stores NULL in ``release``, once; a consumer may call it from any
thread (ctypes takes the interpreter's lock for it).  A structure with children releases them first,
but for those that the consumer has moved out (their ``release`` is NULL): these have entries of
their own and live on.  A capsule owns the structure that it points to, until a consumer moves it
out; its destructor releases what nobody took.
"""

from __future__ import annotations

import ctypes
import itertools
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_FORMATS: Final = {
    "i1": b"c", "u1": b"C", "i2": b"s", "u2": b"S", "i4": b"i", "u4": b"I", "i8": b"l", "u8": b"L",
    "f4": b"f", "f8": b"g", "b1": b"b",
}  # fmt: skip
_P: Final = ctypes.c_void_p


class _Schema(ctypes.Structure):
    _fields_ = (
        ("format", ctypes.c_char_p), ("name", ctypes.c_char_p), ("metadata", _P),
        ("flags", ctypes.c_int64), ("n_children", ctypes.c_int64), ("children", _P),
        ("dictionary", _P), ("release", _P), ("private_data", _P),
    )  # fmt: skip


class _Array(ctypes.Structure):
    _fields_ = (
        ("length", ctypes.c_int64), ("null_count", ctypes.c_int64), ("offset", ctypes.c_int64),
        ("n_buffers", ctypes.c_int64), ("n_children", ctypes.c_int64), ("buffers", _P),
        ("children", _P), ("dictionary", _P), ("release", _P), ("private_data", _P),
    )  # fmt: skip


class _Stream(ctypes.Structure):
    _fields_ = (
        ("get_schema", _P), ("get_next", _P), ("get_last_error", _P), ("release", _P),
        ("private_data", _P),
    )  # fmt: skip


_KEPT: Final[dict[int, Any]] = {}
_numbers: Final = itertools.count(1)  # next() of it is one step of the interpreter: no lock needed
_Callback: Final = ctypes.CFUNCTYPE(None, _P)


def _keep(structure: Any, *things: Any) -> None:
    number = next(_numbers)
    _KEPT[number] = (structure, *things)
    structure.private_data = number


def _release(kind: Any) -> Any:
    def release(address: int) -> None:
        found = kind.from_address(address)
        children = found.children or 0
        for k in range(found.n_children):
            child = kind.from_address(_P.from_address(children + k * ctypes.sizeof(_P)).value)
            if child.release:
                _Callback(child.release)(ctypes.addressof(child))
        number, found.release = found.private_data, None
        _KEPT.pop(number, None)

    return _Callback(release)


def _release_stream(address: int) -> None:
    found = _Stream.from_address(address)
    number, found.release = found.private_data, None
    _KEPT.pop(number, None)


def _get_schema(stream: int, out: int) -> int:
    columns, _ = _KEPT[_Stream.from_address(stream).private_data][1:]
    _move(_schema(columns), out)
    return 0


def _get_next(stream: int, out: int) -> int:
    columns, left = _KEPT[_Stream.from_address(stream).private_data][1:]
    if left:
        left.clear()
        _move(_array(columns), out)
    else:
        ctypes.memset(out, 0, ctypes.sizeof(_Array))  # released: the end of the stream
    return 0


def _get_last_error(stream: int) -> int | None:
    return None  # nothing in here fails but by a bug


_Get: Final = ctypes.CFUNCTYPE(ctypes.c_int, _P, _P)
_Say: Final = ctypes.CFUNCTYPE(_P, _P)
_SCHEMA_RELEASE, _ARRAY_RELEASE = _release(_Schema), _release(_Array)
_STREAM_CALLS: Final = (
    _Get(_get_schema), _Get(_get_next), _Say(_get_last_error), _Callback(_release_stream)
)  # fmt: skip


def _address(callback: Any) -> int | None:
    return ctypes.cast(callback, _P).value


def _move(structure: Any, to: int) -> None:
    """Into the consumer's memory; what it points to stays under its number."""
    ctypes.memmove(to, ctypes.addressof(structure), ctypes.sizeof(structure))


def _pointers(addresses: list[int | None]) -> Any:
    return (_P * max(1, len(addresses)))(*addresses)


def _schema_of(name: str, format_: bytes, children: list[_Schema]) -> _Schema:
    made = _Schema()
    pointers = _pointers([ctypes.addressof(child) for child in children])
    label = name.encode()
    made.format, made.name = format_, label
    made.n_children = len(children)
    made.children = ctypes.addressof(pointers) if children else None
    made.release = _address(_SCHEMA_RELEASE)
    _keep(made, label, pointers, children)
    return made


def _array_of(length: int, buffers: list[int | None], children: list[_Array], *kept: Any) -> _Array:
    made = _Array()
    places = _pointers(buffers)
    pointers = _pointers([ctypes.addressof(child) for child in children])
    made.length, made.n_buffers, made.n_children = length, len(buffers), len(children)
    made.buffers = ctypes.addressof(places)
    made.children = ctypes.addressof(pointers) if children else None
    made.release = _address(_ARRAY_RELEASE)
    _keep(made, places, pointers, children, *kept)
    return made


def _field(name: str, column: NDArray[Any]) -> _Schema:
    if column.dtype.kind == "U":
        return _schema_of(name, b"u", [])
    plain = _FORMATS[column.dtype.str[1:]]
    if column.ndim == 1:
        return _schema_of(name, plain, [])
    return _schema_of(name, b"+w:%d" % column.shape[1], [_schema_of("item", plain, [])])


def _values(column: NDArray[Any]) -> _Array:
    if column.ndim == 2:
        return _array_of(len(column), [None], [_values(np.ascontiguousarray(column).reshape(-1))])
    n = len(column)
    if column.dtype.kind == "U":
        texts = [text.encode() for text in column.tolist()]
        ends = np.cumsum([0, *map(len, texts)]).astype(np.int32)
        data = np.frombuffer(b"".join(texts) or b"\0", np.uint8)
        return _array_of(n, [None, ends.ctypes.data, data.ctypes.data], [], ends, data)
    if column.dtype == np.bool_:
        column = np.packbits(column, bitorder="little")
    column = np.ascontiguousarray(column)
    return _array_of(n, [None, column.ctypes.data], [], column)


def _schema(columns: dict[str, NDArray[Any]]) -> _Schema:
    return _schema_of("", b"+s", [_field(name, column) for name, column in columns.items()])


def _array(columns: dict[str, NDArray[Any]]) -> _Array:
    rows = len(next(iter(columns.values()))) if columns else 0
    return _array_of(rows, [None], [_values(column) for column in columns.values()])


_new: Final = ctypes.PYFUNCTYPE(ctypes.py_object, _P, ctypes.c_char_p, _P)(
    ("PyCapsule_New", ctypes.pythonapi)
)
# by address: a capsule that is going away must not be counted anew
_pointer_in: Final = ctypes.PYFUNCTYPE(_P, _P, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)


def _destructor(kind: Any, name: bytes) -> Any:
    def destroy(capsule: int) -> None:
        address = _pointer_in(capsule, name)
        found = kind.from_address(address)
        if found.release:
            _Callback(found.release)(address)
        _KEPT.pop(-address, None)

    return ctypes.PYFUNCTYPE(None, _P)(destroy)


_NAMES: Final = {_Schema: b"arrow_schema", _Array: b"arrow_array", _Stream: b"arrow_array_stream"}
_DESTRUCTORS: Final = {kind: _destructor(kind, name) for kind, name in _NAMES.items()}


def _capsule(structure: Any) -> Any:
    kind = type(structure)
    memory = kind()
    address = ctypes.addressof(memory)
    _move(structure, address)
    _KEPT[-address] = memory
    return _new(address, _NAMES[kind], _address(_DESTRUCTORS[kind]))


def schema_capsule(columns: dict[str, NDArray[Any]]) -> Any:
    """A capsule ``arrow_schema``: a struct with one field for each column."""
    return _capsule(_schema(columns))


def array_capsules(columns: dict[str, NDArray[Any]]) -> tuple[Any, Any]:
    """Capsules ``arrow_schema`` and ``arrow_array``: the columns as one struct array."""
    return _capsule(_schema(columns)), _capsule(_array(columns))


def stream_capsule(columns: dict[str, NDArray[Any]]) -> Any:
    """A capsule ``arrow_array_stream``: the columns as a stream of one record batch.

    ``columns``: name → values, equally long; 1-D of any plain number, bool or text (together less
    than 2 GiB), 2-D for lists of a fixed size. Nothing may write to them afterwards.
    """
    made = _Stream()
    calls = [_address(call) for call in _STREAM_CALLS]
    made.get_schema, made.get_next, made.get_last_error, made.release = calls
    _keep(made, columns, [True])
    return _capsule(made)
