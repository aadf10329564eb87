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
from corec.config.change import Place, follows, place_of, plain, value_at
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


class Step(NamedTuple):
    """What an entry of the schedule has set last for a key."""

    tick: int
    place: Place
    value: Any


class Timeline:
    """The configuration's ``schedule``."""

    def __init__(self, config: Config) -> None:
        self._entries = [
            (entry, [(place_of(config, path), value) for path, value in entry.sets.items()])
            for entry in config.schedule
        ]

    def at(self, tick: int) -> dict[str, list[Step]]:
        """By path as it is kept: what each entry has set last, up to the begin of ``tick``, in the
        order in which it counts."""
        found: dict[str, list[Step]] = {}
        for entry, values in self._entries:
            since = entry.last(tick)
            if since is None:
                continue
            for place, value in values:
                found.setdefault(place.path, []).append(Step(since, place, value))
        for steps in found.values():
            steps.sort(key=lambda step: step.tick)  # of the same tick the one further down
        return found

    def next_after(self, tick: int) -> int:
        """The first tick after ``tick`` that it sets something for; NEVER."""
        following = (entry.following(tick) for entry, _ in self._entries)
        return min((found for found in following if found is not None), default=NEVER)

    def paths_at(self, tick: int) -> list[str]:
        """What it sets for ``tick``, in the order of the file, by path as it is kept."""
        return [
            place.path for entry, values in self._entries if entry.last(tick) == tick
            for place, _ in values
        ]  # fmt: skip


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
        found = dict(self._set)
        for path, steps in self._timeline.at(tick).items():
            since = found.get(path)
            given = since.tick if since else -1
            for step in steps:
                if step.tick <= given:
                    continue  # the operator's is the later one
                before = since.value if since else plain(value_at(self.config, step.place))
                since = Since(step.tick, follows(before, step.place, step.value))
            if since is not None:
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
