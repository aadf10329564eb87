"""Which columns of a CSV file are the time and the value.

Nothing is guessed where two columns could be meant: a header that names the columns decides, or
the only column that can be it, or the user (``--time``, ``--value``: a name or a number from 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from corec.digits import whole_number
from corec.replay.cells import NO_VALUE, is_number, is_time, is_written_time
from corec.replay.lines import Row

TIME_NAMES: Final = ("timestamp", "datetime", "date_time", "time", "date", "ts")
DATE_NAMES: Final = ("date", "day", "fecha")
CLOCK_NAMES: Final = ("time", "hour", "hora", "clock")
VALUE_NAMES: Final = ("value", "valor", "val")


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
class Columns:
    """The columns that are taken. ``clock``: a second one with the time of day."""

    time: int
    clock: int | None
    value: int
    header: list[str] | None
    width: int = 2
    """How many cells a row has at most; of a longer one nobody knows which cell is which."""

    @property
    def last(self) -> int:
        """The rightmost of them."""
        return max(self.time, self.value, self.clock or 0)

    def too_long(self, cells: Sequence[str]) -> bool:
        """Whether a row has more cells than there are columns, empty ones at its end aside."""
        return len(cells) > self.width and any(cells[self.width :])

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
    by_number = all(one is not None and _number(one) for one in (wanted.time, wanted.value))
    if header is not None:
        _check_width(name, header, body, by_number)
    time, clock = _time_columns(name, lower, header, body, wanted)
    value = _value_column(name, lower, header, body, wanted, time, clock)
    width = len(header) if header is not None and not by_number else _width(sample, None)
    return Columns(time, clock, value, header, width), header is not None


def _check_width(name: str, header: list[str], body: Sequence[Row], by_number: bool) -> None:
    """Raise where most rows have more cells than the header has names, empty ones at the end
    aside: a comma that parts decimals has moved them, or a first column without a name."""
    longer = [row for row in body if len(row.cells) > len(header) and any(row.cells[len(header) :])]
    if by_number or 2 * len(longer) <= len(body):
        return
    raise ReplayInputError(
        f"{name}: its header names {len(header)} columns, line {longer[0].line} has "
        f"{len(longer[0].cells)} cells: a delimiter that parts decimals (1,5), or a column without "
        "a name? say it with --time NUMBER and --value NUMBER, as its rows count them"
    )


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
    if width <= 2 and set(lower) & set(VALUE_NAMES):
        return (1 if lower[0] in VALUE_NAMES else 0), None
    if width <= 2:
        shares = _shares(body, is_time)
        if len(shares) == 2 and shares[1] > 0.5 >= shares[0]:  # value and time, or counts and bytes
            raise _doubt(name, "time", "--time", [0, 1], header, body)
        return 0, None
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
    time: int, clock: int | None,
) -> int:  # fmt: skip
    width, taken = _width(body, header), {time, clock}
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
    likely = [k for k in numeric if not (k < time and _is_index(body, k))] or numeric
    if len(likely) == 1:
        return likely[0]
    if len(likely) > 1:
        raise _doubt(name, "value", "--value", likely, header, body)
    return free[0] if free else width


def _is_index(body: Sequence[Row], column: int) -> bool:
    """Whether a column numbers the rows: whole numbers, each one more than the one before."""
    cells = [row.cells[column] for row in body if len(row.cells) > column]
    found = [_number(cell) for cell in cells]
    if len(found) < 3 or None in found:
        return False
    return found[0] in (0, 1) and found == list(range(found[0], found[0] + len(found)))


def _number(text: str) -> int | None:
    """What numbers a column or a row; None: ``text`` is no such thing."""
    return whole_number(text.strip())


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
    number = _number(wanted)
    if number is not None and 1 <= number <= max(width, len(lower)):
        return number - 1
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
