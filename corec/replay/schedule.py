"""Which entity gets which value in which round. Pure: no clock, no I/O, the same every time.

A *round* is one step of the sampling interval. Entity number k of the range (0 ≤ k < E) plays
series s = k mod S, being number j = k div S of the C = ceil(E / S) entities that share a series,
and starts at slot floor(j · L / C) of that series' L slots. It moves one slot a round and wraps
around, so what one entity sees is the whole series, rotated; entities of a series are spread
evenly over it and not in step.

Slots come in two kinds:

- *rows* (flat out): slot i is row i; every entity gets exactly one reading every round.
- *clock* (as recorded or accelerated): slot i is the time first + i · step, and row i goes to
  slot max(slot of row i-1 + 1, round((t_i − t_0) / step)). A gap in the series is a run of empty
  slots, in which its entities get no reading. Rows that come faster than the step queue up for
  the slots after it: none is lost and none shares a slot. A gap longer than GAP_SLOTS_MAX is
  shortened to it, so that one wild timestamp does not stall a replay for years.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from corec.digits import whole_number
from corec.replay.series import ReplayInputError, Series

ENTITY_ID_MAX: Final = 2**32 - 1
ENTITIES_MAX: Final = 64 * 2**20
"""One replay keeps 18 bytes per entity; this many is 1.2 GB."""

SLOTS_MAX: Final = 64 * 2**20
"""Slots of all series together; this many take 512 MiB."""

GAP_SLOTS_MAX: Final = 10_000
GRID_MAX: Final = 2.0**53
"""Times that lie farther from the first one, in steps, are one moment: they follow each other."""

RANGE = re.compile(r"\s*(\d+)\s*(?:([-:])\s*(\d+)\s*)?")


@dataclass(frozen=True, slots=True)
class Ranges:
    """Entity ids as (first, count) pieces, in playing order, without overlap."""

    pieces: tuple[tuple[int, int], ...]

    @property
    def count(self) -> int:
        return sum(count for _, count in self.pieces)

    def ids(self) -> npt.NDArray[np.uint32]:
        """uint32[count]."""
        parts = [np.arange(first, first + n, dtype=np.uint32) for first, n in self.pieces]
        return np.concatenate(parts)

    def describe(self) -> str:
        return ",".join(f"{first}-{first + count - 1}" for first, count in self.pieces)


def make_ranges(pieces: Sequence[tuple[int, int]], source: str) -> Ranges:
    """Check (first, count) pieces. Raises ReplayInputError, naming `source`, for an empty set, an
    id beyond uint32, an id named twice, or more than ENTITIES_MAX."""
    kept = tuple((first, count) for first, count in pieces if count > 0)
    if not kept:
        raise ReplayInputError(f"{source}: names no entity")
    end_before = -1
    for first, count in sorted(kept):
        if first + count - 1 > ENTITY_ID_MAX:
            raise ReplayInputError(
                f"{source}: id {first + count - 1} is too large; ids end at {ENTITY_ID_MAX}"
            )
        if first <= end_before:
            raise ReplayInputError(f"{source}: id {first} is named twice")
        end_before = first + count - 1
    ranges = Ranges(kept)
    if ranges.count > ENTITIES_MAX:
        raise ReplayInputError(
            f"{source}: names {ranges.count:,} entities; one replay feeds at most {ENTITIES_MAX:,}"
        )
    return ranges


def parse_map(text: str) -> Ranges:
    """`FIRST-LAST` (both included), `FIRST:COUNT`, a single id, or several of them with commas."""
    pieces = []
    for part in text.split(","):
        match = RANGE.fullmatch(part)
        if match is None:
            raise ReplayInputError(
                f"--map {text!r}: {part.strip()!r} is not FIRST-LAST, FIRST:COUNT or one id"
            )
        first, mark, second = whole_number(match[1]), match[2], whole_number(match[3] or "1")
        if first is None or second is None:
            raise ReplayInputError(f"--map {part.strip()[:40]}…: ids end at {ENTITY_ID_MAX}")
        count = second - first + 1 if mark == "-" else second
        if count < 1:
            raise ReplayInputError(f"--map {text!r}: {part.strip()!r} names no entity")
        pieces.append((first, count))
    return make_ranges(pieces, f"--map {text!r}")


def sampling_step_s(series: Sequence[Series]) -> float:
    """Seconds between rounds: the median, over the series, of each one's median interval.

    Series of a single row have no interval and are left out; when there are only such, 1 s.
    """
    medians = [float(np.median(np.diff(one.times_s))) for one in series if len(one) > 1]
    if not medians:
        return 1.0
    return float(np.sort(medians)[len(medians) // 2])


def slots_of(series: Series, step_s: float | None) -> tuple[npt.NDArray[np.int64], int]:
    """(the slot of each row, int64[n], strictly increasing from 0; how many gaps were shortened).

    `step_s` None means one slot per row.
    """
    n = len(series)
    if step_s is None:
        return np.arange(n, dtype=np.int64), 0
    # Gaps are measured between neighbours of the rounded grid, so that rounding never adds up.
    with np.errstate(over="ignore"):
        grid = np.rint((series.times_s - series.times_s[0]) / step_s)
    grid = np.minimum(grid, GRID_MAX)
    ahead = np.diff(grid)
    long = ahead > GAP_SLOTS_MAX
    ahead[long] = GAP_SLOTS_MAX
    grid = np.concatenate(([0.0], np.cumsum(ahead))).astype(np.int64)
    # slot_i = max(slot_{i-1} + 1, grid_i)  ⇔  slot_i − i is the running maximum of grid_i − i
    order = np.arange(n, dtype=np.int64)
    return np.maximum.accumulate(grid - order) + order, int(np.count_nonzero(long))


@dataclass(frozen=True, slots=True)
class Playback:
    """A replay, ready to play.

    ids: uint32[E], the entities in playing order.
    step_s: seconds of recorded time per round, None when flat out.
    rounds: rounds in one pass (the slots of the longest series).
    lengths: int64[S], slots per series.
    table: >f4[2 · Σ lengths], each series twice over so that a rotation needs no second wrap;
        NaN where a slot is empty. Big-endian, as it goes into the messages.
    first: int64[E], where in `table` each entity stands in round 0.
    """

    ids: npt.NDArray[np.uint32]
    step_s: float | None
    rounds: int
    lengths: npt.NDArray[np.int64]
    table: npt.NDArray[np.float32]
    first: npt.NDArray[np.int64]
    has_gaps: bool
    gaps_shortened: int

    @property
    def entities(self) -> int:
        return len(self.ids)

    def values(self, round_: int, begin: int, end: int) -> npt.NDArray[np.float32]:
        """>f4[end − begin]: what entities begin..end (by number) get in this round; NaN: none."""
        series_count = len(self.lengths)
        shift = np.roll(round_ % self.lengths, -(begin % series_count))
        repeats = -(-(end - begin) // series_count)
        # the shift of each entity; np.resize and np.tile are several times slower here
        shifts = np.broadcast_to(shift, (repeats, series_count)).reshape(-1)[: end - begin]
        return self.table.take(self.first[begin:end] + shifts)


def make_playback(series: Sequence[Series], ranges: Ranges, step_s: float | None) -> Playback:
    """Lay series over entities; `step_s` None is flat out (every round, every entity).

    With fewer entities than series, the series left over are not played. Raises
    ReplayInputError when the slots would not fit (a step far below the sampling interval).
    """
    ids = ranges.ids()
    played = list(series[: len(ids)])
    parts: list[npt.NDArray[np.float32]] = []
    lengths: list[int] = []
    shortened = 0
    for one in played:
        slots, cut = slots_of(one, step_s)
        length = int(slots[-1]) + 1
        lengths.append(length)
        if sum(lengths) > SLOTS_MAX:
            raise ReplayInputError(
                f"{one.name}: a step of {step_s} s makes more than {SLOTS_MAX:,} rounds;"
                " choose a larger --step, or --speed 0 to play rows without their gaps"
            )
        shortened += cut
        row = np.full(length, np.nan, dtype=">f4")
        row[slots] = one.values
        parts += [row, row]
    lengths_array = np.array(lengths, dtype=np.int64)
    bases = 2 * (np.cumsum(lengths_array) - lengths_array)
    number = np.arange(len(ids), dtype=np.int64)
    series_of, place = number % len(played), number // len(played)
    sharing = -(-len(ids) // len(played))
    first = bases[series_of] + place * lengths_array[series_of] // sharing
    return Playback(
        ids=ids,
        step_s=step_s,
        rounds=max(lengths),
        lengths=lengths_array,
        table=np.concatenate(parts),
        first=first,
        has_gaps=bool(sum(len(one) for one in played) < sum(lengths)),
        gaps_shortened=shortened,
    )
