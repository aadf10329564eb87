"""What of a world's settings counts in which tick: what was set, and what the schedule sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from corec.lab.oracle.limits import limits_of

Given = tuple[int, str, Any]
"""The first tick, the path and the value of what somebody set."""
Limits = tuple[float, float]


def last_firing(entry: Mapping[str, Any], tick: int) -> int:
    """The last tick up to ``tick`` for which a schedule's entry sets something; 0: none yet."""
    if "at" in entry:
        return int(entry["at"]) if entry["at"] <= tick else 0
    every = int(entry["every"])
    first = int(entry.get("from", every))
    last = min(tick, int(entry.get("until", tick)))
    return first + (last - first) // every * every if last >= first else 0


def firings(entry: Mapping[str, Any], tick: int) -> list[int]:
    """The ticks up to ``tick`` for which a schedule's entry sets something."""
    last = last_firing(entry, tick)
    every = int(entry.get("every", 1))
    first = int(entry["at"]) if "at" in entry else int(entry.get("from", every))
    return list(range(first, last + 1, every))


def as_written(limits: Limits) -> Any:
    """An umbral that moves between these."""
    if np.isinf(limits[0]):
        return "siempre" if limits[0] < 0 else "nunca"
    return {"min": float(limits[0]), "max": float(limits[1])}


def settled(config: Mapping[str, Any], given: Sequence[Given], tick: int) -> dict[str, Any]:
    """What was set last for each path up to ``tick``, by the schedule of ``config`` or by somebody;
    of two that count from the same tick on, by somebody. Of an umbral both limits."""
    found: dict[str, tuple[int, Any]] = {}
    for entry in config.get("schedule", ()):
        since = last_firing(entry, tick)
        for path, value in entry["set"].items() if since else ():
            if path not in found or found[path][0] <= since:
                found[path] = since, value
    for since, path, value in given:
        if path not in found or found[path][0] <= since:
            found[path] = since, value
    others = {path: value for path, (_, value) in found.items() if ".umbral" not in path}
    return others | _umbrales(config, given, tick)


def _umbrales(config: Mapping[str, Any], given: Sequence[Given], tick: int) -> dict[str, Limits]:
    """The limits of each umbral that was set up to ``tick``, one after the other: a limit leaves
    the other as it counts by then, which follows where it would be on the wrong side."""
    steps = [(since, 0, path, value) for entry in config.get("schedule", ())
             for since in firings(entry, tick) for path, value in entry["set"].items()]  # fmt: skip
    steps += [(since, 1, path, value) for since, path, value in given]
    found: dict[str, Limits] = {}
    for _, _, path, value in sorted(steps, key=lambda step: step[:2]):
        whole, umbral, limit = path.partition(".umbral")
        if not umbral:
            continue
        if not limit:
            found[path] = limits_of(value)[:2]
            continue
        if (before := found.get(whole + umbral)) is None:
            own = (b.get("umbral") for b in config["bloques"] if f"bloques.{b['id']}" == whole)
            before = limits_of(next(own))[:2]
        one = float(np.float32(value))
        both = (one, before[1]) if limit == ".min" else (before[0], one)
        fine = bool(np.isfinite(both).all()) and both[0] <= both[1]
        found[whole + umbral] = both if fine else (one, one)
    return found
