"""Any entity by its id: which bloque it is of, and where what it shows lies.

Who writes: each process for itself, with its tables (``corec.world.everyone``); nobody after that.
Who reads: the kernels of swarms whose processor asks for entities by their ids. The directory has
addresses alone: the numbers are those of the public columns, which the last tick left and nobody
writes in this one (``corec.kernels.public``). int64::

    word 0   number of swarms, in order of ids
    then of each, fields being as many as the processor asks for:
         0   first id
         1   the id behind its last
         2   address of copy 0 of its public columns
         3   bytes of a copy
         4   of each field, offset of its column in a copy; NOT_SHOWN: it shows none of that name
         …   of each field, its type's place in ``CODES``
"""

from __future__ import annotations

from typing import Any, Final

from numba import int64, njit

from corec.kernels.address import COLUMN_TYPES, GET, i8_at, pointer
from shm.layout import Counted

E_HEAD: Final = 1
_e = Counted()
E_FIRST: Final = _e()
E_END: Final = _e()
E_PUBLIC: Final = _e()
E_BYTES: Final = _e()
E_FIELDS: Final = _e.end
NOT_SHOWN: Final = -1
CODES: Final = tuple(COLUMN_TYPES)
_F4, _F8, _I1, _U1, _I2, _U2, _I4, _U4, _I8 = (GET[code] for code in CODES)
assert CODES == ("f4", "f8", "i1", "u1", "i2", "u2", "i4", "u4", "i8")


def words_of(swarms: int, fields: int) -> int:
    """int64 of a directory."""
    return E_HEAD + swarms * (E_FIELDS + 2 * fields)


@njit
def is_anybody(directory, who, fields):
    """Whether there is an entity of the id ``who``."""
    swarms = i8_at(directory, 1)[0]
    words = i8_at(directory, E_HEAD + swarms * (E_FIELDS + 2 * fields))
    last = E_HEAD + (swarms - 1) * (E_FIELDS + 2 * fields)
    return who >= words[E_HEAD + E_FIRST] and who < words[last + E_END]


@njit
def row_of(directory, who, fields):
    """Place in the directory of the swarm of ``who``, who is there."""
    width = E_FIELDS + 2 * fields
    low, high = int64(0), i8_at(directory, 1)[0] - 1
    words = i8_at(directory, E_HEAD + (high + 1) * width)
    while low < high:
        middle = (low + high) // 2
        if who < words[E_HEAD + middle * width + E_END]:
            high = middle
        else:
            low = middle + 1
    return E_HEAD + low * width


def reader(name: str, field: int, fields: int, kind: Any) -> Any:
    """To be compiled: (directory, who, tick) → field number ``field`` of ``fields``, called
    ``name``, of the entity ``who`` as the tick before ``tick`` left it, as ``kind``: int64, float32
    or float64 (``entities.meeting.read_as``)."""
    text = f"me.entity(id).{name}: its bloque shows no {name}"

    def read(directory: Any, who: Any, tick: Any) -> Any:
        at = row_of(directory, who, fields)
        row = i8_at(directory + 8 * at, E_FIELDS + 2 * fields)
        offset, code = row[E_FIELDS + field], row[E_FIELDS + fields + field]
        if offset == NOT_SHOWN:
            raise AttributeError(text)
        column = pointer(row[E_PUBLIC] + (tick - 1 & 1) * row[E_BYTES] + offset)
        place = who - row[E_FIRST]
        if code == 0:
            return kind(_F4(column, 4 * place))
        if code == 1:
            return kind(_F8(column, 8 * place))
        if code == 2:
            return kind(_I1(column, place))
        if code == 3:
            return kind(_U1(column, place))
        if code == 4:
            return kind(_I2(column, 2 * place))
        if code == 5:
            return kind(_U2(column, 2 * place))
        if code == 6:
            return kind(_I4(column, 4 * place))
        if code == 7:
            return kind(_U4(column, 4 * place))
        return kind(_I8(column, 8 * place))

    return read
