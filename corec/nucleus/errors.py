"""What processors raise, told: in the log and as an event once for each kind, and again as long as
it goes on, ever and again; in ``status``, ``doctor`` and ``corec-ctl errors`` as it is now.

The workers write what they saw (``corec.control.errors``); how often the entities of a swarm fail
is counted in its blocks, exactly.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from corec import layout as L
from corec.control.errors import (
    PATTERN,
    TOLD_FILE,
    described,
    merged,
    read_errors,
    write_errors,
)
from corec.log import get_logger
from corec.nucleus.events import EventWriter
from corec.process.runtime import Runtime

log = get_logger(__name__)
LOOK_SECONDS: Final = 0.5
RATE_SECONDS: Final = 2.0
AGAIN_SECONDS: Final = 600.0
FRESH_SECONDS: Final = 60.0


def _told_enough(told: float, last: float, now: float) -> bool:
    """Whether a failure seen ``last`` needs no telling, by the wall clock; that may have been put
    back since it was ``told``, and then the next failure is told."""
    if told > now:
        return last > now
    return now - told < AGAIN_SECONDS or last < told


class Errors:
    """The kinds of failures of this world, of all workers."""

    def __init__(
        self, rt: Runtime, events: EventWriter, totals: Callable[[], dict[str, Any]]
    ) -> None:
        self.rt, self.events, self.totals = rt, events, totals
        self.epoch = rt.get(L.C_WORLD_EPOCH)
        self.told: dict[str, float] = dict(
            read_errors(rt.folder / TOLD_FILE, self.epoch).get("told", {})
        )
        self.kinds: dict[str, dict[str, Any]] = {}
        self.more = 0
        self.rates: dict[str, float] = {}
        self._files: dict[Path, tuple[int, dict[str, Any]]] = {}
        self._due = 0.0
        self._rated = (0.0, {swarm.id: 0 for swarm in rt.plan.swarms})

    def watch(self) -> None:
        """Look at the workers' files and tell what is new; to be called often."""
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + LOOK_SECONDS
        self._rate(now)
        if self._read() and self.rates:
            self._tell()

    def _read(self) -> bool:
        """Read what changed; whether there is anything."""
        for path in self.rt.folder.glob(PATTERN):
            if path.name == TOLD_FILE:
                continue
            try:
                changed = path.stat().st_mtime_ns
            except OSError:
                continue
            if self._files.get(path, (0, {}))[0] != changed:
                self._files[path] = (changed, read_errors(path, self.epoch))
        found = [content for _, content in self._files.values()]
        self.kinds = merged(found)
        self.more = sum(int(content.get("more", 0)) for content in found)
        return bool(self.kinds)

    def _rate(self, now: float) -> None:
        """Failures per second of each swarm since the last time."""
        at, before = self._rated
        if now - at < RATE_SECONDS:
            return
        counts = {row["id"]: int(row["failures"]) for row in self.totals().get("swarms", ())}
        if at:
            self.rates = {
                name: max(0.0, (count - before.get(name, 0)) / (now - at))
                for name, count in counts.items()
            }
        self._rated = (now, counts)

    def _tell(self) -> None:
        now = time.time()
        news = False
        for name, entry in self.kinds.items():
            last = entry["last_unix_ns"] / 1e9
            told = self.told.get(name)
            if told is not None and _told_enough(told, last, now):
                continue
            rate = round(self.rates.get(entry["bloque"], 0.0), 3)
            detail = {
                field: entry[field]
                for field in ("procesador", "error", "text", "file", "line", "function", "seen")
            }
            detail |= {"tick": entry["last_tick"], "failures_per_second": rate}
            block = self.rt.plan.block_of(entry["last_entity"])
            where = None if block is None else self.rt.plan.block_id(block)
            if not self.events.emit(
                "processor_error", detail, bloque=where, entidad=entry["last_entity"]
            ):
                return  # no room: told at the next look
            log.error("a processor fails", processor=entry["procesador"], reason=described(entry),
                      bloque=entry["bloque"], entity=entry["last_entity"],
                      tick=entry["last_tick"], failures_per_second=rate)  # fmt: skip
            self.told[name] = now
            news = True
        if news:
            write_errors(self.rt.folder / TOLD_FILE, self.epoch, {"told": self.told})

    def shown(self) -> dict[str, Any]:
        """``errors``: every kind, the latest first."""
        rows = sorted(self.kinds.values(), key=lambda entry: -int(entry["last_unix_ns"]))
        shown = [
            {
                **{k: v for k, v in entry.items() if k != "last_unix_ns"},
                "what": described(entry),
                "seconds_ago": round(max(0.0, time.time() - entry["last_unix_ns"] / 1e9), 1),
                "failures_per_second": round(self.rates.get(entry["bloque"], 0.0), 3),
            }
            for entry in rows
        ]
        return {"errors": shown, "not_listed": self.more}

    def compact(self, most: int = 8) -> list[dict[str, Any]]:
        """The latest kinds, as ``status`` has them."""
        fields = ("bloque", "procesador", "what", "last_entity", "last_tick", "seconds_ago",
                  "failures_per_second")  # fmt: skip
        return [{field: row[field] for field in fields} for row in self.shown()["errors"][:most]]
