"""Numbers as decimal text, written by compiled code to an address.

A payload is mostly digits, so they are most of the work that is not compression. Eight at a time
are made in one 64-bit word (two halves of four, four of two, eight of one, each by a multiplication
in all lanes at once) and stored whole: up to ``SLACK`` bytes behind the text are overwritten.

A float32 becomes a decimal of at most nine significant digits that reads back, as a float64 that is
then rounded to float32, as the same bits. Between 0.1 and 1, where values are as a rule, it is the
shortest such decimal: the products with powers of ten are exact there (24 bits by at most 22), so
the rounding is right, and what reads back is tried and not proved. Elsewhere a digit too many may
stay. What is not finite becomes ``null``, which JSON has no number for.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from corec.kernels.address import store_anywhere_u8, store_u1
from shm.jit import inlined

SLACK: Final = 8
NUMBER_TEXT_MAX: Final = 20
FLOAT_TEXT_MAX: Final = 15
"""``-1.23456789e-38``; every other form is shorter."""

_U: Any = np.uint64
_F8: Any = np.float64
_F4: Any = np.float32
_EIGHT: Any = np.uint64(8)
_1E4: Any = np.uint64(10_000)
_1E8: Any = np.uint64(100_000_000)
_1E16: Any = np.uint64(10**16)
_10: Any = np.uint64(10)
_32: Any = np.uint64(32)
_16: Any = np.uint64(16)
_100: Any = np.uint64(100)
_BY_100: Any = np.uint64(10_486)  # n · 10486 >> 20 = n // 100 for n < 10,000
_BY_10: Any = np.uint64(103)  # n · 103 >> 10 = n // 10 for n < 100
_SHIFT_100: Any = np.uint64(20)
_SHIFT_10: Any = np.uint64(10)
_PAIRS: Any = np.uint64(0x0000007F_0000007F)
_SINGLES: Any = np.uint64(0x000F000F_000F000F)
_ZEROS: Any = np.uint64(0x30303030_30303030)
_POWERS: Final = np.array([float(f"1e{k}") for k in range(64)])
_INT_POWERS: Final = np.array([10**k for k in range(12)], np.uint64)
_ZERO: Final = ord("0")
_POINT: Final = ord(".")
_MINUS: Final = ord("-")
_E: Final = ord("e")
_NULL: Any = np.uint64(int.from_bytes(b"null", "little"))
_ZERO_POINT: Any = np.uint64(int.from_bytes(b"0.", "little"))
_ZERO_POINT_ZERO: Any = np.uint64(int.from_bytes(b"0.0", "little"))


@inlined
def _eight(number: int) -> int:
    """The eight digits of a number below 10⁸, the first in the lowest byte."""
    value = _U(number)
    high = value // _1E4
    x = high | (value - high * _1E4) << _32
    pairs = (x * _BY_100 >> _SHIFT_100) & _PAIRS
    x = pairs | (x - _100 * pairs) << _16
    singles = (x * _BY_10 >> _SHIFT_10) & _SINGLES
    text: int = (singles | (x - _10 * singles) << _EIGHT) + _ZEROS
    return text


@inlined
def put_number(to: int, number: int) -> int:
    """Write a u64 at address ``to``; the address behind it."""
    value = _U(number)
    rest = 0  # groups of eight digits that follow
    if value >= _1E8:
        rest = 1 if value < _1E16 else 2
    first = value
    for _ in range(rest):
        first = first // _1E8
    digits = 1
    bound = _10
    for _ in range(7):
        digits += first >= bound
        bound = bound * _10
    store_anywhere_u8(to, _eight(first) >> _U(8 * (8 - digits)))
    to += digits
    if rest == 2:
        store_anywhere_u8(to, _eight(value // _1E8 - first * _1E8))
        to += 8
    if rest:
        store_anywhere_u8(to, _eight(value - value // _1E8 * _1E8))
        to += 8
    return to


@inlined
def _back(number: float, digits: float, scale: float) -> bool:
    """Whether ``digits / scale`` reads back as the float32 ``number``."""
    same: bool = _F4(digits / scale) == number
    return same


@inlined
def _put_fraction(to: int, number: float, a: float) -> int:
    """``number`` = ``a`` in [0.1, 1)."""
    digits = np.rint(a * 1e8)
    if not _back(number, digits, 1e8):
        return _put_plain(to, number, a, 8)
    seven = np.rint(a * 1e7)
    short = _back(number, seven, 1e7)
    digits = seven * 10.0 if short else digits
    text = _eight(_U(digits))
    store_anywhere_u8(to, _ZERO_POINT)
    store_anywhere_u8(to + 2, text)
    length = 8 - short
    if short:
        while length > 1 and text >> _U(8 * (length - 1)) & _U(0xFF) == _U(_ZERO):
            length -= 1
    return to + 2 + length


@inlined
def _put_plain(to: int, number: float, a: float, decimals: int) -> int:
    """``a`` with ``decimals`` (1 … 10) decimals, one more where they do not read back."""
    if not _back(number, np.rint(a * _POWERS[decimals]), _POWERS[decimals]):
        decimals += 1
    digits = _U(np.rint(a * _POWERS[decimals]))
    while decimals > 1 and digits % _10 == _U(0):
        digits = digits // _10
        decimals -= 1
    whole = digits // _INT_POWERS[decimals]
    to = put_number(to, whole)
    store_u1(to, np.uint8(_POINT))
    rest = digits - whole * _INT_POWERS[decimals]
    for k in range(decimals, 0, -1):
        store_u1(to + k, np.uint8(_ZERO + np.int64(rest % _10)))
        rest = rest // _10
    return to + 1 + decimals


@inlined
def _scaled(a: float, exponent: int) -> float:
    """The nine digits of ``a`` = d.dd… · 10^exponent."""
    up = 8 - exponent
    found: float = np.rint(a * _POWERS[up] if up >= 0 else a / _POWERS[-up])
    return found


@inlined
def _put_scientific(to: int, a: float) -> int:
    """Nine digits and an exponent; the scaling errs by 10⁻¹⁵, a float32 is known to 3 · 10⁻⁸."""
    exponent: int = np.int64(math.floor(math.log10(a)))  # type: ignore[assignment]  # compiled
    digits = _scaled(a, exponent)
    if digits >= 1e9:
        exponent += 1
        digits = _scaled(a, exponent)
    elif digits < 1e8:
        exponent -= 1
        digits = _scaled(a, exponent)
    first = _U(digits) // _1E8
    text = _eight(_U(digits) - first * _1E8)
    to = put_number(to, first)
    store_u1(to, np.uint8(_POINT))
    store_anywhere_u8(to + 1, text)
    to += 9
    length = 8
    while length > 1 and text >> _U(8 * (length - 1)) & _U(0xFF) == _U(_ZERO):
        length -= 1
        to -= 1
    store_u1(to, np.uint8(_E))
    to += 1
    if exponent < 0:
        store_u1(to, np.uint8(_MINUS))
        to += 1
    return put_number(to, _U(abs(exponent)))


@inlined
def put_float(to: int, number: float) -> int:
    """Write a float32 at address ``to`` as JSON; the address behind it."""
    value = _F8(number)
    if value - value != 0.0:
        store_anywhere_u8(to, _NULL)
        return to + 4
    if math.copysign(1.0, value) < 0.0:
        store_u1(to, np.uint8(_MINUS))
        to += 1
    a = abs(value)
    if 0.1 <= a < 1.0:
        return _put_fraction(to, _F4(a), a)
    if a == 0.0:
        store_anywhere_u8(to, _ZERO_POINT_ZERO)
        return to + 3
    if 1.0 <= a < 1e7:
        decimals = 7
        for k in range(1, 7):
            decimals -= a >= _POWERS[k]
        return _put_plain(to, _F4(a), a, decimals)
    if 1e-3 <= a < 0.1:
        return _put_plain(to, _F4(a), a, 9 if a >= 1e-2 else 10)
    return _put_scientific(to, a)
