"""Frames as Arrow's C data interface gives them away: read back here by a consumer of our own, and
by pandas, Polars, pyarrow and DuckDB where they are installed."""

from __future__ import annotations

import ctypes
import gc
import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from corec.view import arrow
from corec.view.frame import Frame

DTYPES = {b"I": "u4", b"f": "f4", b"l": "i8", b"C": "u1", b"g": "f8", b"s": "i2"}


@pytest.fixture
def frame() -> Iterator[Frame]:
    """A frame of 1001 entities; at its end nothing that was given away is left."""
    gc.collect()
    before = len(arrow._KEPT)
    n = 1001
    ids = np.arange(7, 7 + n, dtype=np.uint32)
    columns = {
        "id": ids,
        "valor": np.linspace(-1, 1, n).astype("f4"),
        "activo": ids % 3 == 0,
        "count": np.arange(n, dtype="i8") << 40,
        "small": np.arange(n).astype("i2"),
        "last": np.arange(3 * n, dtype="f4").reshape(n, 3),
    }
    yield Frame("bearings", 12, ids, columns)
    gc.collect()
    assert len(arrow._KEPT) == before


def _pointer(capsule: Any, name: bytes) -> int:
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return int(get(capsule, name))


def _call(address: int, *arguments: int) -> int:
    kinds = [ctypes.c_void_p] * len(arguments)
    return int(ctypes.CFUNCTYPE(ctypes.c_int, *kinds)(address)(*arguments))


def _release(structure: Any) -> None:
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(structure.release)(ctypes.addressof(structure))
    assert not structure.release


def _child(structure: Any, k: int) -> Any:
    address = ctypes.c_void_p.from_address(structure.children + 8 * k).value
    return type(structure).from_address(address)


def _values(schema: Any, array: Any) -> Any:
    assert (array.null_count, array.offset) == (0, 0)
    if schema.format == b"+w:3":
        return _values(_child(schema, 0), _child(array, 0)).reshape(-1, 3)
    assert array.n_buffers == 2
    data = ctypes.c_void_p.from_address(array.buffers + 8).value
    if schema.format == b"b":
        packed = (ctypes.c_uint8 * (-(-array.length // 8))).from_address(data)
        return np.unpackbits(np.array(packed), count=array.length, bitorder="little") != 0
    dtype = np.dtype(DTYPES[schema.format])
    memory = (ctypes.c_uint8 * (array.length * dtype.itemsize)).from_address(data)
    return np.ctypeslib.as_array(memory).view(dtype)


def test_a_stream_is_one_batch_without_a_copy(frame: Frame) -> None:
    capsule = frame.__arrow_c_stream__()
    stream = arrow._Stream.from_address(_pointer(capsule, b"arrow_array_stream"))
    schema, array, end = arrow._Schema(), arrow._Array(), arrow._Array()
    at = ctypes.addressof(stream)
    assert _call(stream.get_schema, at, ctypes.addressof(schema)) == 0
    assert _call(stream.get_next, at, ctypes.addressof(array)) == 0
    assert _call(stream.get_next, at, ctypes.addressof(end)) == 0
    assert not end.release
    assert (schema.format, schema.n_children, array.length) == (b"+s", 6, len(frame))
    _release(stream)
    for k, name in enumerate(frame.columns):
        assert _child(schema, k).name.decode() == name
        found = _values(_child(schema, k), _child(array, k))
        assert found.dtype == frame[name].dtype
        assert np.array_equal(found, frame[name])
        shared = found.__array_interface__["data"] == frame[name].__array_interface__["data"]
        assert shared or name == "activo"
    _release(schema)
    moved = arrow._Array.from_buffer_copy(_child(array, 1))
    _child(array, 1).release = None  # a consumer may keep one column and give the rest back
    _release(array)
    assert _values(_schema_of("valor"), moved)[1000] == 1.0
    _release(moved)
    del capsule


def _schema_of(name: str) -> Any:
    made = arrow._Schema()
    made.format = {"valor": b"f"}[name]
    return made


def test_what_nobody_takes_is_given_back(frame: Frame) -> None:
    before = len(arrow._KEPT)
    capsules = [frame.__arrow_c_schema__(), frame.__arrow_c_array__(), frame.__arrow_c_stream__()]
    assert len(arrow._KEPT) > before
    capsules.clear()
    gc.collect()
    assert len(arrow._KEPT) == before


@pytest.mark.parametrize("method", ["to_pandas", "to_polars", "to_arrow"])
def test_a_library_that_is_missing_is_one_line(
    frame: Frame, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> Any:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ImportError, match=r"^\w+ is not installed here \(.*\); pip install \w+$"):
        getattr(frame, method)()


def test_pandas_takes_it(frame: Frame) -> None:
    pytest.importorskip("pandas")
    table = frame.to_pandas()
    assert list(table.columns) == frame.columns
    assert table["count"].dtype == np.int64
    assert (table["valor"].to_numpy() == frame["valor"]).all()


def test_polars_takes_it(frame: Frame) -> None:
    pytest.importorskip("polars")
    table = frame.to_polars()
    assert table.columns == frame.columns
    assert table["activo"].sum() == frame["activo"].sum()
    assert (table["count"].to_numpy() == frame["count"]).all()


def test_pyarrow_takes_it(frame: Frame) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    table = frame.to_arrow()
    assert table.column_names == frame.columns
    column = table["valor"].chunk(0)
    assert column.buffers()[1].address == frame["valor"].ctypes.data
    assert pyarrow.record_batch(frame).num_rows == len(frame)
    assert table["last"].to_pylist()[2] == [6.0, 7.0, 8.0]


def test_duckdb_takes_it(frame: Frame) -> None:
    duckdb = pytest.importorskip("duckdb")
    pytest.importorskip("pyarrow")  # by which it reads a foreign stream
    with duckdb.connect() as connection:
        found = connection.sql("SELECT count(*), sum(small) FROM frame").fetchall()
    assert found == [(len(frame), int(frame["small"].sum()))]
