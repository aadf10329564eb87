"""A detector of readings unlike any before: how far is the nearest of what it remembers?

Of each reading ``x`` it takes three numbers: ``x`` itself, the exponentially weighted mean ``m`` of
the last readings, and their roughness ``r``, the exponentially weighted mean of ``|x − m|``. It
remembers 66 such triples, the newest that differed from all it knew. The distance to the nearest,

    near = min over the remembered of  |x − x'| + W_SHORT · |m − m'| + W_ROUGH · |r − r'|

is large when nothing like this was there before: a value never seen, a familiar value where it was
always low, a calm where it was always rough. ``far`` and ``spread`` are mean and variance of
``near`` so far, and the strength of a reading is how many deviations beyond the mean it lies,

    z = (near − far) / (√spread + FLOOR · width),     strength = z / (z0 · level)

with ``width`` the deviation of the readings. What lies beyond ``cut`` deviations enters the moments
cut to that, so that what was alarming does not hide the next of its kind. ``level`` begins at 1,
grows by the factor ``1 + step`` with each alert and goes back to 1 over ``ease`` readings: whoever
cries wolf has to cry louder. The gate (``gate.py``) then holds its peace for ``pause`` readings.

Sources: the distance to the nearest of what was seen as the measure of an anomaly is Knorr and Ng,
VLDB 1998, and for streams of one value Burnaev and Ishimtsev, *Conformalized density- and
distance-based anomaly detection in time-series data*, arXiv:1608.04585; the gate against repeated
alerts is the anomaly likelihood's of Ahmad, Lavin, Purdy, Agha, *Unsupervised real-time anomaly
detection for streaming data*, Neurocomputing 262, 2017, in another form; moments as in ``ewma``.
The defaults were chosen on three folders of the benchmark of that paper; docs/detectors.md says
how, and what it scores on the others.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from corec.entities.processor import celu
from corec.processors import gate

REMEMBERED: Final = 66
STATE: Final = {
    "seen": "f4", "mean": "f4", "var": "f4", "short_mean": "f4", "roughness": "f4",
    "far": "f4", "spread": "f4", "level": ("f4", 1.0),
}  # fmt: skip
HISTORY: Final = {"book": ("f4", 3 * REMEMBERED)}
PARAMS: Final = {
    "z0": 1.4, "warmup": 150.0, "grain": 0.5, "slow": 0.002, "forget": 0.0005, "cut": 6.0,
    "step": 0.16, "ease": 10000.0,
}  # fmt: skip
SHORT: Final = 0.1
"""How fast the mean of the last readings follows."""
ROUGH: Final = 0.02
"""How fast their roughness does."""
W_SHORT: Final = 0.8
W_ROUGH: Final = 0.4
SETTLE: Final = 20.0
"""Readings before distances count: to begin with, everything is new."""
FLOOR: Final = 0.08
"""Share of the readings' deviation that is noise in any distance."""


def strength(me: Any, value: Any) -> Any:
    """Of one reading; 1 is an alert."""
    x = min(max(value, -1e18), 1e18)
    if me.seen == 0.0:
        me.mean = x
        me.short_mean = x
    me.seen = me.seen + 1.0
    me.roughness = me.roughness + ROUGH * (abs(x - me.short_mean) - me.roughness)
    me.short_mean = me.short_mean + SHORT * (x - me.short_mean)
    near = me.book.nearest((x, me.short_mean, me.roughness), (1.0, W_SHORT, W_ROUGH))
    width = np.sqrt(me.var) + 1e-6 * abs(me.mean) + 1e-18
    if len(me.book) == 0 or near > me.grain * width:
        me.book.push(x)
        me.book.push(me.short_mean)
        me.book.push(me.roughness)
    d = near - me.far
    z = np.float32(0.0)
    if me.seen > me.warmup:
        wide = np.sqrt(me.spread) + FLOOR * width + 1e-18
        z = d / wide
        d = min(d, me.cut * wide)
    part = max(me.forget, 1.0 / max(me.seen - SETTLE, 1.0))
    me.far = me.far + part * d
    me.spread = (1.0 - part) * (me.spread + part * d * d)
    d = x - me.mean
    part = max(me.slow, 1.0 / me.seen)
    me.mean = me.mean + part * d
    me.var = (1.0 - part) * (me.var + part * d * d)
    me.level = me.level + (1.0 - me.level) / me.ease
    found = z / (me.z0 * me.level)
    if found >= 1.0 and me.rest <= 0.0:
        me.level = me.level * (1.0 + me.step)
    return found


@celu(state={**STATE, **gate.STATE}, history=HISTORY, params={**PARAMS, **gate.PARAMS}, alerts=True)
def detector(me: Any, value: Any) -> Any:
    """Score one reading: three quarters or more is unlike anything before."""
    return gate.speak(me, strength(me, value))
