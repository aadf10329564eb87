"""Who is near whom on a plane: the positions of the last tick, sorted into cells.

Theory. ``cells.index_swarm`` reads the public columns that tick T − 1 left, which nobody writes in
tick T (``corec.kernels.public``), and writes memory of its own process alone: cells and records are
derived, every process makes them for itself, once before its first block of T, and gets the same
bytes whatever the number of workers. A redo of T makes them again. So there is nothing to adopt, to
keep or to kill in between; what it costs is that each worker sorts all entities of the plane.

A cell is at least as wide as the radius, so that whatever is near lies in the cells around one's
own; within a cell entities stand in order of their places, since the sort is stable. Its records
hold all that is public of an entity, so that a search reads a few stretches of memory one after the
other: the cells of a row follow each other.

Positions are float32, distances are taken in float32 in the order of the axes, no two operations
fused: the same bits on every CPU. One that is not finite lies in the first cell and near to nobody.
"""

from __future__ import annotations

import functools
from typing import Any, Final

import numpy as np
from numba import float32, int64, njit, uint32

from corec.kernels.address import (
    GET,
    i8_at,
    load_f4,
    load_f8,
    load_u4,
    prefetch,
    store_f4,
    store_u4,
)
from corec.kernels.philox import INV_2_24, random_word
from shm.jit import INSIDE, dissolved
from shm.layout import Counted

# row of a swarm's index, int64
_x = Counted()
X_PUBLIC: Final = _x()  # address of copy 0 of its public columns
X_PUBLIC_BYTES: Final = _x()
X_N: Final = _x()
X_AXES: Final = _x()
X_CELLS: Final = _x(3)  # cells along each of three axes
X_INVERSE: Final = _x(3)  # float32[3] as float64 bits: cells by length
X_RECORDS: Final = _x()  # address
X_STRIDE: Final = _x()  # bytes of a record
X_STARTS: Final = _x()  # address of u32[cells + 3]
X_WHERE: Final = _x()  # address of u32[n]: the cell of each; cells: of who is not to be seen
X_PLACE: Final = _x()  # offset of the place in a record
X_FIELDS: Final = _x()
X_ALIVE: Final = _x()  # offset of a u1 column in a copy, 0 of who is not to be seen; −1: all are
X_FROM: Final = _x(9)  # of each public field, offset in a copy …
X_TO: Final = _x(9)  # … in a record …
X_SIZE: Final = _x(9)  # … and bytes; the position's axes are the first
X_COLUMNS: Final = _x.end

# row of what a swarm sees of another (or of its own, the first), int64
_v = Counted()
V_INDEX: Final = _v()  # address of that swarm's index
V_RECORDS: Final = _v()
V_RADIUS: Final = _v()  # float32 as float64 bits
V_REACH: Final = _v(3)  # cells along each axis
V_WHO: Final = _v()  # address of u32[]: which records were found
V_DELTA: Final = _v(3)  # addresses of float32[]: how far along each axis
V_DISTANCE2: Final = _v()
V_ORIGIN: Final = _v()  # id of that swarm's first entity
V_COLUMNS: Final = _v.end

AHEAD: Final = 8
"""Places between an entity that runs and one whose surroundings are asked for."""
NEAR_BYTES: Final = 1 << 19
"""Records that take less are in a cache near the core: to ask for them costs more than it saves."""
LINES: Final = 4
"""Cache lines of a row of cells that are asked for, at most."""
get_f4 = GET["f4"]


@dissolved
def wrapped(value, size):
    """``value`` on a ring of ``size``: in [0, size)."""
    turned = value - size * np.floor(value / size)
    inside = (value >= float32(0.0)) & (value < size)
    fits = (turned >= float32(0.0)) & (turned < size)
    return value if inside else (turned if fits else float32(0.0))


@dissolved
def held(value, size):
    """``value`` between the edges 0 and ``size``; 0 of what is no number."""
    return min(size, max(float32(0.0), value))  # in this order: no comparison with NaN is true


@dissolved
def anywhere(entity, axis, seed, size):
    """Where along an axis an entity begins, at random: draw ``axis`` before the first tick."""
    word = random_word(entity, int64(0), uint32(axis), seed)
    return float32(word >> uint32(8)) * INV_2_24 * size


@dissolved
def cell_of(value, inverse, cells):
    """The cell along one axis."""
    at = value * inverse
    if not at >= float32(0.0):  # NaN, too
        return int64(0)
    return int64(at) if at < float32(cells) else cells - 1


