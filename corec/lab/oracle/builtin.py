"""The built-in processors, written from docs/rules.md and docs/entities.md; the detectors beside
``ewma`` from docs/detectors.md. Those who look at each other: ``models``.

Arithmetic is float32, term by term from left to right.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from corec.lab.oracle.detectors import DETECTORS
from corec.lab.oracle.entity import Kind
from corec.lab.oracle.rounded import cos, exp, sin


def sensor_start(me: Any) -> Any:
    """Four uniforms: nearly the stationary distribution."""
    total = me.random() + me.random() + me.random() + me.random() - 2.0
    return me.mu + total * me.noise * 0.5 / np.sqrt(1.0 - me.phi * me.phi)


def sensor(me: Any) -> Any:
    """AR(1)."""
    return me.mu + me.phi * (me.valor - me.mu) + me.noise * (me.random() - 0.5)


def ewma(me: Any, value: Any) -> Any:
    """How far a reading lies from what came before."""
    me.values.push(value)
    me.seen = min(me.seen + 1, 2**32 - 1)
    if me.seen == 1:
        me.mean = value
        return 0.0
    d = value - me.mean
    z = abs(d) / max(np.sqrt(me.var), 1e-6 + 1e-6 * abs(me.mean))
    if me.seen > me.warmup and z > me.clip:
        d = d * (me.clip / z)
    me.mean = me.mean + me.alpha * d
    me.var = (1.0 - me.alpha) * (me.var + me.alpha * d * d)
    if me.seen <= me.warmup:
        return 0.0
    return 1.0 - exp(-0.6931472 * (z / me.z0) * (z / me.z0))


def kuramoto_start(me: Any) -> Any:
    """A random phase, a frequency of its own."""
    me.theta = 6.2831853 * me.random()
    me.omega = me.omega0 + me.spread * (2.0 * me.random() - 1.0)
    me.c, me.s = cos(me.theta), sin(me.theta)
    return 0.5 + 0.5 * me.c


def kuramoto(me: Any) -> Any:
    """One Euler step."""
    theta = me.theta + me.dt * (me.omega + me.K * (me.mean_s * me.c - me.mean_c * me.s))
    me.theta = theta - 6.2831853 * np.floor(theta * 0.15915494)
    me.c, me.s = cos(me.theta), sin(me.theta)
    return 0.5 + 0.5 * me.c


def sir_start(me: Any) -> Any:
    """Some are infected."""
    if me.random() < me.seeded:
        me.fase, me.infected = 1, 1.0
    return 0.0


def sir(me: Any) -> Any:
    """Infection, recovery."""
    u = me.random()
    if me.fase == 0 and u < 1.0 - exp(-me.beta * me.mean_infected):
        me.fase, me.infected = 1, 1.0
        return 1.0
    if me.fase == 1 and u < 1.0 - exp(-me.gamma):
        me.fase, me.infected = 2, 0.0
    return 0.25 * me.mean_infected


BUILTIN: Final = {
    "sensor": Kind(
        "sensor", "micro", sensor, sensor_start, {}, {},
        {"mu": 0.3, "phi": 0.95, "noise": 0.1082}, (), False,
    ),
    "ewma": Kind(
        "ewma", "celu", ewma, None,
        {"mean": ("f4", 0), "var": ("f4", 0), "seen": ("u4", 0)}, {"values": 200},
        {"alpha": 0.02, "z0": 4.0, "warmup": 30.0, "clip": 6.0}, (), True,
    ),
    "kuramoto": Kind(
        "kuramoto", "micro", kuramoto, kuramoto_start,
        {"theta": ("f4", 0), "omega": ("f4", 0), "c": ("f4", 0), "s": ("f4", 0)}, {},
        {"K": 2.0, "omega0": 1.0, "spread": 0.5, "dt": 0.05}, ("c", "s"), False,
    ),
    "sir": Kind(
        "sir", "micro", sir, sir_start, {"fase": ("u1", 0), "infected": ("f4", 0)}, {},
        {"beta": 0.3, "gamma": 0.1, "seeded": 0.01}, ("infected",), False,
    ),
    **DETECTORS,
}  # fmt: skip
"""By the name that ``procesador`` uses."""
