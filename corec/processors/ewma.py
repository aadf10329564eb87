"""A z-score of arriving readings: exponentially weighted mean and variance, z-score.

    d = x − m;   z = |d| / sqrt(v)
    m ← m + alpha · d;   v ← (1 − alpha) · (v + alpha · d²)

(West 1979; Finch, "Incremental calculation of weighted mean and variance", 2009, eq. 143.) The
score is ``1 − exp(−(z / z0)²  · ln 2)``, so it is 0.5 at ``z = z0`` and tends to 1; the first
``warmup`` readings score 0. The score is compared with the moments *before* the reading, and a
reading beyond ``clip`` deviations enters them clipped, so an outlier does not hide the next one.
The last 200 readings are kept.
"""

from __future__ import annotations

import math
from typing import Any, Final

from corec.entities.processor import celu

SEEN_MAX: Final = 2**32 - 1
"""Counted no further: there is no more to warm up."""


@celu(
    state={"mean": "f4", "var": "f4", "seen": "u4"},
    history={"values": ("f4", 200, "by_time")},
    params={"alpha": 0.02, "z0": 4.0, "warmup": 30.0, "clip": 6.0},
    alerts=True,
)
def ewma(me: Any, value: Any) -> Any:
    """Score one reading: ``valor`` in [0, 1), 0.5 at ``z0`` standard deviations."""
    me.values.push(value)
    me.seen = min(me.seen + 1, SEEN_MAX)
    if me.seen == 1:
        me.mean = value
        return 0.0
    d = value - me.mean
    spread = math.sqrt(me.var)
    floor = 1e-6 + 1e-6 * abs(me.mean)
    z = abs(d) / max(spread, floor)
    if me.seen > me.warmup and z > me.clip:
        d = d * (me.clip / z)
    me.mean = me.mean + me.alpha * d
    me.var = (1.0 - me.alpha) * (me.var + me.alpha * d * d)
    if me.seen <= me.warmup:
        return 0.0
    ratio = z / me.z0
    return 1.0 - math.exp(-0.6931472 * ratio * ratio)