def walker(size: tuple[float, ...], place_at: int, own: bool, turns: bool) -> Any:
    """Compiled: look at the records ``lo … hi−1``, and put who is near to the ends of the lists;
    returns the bytes that are in them. ``turns``: one may be nearer the other way round the plane;
    the others as of a ``finder``."""
    wide, high, deep = (float32(s) for s in (*size, 1.0)[:3])
    three = len(size) == 3

    @dissolved
    def apart(a, b, side):
        d = a - b
        if turns:
            half = side * float32(0.5)
            d = d - side if d > half else (d + side if d < -half else d)
        return d

    @dissolved
    def walk(lo, hi, records, stride, at, lists, most, place, end):
        who, dx, dy, dz, squares = lists
        record = records + lo * stride
        for p in range(lo, hi):
            ax = apart(load_f4(record), at[0], wide)
            ay = apart(load_f4(record + 4), at[1], high)
            square = ax * ax + ay * ay
            if three:
                az = apart(load_f4(record + 8), at[2], deep)
                square = square + az * az
                store_f4(dz + end, az)
            store_u4(who + end, uint32(p))
            store_f4(dx + end, ax)
            store_f4(dy + end, ay)
            store_f4(squares + end, square)
            found = square <= most
            if own:
                found = found & (int64(load_u4(record + place_at)) != place)
            end += int64(4) if found else int64(0)  # else the next one is written there
            record += stride
        return end

    return walk


@functools.cache
def finder(offsets: tuple[int, ...], size: tuple[float, ...], wrap: bool, place_at: int,
           own: bool) -> Any:  # fmt: skip
    """Compiled (pub, row, place) → how many are near: they stand in the lists of ``row``.

    ``offsets``: of the position's columns of the one who looks, in a copy of its public columns;
    ``place_at``: of the place in a record of those looked for. ``own``: they are of one swarm.
    """
    axes = len(offsets)
    x_at, y_at, z_at = (*offsets, 0)[:3]
    three = axes == 3
    straight = walker(size, place_at, own, False)
    around = walker(size, place_at, own, True) if wrap else straight

    @dissolved
    def within(c, reach, cells):
        """Whether nobody that is looked at from cell ``c`` is nearer the other way round."""
        return (c >= reach) & (c + reach < cells) & (cells >= 2 * reach + 4)

    @dissolved
    def line(k, centre, reach, cells):
        """The k-th cell along an axis, −1: there is none."""
        at = centre - reach + k
        if wrap:
            return at + cells if at < 0 else (at - cells if at >= cells else at)
        return at if at >= 0 and at < cells else int64(-1)

    @njit(error_model="numpy", forceinline=False, **INSIDE)  # once, however often it is asked for
    def find(pub, row, place):
        v = i8_at(row, V_COLUMNS)
        index = i8_at(v[V_INDEX], X_COLUMNS)
        inverse = v[V_INDEX] + 8 * X_INVERSE
        nx, ny, nz = index[X_CELLS], index[X_CELLS + 1], index[X_CELLS + 2]
        rx, ry, rz = v[V_REACH], v[V_REACH + 1], v[V_REACH + 2]
        px, py = get_f4(pub, x_at + 4 * place), get_f4(pub, y_at + 4 * place)
        pz = get_f4(pub, z_at + 4 * place) if three else float32(0.0)
        cx = cell_of(px, float32(load_f8(inverse)), nx)
        cy = cell_of(py, float32(load_f8(inverse + 8)), ny)
        cz = cell_of(pz, float32(load_f8(inverse + 16)), nz) if three else int64(0)
        radius = float32(load_f8(row + 8 * V_RADIUS))
        most = radius * radius
        records, stride = index[X_RECORDS], index[X_STRIDE]
        starts = index[X_STARTS]
        dx, dy, dz = v[V_DELTA], v[V_DELTA + 1], v[V_DELTA + 2]
        at, lists = (px, py, pz), (v[V_WHO], dx, dy, dz, v[V_DISTANCE2])
        inside = within(cx, rx, nx) & within(cy, ry, ny) & (not three or within(cz, rz, nz))
        lines_y = min(2 * ry + 1, ny) if wrap else 2 * ry + 1
        lines_z = (min(2 * rz + 1, nz) if wrap else 2 * rz + 1) if three else 1
        first, last = cx - rx, cx + rx + 1
        turn_first, turn_last = int64(0), int64(0)  # a second stretch of the row, where it wraps
        if wrap and last - first < nx:
            if first < 0:
                first, last, turn_last = first + nx, nx, last
            elif last > nx:
                last, turn_last = nx, last - nx
        else:
            first, last = max(first, int64(0)), min(last, nx)
            if wrap:
                first, last = int64(0), nx
        end = int64(0)  # of the lists, in bytes
        for kz in range(lines_z):
            z = line(kz, cz, rz, nz) if three else int64(0)
            if z < 0:
                continue
            for ky in range(lines_y):
                y = line(ky, cy, ry, ny)
                if y < 0:
                    continue
                base = starts + 4 * ((z * ny + y) * nx)
                for part in range(2):
                    lo, hi = (first, last) if part == 0 else (turn_first, turn_last)
                    if hi <= lo:
                        continue
                    first_of = int64(load_u4(base + 4 * lo))
                    end_of = int64(load_u4(base + 4 * hi))
                    if inside:
                        end = straight(first_of, end_of, records, stride, at, lists, most, place,
                                       end)  # fmt: skip
                    else:
                        end = around(first_of, end_of, records, stride, at, lists, most, place,
                                     end)  # fmt: skip
        return end >> 2

    return find


