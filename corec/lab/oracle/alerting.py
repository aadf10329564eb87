"""Which messages and alerts a swarm of thermostats should have told, from what each tick took in.

The rules are those of docs/entities.md (Silence) and docs/tasks.md (The life of an alert), and of a
thermostat: three bad readings of its last five are a message with each further reading, as long as
they are; so is a silence, once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import numpy as np

LAST: Final = 5
BAD_OF_LAST: Final = 3


class Life(NamedTuple):
    """One alert."""

    entity: int
    first: int
    """Tick of its first message."""
    last: int
    ticks: int
    """With a message."""


class Thermostats:
    """``take`` what the ticks took in, in order; then ``end`` says what was to be told."""

    def __init__(self, entities: int, silence: int) -> None:
        self.silence = silence
        self.heard = np.zeros(entities, np.int64)
        """By entity, the tick of its last reading."""
        self.messages: list[tuple[int, int]] = []
        """(tick, entity)."""
        self._watched = np.zeros(entities, np.bool_)
        self._windows: dict[int, deque[bool]] = {}

    def take(self, tick: int, ids: Any, bad: Any) -> None:
        """Readings of different entities that ``tick`` took in, and which of them are bad."""
        late = ids[tick - self.heard[ids] > self.silence]
        self._silent(late)
        self.heard[ids] = tick
        for place in np.flatnonzero(bad | self._watched[ids]).tolist():
            self._push(tick, int(ids[place]), bool(bad[place]))

    def end(self, tick: int) -> list[tuple[int, int]]:
        """All messages up to ``tick``, the last one that ran, by tick and entity."""
        self._silent(np.flatnonzero(tick - self.heard >= self.silence))
        return sorted(self.messages)

    def _silent(self, ids: Any) -> None:
        for entity in ids.tolist():
            self.messages.append((int(self.heard[entity]) + self.silence, entity))

    def _push(self, tick: int, entity: int, bad: bool) -> None:
        window = self._windows.setdefault(entity, deque([False] * LAST, LAST))
        window.append(bad)
        self._watched[entity] = any(window)
        if sum(window) >= BAD_OF_LAST:
            self.messages.append((tick, entity))
        if not any(window):
            del self._windows[entity]


def lives(messages: Iterable[tuple[int, int]], clear_after: int) -> list[Life]:
    """The alerts that (tick, entity) make, by entity and tick."""
    by_entity: dict[int, set[int]] = {}
    for tick, entity in messages:
        by_entity.setdefault(entity, set()).add(tick)
    found: list[Life] = []
    for entity, ticks in sorted(by_entity.items()):
        for tick in sorted(ticks):
            before = found[-1] if found and found[-1].entity == entity else None
            if before is not None and tick - before.last <= clear_after:
                found[-1] = before._replace(last=tick, ticks=before.ticks + 1)
            else:
                found.append(Life(entity, tick, tick, 1))
    return found
