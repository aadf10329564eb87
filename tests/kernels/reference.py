"""The rules of a block (docs/rules.md) in slow, plain Python: what the kernels are held against."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from corec.config.umbral import Umbral
from corec.entities.dense import DRAWS_PER_READING
from corec.entities.plain import PlainEntity
from corec.entities.processor import Processor
from corec.layout import HISTOGRAM_BINS, NO_RUN, RACHA_MAX, REPAIR_INHERIT, REPAIR_RESET

Reading = tuple[int, float, bool]


@dataclass
class Entity:
    """One entity: its state by name (``valor`` and histories included), and its counts.

    ``runs``: how its runs ended since the start or its last reset, True for a good one.
    """

    state: dict[str, Any]
    activo: bool = True
    fallos: int = 0
    runs: list[bool] = field(default_factory=list)

    @property
    def healthy(self) -> bool:
        """Active, and its last run was good."""
        return self.activo and bool(self.runs) and self.runs[-1]

    @property
    def racha(self) -> int:
        """Failed runs since the last good one, as the blocks keep it."""
        if not self.runs:
            return NO_RUN
        failed = 0
        while failed < len(self.runs) and not self.runs[-1 - failed]:
            failed += 1
        return min(failed, RACHA_MAX)


@dataclass
class Tick:
    """What one tick did."""

    messages: list[bytes] = field(default_factory=list)
    emitted: list[tuple[int, np.float32]] = field(default_factory=list)
    good: list[tuple[int, np.float32]] = field(default_factory=list)
    ended: dict[int, list[bool]] = field(default_factory=dict)
    runs_failed: int = 0
    repairs: list[tuple[int, int, int]] = field(default_factory=list)
    umbral: float = 0.0

    @property
    def errores(self) -> int:
        """Entities that failed at least once."""
        return sum(not all(runs) for runs in self.ended.values())

    @property
    def well(self) -> list[int]:
        """Entities that ran and whose last run was good."""
        return sorted(i for i, runs in self.ended.items() if runs[-1])


def lane_sum(terms: Iterable[tuple[int, float]]) -> float:
    """The sum of (index in the block, term) in sixteen lanes."""
    lanes = [0.0] * 16
    for i, term in terms:
        lanes[i % 16] += term
    for half in (8, 4, 2, 1):
        for k in range(half):
            lanes[k] += lanes[k + half]
    return lanes[0]


def micro_statistics(good: Sequence[tuple[int, np.float32]]) -> tuple[float, float]:
    """media and desviacion of (index, good value), ascending by index; at least one."""
    values = [(i, float(x)) for i, x in good]
    g, around = len(values), values[0][1]
    s = lane_sum((i, x - around) for i, x in values)
    q = lane_sum((i, (x - around) * (x - around)) for i, x in values)
    media = around + s / g
    if not s * s / g <= 0.9375 * q:
        media = lane_sum(values) / g
        s = lane_sum((i, x - media) for i, x in values)
        q = lane_sum((i, (x - media) * (x - media)) for i, x in values)
    return media, _deviation(q - s * s / g, g)


def celu_statistics(good: Sequence[tuple[int, np.float32]]) -> tuple[float, float]:
    """media and desviacion of (index, good value) in order of the readings; at least one."""
    total = moment = 0.0
    for k, (_, value) in enumerate(good, 1):
        x = float(value)
        total += x
        if k > 1:
            moment += (k * x - total) * (k * x - total) / (k * (k - 1))
    return total / len(good), _deviation(moment, len(good))


def _deviation(moment: float, g: int) -> float:
    return math.sqrt(moment / (g - 1)) if g > 1 and moment > 0.0 else 0.0


class Reference:
    """``n`` entities of ``processor`` from id ``first_id`` on."""

    def __init__(
        self,
        processor: Processor,
        n: int,
        *,
        seed: int,
        first_id: int = 0,
        carga: float = 1.0,
        canal: int = 1,
        max_errores: float = 0.05,
        umbral: Umbral | None = None,
    ) -> None:
        self.processor, self.n, self.seed = processor, n, seed
        self.first_id, self.carga, self.canal = first_id, carga, canal
        self.max_errores = max_errores
        self.entities = [Entity(self.initial(i)) for i in range(n)]
        self.tick = 0
        self.seen = np.zeros(0, np.float32)
        self.limits = (umbral or Umbral()).limits
        self.umbral, self.fitness = self.limits.first, 1.0
        self.media = self.desviacion = 0.0
        self.means: dict[str, float] = {}
        self.take_means()
        self.since = {"errores": 0, "reparadas": 0, "mensajes": 0}
        self.log: list[tuple[int, int, np.float32]] = []
        self.row_tick = 0

    def initial(self, i: int) -> dict[str, Any]:
        """The state entity ``i`` starts with, from ``init`` when there is one."""
        state: dict[str, Any] = {"valor": np.float32(0.0)}
        state.update({f.name: np.dtype(f.dtype).type(f.default) for f in self.processor.state})
        state.update({ring.name: [] for ring in self.processor.history})
        if self.processor.init is not None:
            me = PlainEntity(self.processor, id=self.first_id + i, tick=0, seed=self.seed, **state)
            state["valor"] = np.float32(self.processor.plain(self.processor.init)(me))
            state.update({f.name: getattr(me, f.name) for f in self.processor.state})
        return state

    def call(self, i: int, *value: np.float32, draws: int = 0) -> np.float32 | None:
        """Run entity ``i`` once; None when it failed, which leaves its state alone."""
        entity = self.entities[i]
        means: dict[str, Any] = {f"mean_{name}": mean for name, mean in self.means.items()}
        me = PlainEntity(
            self.processor, id=self.first_id + i, tick=self.tick, seed=self.seed, draws=draws,
            **entity.state, **means,
        )  # fmt: skip
        try:
            with np.errstate(all="ignore"):
                valor = np.float32(self.processor(me, *value))
        except (ValueError, IndexError):
            return None
        if not np.isfinite(valor):
            return None
        entity.state["valor"] = valor
        entity.state.update({f.name: getattr(me, f.name) for f in self.processor.state})
        for ring in self.processor.history:
            entity.state[ring.name] = list(getattr(me, ring.name).values)
        return valor

    def step(self, readings: Sequence[Reading]) -> Tick:
        """One tick with the ``readings`` (index in the block, value, activo)."""
        self.tick += 1
        found = Tick(umbral=min(max(self.umbral, self.limits.least), self.limits.most))
        if self.processor.kind == "micro":
            self._run_window(readings, found)
        else:
            self._run_readings(readings, found)
        self.seen = np.array([self.entities[i].state["valor"] for i in found.well], np.float32)
        self._repair(found)
        self._close(found)
        return found

    def _run_window(self, readings: Sequence[Reading], found: Tick) -> None:
        for i, value, activo in readings:
            self.entities[i].state["valor"] = np.float32(value)
            self.entities[i].activo = activo
        width = math.ceil(self.n * Fraction(str(self.carga)))
        start = (self.tick - 1) * width % self.n
        window = {(start + k) % self.n for k in range(min(width, self.n))}
        for i in range(self.n):
            if i in window and self.entities[i].activo:
                self._took(i, self.call(i), found)

    def _run_readings(self, readings: Sequence[Reading], found: Tick) -> None:
        for place, (i, value, activo) in enumerate(readings):
            self.entities[i].activo = activo
            if activo:
                draws = place * DRAWS_PER_READING
                self._took(i, self.call(i, np.float32(value), draws=draws), found)

    def _took(self, i: int, valor: np.float32 | None, found: Tick) -> None:
        entity = self.entities[i]
        entity.runs.append(valor is not None)
        found.ended.setdefault(i, []).append(valor is not None)
        if valor is None:
            found.runs_failed += 1
            entity.fallos += 1
            return
        found.good.append((i, valor))
        if valor > np.float32(found.umbral):
            canal = self.canal
            found.messages.append(struct.pack("!Ibf?", self.first_id + i, canal, valor, True))
            found.emitted.append((i, valor))
            self.log.append((i, self.tick, valor))

    def _repair(self, found: Tick) -> None:
        if Fraction(found.errores, self.n) <= Fraction(str(self.max_errores)):
            return
        healthy = [e.healthy for e in self.entities]
        for i in sorted(i for i, runs in found.ended.items() if not runs[-1]):
            entity = self.entities[i]
            donors = [(i + k) % self.n for k in range(1, self.n)]
            donor = next((j for j in donors if healthy[j]), None)
            if donor is None or entity.runs[-2:] == [False, False]:
                entity.state, entity.runs = self.initial(i), []
                found.repairs.append((i, i, REPAIR_RESET))
            else:
                kept = {ring.name: entity.state[ring.name] for ring in self.processor.history}
                entity.state = {**self.entities[donor].state, **kept}
                found.repairs.append((i, donor, REPAIR_INHERIT))

    def _close(self, found: Tick) -> None:
        sigma = 0.0
        if found.good:
            known = micro_statistics if self.processor.kind == "micro" else celu_statistics
            self.media, self.desviacion = known(found.good)
            sigma = self.desviacion
        raw = 0.5 * (2 - self.carga) + 0.3 * sigma + 0.2 * found.errores / self.n
        self.umbral = float(np.float32(min(max(raw, self.limits.least), self.limits.most)))
        self.fitness = 0.9 * self.fitness + 0.1 * (1.0 - found.errores / self.n)
        self.take_means()
        self.since["errores"] += found.errores
        self.since["reparadas"] += len(found.repairs)
        self.since["mensajes"] += len(found.messages)

    def take_means(self) -> None:
        """The means that the next tick reads."""
        for name in self.processor.means:
            column = [(i, float(e.state[name])) for i, e in enumerate(self.entities) if e.activo]
            finite = [(i, x) for i, x in column if math.isfinite(x)]
            self.means[name] = lane_sum(finite) / len(finite) if finite else 0.0

    def histogram(self) -> tuple[np.float32, np.float32, list[int]]:
        """(minimum, maximum, 16 counts) of the last tick's values, one of each that is well."""
        values = self.seen
        if not values.size:
            return np.float32(0.0), np.float32(0.0), [0] * HISTOGRAM_BINS
        low, high = values.min(), values.max()
        width = float(high) - float(low)
        scale = HISTOGRAM_BINS / width if width > 0.0 else 0.0
        places = (values.astype(np.float64) - float(low)) * scale
        places = np.minimum(places.astype(np.int32), HISTOGRAM_BINS - 1)
        counts = np.bincount(places, minlength=HISTOGRAM_BINS)
        return low, high, [int(c) for c in counts]

    def begin_row(self) -> None:
        """A row was written: start counting anew."""
        self.since = dict.fromkeys(self.since, 0)
        self.log, self.row_tick = [], self.tick
