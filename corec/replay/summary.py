"""What a replay reports when it ends, as plain data and as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from corec.replay.cells import PLAIN
from corec.replay.frames import MESSAGE_BYTES
from corec.replay.lead import StreamId
from corec.replay.player import Pace, Played
from corec.replay.progress import readable
from corec.replay.publish import Published
from corec.replay.schedule import Playback
from corec.replay.series import Series


def planned_readings(playback: Playback, pace: Pace) -> int | None:
    """How many readings a whole replay makes, None when it has no end; an upper bound when the
    series have gaps."""
    if not pace.passes:
        return pace.readings_max
    total = playback.entities * playback.rounds * pace.passes
    return total if pace.readings_max is None else min(total, pace.readings_max)


def about_input(series: Sequence[Series], playback: Playback) -> dict[str, Any]:
    """The part that is known before anything is sent."""
    skipped: Counter[str] = Counter()
    for one in series:
        skipped.update(one.skipped.counts)
    return {
        "series": min(len(series), playback.entities),
        "entities": playback.entities,
        "rounds_per_pass": playback.rounds,
        "step_seconds": playback.step_s,
        "gaps_shortened": playback.gaps_shortened,
        "rows": sum(map(len, series)),
        "skipped": dict(skipped),
        "files": [_about_file(one) for one in series],
    }  # fmt: skip


def _about_file(one: Series) -> dict[str, Any]:
    how = one.decided
    return {
        "file": one.name, "rows": len(one), "skipped": one.skipped.counts,
        "lines": one.skipped.lines, "time_column": how.time_column,
        "time_format": how.time_format, "value_column": how.value_column,
        "number_format": how.number_format, "newest_first": how.newest_first,
        "first": moment(one.times_s[0]), "last": moment(one.times_s[-1]),
        "min": float(one.values.min()), "max": float(one.values.max()),
    }  # fmt: skip


def moment(unix_s: float) -> str:
    """ISO 8601 in UTC; the bare number where no calendar reaches."""
    try:
        return datetime.fromtimestamp(unix_s, UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return f"{unix_s:g} s"


def file_text(one: Series) -> str:
    """How one file was read, in one line."""
    how = _about_file(one)
    turned = ", newest first (turned round)" if one.decided.newest_first else ""
    numbers = "" if how["number_format"] == PLAIN else f" written like {how['number_format']}"
    return (
        f"{one.name}: {len(one):,} rows, time from {how['time_column']} ({how['time_format']}),"
        f" {how['first']} to {how['last']}{turned}; value from {how['value_column']}{numbers},"
        f" {how['min']:g} to {how['max']:g}"
    )


def about_output(stream: str, played: Played, published: Published) -> dict[str, Any]:
    seconds = played.seconds
    return {
        "stream": stream,
        "readings": played.readings,
        "entries": published.entries,
        "bytes": played.readings * MESSAGE_BYTES,
        "seconds": round(seconds, 6),
        "readings_per_second": round(played.readings / seconds, 1) if seconds > 0 else 0.0,
        "rounds": played.rounds,
        "behind_seconds": round(played.behind_s, 3),
        "waited_seconds": round(published.waited_s, 3),
        "outages": published.outages,
        "first_id": _id_text(published.first_id),
        "last_id": _id_text(published.last_id),
        "interrupted": played.interrupted,
    }


def as_text(summary: dict[str, Any]) -> str:
    """The summary in one or two lines for people."""
    source = (
        f"{summary['rows']:,} rows of {summary['series']} series"
        f" for {summary['entities']:,} entities"
    )
    if "readings" not in summary:
        readings = summary["planned_readings"]
        size = "without end" if readings is None else f"{readings:,} readings"
        return f"would replay {source}: {size} to {summary['stream']}"
    ended = "interrupted after" if summary["interrupted"] else "in"
    applied = ""
    if "applied" in summary:
        applied = "\ninterrupted before the instance had applied it all"
    if summary.get("applied"):
        rate = readable(summary["applied_readings_per_second"])
        applied = f"\nall applied after {summary['applied_seconds']:.1f} s: {rate}/s"
    return (
        f"replayed {source}\n{summary['readings']:,} readings ({summary['entries']:,} entries)"
        f" to {summary['stream']} {ended} {summary['seconds']:.1f} s:"
        f" {readable(summary['readings_per_second'])}/s{applied}"
    )


def _id_text(entry_id: StreamId | None) -> str | None:
    return None if entry_id is None else f"{entry_id[0]}-{entry_id[1]}"
