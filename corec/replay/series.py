"""Time-series CSV files, as they are found in the wild.

A row is a timestamp and a value. Real files have gaps, repeats, blank lines, a BOM, CRLF ends,
sensors that write "NaN" and clocks that jump back. A row that cannot be used is skipped, counted
under its reason, and its line number kept (the first few), so that a user sees what was left
out. Which column is what and how it is written is decided over the whole file (``table``,
``cells``), kept beside the series and shown; where it is in doubt, the user is asked. No value is
repaired: it is played as it stands or not at all.
"""

from __future__ import annotations

import csv
import glob
import itertools
import math
import os
import zlib
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from corec.digits import fits_float32
from corec.replay import cells
from corec.replay.lines import SAMPLE_ROWS, Row, files_below, opened, rows
from corec.replay.table import Columns, ReplayInputError, Wanted, find_columns

__all__ = ["ReplayInputError", "Series", "Skipped", "Wanted", "find_files", "read_series"]

SAMPLE_LINES_MAX = 5
"""How many line numbers are kept per reason."""

STDIN = Path("/dev/stdin")
SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz")

BLANK = "blank_line"
COMMENT = "comment"
QUOTES = "open_quote"
COLUMNS = "missing_column"
CELLS = "extra_column"
TIMESTAMP = "bad_timestamp"
EMPTY = "empty_value"
NUMBER = "not_a_number"
INFINITE = "not_finite"
OVERFLOW = "float32_overflow"
REPEATED = "repeated_timestamp"
BACKWARDS = "out_of_order"
REASONS = (
    BLANK, COMMENT, QUOTES, COLUMNS, CELLS, TIMESTAMP, EMPTY, NUMBER, INFINITE, OVERFLOW, REPEATED,
    BACKWARDS,
)  # fmt: skip
ANYTHING = Wanted()


@dataclass(slots=True)
class Skipped:
    """Rows that were left out: how many for each reason, and the first lines of each."""

    counts: dict[str, int] = field(default_factory=dict)
    lines: dict[str, list[int]] = field(default_factory=dict)

    def add(self, reason: str, line: int) -> None:
        self.counts[reason] = self.counts.get(reason, 0) + 1
        sample = self.lines.setdefault(reason, [])
        if len(sample) < SAMPLE_LINES_MAX:
            sample.append(line)

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def describe(self) -> str:
        """For people: `2 repeated_timestamp (lines 7, 9), 1 empty_value (line 12)`."""
        parts = []
        for reason, count in self.counts.items():
            lines = self.lines[reason]
            more = ", …" if count > len(lines) else ""
            word = "line" if count == 1 else "lines"
            parts.append(f"{count} {reason} ({word} {', '.join(map(str, lines))}{more})")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Decided:
    """How a file was read."""

    time_column: str = ""
    time_format: str = ""
    value_column: str = ""
    number_format: str = ""
    newest_first: bool = False

    @property
    def plain(self) -> bool:
        """Whether it is written as most are, so that nothing need be said of it."""
        usual = self.time_format == cells.ISO or self.time_format.startswith(cells.UNIX)
        return usual and self.number_format == cells.PLAIN and not self.newest_first


@dataclass(frozen=True, slots=True)
class Series:
    """One file's usable rows.

    times_s: float64[n], unix seconds, strictly increasing.
    values: float32[n], finite.
    """

    name: str
    times_s: npt.NDArray[np.float64]
    values: npt.NDArray[np.float32]
    skipped: Skipped
    decided: Decided = field(default_factory=Decided)

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, slots=True)
class Column:
    """A file's column of values and its times, row by row, before any row is chosen."""

    name: str
    lines: npt.NDArray[np.int64]
    """Number of each row's line, rising."""
    times_s: npt.NDArray[np.float64]
    values: npt.NDArray[np.float64]
    reasons: list[str]
    """Why a row has no time or no number of its own; "": it has both."""
    short: list[int]
    """Lines with too few cells; they are none of the rows."""
    skipped: Skipped
    """What is none of the rows."""
    decided: Decided

    def faulty(self) -> dict[int, str]:
        """Line → reason of what can't be played, whatever is around it."""
        found = zip(self.lines.tolist(), self.reasons, strict=True)
        return dict.fromkeys(self.short, COLUMNS) | {line: why for line, why in found if why}

    def series(self, faulty: Mapping[int, str], newest_first: bool) -> Series:
        """The rows that are played, oldest first; the others are counted.

        ``faulty``: lines that can't be played for what another column has there, with the reason.
        Which row of a time comes first is asked of those alone that can be played.
        """
        kept = array("q")
        newest_s = -math.inf
        skipped = Skipped(
            dict(self.skipped.counts), {k: [*v] for k, v in self.skipped.lines.items()}
        )
        rows = range(self.lines.size)
        for k in reversed(rows) if newest_first else rows:
            line, time_s = int(self.lines[k]), float(self.times_s[k])
            reason = faulty.get(line) or self.reasons[k]
            if not reason and time_s <= newest_s:
                reason = REPEATED if time_s == newest_s else BACKWARDS
            if reason:
                skipped.add(reason, line)
                continue
            newest_s = time_s
            kept.append(k)
        at = np.array(kept, np.int64)
        values = self.values[at].astype(np.float32)
        return Series(self.name, self.times_s[at], values, skipped, self.decided)