def fetcher(offsets: tuple[int, ...], target: int) -> Any:
    """Compiled (pub, row, place, count): ask for the memory that a search from ``place`` among the
    swarm number ``target`` of those that are seen will read, and before that, for what one from
    ``AHEAD`` places later needs to find it; of ``count``.

    Entities run in order of their ids and lie anywhere: unasked, a search waits for each of the
    rows of cells in turn, which is most of its time. How long a row is, is asked without a branch:
    beyond its end the last line is asked for again.
    """
    axes = len(offsets)
    x_at, y_at, z_at = (*offsets, 0)[:3]
    three = axes == 3
    skip = 8 * V_COLUMNS * target

    @dissolved
    def rows(pub, row, place, records_too):
        v = i8_at(row + skip, V_COLUMNS)
        index = i8_at(v[V_INDEX], X_COLUMNS)
        inverse = v[V_INDEX] + 8 * X_INVERSE
        nx, ny, nz = index[X_CELLS], index[X_CELLS + 1], index[X_CELLS + 2]
        cx = cell_of(get_f4(pub, x_at + 4 * place), float32(load_f8(inverse)), nx)
        cy = cell_of(get_f4(pub, y_at + 4 * place), float32(load_f8(inverse + 8)), ny)
        cz = int64(0)
        if three:
            cz = cell_of(get_f4(pub, z_at + 4 * place), float32(load_f8(inverse + 16)), nz)
        first, last = max(cx - 1, int64(0)), min(cx + 2, nx)
        for dz in range(-1 if three else 0, 2 if three else 1):
            z = min(max(cz + dz, int64(0)), nz - 1)
            for dy in range(-1, 2):
                y = min(max(cy + dy, int64(0)), ny - 1)
                start = index[X_STARTS] + 4 * ((z * ny + y) * nx)
                if records_too:
                    at = index[X_RECORDS] + int64(load_u4(start + 4 * first)) * index[X_STRIDE]
                    end = index[X_RECORDS] + int64(load_u4(start + 4 * last)) * index[X_STRIDE] - 1
                    for k in range(LINES):
                        prefetch(min(at + 64 * k, end))
                else:
                    prefetch(start + 4 * first)

    @njit(error_model="numpy", **INSIDE)
    def ahead(pub, row, place, count):
        index = i8_at(i8_at(row + skip, V_COLUMNS)[V_INDEX], X_COLUMNS)
        if index[X_N] * index[X_STRIDE] < NEAR_BYTES:
            return
        rows(pub, row, min(place + 2 * AHEAD, count - 1), False)
        rows(pub, row, min(place + AHEAD, count - 1), True)

    return ahead


def fetchers(some: list[Any]) -> Any:
    """Compiled (pub, row, place, count): all of ``some`` do what they do."""

    @njit(error_model="numpy", **INSIDE)
    def nothing(pub, row, place, count):
        return

    def both(first: Any, second: Any) -> Any:
        @njit(error_model="numpy", **INSIDE)
        def one_and_the_other(pub, row, place, count):
            first(pub, row, place, count)
            second(pub, row, place, count)

        return one_and_the_other

    return functools.reduce(both, some) if some else nothing
