"""The Numenta Anomaly Benchmark: its series, its labels and its scoring mathematics.

Lavin, Ahmad, *Evaluating real-time anomaly detection algorithms – the Numenta Anomaly Benchmark*,
IEEE ICMLA 2015. A file has labelled windows; its first 15 % (of at most 5000 rows) are not scored.
With ``sigma(y) = 2 / (1 + exp(5 y)) − 1``:

* A reading at or above the threshold inside a window of ``w`` rows, ``k`` rows before its end (1 at
  the last row), gains ``sigma(−k / w) / sigma(−1)``. Of a window only the largest gain counts; a
  window without one loses ``fn``.
* One outside, ``d`` rows behind the last row of the window before it, loses
  ``fp · −sigma(d / (w − 1))``, all of ``fp`` beyond three windows' widths or before the first
  window.
* The sum over all files is put on a scale on which a detector that never speaks has 0 and one that
  hits the first row of each window and nothing else has 100. NAB takes the threshold at which the
  sum over all files is largest.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
UNSCORED_SHARE: Final = 0.15
UNSCORED_OF_ROWS_MAX: Final = 5000
WINDOWS_FILE: Final = Path("labels", "combined_windows.json")
NO_WINDOW: Final = -1


class NoCorpus(RuntimeError):
    """The folder is no checkout of NAB; the message says what is missing."""


class Profile(NamedTuple):
    """What a false alert and a missed window cost; a window that is hit at once gains 1."""

    fp: float
    fn: float


STANDARD: Final = Profile(0.11, 1.0)
PROFILES: Final[Mapping[str, Profile]] = {
    "standard": STANDARD,
    "few false alerts": Profile(0.22, 1.0),
    "few missed": Profile(0.11, 2.0),
}
"""NAB's three: standard, reward_low_FP_rate, reward_low_FN_rate."""


@dataclass(frozen=True)
class Series:
    """One file: ``values`` f8[n]; of each row ``gain`` f8[n] (of a hit, or the share of ``fp`` that
    it loses, negative), ``window`` i8[n] (its number in this file, or NO_WINDOW), ``scored`` ?[n].
    """

    name: str
    values: Numbers
    gain: Numbers
    window: NDArray[np.int64]
    scored: NDArray[np.bool_]
    windows: int

    @property
    def folder(self) -> str:
        """NAB's folder of the file, such as ``realTraffic``."""
        return self.name.partition("/")[0]


def sigma(y: float) -> float:
    """NAB's scaled sigmoid: 0 at the end of a window, towards 1 before, −1 behind."""
    return -1.0 if y > 3.0 else 2.0 / (1.0 + math.exp(5.0 * y)) - 1.0


def unscored_rows(rows: int) -> int:
    """Rows at the start of a file of so many that count neither way."""
    return math.ceil(min(math.floor(UNSCORED_SHARE * rows), UNSCORED_SHARE * UNSCORED_OF_ROWS_MAX))


def label(
    name: str, values: Numbers, times: Sequence[datetime],
    windows: Iterable[tuple[datetime, datetime]],
) -> Series:  # fmt: skip
    """The rows of a file with what each would gain; a window's ends are times of the file."""
    rows = len(times)
    gain, window = np.full(rows, -1.0), np.full(rows, NO_WINDOW)
    spans = [(times.index(first), times.index(last)) for first, last in sorted(windows)]
    for number, (first, last) in enumerate(spans):
        width = last - first + 1
        for row in range(first, last + 1):
            gain[row] = sigma(-(last - row + 1) / width) / sigma(-1.0)
        window[first : last + 1] = number
        following = spans[number + 1][0] if number + 1 < len(spans) else rows
        for row in range(last + 1, following):
            gain[row] = sigma((row - last) / max(width - 1, 1))
    scored = np.arange(rows) >= unscored_rows(rows)
    return Series(name, values, gain, window, scored, len(spans))


def read(checkout: Path) -> list[Series]:
    """All labelled series of a checkout of github.com/numenta/NAB, in order of their paths.

    Raises:
        NoCorpus: it has no labels, or not a file that they name.
    """
    try:
        labels = json.loads((checkout / WINDOWS_FILE).read_text("utf-8"))
        return [read_file(checkout / "data" / name, name, labels[name]) for name in sorted(labels)]
    except FileNotFoundError as error:
        raise NoCorpus(
            f"{checkout} is no checkout of github.com/numenta/NAB: it has no "
            f"{Path(str(error.filename)).relative_to(checkout)}"
        ) from None


def read_file(path: Path, name: str, windows: Sequence[Sequence[str]]) -> Series:
    """One file (``timestamp,value``) with its windows as NAB's labels have them, as ``name``."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = [(row["timestamp"], float(row["value"])) for row in csv.DictReader(file)]
    times = [datetime.fromisoformat(when) for when, _ in rows]
    spans = [(datetime.fromisoformat(a), datetime.fromisoformat(b)) for a, b in windows]
    return label(name, np.array([value for _, value in rows]), times, spans)


@dataclass(frozen=True)
class Score:
    """``points``: on NAB's scale at ``threshold``; ``hit`` of ``windows``, and the false alerts."""

    points: float
    threshold: float
    hit: int
    windows: int
    false_alerts: int


class Board:
    """The scored rows of several series end to end, to score detectors on."""

    def __init__(self, series: Sequence[Series]) -> None:
        self._series = series
        first = np.cumsum([0] + [s.windows for s in series])
        self.windows = int(first[-1])
        self._gain = np.concatenate([s.gain[s.scored] for s in series])
        numbered = [np.where(s.window < 0, NO_WINDOW, s.window + k)
                    for s, k in zip(series, first, strict=False)]  # fmt: skip
        self._window = np.concatenate([w[s.scored] for w, s in zip(numbered, series, strict=True)])

    def best(self, scores: Sequence[Numbers], profile: Profile = STANDARD) -> Score:
        """With the threshold that NAB would take: the one with the largest sum.

        ``scores``: of each series, one per row, in the order given at the start.
        """
        flat = self._flat(scores)
        order = np.argsort(-flat, kind="stable")
        ordered, gains, windows = flat[order], self._gain[order], self._window[order]
        held = np.full(self.windows, -profile.fn)
        total = top = -profile.fn * self.windows
        threshold = math.inf
        for row, window in enumerate(windows):
            if window == NO_WINDOW:
                total += profile.fp * gains[row]
            elif gains[row] > held[window]:
                total += gains[row] - held[window]
                held[window] = gains[row]
            last = row + 1 == len(order) or ordered[row + 1] != ordered[row]
            if last and total > top:
                top, threshold = total, float(ordered[row])
        return self.at(scores, threshold, profile)

    def at(self, scores: Sequence[Numbers], threshold: float, profile: Profile = STANDARD) -> Score:
        """With a threshold of one's own: a score at or above it is an alert."""
        alerts = self._flat(scores) >= threshold
        outside = self._window == NO_WINDOW
        held = np.full(self.windows, -profile.fn)
        inside = alerts & ~outside
        np.maximum.at(held, self._window[inside], self._gain[inside])
        total = held.sum() + profile.fp * self._gain[alerts & outside].sum()
        silent = -profile.fn * self.windows
        points = 100.0 * (total - silent) / (self.windows - silent)
        hit = len(np.unique(self._window[inside]))
        return Score(points, threshold, hit, self.windows, int((alerts & outside).sum()))

    def _flat(self, scores: Sequence[Numbers]) -> Numbers:
        pairs = zip(scores, self._series, strict=True)
        return np.concatenate([np.asarray(found, np.float64)[s.scored] for found, s in pairs])
