"""What one cell of a CSV file may say: a number, a time, in each of the ways they are written.

A cell alone is often ambiguous (``1,234``, ``03/04/2024``, ``20240101``), a whole column hardly
ever. So each function gives every reading that a cell allows, and the one is taken that reads most
of a column; where two read all of it and differ, the user is asked.
"""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Final

import numpy as np
import numpy.typing as npt

NO_VALUE: Final = frozenset({"na", "n/a", "nan", "null", "none", "nil", "?", "-", "--", "missing"})
"""Words that say there is none; ``nan`` is told as not finite."""

# ---------------------------------------------------------------- numbers
PLAIN: Final = "1234.5"
THOUSANDS: Final = "1,234.5"
DECIMAL_COMMA: Final = "1.234,5"
NUMBER_FORMATS: Final = (PLAIN, THOUSANDS, DECIMAL_COMMA)

# who parts thousands writes no zero before them: 0,123 has decimals
_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}(?:([, '\u00a0\u202f])\d{3})(?:\1\d{3})*(?:\.\d+)?")
_COMMA = re.compile(r"[+-]?(?:\d+|[1-9]\d{0,2}(?:[. '\u00a0\u202f]\d{3})+),\d+")
_COMMA_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}(?:\.\d{3}){2,}")
_SEPARATORS = str.maketrans("", "", ", '\u00a0\u202f")
_COMMA_SEPARATORS = str.maketrans(",", ".", ". '\u00a0\u202f")


def numbers(text: str) -> Iterator[tuple[str, float]]:
    """Every (format, number) that ``text`` can be read as."""
    try:
        plain = parse_float(text)
    except ValueError:
        if _GROUPED.fullmatch(text):
            yield THOUSANDS, float(text.translate(_SEPARATORS))
        if _COMMA.fullmatch(text) or _COMMA_GROUPED.fullmatch(text):
            yield DECIMAL_COMMA, float(text.translate(_COMMA_SEPARATORS))
        return
    yield PLAIN, plain
    yield THOUSANDS, plain
    grouped = "." in text and _COMMA.fullmatch(f"{text},0")
    if grouped:
        yield DECIMAL_COMMA, float(text.translate(_COMMA_SEPARATORS))
    elif "." not in text:
        yield DECIMAL_COMMA, plain


def is_number(text: str) -> bool:
    """Whether a cell is a number in any form."""
    return next(numbers(text), None) is not None


def parse_float(text: str) -> float:
    """A number as Python reads it, without underscores; raises ValueError."""
    if "_" in text:  # float() takes 1_000; a sensor that writes that is not writing a number
        raise ValueError(f"{text!r} is not a number")
    return float(text)


# ---------------------------------------------------------------- times
ISO: Final = "ISO 8601"
UNIX: Final = "unix time"
COMPACT: Final = "YYYYMMDD"
COMPACT_TIME: Final = "YYYYMMDDhhmm[ss]"
MONTH: Final = "YYYY-MM"
YEAR: Final = "YYYY"
SERIAL: Final = "days since 1899-12-30"
"""A spreadsheet's number for a day; to a cell alone it is any number (``may_be_serial``)."""
COUNT: Final = "seconds, counted"
"""As unix times they would lie before ``UNIX_PLAUSIBLE``: somebody counted from a beginning."""
DAY_FIRST: Final = "DD/MM/YYYY"
MONTH_FIRST: Final = "MM/DD/YYYY"
TIME_FORMATS: Final = (
    ISO, COMPACT, COMPACT_TIME, MONTH, YEAR, DAY_FIRST, MONTH_FIRST, UNIX
)  # fmt: skip
"""In order of preference where two read a column equally well."""

UNIX_UNITS: Final = {"ns": 1e9, "µs": 1e6, "ms": 1e3, "s": 1.0}
"""How many of each a second has. A time in seconds stays below 1e11 until the year 5138."""
UNIX_PLAUSIBLE: Final = 1e8  # seconds: 1973; smaller whole numbers are rather counts
_UNIX_LATE: Final = 4.2e9  # 2103
_EPOCH_SERIAL: Final = 25_569.0
"""1970-01-01 as days since 1899-12-30."""
_SERIALS: Final = (20_000.0, 80_000.0)
"""October 1954 to January 2119: nobody's seconds begin and end in there by chance."""
_COMMA_SERIAL = re.compile(r"\d{4,6},\d+")
_YEARS: Final = range(1900, 2101)
_ISO_START = re.compile(r"\d{4}[-/]\d{1,2}[-/]\d{1,2}(?=$|[T ,])")
_UTC = re.compile(r"(?<=\d) ?(?:UTC|GMT)$")
_MONTH = re.compile(r"(\d{4})[-/](\d{1,2})")
_WRITTEN = re.compile(
    r"(\d{1,2})[/.-](\d{1,2})[/.-](\d{4}|\d{2})"
    r"(?:[T ,]+(\d{1,2}):(\d{2})(?::(\d{2}(?:\.\d+)?))?\s*([AaPp]\.?[Mm]\.?)?)?"
)


def times(text: str) -> Iterator[tuple[str, float]]:
    """Every (format, unix seconds) that ``text`` can be read as; without an offset it is UTC."""
    if text.isdecimal() and text.isascii():
        yield from _digits(text)
        return
    if _ISO_START.match(text):
        found = _iso(text)
        if found is not None:
            yield ISO, found
        return
    if written := _MONTH.fullmatch(text):
        yield from _stamped(MONTH, int(written[1]), int(written[2]), 1)
        return
    if written := _WRITTEN.fullmatch(text):
        yield from _day_and_month(written)
        return
    if _COMMA_SERIAL.fullmatch(text):
        text = text.replace(",", ".")
    try:
        number = parse_float(text)
    except ValueError:
        return
    if math.isfinite(number):
        yield UNIX, number


def is_time(text: str) -> bool:
    """Whether a cell is a time that is no bare number, or a number that may well be one."""
    found = dict(times(text))
    return any(kind != UNIX for kind in found) or abs(found.get(UNIX, 0.0)) >= UNIX_PLAUSIBLE


def is_written_time(text: str) -> bool:
    """Whether a cell is a time that nobody takes for a number."""
    return not is_number(text) and bool(dict(times(text)))


def may_be_serial(numbers_: npt.NDArray[np.float64]) -> bool:
    """Whether all numbers of a column are such as spreadsheets have for the days of our time."""
    finite = numbers_[np.isfinite(numbers_)]
    least, most = _SERIALS
    return bool(finite.size) and least <= float(finite.min()) and float(finite.max()) <= most


def serial_seconds(numbers_: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Days since 1899-12-30 as unix seconds, to the millisecond that a spreadsheet means."""
    seconds: npt.NDArray[np.float64] = np.round((numbers_ - _EPOCH_SERIAL) * 86_400.0, 3)
    return seconds


def unix_seconds(numbers_: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], str]:
    """Numbers of one column as unix seconds, and the unit, or ``COUNT``.

    The unit is the one in which the middle one is a moment of these years, so that a damaged row
    does not move the others; where it is none, the size of the largest tells.
    """
    finite = np.abs(numbers_[np.isfinite(numbers_)])
    middle = float(np.median(finite)) if finite.size else 0.0
    largest = float(finite.max()) if finite.size else 0.0
    for unit, per_second in UNIX_UNITS.items():
        if UNIX_PLAUSIBLE <= middle / per_second <= _UNIX_LATE:
            return numbers_ / per_second, unit
    for unit, per_second in UNIX_UNITS.items():
        if largest >= 1e8 * per_second and unit != "s":
            return numbers_ / per_second, unit
    return numbers_, "s" if largest >= UNIX_PLAUSIBLE else COUNT


def of_two_units(numbers_: npt.NDArray[np.float64]) -> tuple[float, float] | None:
    """Two unix times, one behind the other, that are one moment in different units, if any are."""
    finite = numbers_[np.isfinite(numbers_)]
    sizes = np.log10(np.maximum(np.abs(finite), 1.0))
    apart = np.abs(np.diff(sizes))  # 3, 6 or 9 where the unit changes, and a little
    units = (apart > 2) & (np.rint(apart) % 3 == 0) & (np.abs(apart - np.rint(apart)) < 5e-3)
    found = units & (np.minimum(sizes[:-1], sizes[1:]) >= math.log10(UNIX_PLAUSIBLE))
    at = int(np.argmax(found)) if found.any() else None
    return None if at is None else (float(finite[at]), float(finite[at + 1]))


def _iso(text: str) -> float | None:
    text = _UTC.sub("Z", text.replace("/", "-").replace(",", " "))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:  # one digit for the month, the day or the hour
            head, _, tail = text.partition(" ")
            day = "-".join(part.zfill(2) for part in head.split("-"))
            tail = tail.strip()
            clock = tail.zfill(len(tail) + (tail[1:2] == ":"))
            moment = datetime.fromisoformat(f"{day} {clock}".strip())
        except ValueError:
            return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _digits(text: str) -> Iterator[tuple[str, float]]:
    year = int(text[:4]) if len(text) in (4, 8, 12, 14) else 0
    if year in _YEARS:
        if len(text) == 4:
            yield from _stamped(YEAR, year, 1, 1)
        else:
            clock = [int(text[k : k + 2] or 0) for k in (8, 10, 12)]
            kind = COMPACT if len(text) == 8 else COMPACT_TIME
            yield from _stamped(kind, year, int(text[4:6]), int(text[6:8]), *clock)
    if len(text) <= 30:
        yield UNIX, float(text)


def _day_and_month(written: re.Match[str]) -> Iterator[tuple[str, float]]:
    first, second, year = int(written[1]), int(written[2]), int(written[3])
    if len(written[3]) == 2:
        year += 2000 if year < 70 else 1900
    hour, minute = int(written[4] or 0), int(written[5] or 0)
    if written[7]:
        if not 1 <= hour <= 12:
            return
        hour = hour % 12 + (12 if written[7][0] in "pP" else 0)
    seconds = float(written[6] or 0.0)
    american = list(_stamped(MONTH_FIRST, year, first, second, hour, minute, seconds))
    yield from american
    if not (american and written[7]):  # who writes 1:05 PM writes the month first
        yield from _stamped(DAY_FIRST, year, second, first, hour, minute, seconds)


def _stamped(
    kind: str, year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: float = 0.0
) -> Iterator[tuple[str, float]]:
    try:
        midnight = datetime.combine(date(year, month, day), datetime.min.time(), UTC).timestamp()
    except ValueError:
        return
    if hour < 24 and minute < 60 and second < 60:
        yield kind, midnight + 3600.0 * hour + 60.0 * minute + second


class Readings:
    """A column read in every format its cells allow, row by row: float64, NaN where one does not.

    Memory: 8 bytes per row and format that occurs.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._columns: dict[str, array[float]] = {}
        self._read: dict[str, bytearray] = {}

    def add(self, readings: Iterator[tuple[str, float]]) -> bool:
        """Take the readings of the next row's cell; whether there was any."""
        found = dict(readings)
        for kind in found.keys() - self._columns.keys():
            self._columns[kind] = array("d", [math.nan]) * self.rows
            self._read[kind] = bytearray(self.rows)
        for kind, column in self._columns.items():
            column.append(found.get(kind, math.nan))
            self._read[kind].append(kind in found)
        self.rows += 1
        return bool(found)

    def best(self, order: tuple[str, ...]) -> list[str]:
        """The formats that read most rows, in ``order``; empty when none reads any."""
        counts = {kind: sum(read) for kind, read in self._read.items()}
        most = max(counts.values(), default=0)
        return [kind for kind in order if most and counts.get(kind) == most]

    def column(self, kind: str) -> npt.NDArray[np.float64]:
        """float64[rows] in one format."""
        return np.array(self._columns.get(kind, array("d", [math.nan]) * self.rows))

    def read(self, kind: str) -> npt.NDArray[np.bool_]:
        """bool[rows]: which cells that format reads, NaN among what it reads included."""
        return np.array(self._read.get(kind, bytearray(self.rows)), np.bool_)
