"""Coupled phase oscillators, each block a population (Kuramoto 1975; Acebrón et al. 2005, eq. 3).

    dθ/dt = ω + K · (S cos θ − C sin θ),   C = ⟨cos θ⟩, S = ⟨sin θ⟩ over the block

which is the mean-field form ω + K r sin(ψ − θ). One Euler step of ``dt`` per tick. The natural
frequency ω is drawn once, uniform in ``omega ± spread``. Above K_c = 4 · spread / π (uniform
frequencies) the block synchronises. ``valor`` = (1 + cos θ) / 2.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from corec.entities.processor import micro


def start(me: Any) -> Any:
    """A random phase and a natural frequency of the entity's own."""
    me.theta = 6.2831853 * me.random()
    me.omega = me.omega0 + me.spread * (2.0 * me.random() - 1.0)
    me.c = math.cos(me.theta)
    me.s = math.sin(me.theta)
    return 0.5 + 0.5 * me.c


@micro(
    state={"theta": "f4", "omega": "f4", "c": "f4", "s": "f4"},
    params={"K": 2.0, "omega0": 1.0, "spread": 0.5, "dt": 0.05},
    means=("c", "s"),
    init=start,
)
def kuramoto(me: Any) -> Any:
    """One Euler step; phases stay in [0, 2π)."""
    pull = me.K * (me.mean_s * me.c - me.mean_c * me.s)
    theta = me.theta + me.dt * (me.omega + pull)
    theta = theta - 6.2831853 * np.floor(theta * 0.15915494)
    me.theta = theta
    me.c = math.cos(theta)
    me.s = math.sin(theta)
    return 0.5 + 0.5 * me.c
