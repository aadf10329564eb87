"""The thermostats of ``corec chaos --thermostats``: what runs in them, what they are told, when.

Two values each, a reading in every round; one in a hundred is too hot for a while, one in a
thousand falls silent. All of it follows from the seed.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from corec.entities.processor import celu
from corec.lab.oracle.alerting import Thermostats
from corec.notices import Notice, task

ROOMS: Final = 1
LISTENERS: Final = 2
LISTENER_COUNT: Final = 500
FIRST: Final = LISTENER_COUNT
"""Id of the first thermostat: the listeners are before them."""
SILENCE: Final = 60
CLEAR: Final = 60
T_MIN, T_MAX, H_MAX = 15.0, 28.0, 70.0
BAD_ROUNDS: Final = (5, 20)
READING: Final = np.dtype([("id", ">u4"), ("t", ">f4"), ("h", ">f4")])
READINGS_PER_ENTRY: Final = 5000
Cuts = list[tuple[int, tuple[int, int, int, int]]]
"""By tick, where the in-stream was cut: ms and number of an entry, readings of it, or the whole."""


def _gone(me: Any) -> Any:
    me.silent = 1
    return 1.0


@celu(
    value={"t": "f4", "h": "f4"},
    state={"silent": "u1"},
    history={"bad": ("f4", 5)},
    silence=SILENCE,
    on_silence=_gone,
    alerts=("t", "h", "silent"),
)
def thermostat(me: Any, v: Any) -> Any:
    """Three bad readings of the last five."""
    me.silent = 0
    me.bad.push(1.0 if v.t < T_MIN or v.t > T_MAX or v.h > H_MAX else 0.0)
    return 1.0 if me.bad.sum() >= 3.0 else 0.0


@task
def heard(notice: Notice) -> dict[str, Any]:
    """The tick of an alert, to one of the listeners, who have the first ids."""
    return {"id": notice.entity % LISTENER_COUNT, "valor": notice.tick}


class Script:
    """What is published, round after round."""

    def __init__(self, entities: int, rounds: int, seed: int) -> None:
        self.entities, self.rounds, self.seed = entities, rounds, seed
        dice = np.random.default_rng([seed, 1])
        chosen = dice.permutation(entities)
        hot, gone = max(1, entities // 100), max(1, entities // 1000)
        self.hot, self.gone = chosen[:hot], chosen[hot : hot + gone]
        begin = dice.integers(rounds // 10, max(rounds // 10 + 1, rounds * 7 // 10), hot)
        self.bad_from = np.full(entities, rounds, np.int64)
        self.bad_to = self.bad_from.copy()
        self.bad_from[self.hot] = begin
        self.bad_to[self.hot] = begin + dice.integers(*BAD_ROUNDS, hot)
        self.last = np.full(entities, rounds, np.int64)
        self.last[self.gone] = dice.integers(rounds // 20, max(rounds // 20 + 1, rounds // 3), gone)

    def entries(self, number: int) -> list[bytes]:
        """The readings of round ``number``: (id, t, h) for everybody who still says something."""
        dice = np.random.default_rng([self.seed, 2, number])
        ids = np.flatnonzero(self.last > number)
        found = np.zeros(len(ids), READING)
        found["id"] = FIRST + ids
        found["t"] = dice.uniform(18.0, 24.0, len(ids))
        found["h"] = dice.uniform(30.0, 60.0, len(ids))
        bad = (self.bad_from[ids] <= number) & (number < self.bad_to[ids])
        found["t"][bad] += 15.0
        steps = range(0, len(ids), READINGS_PER_ENTRY)
        return [found[at : at + READINGS_PER_ENTRY].tobytes() for at in steps]


class Recorded:
    """The readings of a run, given to the oracle with the ticks that took them in."""

    def __init__(self, entities: int, cuts: Cuts) -> None:
        self.oracle = Thermostats(entities, SILENCE)
        self.readings = 0
        self.in_no_tick = 0
        self._cuts, self._at = cuts, 0

    def entry(self, identity: tuple[int, int], packed: bytes) -> None:
        """The next entry of the in-stream."""
        found = np.frombuffer(packed, READING)
        ids = found["id"].astype(np.int64) - FIRST
        bad = (found["t"] < T_MIN) | (found["t"] > T_MAX) | (found["h"] > H_MAX)
        self.readings += len(ids)
        done = 0
        while done < len(ids):
            if self._at == len(self._cuts):
                self.in_no_tick += len(ids) - done
                return
            tick, (ms, number, upto, whole) = self._cuts[self._at]
            end = 0
            if (ms, number) >= identity:
                inside = (ms, number) == identity and not whole
                end = min(upto, len(ids)) if inside else len(ids)
            if end > done:
                self.oracle.take(tick, ids[done:end], bad[done:end])
                done = end
            if done < len(ids):
                self._at += 1