def parse_column(lines: Iterable[str], name: str, wanted: Wanted = ANYTHING) -> Column:
    """One column of text lines, every row of it.

    Raises:
        ReplayInputError: it is in doubt which column or format is meant, or no CSV at all.
    """
    skipped = Skipped()
    try:
        delimiter, found = rows(lines)
        usable = _usable_rows(found, skipped)
        sample = list(itertools.islice(usable, SAMPLE_ROWS))
        columns, with_header = find_columns(name, sample, wanted)
        body = itertools.chain(sample[1:] if with_header else sample, usable)
        return _read(body, columns, name, wanted, delimiter, skipped)
    except csv.Error as error:
        raise ReplayInputError(f"{name}: is no CSV file: {error}") from error


def _usable_rows(found: Iterable[Row], skipped: Skipped) -> Iterable[Row]:
    for row in found:
        if not any(row.cells):
            skipped.add(BLANK, row.line)
        elif not row.sound:
            for line in range(row.line, row.line + row.lines):
                skipped.add(QUOTES, line)
        elif row.cells[0].startswith("#"):
            skipped.add(COMMENT, row.line)
        else:
            yield row


def _read(
    body: Iterable[Row],
    columns: Columns,
    name: str,
    wanted: Wanted,
    delimiter: str,
    skipped: Skipped,
) -> Column:
    """Both columns in every format they allow, then those that read most."""
    line_numbers, short = array("q"), []
    times, values = cells.Readings(), cells.Readings()
    empty = bytearray()
    for row in body:
        if len(row.cells) <= columns.last:
            skipped.add(COLUMNS, row.line)
            short.append(row.line)
            continue
        if columns.too_long(row.cells):
            skipped.add(CELLS, row.line)
            continue
        line_numbers.append(row.line)
        times.add(cells.times(columns.time_text(row.cells)))
        values.add(cells.numbers(row.cells[columns.value]))
        empty.append(not row.cells[columns.value])
    time_format = _time_format(times, name, wanted)
    number_format = _number_format(values, name, wanted, delimiter)
    at = times.column(time_format)
    shown_format = time_format
    if time_format == cells.UNIX:
        at, shown_format = _of_numbers(at, name, wanted)
    value = values.column(number_format)
    steps = np.diff(at[np.isfinite(at)])
    newest_first = int((steps < 0).sum()) > int((steps > 0).sum())
    reasons = [
        _reason(*row)
        for row in zip(
            at.tolist(), value.tolist(), empty, values.read(number_format).tolist(), strict=True
        )
    ]
    decided = Decided(
        columns.describe_time(), shown_format, columns.name(columns.value), number_format,
        newest_first,
    )  # fmt: skip
    lines = np.array(line_numbers, np.int64)
    return Column(name, lines, at, value, reasons, short, skipped, decided)


def _reason(time_s: float, value: float, empty: int, is_number: bool) -> str:
    """Why a row can't be played, whatever is around it; "": it can."""
    if not math.isfinite(time_s):
        return TIMESTAMP
    if empty:
        return EMPTY
    if not is_number:
        return NUMBER
    if not math.isfinite(value):
        return INFINITE
    return "" if fits_float32(value) else OVERFLOW


def _time_format(times: cells.Readings, name: str, wanted: Wanted) -> str:
    best = times.best(cells.TIME_FORMATS)
    if not best:
        return cells.ISO
    if wanted.dates in ("serial", "unix") and cells.UNIX in best:
        return cells.UNIX
    asked = {"day-first": cells.DAY_FIRST, "month-first": cells.MONTH_FIRST}.get(wanted.dates or "")
    if asked is not None and {cells.DAY_FIRST, cells.MONTH_FIRST} & set(best):
        return asked
    if {cells.DAY_FIRST, cells.MONTH_FIRST} <= set(best):
        ordered = [
            kind for kind in (cells.DAY_FIRST, cells.MONTH_FIRST) if _one_way(times.column(kind))
        ]
        if len(ordered) != 1 and times.rows > 1:
            raise ReplayInputError(
                f"{name}: is the day or the month first in its dates? both read the whole file; "
                "say it with --dates day-first or --dates month-first"
            )
        return ordered[0] if ordered else cells.DAY_FIRST
    return best[0]


