"""A detector of extreme values whose one number is the risk: DSPOT, peaks over a threshold.

Siffer, Fouque, Termier, Largouët, *Anomaly detection in streams with extreme value theory*, KDD
2017, algorithm 4. With ``M`` the drift, each side of ``x' = x − M`` has a tail. It begins at ``t``,
beyond which a share ``1 − quantile`` of the first ``learn`` readings lies; what lies beyond it, ``y
= x' − t``, is a peak, and peaks follow a generalised Pareto distribution (Pickands 1975). So that a
share ``risk`` of all readings lies beyond it, the alert begins at

    z = t + sigma / gamma · (q^−gamma − 1),   q = risk · n / peaks   (t − sigma · ln q at gamma 0)

of ``n`` readings with ``peaks`` of them beyond ``t``. ``gamma`` and ``sigma`` have the moments of
the peaks (Hosking, Wallis, *Technometrics* 29, 1987): with their mean ``m`` and variance ``v``, ``r
= m²/v``, ``gamma = (1 − r) / 2`` and ``sigma = m (r + 1) / 2``. ``z`` is computed anew at each
peak. The strength of a reading is ``y / (z − t)`` on its side, so 1 at ``z``, and 0 between the
tails.

What differs from the paper: moments in place of likelihood (Grimshaw), so that no peak needs to be
kept; ``r`` is at most 1, since a few peaks do not show that a tail has an end; for ``M`` an
exponentially weighted mean in place of a window's; a reading beyond ``z`` enters cut to it, where
the paper leaves it out, so that peaks that were called alerts too early are not lost to the fit,
and a new level is an alert or a few and then what is usual; and ``n`` and ``peaks`` are halved at a
million readings.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from corec.entities.processor import celu
from corec.processors import gate

LEARN_MAX: Final = 100
HALVED_AT: Final = 1048576.0
STATE: Final = {
    "drift": "f4", "read": "f4",
    "high_t": "f4", "high_z": "f4", "high_n": "f4", "high_mean": "f4", "high_sum2": "f4",
    "low_t": "f4", "low_z": "f4", "low_n": "f4", "low_mean": "f4", "low_sum2": "f4",
}  # fmt: skip
HISTORY: Final = {"first": ("f4", LEARN_MAX)}
PARAMS: Final = {"risk": 1e-4, "quantile": 0.95, "learn": 100.0, "follow": 0.05}


def reach(peaks: Any, mean: Any, sum2: Any, share: Any) -> Any:
    """``z − t`` of a tail with ``peaks`` peaks; ``sum2``: their squared distances from ``mean``."""
    ratio = 1.0
    if sum2 > mean * mean * peaks:
        ratio = mean * mean * peaks / sum2
    gamma = 0.5 * (1.0 - ratio)
    sigma = 0.5 * mean * (ratio + 1.0)
    log = math.log(share)
    if abs(gamma) < 1e-3:
        return -sigma * log
    return sigma / gamma * (math.exp(-gamma * log) - 1.0)


def is_place(values: Any, value: Any, beyond: Any) -> Any:
    """Whether ``value``, of ``values``, is the one that has ``beyond`` others above it."""
    above = 0
    equal = 0
    for k in range(len(values)):
        if values[k] > value:
            above = above + 1
        elif values[k] == value:
            equal = equal + 1
    return above <= beyond < above + equal


def high_peak(me: Any, y: Any) -> Any:
    """A peak of the upper tail; ``z`` follows."""
    me.high_n = me.high_n + 1.0
    d = y - me.high_mean
    me.high_mean = me.high_mean + d / me.high_n
    me.high_sum2 = me.high_sum2 + d * (y - me.high_mean)
    share = me.risk * me.read / me.high_n
    me.high_z = reach(me.high_n, me.high_mean, me.high_sum2, share)


def low_peak(me: Any, y: Any) -> Any:
    """A peak of the lower tail; ``z`` follows."""
    me.low_n = me.low_n + 1.0
    d = y - me.low_mean
    me.low_mean = me.low_mean + d / me.low_n
    me.low_sum2 = me.low_sum2 + d * (y - me.low_mean)
    share = me.risk * me.read / me.low_n
    me.low_z = reach(me.low_n, me.low_mean, me.low_sum2, share)


def settle(me: Any) -> Any:
    """Where the tails begin, after the first readings; those beyond are peaks."""
    held = len(me.first)
    beyond = int(held * (1.0 - me.quantile))
    for k in range(held):
        if is_place(me.first, me.first[k], beyond):
            me.high_t = me.first[k]
        if is_place(me.first, me.first[k], held - 1 - beyond):
            me.low_t = me.first[k]
    for k in range(held):
        if me.first[k] > me.high_t:
            high_peak(me, me.first[k] - me.high_t)
        elif me.first[k] < me.low_t:
            low_peak(me, me.low_t - me.first[k])


def strength(me: Any, value: Any) -> Any:
    """Of one reading; 1 is an alert."""
    x = min(max(value, -1e18), 1e18)
    if me.read == 0.0:
        me.drift = x
    d = x - me.drift
    learn = min(max(me.learn, 2.0), float(LEARN_MAX))
    if me.read < learn:
        me.read = me.read + 1.0
        me.first.push(d)
        me.drift = me.drift + me.follow * d
        if me.read >= learn:
            settle(me)
        return 0.0
    least = 1e-6 * abs(me.drift) + 1e-18
    high = max(me.high_z, least)
    low = max(me.low_z, least)
    found = np.float32(0.0)
    if d > me.high_t:
        found = (d - me.high_t) / high
    elif d < me.low_t:
        found = (me.low_t - d) / low
    d = min(max(d, me.low_t - low), me.high_t + high)
    me.drift = me.drift + me.follow * d
    me.read = me.read + 1.0
    if d > me.high_t:
        high_peak(me, d - me.high_t)
    elif d < me.low_t:
        low_peak(me, me.low_t - d)
    if me.read >= HALVED_AT:
        me.read = 0.5 * me.read
        me.high_n = 0.5 * me.high_n
        me.high_sum2 = 0.5 * me.high_sum2
        me.low_n = 0.5 * me.low_n
        me.low_sum2 = 0.5 * me.low_sum2
    return found


@celu(state={**STATE, **gate.STATE}, history=HISTORY, params={**PARAMS, **gate.PARAMS}, alerts=True)
def spot(me: Any, value: Any) -> Any:
    """Score one reading: three quarters or more is extreme."""
    return gate.speak(me, strength(me, value))
