"""The rows of a CSV file and which of its columns are the time and the value.

Nothing is guessed where two columns could be meant: a header that names the columns decides, or
the only column that can be it, or the user (``--time``, ``--value``: a name or a number from 1).
"""

from __future__ import annotations

import codecs
import csv
import gzip
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TextIO

from corec.replay.cells import NO_VALUE, UNIX, UNIX_PLAUSIBLE, numbers, times

DELIMITERS: Final = (",", ";", "\t", "|")
TIME_NAMES: Final = ("timestamp", "datetime", "date_time", "time", "date", "ts")
DATE_NAMES: Final = ("date", "day", "fecha")
CLOCK_NAMES: Final = ("time", "hour", "hora", "clock")
VALUE_NAMES: Final = ("value", "valor", "val")
SAMPLE_ROWS: Final = 1000
CELL_BYTES_MAX: Final = 1 << 20
GZIP_MAGIC: Final = b"\x1f\x8b"
UTF_16_MARKS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class ReplayInputError(ValueError):
    """The files or the options cannot be replayed; the message says which, why and what to do."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the user says of the columns; None: to be found out."""

    time: str | None = None
    """A column's name or number (from 1); "A+B" is a date and a time of day in two columns."""
    value: str | None = None
    dates: str | None = None
    """"day-first" or "month-first"; of bare numbers "serial" or "unix"."""
    decimal: str | None = None
    """"." or ","."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: the number of its (first) line and its cells."""

    line: int
    cells: list[str]


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns that are taken. ``clock``: a second one with the time of day."""

    time: int
    clock: int | None
    value: int
    header: list[str] | None

    @property
    def last(self) -> int:
        """The rightmost of them."""
        return max(self.time, self.value, self.clock or 0)

    def time_text(self, cells: Sequence[str]) -> str:
        """What a row says of its time."""
        if self.clock is None:
            return cells[self.time]
        return f"{cells[self.time]} {cells[self.clock]}"

    def name(self, index: int) -> str:
        """A column as a person calls it."""
        named = self.header[index] if self.header and index < len(self.header) else ""
        return f"{named!r} (column {index + 1})" if named else f"column {index + 1}"

    def describe_time(self) -> str:
        """The column or columns of the time."""
        beside = "" if self.clock is None else f" and {self.name(self.clock)}"
        return self.name(self.time) + beside


@contextmanager
def opened(path: Path) -> Iterator[TextIO]:
    """A text file, or one packed with gzip, in UTF-8 or, as spreadsheets save it, UTF-16: by the
    first bytes. A BOM is passed over."""
    with path.open("rb") as raw:
        packed = raw.read(2) == GZIP_MAGIC
    make: Callable[..., Any] = gzip.open if packed else open
    with make(path, "rb") as content:
        encoding = "utf-16" if content.read(2) in UTF_16_MARKS else "utf-8-sig"
    with make(path, "rt", encoding=encoding, errors="replace", newline="") as file:
        yield file


def rows(lines: Iterable[str]) -> Iterator[Row]:
    """The rows, quoted cells and all; the delimiter is the one that cuts the first lines evenly.

    Raises csv.Error for a cell of more than ``CELL_BYTES_MAX``.
    """
    csv.field_size_limit(CELL_BYTES_MAX)
    rest = iter(lines)
    first = list(itertools.islice(rest, SAMPLE_ROWS))
    # skipinitialspace would take a tab for a space behind a delimiter
    reader = csv.reader(
        itertools.chain(first, rest), delimiter=_delimiter(first), skipinitialspace=True
    )
    line = 0
    for cells in reader:
        begin, line = line + 1, reader.line_num
        yield Row(begin, [cell.strip(" \t\r\n\ufeff") for cell in cells])


def _delimiter(lines: Sequence[str]) -> str:
    """Which delimiter gives most of the first lines the same number of columns, at least two."""

    def evenness(mark: str) -> float:
        reader = csv.reader(lines[:50], delimiter=mark, skipinitialspace=True)
        try:
            counts = [len(cells) for cells in reader if any(cells)]
        except csv.Error:
            return 0.0
        several = [count for count in counts if count > 1]
        if not several:
            return 0.0
        usual = max(set(several), key=several.count)
        return several.count(usual) / len(counts)

    return max(DELIMITERS, key=evenness)


def is_number(text: str) -> bool:
    """Whether a cell is a number in any form."""
    return next(numbers(text), None) is not None


def is_time(text: str) -> bool:
    """Whether a cell is a time that is no bare number, or a number that may well be one."""
    found = dict(times(text))
    return any(kind != UNIX for kind in found) or abs(found.get(UNIX, 0.0)) >= UNIX_PLAUSIBLE


def is_written_time(text: str) -> bool:
    """Whether a cell is a time that nobody takes for a number."""
    return not is_number(text) and bool(dict(times(text)))


def find_columns(name: str, sample: Sequence[Row], wanted: Wanted) -> tuple[Columns, bool]:
    """The columns of the file whose first rows are ``sample``, and whether the first is a header.

    Raises:
        ReplayInputError: more than one column could be meant, or a wanted one is not there.
    """
    if not sample:
        return Columns(0, None, 1, None), False
    header = sample[0].cells if _is_header(sample) else None
    body = sample[1:] if header is not None else sample
    lower = [cell.lower() for cell in header or []]
    time, clock = _time_columns(name, lower, header, body, wanted)
    value = _value_column(name, lower, header, body, wanted, {time, clock})
    return Columns(time, clock, value, header), header is not None


def _is_header(sample: Sequence[Row]) -> bool:
    """Whether no cell of the first row is data, or one of them is the name of a column."""
    cells = [cell.lower() for cell in sample[0].cells if cell]
    if any(cell in (*TIME_NAMES, *VALUE_NAMES) for cell in cells):
        return True
    if any(cell in NO_VALUE or is_number(cell) or is_time(cell) for cell in cells):
        return False
    below = [cell for row in sample[1:50] for cell in row.cells if cell]
    return len(cells) > 1 and (not below or any(is_number(c) or is_time(c) for c in below))


def _time_columns(
    name: str, lower: list[str], header: list[str] | None, body: Sequence[Row], wanted: Wanted
) -> tuple[int, int | None]:
    if wanted.time is not None:
        first, plus, second = wanted.time.partition("+")
        width = _width(body, header)
        time = _named(name, "--time", first, lower, width)
        return time, _named(name, "--time", second, lower, width) if plus else None
    split = _split_columns(lower, body)
    if split is not None:
        return split
    named = [k for one in TIME_NAMES for k, cell in enumerate(lower) if cell == one]
    if len(named) > 1 and lower.count(lower[named[0]]) > 1:
        raise _doubt(name, "time", "--time", named, header, body)
    if named:
        return named[0], None
    written = [k for k, share in enumerate(_shares(body, is_written_time)) if share > 0.5]
    if len(written) == 1:
        return written[0], None
    width = _width(body, header)
    if width <= 2:
        return (1 if lower[:1] and lower[0] in VALUE_NAMES else 0), None
    likely = written or [k for k, share in enumerate(_shares(body, is_time)) if share > 0.5]
    if len(likely) == 1:
        return likely[0], None
    raise _doubt(name, "time", "--time", likely or list(range(width)), header, body)


def _split_columns(lower: list[str], body: Sequence[Row]) -> tuple[int, int] | None:
    """A column of dates and one of times of day, both named so."""
    for date in (lower.index(one) for one in DATE_NAMES if one in lower):
        for clock in (lower.index(one) for one in CLOCK_NAMES if one in lower):
            both = [
                (row.cells[date], row.cells[clock])
                for row in body
                if len(row.cells) > max(date, clock)
            ]
            if (
                both
                and all(":" in time and not is_time(time) for _, time in both[:50] if time)
                and any(time for _, time in both)
            ):
                return date, clock
    return None


def _value_column(
    name: str, lower: list[str], header: list[str] | None, body: Sequence[Row], wanted: Wanted,
    taken: set[int | None],
) -> int:  # fmt: skip
    width = _width(body, header)
    if wanted.value is not None:
        return _named(name, "--value", wanted.value, lower, width)
    named = [k for k, one in enumerate(lower) if one in VALUE_NAMES and k not in taken]
    if len(named) == 1:
        return named[0]
    if named:
        raise _doubt(name, "value", "--value", named, header, body)
    shares = _shares(body, is_number)
    free = [k for k in range(width) if k not in taken]
    numeric = [k for k in free if k < len(shares) and shares[k] > 0.5]
    likely = [k for k in numeric if not _is_index(body, k)] or numeric
    if len(likely) == 1:
        return likely[0]
    if len(likely) > 1:
        raise _doubt(name, "value", "--value", likely, header, body)
    return free[0] if free else width


def _is_index(body: Sequence[Row], column: int) -> bool:
    """Whether a column numbers the rows: whole numbers, each one more than the one before."""
    cells = [row.cells[column] for row in body if len(row.cells) > column]
    if len(cells) < 3 or not all(cell.isdecimal() and cell.isascii() for cell in cells):
        return False
    found = [int(cell) for cell in cells]
    return all(b - a == 1 for a, b in itertools.pairwise(found)) and found[0] in (0, 1)


def _width(body: Sequence[Row], header: list[str] | None) -> int:
    return max((len(row.cells) for row in body), default=len(header or []))


def _shares(body: Sequence[Row], test: object) -> list[float]:
    """For each column, which part of its cells with something in them passes ``test``."""
    assert callable(test)
    found = []
    for column in range(_width(body, None)):
        cells = [row.cells[column] for row in body if len(row.cells) > column]
        said = [cell for cell in cells if cell and cell.lower() not in NO_VALUE]
        found.append(sum(map(test, said)) / len(said) if said else 0.0)
    return found


def _named(name: str, option: str, wanted: str, lower: list[str], width: int) -> int:
    """The index of a column by its name, else by its number from 1."""
    if count := lower.count(wanted.strip().lower()):
        place = lower.index(wanted.strip().lower())
        if count == 1:
            return place
        raise ReplayInputError(
            f"{name}: {option}: there are {count} columns {wanted!r}, the first is number "
            f"{place + 1}; say it by its number"
        )
    if wanted.strip().isdecimal() and 1 <= int(wanted) <= max(width, len(lower)):
        return int(wanted) - 1
    known = ", ".join(filter(None, lower)) or f"numbers 1 to {width}"
    raise ReplayInputError(f"{name}: {option}: there is no column {wanted!r}; found {known}")


def _doubt(
    name: str, what: str, option: str, likely: Sequence[int], header: list[str] | None,
    body: Sequence[Row],
) -> ReplayInputError:  # fmt: skip
    columns = Columns(0, None, 0, header)
    shown = []
    for k in likely[:8]:
        cell = next((row.cells[k] for row in body if len(row.cells) > k and row.cells[k]), "")
        shown.append(f"{columns.name(k)} such as {cell[:30]!r}")
    more = f" and {len(likely) - 8} more" if len(likely) > 8 else ""
    return ReplayInputError(
        f"{name}: which column is the {what}? it may be {', '.join(shown)}{more}; say it with "
        f"{option} NAME or NUMBER"
    )