def _of_numbers(
    at: npt.NDArray[np.float64], name: str, wanted: Wanted
) -> tuple[npt.NDArray[np.float64], str]:
    """Bare numbers as unix seconds, and what they were taken for."""
    if wanted.dates == "serial":
        return cells.serial_seconds(at), cells.SERIAL
    if wanted.dates != "unix" and cells.may_be_serial(at):
        such = float(at[np.isfinite(at)][0])
        raise ReplayInputError(
            f"{name}: are times such as {such:.15g} {cells.SERIAL}, as spreadsheets store dates, or"
            " seconds since 1970? say it with --dates serial or --dates unix"
        )
    if mixed := cells.of_two_units(at):
        raise ReplayInputError(
            f"{name}: its unix times change their unit: {mixed[0]:.15g} and then {mixed[1]:.15g}; "
            "write them alike, or if another column is the time, say it with --time"
        )
    seconds, unit = cells.unix_seconds(at)
    return seconds, unit if unit == cells.COUNT else f"{cells.UNIX}, {unit}"


def _one_way(times_s: npt.NDArray[np.float64]) -> bool:
    """Whether times only rise or only fall, by steps that are alike (no month among days)."""
    steps = np.diff(times_s[np.isfinite(times_s)])
    if not steps.size or not (np.all(steps >= 0) or np.all(steps <= 0)):
        return False
    sizes = np.abs(steps[steps != 0])
    return bool(sizes.size) and float(sizes.max()) <= 25 * float(np.median(sizes))


def _number_format(values: cells.Readings, name: str, wanted: Wanted, delimiter: str) -> str:
    best = values.best(cells.NUMBER_FORMATS)
    asked = {".": cells.THOUSANDS, ",": cells.DECIMAL_COMMA}.get(wanted.decimal or "")
    if asked is not None:
        return asked
    # a semicolon parts the cells where the comma is taken, by decimals: then 1.234 may be 1234
    points = delimiter == ";" and {cells.PLAIN, cells.DECIMAL_COMMA} <= set(best)
    if points and not np.array_equal(
        values.column(cells.PLAIN), values.column(cells.DECIMAL_COMMA), equal_nan=True
    ):
        mark = "point"
    elif not best or cells.PLAIN in best:
        return cells.PLAIN
    else:
        mark = "comma"
    if len(best) > 1:
        raise ReplayInputError(
            f"{name}: does a {mark} in its values part thousands or decimals? both read the whole "
            "file; say it with --decimal . or --decimal ,"
        )
    return best[0]


def read_series(path: Path, wanted: Wanted = ANYTHING) -> Series:
    """Read one CSV file (UTF-8, or UTF-16 with a BOM, packed with gzip or not).

    Raises:
        ReplayInputError: naming the file: it cannot be read, holds no usable row, or is in doubt.
    """
    (found,) = read_columns_of(path, [wanted])
    return played(path, found.series({}, found.decided.newest_first))


def read_columns_of(path: Path, wanted: Sequence[Wanted]) -> list[Column]:
    """Read columns of a CSV file, which is opened once: it may be a pipe.

    Raises ReplayInputError: it cannot be read, or is in doubt.
    """
    try:
        with opened(path) as lines:
            return [parse_column(lines(), str(path), one) for one in wanted]
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise ReplayInputError(f"{path}: cannot be read: {reason}") from error


def played(path: Path, series: Series, expected: str = "lines of timestamp,value") -> Series:
    """``series``. Raises ReplayInputError when it has no row."""
    if not len(series):
        why = series.skipped.describe() or "the file is empty"
        raise ReplayInputError(f"{path}: no usable row; expected {expected}; found {why}")
    return series


def find_files(patterns: Sequence[str]) -> list[Path]:
    """The files that `patterns` name, each once, in order; a folder means every CSV file below it
    (``SUFFIXES``, in capitals or small letters).

    Raises ReplayInputError for a pattern that names nothing.
    """
    found: dict[Path, Path] = {}
    for pattern in patterns:
        path = STDIN if pattern == "-" else Path(os.path.expanduser(pattern))
        if path.is_dir():
            try:
                matches = files_below(path, SUFFIXES)
            except OSError as error:
                reason = f"{error.filename}: cannot be read: {error.strerror}"
                raise ReplayInputError(reason) from error
            if not matches:
                raise ReplayInputError(f"{pattern}: no {', '.join(SUFFIXES)} file in this folder")
        elif path.exists():
            matches = [path]
        else:
            matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]
            matches = [match for match in matches if match.is_file()]
            if not matches:
                raise ReplayInputError(f"{pattern}: no such file or folder")
        for match in matches:
            found.setdefault(match.resolve(), match)
    if not found:
        raise ReplayInputError("no files given; name CSV files, folders or glob patterns")
    return list(found.values())
