"""The rules of a block (CONTRACT §3) in slow, plain Python: what the kernels are held against.

The threshold is taken from the block under test before each tick, since its sums run in another
order: a value that lies within one rounding of it would fall on either side.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from corec.entities.codegen import DRAWS_PER_READING
from corec.entities.plain import PlainEntity
from corec.entities.processor import Processor
from corec.layout import HISTOGRAM_BINS, REPAIR_INHERIT, REPAIR_RESET

Reading = tuple[int, float, bool]


@dataclass
class Entity:
    """One entity: its state by name (``valor`` and histories included), and its counts."""

    state: dict[str, Any]
    activo: bool = True
    fallos: int = 0
    racha: int = 0


@dataclass
class Tick:
    """What one tick did."""

    messages: list[bytes] = field(default_factory=list)
    emitted: list[tuple[int, np.float32]] = field(default_factory=list)
    good: list[np.float32] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)
    healthy: set[int] = field(default_factory=set)
    repairs: list[tuple[int, int, int]] = field(default_factory=list)
    umbral: float = 0.0


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
    ) -> None:
        self.processor, self.n, self.seed = processor, n, seed
        self.first_id, self.carga, self.canal = first_id, carga, canal
        self.max_errores = max_errores
        self.entities = [Entity(self.initial(i)) for i in range(n)]
        self.tick = 0
        self.umbral, self.fitness = 0.5, 1.0
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
            state["valor"] = np.float32(self.processor.init(me))
            state.update({f.name: getattr(me, f.name) for f in self.processor.state})
        return state

    def call(self, i: int, *value: np.float32, draws: int = 0) -> np.float32 | None:
        """Run entity ``i`` once; None when it failed, which leaves its state alone."""
        entity = self.entities[i]
        means = {f"mean_{name}": mean for name, mean in self.means.items()}
        me = PlainEntity(
            self.processor, id=self.first_id + i, tick=self.tick, seed=self.seed, draws=draws,
            **entity.state, **means,
        )  # fmt: skip
        try:
            with np.errstate(all="ignore"):
                valor = np.float32(self.processor.function(me, *value))
        except (ValueError, IndexError):
            return None
        if not np.isfinite(valor):
            return None
        entity.state["valor"] = valor
        entity.state.update({f.name: getattr(me, f.name) for f in self.processor.state})
        for ring in self.processor.history:
            entity.state[ring.name] = list(getattr(me, ring.name).values)
        return valor

    def step(self, readings: Sequence[Reading], umbral: float) -> Tick:
        """One tick with the ``readings`` (index in the block, value, activo)."""
        self.tick += 1
        found = Tick(umbral=umbral)
        if self.processor.kind == "micro":
            self._run_window(readings, found)
        else:
            self._run_readings(readings, found)
        self._repair(found)
        self._close(found)
        return found

    def _run_window(self, readings: Sequence[Reading], found: Tick) -> None:
        for i, value, activo in readings:
            self.entities[i].state["valor"] = np.float32(value)
            self.entities[i].activo = activo
        width = math.ceil(self.n * self.carga)
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
        if valor is None:
            found.failed.append(i)
            self.entities[i].fallos += 1
            return
        found.good.append(valor)
        found.healthy.add(i)
        if valor > np.float32(found.umbral):
            canal = self.canal
            found.messages.append(struct.pack("!Ibf?", self.first_id + i, canal, valor, True))
            found.emitted.append((i, valor))
            self.log.append((i, self.tick, valor))

    def _repair(self, found: Tick) -> None:
        failed = set(found.failed)
        for i in found.healthy - failed:
            self.entities[i].racha = 0
        for i in found.failed:
            self.entities[i].racha += 1
        if len(found.failed) <= self.max_errores * self.n:
            return
        healthy = found.healthy - failed
        if self.processor.kind == "celu":
            healthy = {i for i in range(self.n) if self.entities[i].activo} - failed
        for i in sorted(failed) if self.processor.kind == "micro" else dict.fromkeys(found.failed):
            donors = [(i + k) % self.n for k in range(1, self.n)]
            donor = next((j for j in donors if j in healthy), None)
            entity = self.entities[i]
            if donor is None or entity.racha >= 2:
                entity.state, entity.racha = self.initial(i), 0
                found.repairs.append((i, i, REPAIR_RESET))
            else:
                kept = {ring.name: entity.state[ring.name] for ring in self.processor.history}
                entity.state = {**self.entities[donor].state, **kept}
                found.repairs.append((i, donor, REPAIR_INHERIT))

    def _close(self, found: Tick) -> None:
        good = np.array(found.good, np.float64)
        sigma = 0.0
        if good.size:
            sigma = float(np.std(good, ddof=1)) if good.size > 1 else 0.0
            self.media, self.desviacion = float(good.mean()), sigma
        share = len(found.failed) / self.n
        self.umbral = min(max(0.5 * self.carga + 0.3 * sigma + 0.2 * share, 0.1), 0.9)
        self.fitness = 0.9 * self.fitness + 0.1 * (1.0 - min(share, 1.0))
        self.take_means()
        self.since["errores"] += len(found.failed)
        self.since["reparadas"] += len(found.repairs)
        self.since["mensajes"] += len(found.messages)

    def take_means(self) -> None:
        """The means that the next tick reads."""
        active = [e for e in self.entities if e.activo]
        for name in self.processor.means:
            values = [float(e.state[name]) for e in active]
            self.means[name] = sum(values) / len(values) if values else 0.0

    def histogram(self) -> tuple[np.float32, np.float32, list[int]]:
        """(minimum, maximum, 16 counts) of the active entities' valor."""
        values = np.array([e.state["valor"] for e in self.entities if e.activo], np.float32)
        if not values.size:
            return np.float32(0.0), np.float32(0.0), [0] * HISTOGRAM_BINS
        low, high = values.min(), values.max()
        width = float(high) - float(low)
        scale = np.float32(HISTOGRAM_BINS / width) if width > 0.0 else np.float32(0.0)
        places = np.minimum(((values - low) * scale).astype(np.int32), HISTOGRAM_BINS - 1)
        counts = np.bincount(places, minlength=HISTOGRAM_BINS)
        return low, high, [int(c) for c in counts]

    def begin_row(self) -> None:
        """A row was written: start counting anew."""
        self.since = dict.fromkeys(self.since, 0)
        self.log, self.row_tick = [], self.tick
