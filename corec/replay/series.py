"""Time-series CSV files, as they are found in the wild.

A row is a timestamp and a value. Real files have gaps, repeats, blank lines, a BOM, CRLF ends,
sensors that write "NaN" and clocks that jump back. A row that cannot be used is skipped, counted
under its reason, and its line number kept (the first few), so that a user sees what was left
out. Nothing is guessed or repaired: a value is played as it stands or not at all.
"""

from __future__ import annotations

import glob
import math
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

SAMPLE_LINES_MAX = 5
"""How many line numbers are kept per reason."""

FLOAT32_MAX = float(np.finfo(np.float32).max)

BLANK = "blank_line"
COLUMNS = "missing_column"
TIMESTAMP = "bad_timestamp"
EMPTY = "empty_value"
NUMBER = "not_a_number"
INFINITE = "not_finite"
OVERFLOW = "float32_overflow"
REPEATED = "repeated_timestamp"
BACKWARDS = "out_of_order"
REASONS = (
    BLANK, COLUMNS, TIMESTAMP, EMPTY, NUMBER, INFINITE, OVERFLOW, REPEATED, BACKWARDS
)  # fmt: skip

DELIMITERS = (",", ";", "\t")
TIME_NAMES = ("timestamp", "time", "datetime", "date", "ts")
VALUE_NAMES = ("value", "valor", "val")

# A unix time in seconds stays below 1e11 until the year 5138; anything larger is a finer unit.
UNIX_UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))


class ReplayInputError(ValueError):
    """The files or the options cannot be replayed; the message says which, why and what to do."""


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
class Series:
    """One file's usable rows.

    times_s: float64[n], unix seconds, strictly increasing.
    values: float32[n], finite.
    """

    name: str
    times_s: npt.NDArray[np.float64]
    values: npt.NDArray[np.float32]
    skipped: Skipped

    def __len__(self) -> int:
        return len(self.values)


def parse_timestamp(text: str) -> float:
    """Unix seconds of `2014-02-14 14:30:00`, ISO 8601 (T, Z, offset) or unix s, ms, µs or ns.

    A time without an offset is taken as UTC. Raises ValueError when it is none of these.
    """
    try:
        number = _parse_float(text)
    except ValueError:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return moment.timestamp()
    if not math.isfinite(number):
        raise ValueError(f"timestamp {text!r} is not finite")
    for at_least, per_second in UNIX_UNITS:
        if abs(number) >= at_least:
            return number / per_second
    return number


def parse_series(lines: Iterable[str], name: str) -> Series:
    """Read rows from text lines (with or without line ends). Never raises on what a line holds.

    The first line that is not blank is a header when neither of its columns can be read; it may
    name the columns (TIME_NAMES, VALUE_NAMES) in any order. Without names: time first, value
    second. The delimiter is the first of DELIMITERS which that line contains.
    """
    times_s, values, skipped = array("d"), array("d"), Skipped()
    delimiter = ""
    time_column, value_column = 0, 1
    newest_s = -math.inf
    for number, line in enumerate(lines, start=1):
        line = line.strip("\r\n \ufeff")
        if not line:
            skipped.add(BLANK, number)
            continue
        if not delimiter:
            delimiter = next((mark for mark in DELIMITERS if mark in line), DELIMITERS[0])
            header = _header_columns(_split(line, delimiter))
            if header is not None:
                time_column, value_column = header
                continue
        cells = _split(line, delimiter)
        if len(cells) <= max(time_column, value_column):
            skipped.add(COLUMNS, number)
            continue
        try:
            time_s = parse_timestamp(cells[time_column])
        except (ValueError, OverflowError):
            skipped.add(TIMESTAMP, number)
            continue
        value, fault = _parse_value(cells[value_column])
        if not fault and time_s <= newest_s:
            fault = REPEATED if time_s == newest_s else BACKWARDS
        if fault:
            skipped.add(fault, number)
            continue
        newest_s = time_s
        times_s.append(time_s)
        values.append(value)
    return Series(name, np.array(times_s), np.array(values).astype(np.float32), skipped)


def read_series(path: Path) -> Series:
    """Read one CSV file (UTF-8, with or without BOM). Raises ReplayInputError, naming the file,
    when it cannot be read or holds no usable row."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as lines:
            series = parse_series(lines, str(path))
    except OSError as error:
        raise ReplayInputError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not len(series):
        why = series.skipped.describe() or "the file is empty"
        raise ReplayInputError(
            f"{path}: no usable row; expected lines of timestamp,value; found {why}"
        )
    return series


def find_files(patterns: Sequence[str]) -> list[Path]:
    """The files that `patterns` name, each once, in order; a folder means every *.csv below it.

    Raises ReplayInputError for a pattern that names nothing.
    """
    found: dict[Path, Path] = {}
    for pattern in patterns:
        path = Path(pattern).expanduser()
        if path.is_dir():
            matches = sorted(path.rglob("*.csv"))
            if not matches:
                raise ReplayInputError(f"{pattern}: no .csv file in this folder")
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


def _split(line: str, delimiter: str) -> list[str]:
    return [cell.strip().strip("\"'").strip() for cell in line.split(delimiter)]


def _header_columns(cells: list[str]) -> tuple[int, int] | None:
    """(time column, value column) if these cells are a header, None if they are a row."""
    names = [cell.lower() for cell in cells]
    time_column = next((names.index(name) for name in TIME_NAMES if name in names), None)
    value_column = next((names.index(name) for name in VALUE_NAMES if name in names), None)
    if time_column is not None and value_column is not None:
        return time_column, value_column
    if time_column is None and value_column is None and (len(cells) < 2 or _readable(cells)):
        return None
    if time_column is None:
        time_column = 1 if value_column == 0 else 0
    if value_column is None:
        value_column = 1 if time_column == 0 else 0
    return time_column, value_column


def _readable(cells: list[str]) -> bool:
    """Whether either of the first two cells holds data, or the value is one that says "none"."""
    try:
        parse_timestamp(cells[0])
    except (ValueError, OverflowError):
        return _parse_value(cells[1])[1] != NUMBER
    return True


def _parse_float(text: str) -> float:
    if "_" in text:  # float() takes 1_000; a sensor that writes that is not writing a number
        raise ValueError(f"{text!r} is not a number")
    return float(text)


def _parse_value(text: str) -> tuple[float, str]:
    """(value, "") or (nan, the reason why it cannot be used)."""
    if not text:
        return math.nan, EMPTY
    try:
        value = _parse_float(text)
    except ValueError:
        return math.nan, NUMBER
    if not math.isfinite(value):
        return math.nan, INFINITE
    if abs(value) > FLOAT32_MAX:
        return math.nan, OVERFLOW
    return value, ""
