"""What of a world's settings counts in which tick: a function of what was set, and of the tick.

Two things set: an operator or a program (``set``), each time from one tick on, and the
configuration's ``schedule``. For each key the later one counts; of two that begin with the same
tick the operator's. Nothing is remembered of a schedule, so a world that was restored, adopted or
ticked again after a kill comes to the same.

A worker, ``corec.World`` and ``corec-ctl`` all ask this; nothing here is shared between processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from corec.config import Config
from corec.config.change import Place, kept_value, place_of, plain, value_at
from corec.plan import Plan
from corec.plan_live import with_setting
from corec.world.tables import Tables, settle

NEVER: Final = 1 << 62


class Since(NamedTuple):
    """A value and the first tick that it counts in."""

    tick: int
    value: Any


class Firing(NamedTuple):
    """One key, set by the schedule."""

    tick: int
    place: int
    """Which it is of those of the same tick."""
    path: str
    value: Any
    before: Any


class Timeline:
    """The configuration's ``schedule``."""

    def __init__(self, config: Config) -> None:
        self._entries = [
            (entry, [(path, *_kept(config, path, value)) for path, value in entry.sets.items()])
            for entry in config.schedule
        ]

    def at(self, tick: int) -> dict[str, Since]:
        """By path as it is kept: what it has set last, up to the begin of ``tick``."""
        found: dict[str, Since] = {}
        for entry, values in self._entries:
            since = entry.last(tick)
            if since is None:
                continue
            for _, path, value in values:
                if path not in found or found[path].tick <= since:
                    found[path] = Since(since, value)
        return found

    def next_after(self, tick: int) -> int:
        """The first tick after ``tick`` that it sets something for; NEVER."""
        following = (entry.following(tick) for entry, _ in self._entries)
        return min((found for found in following if found is not None), default=NEVER)

    def paths_at(self, tick: int) -> list[str]:
        """What it sets for ``tick``, in the order of the file."""
        return [
            path for entry, values in self._entries if entry.last(tick) == tick
            for _, path, _ in values
        ]  # fmt: skip


def _kept(config: Config, path: str, value: Any) -> tuple[str, Any]:
    place = place_of(config, path)
    return place.path, kept_value(plain(value_at(config, place)), place, value)


class Live:
    """The settings that the blocks' kernels read, tick by tick."""

    def __init__(self, config: Config, plan: Plan) -> None:
        self.config, self.plan, self._timeline = config, plan, Timeline(config)
        self._set: dict[str, Since] = {}
        self._due = 0

    def take(self, given: Mapping[str, Since]) -> None:
        """All that was set, by path as it is kept."""
        self._set = dict(given)
        self._due = 0

    def at(self, tick: int) -> dict[str, Since]:
        """What counts in ``tick`` and is not the plan's own."""
        found = self._timeline.at(tick)
        for path, since in self._set.items():
            if path not in found or found[path].tick <= since.tick:
                found[path] = since
        return found

    def value(self, place: Place, tick: int) -> Any:
        """What counts in ``tick``, as JSON data."""
        found = self.at(tick).get(place.path)
        return found.value if found else plain(value_at(self.config, place))

    def plan_at(self, tick: int) -> Plan:
        """The plan with the settings of ``tick``."""
        plan = self.plan
        for path, since in self.at(tick).items():
            plan = with_setting(plan, path, since.value)
        return plan

    def settle(self, tables: Tables, tick: int) -> bool:
        """Have the kernels run ``tick`` with what counts in it; ticks are asked for in order.
        Whether anything had to be done."""
        if tick < self._due:
            return False
        settle(tables.swarms, tables.params, self.plan_at(tick))
        self._due = self._timeline.next_after(tick)
        return True

    def firings(self, after: tuple[int, int], until: int) -> Iterator[Firing]:
        """What the schedule has changed, from behind (tick, place) up to ``until``; a key that it
        set to what it was before is left out."""
        tick = self._timeline.next_after(after[0] - 1)
        while tick <= until:
            before, now = self.at(tick - 1), self.at(tick)
            for place, path in enumerate(dict.fromkeys(self._timeline.paths_at(tick))):
                old, new = before.get(path), now[path]
                was = old.value if old else self.value(place_of(self.config, path), tick - 1)
                if (tick, place) > after and new.tick == tick and was != new.value:
                    yield Firing(tick, place, path, new.value, was)
            tick = self._timeline.next_after(tick)
