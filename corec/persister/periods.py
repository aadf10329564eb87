"""Hours, days and months in UTC: how partitions are named and which are missing.  Pure.

Instances with different ``persist.partition`` may share the tables, and one may be reconfigured:
then a whole month cannot be attached where some of its days exist.  The rule is: whatever span
covers a moment serves it; where none does, the largest unit that is not above the configured one
and overlaps nothing is made.  Boundaries of smaller units never cross those of larger ones, so an
hour always fits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

Unit = Literal["hour", "day", "month"]
_SMALLER: dict[Unit, tuple[Unit, ...]] = {
    "month": ("month", "day", "hour"),
    "day": ("day", "hour"),
    "hour": ("hour",),
}
_NAME_FORMAT: dict[Unit, str] = {
    "hour": "%Y_%m_%d_%H",
    "day": "%Y_%m_%d",
    "month": "%Y_%m",
}
_UNITS: tuple[Unit, ...] = ("month", "day", "hour")
"""By the number of parts in the name, less two."""
_NAME = re.compile(r"_\d{4}_\d\d(_\d\d(_\d\d)?)?$")
_BOUND = r"(?:'([^']*)'|(MINVALUE|MAXVALUE))"
_BOUNDS = re.compile(rf"FOR VALUES FROM \({_BOUND}\) TO \({_BOUND}\)")
_EARLIEST = datetime.min.replace(tzinfo=UTC)
_LATEST = datetime.max.replace(tzinfo=UTC)


class Span(NamedTuple):
    """Times from ``start`` to before ``end``, both in UTC."""

    start: datetime
    end: datetime


def floor(unit: Unit, moment: datetime) -> datetime:
    """The start of the hour, day or month (UTC) that ``moment`` is in."""
    start = moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    if unit == "hour":
        return start
    return start.replace(hour=0, day=1 if unit == "month" else start.day)


def span(unit: Unit, moment: datetime) -> Span:
    """The whole hour, day or month that ``moment`` is in."""
    start = floor(unit, moment)
    if unit == "hour":
        return Span(start, start + timedelta(hours=1))
    if unit == "day":
        return Span(start, start + timedelta(days=1))
    return Span(start, floor("month", start + timedelta(days=31)))


def name(table: str, unit: Unit, start: datetime) -> str:
    """``bloques_2026_11_22_17``, ``bloques_2026_11_22`` or ``bloques_2026_11``."""
    return f"{table}_{start.strftime(_NAME_FORMAT[unit])}"


def is_name(table: str, partition: str) -> bool:
    """Whether ``partition`` is named as ``name`` does it for ``table``."""
    return partition.startswith(table) and bool(_NAME.fullmatch(partition[len(table) :]))


def parse_name(table: str, partition: str) -> tuple[Unit, Span] | None:
    """What ``name`` gave ``partition`` its name for; None: it is no such name."""
    if not is_name(table, partition):
        return None
    digits = partition[len(table) + 1 :]
    unit = _UNITS[digits.count("_") - 1]
    try:
        return unit, span(unit, datetime.strptime(digits, _NAME_FORMAT[unit]).replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        return None


def parse_bounds(text: str) -> Span | None:
    """The span in ``pg_get_expr(relpartbound)``, taken with TimeZone UTC and DateStyle ISO.

    None for a DEFAULT partition or a time that Python has no name for.
    """
    match = _BOUNDS.fullmatch(text)
    if match is None:
        return None
    try:
        low, low_word, high, high_word = match.groups()
        start = _EARLIEST if low_word else datetime.fromisoformat(low)
        end = _LATEST if high_word else datetime.fromisoformat(high)
    except ValueError:
        return None
    return Span(start.astimezone(UTC), end.astimezone(UTC))


def ahead(unit: Unit, now: datetime, count: int) -> list[datetime]:
    """``now`` and the starts of the next ``count`` units after it."""
    moments = [now]
    for _ in range(count):
        moments.append(span(unit, moments[-1]).end)
    return moments


def missing(
    unit: Unit, moments: Iterable[datetime], spans: Sequence[Span]
) -> list[tuple[Unit, Span]]:
    """What to make so that each moment is in some span; see the rule above."""
    there = list(spans)
    made: list[tuple[Unit, Span]] = []
    for moment in sorted(moments):
        if any(s.start <= moment < s.end for s in there):
            continue
        for candidate in _SMALLER[unit]:
            wanted = span(candidate, moment)
            if not any(s.start < wanted.end and wanted.start < s.end for s in there):
                there.append(wanted)
                made.append((candidate, wanted))
                break
    return made
