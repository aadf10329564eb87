"""What a replay reports when it ends, as plain data and as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from corec.replay.frames import MESSAGE_BYTES
from corec.replay.lead import StreamId
from corec.replay.player import Pace, Played
from corec.replay.progress import readable
from corec.replay.publish import Published
from corec.replay.schedule import Plan
from corec.replay.series import Series


def planned_readings(plan: Plan, pace: Pace) -> int | None:
    """How many readings a whole replay makes, None when it has no end; an upper bound when the
    series have gaps."""
    if not pace.passes:
        return pace.readings_max
    total = plan.entities * plan.rounds * pace.passes
    return total if pace.readings_max is None else min(total, pace.readings_max)


def about_input(series: Sequence[Series], plan: Plan) -> dict[str, Any]:
    """The part that is known before anything is sent."""
    skipped: Counter[str] = Counter()
    for one in series:
        skipped.update(one.skipped.counts)
    return {
        "series": min(len(series), plan.entities),
        "entities": plan.entities,
        "rounds_per_pass": plan.rounds,
        "step_seconds": plan.step_s,
        "gaps_shortened": plan.gaps_shortened,
        "rows": sum(map(len, series)),
        "skipped": dict(skipped),
        "files": [
            {"file": one.name, "rows": len(one), "skipped": one.skipped.counts,
             "lines": one.skipped.lines}
            for one in series
        ],
    }  # fmt: skip


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
    return (
        f"replayed {source}\n{summary['readings']:,} readings ({summary['entries']:,} entries)"
        f" to {summary['stream']} {ended} {summary['seconds']:.1f} s:"
        f" {readable(summary['readings_per_second'])}/s"
    )


def _id_text(entry_id: StreamId | None) -> str | None:
    return None if entry_id is None else f"{entry_id[0]}-{entry_id[1]}"
