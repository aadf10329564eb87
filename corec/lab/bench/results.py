"""What a benchmark finds: rows of samples in tables, and the checks that nothing was left out."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Better = Literal["higher", "lower", "neither"]


@dataclass
class Row:
    """One contender: a sample per round, in the table's unit."""

    name: str
    samples: list[float]
    ours: bool = False
    note: str = ""
    low_high: tuple[float, float] | None = None
    """Spread to show instead of the lowest and highest sample (e.g. p50 and p99)."""

    @property
    def median(self) -> float:
        """Median of the samples."""
        return statistics.median(self.samples)

    def over(self, other: Row) -> float:
        """How many times ``other``'s samples: the median of the rounds' quotients.

        Samples of one round were taken one after the other, so a machine that is slower for a
        while changes both. Where a sample is missing, the quotient of the medians.
        """
        if len(self.samples) != len(other.samples):
            return self.median / other.median
        pairs = zip(self.samples, other.samples, strict=True)
        return statistics.median(mine / theirs for mine, theirs in pairs)

    @property
    def spread(self) -> tuple[float, float]:
        """Lowest and highest sample, unless the benchmark names another spread."""
        return self.low_high or (min(self.samples), max(self.samples))


@dataclass
class Check:
    """Something that must be true of the benchmarked run, and whether it was."""

    what: str
    ok: bool
    detail: str = ""


@dataclass
class Table:
    """Contenders that did the same work. ``unit`` is the samples'; ratios are to ``reference``."""

    name: str
    title: str
    unit: str
    better: Better = "higher"
    rows: list[Row] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    reference: str = ""
    """Name of the row that the others are compared with; empty: the first of ours."""

    def ratio(self, row: Row) -> float | None:
        """How many times better the reference row is than ``row``; None where nothing is better."""
        base = self.reference_row
        if base is None or base is row or self.better == "neither":
            return None
        if not row.median or not base.median:
            return None
        up = base.median / row.median
        return up if self.better == "higher" else 1.0 / up

    @property
    def reference_row(self) -> Row | None:
        """The row that the others are compared with."""
        for row in self.rows:
            if row.name == self.reference or (not self.reference and row.ours):
                return row
        return None

    def as_json(self) -> dict[str, Any]:
        """Everything, with median, spread and ratio beside the samples."""
        found = asdict(self)
        for row, shown in zip(self.rows, found["rows"], strict=True):
            del shown["low_high"]
            low, high = row.spread
            shown |= {"median": row.median, "low": low, "high": high, "ratio": self.ratio(row)}
        return found


def table_from_json(data: dict[str, Any]) -> Table:
    """A table from ``Table.as_json`` of another process."""
    rows = [
        Row(r["name"], r["samples"], r["ours"], r["note"], (r["low"], r["high"]))
        for r in data["rows"]
    ]
    checks = [Check(**check) for check in data["checks"]]
    plain = {k: data[k] for k in ("name", "title", "unit", "better", "notes", "reference")}
    return Table(rows=rows, checks=checks, **plain)
