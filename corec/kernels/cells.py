"""Sorting a swarm into the cells of its plane (``plane`` says when and why).

Imported, and so compiled, where a world has a plane, and nowhere else.
"""

from __future__ import annotations

from numba import float32, int64, njit, types, uint32

from corec.kernels.address import (
    i8_at,
    load_f4,
    load_f8,
    load_u1,
    load_u2,
    load_u4,
    load_u8,
    prefetch_to_write,
    store_u1,
    store_u2,
    store_u4,
    store_u8,
    u4_at,
)
from corec.kernels.plane import (
    X_ALIVE,
    X_AXES,
    X_CELLS,
    X_COLUMNS,
    X_FIELDS,
    X_FROM,
    X_INVERSE,
    X_N,
    X_PLACE,
    X_PUBLIC,
    X_PUBLIC_BYTES,
    X_RECORDS,
    X_SIZE,
    X_STARTS,
    X_STRIDE,
    X_TO,
    X_WHERE,
    cell_of,
)
from shm.jit import dissolved

LATER = 16
"""Entities between one that is put into its cell and one whose place there is asked for."""


@dissolved
def _cell(x, columns, i):
    cell = int64(0)
    for axis in range(x[X_AXES] - 1, -1, -1):
        value = load_f4(columns + x[X_FROM + axis] + 4 * i)
        inverse = float32(load_f8(x.ctypes.data + 8 * (X_INVERSE + axis)))
        cell = cell * x[X_CELLS + axis] + cell_of(value, inverse, x[X_CELLS + axis])
    return cell


@dissolved
def _seen(x, columns, i):
    return x[X_ALIVE] < 0 or load_u1(columns + x[X_ALIVE] + i) != 0


@dissolved
def _copy(size, target, source):
    if size == 4:
        store_u4(target, load_u4(source))
    elif size == 8:
        store_u8(target, load_u8(source))
    elif size == 1:
        store_u1(target, load_u1(source))
    else:
        store_u2(target, load_u2(source))


@njit(types.void(types.int64, types.int64), cache=True, nogil=True, error_model="numpy")
def index_swarm(row, tick):
    """Sort the swarm whose index row lies at address ``row`` for ``tick``.

    Who is not to be seen goes behind the last cell: without a branch, which would be anybody's
    guess. A record lands anywhere, so the line it goes to is asked for some entities before.
    """
    x = i8_at(row, X_COLUMNS)
    columns = x[X_PUBLIC] + (tick - 1 & 1) * x[X_PUBLIC_BYTES]
    n, records, stride = x[X_N], x[X_RECORDS], x[X_STRIDE]
    cells = x[X_CELLS] * x[X_CELLS + 1] * x[X_CELLS + 2]
    starts = u4_at(x[X_STARTS], cells + 3)
    where = u4_at(x[X_WHERE], n)
    for c in range(cells + 3):
        starts[c] = 0
    for i in range(n):
        c = _cell(x, columns, i) if _seen(x, columns, i) else cells
        where[i] = uint32(c)
        starts[c + 2] += uint32(1)
    for c in range(2, cells + 3):
        starts[c] += starts[c - 1]
    for i in range(n):
        later = int64(where[min(i + LATER, n - 1)]) + 1
        at = records + int64(starts[later]) * stride
        prefetch_to_write(at)
        prefetch_to_write(at + stride - 1)
        c = int64(where[i]) + 1
        record = records + int64(starts[c]) * stride
        starts[c] += uint32(1)
        store_u4(record + x[X_PLACE], uint32(i))
        for f in range(x[X_FIELDS]):
            size = x[X_SIZE + f]
            _copy(size, record + x[X_TO + f], columns + x[X_FROM + f] + size * i)
