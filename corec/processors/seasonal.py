"""A detector against a profile: what is usual at this time of a period that is counted in ticks.

The period of ``period`` ticks has ``bins`` equal parts (64 at most). Of each part the profile holds
a level and a variance, as the last period left them; a reading is held against those of its part:

    e = x − level;   strength = |e| / (width · s),   s² = (variance + pool) / 2

``pool`` is the exponentially weighted mean of ``e²`` over all parts, which carries a part of few
readings. When a part is over, its readings, with mean ``m`` and variance ``w``, enter:

    level ← level + gamma · (m − level)
    variance ← variance + gamma · (w + (m − level)² − variance)        with the level before

(the first time ``m`` and ``w`` themselves). These are the seasonal coefficients and the deviations
of Brutlag, *Aberrant behavior detection in time series for network monitoring*, LISA 2000, after
Winters 1960, with variances in place of absolute deviations and without trend. A reading beyond
``width · s`` enters cut to that, so one outlier spoils nothing, and what lasts becomes usual. The
first ``periods`` periods score 0, and so do a part that was never seen and the first ``LEARN``
readings that were held against their part, of which ``pool`` is a mean of too few. A part is over
with the next reading of another part or of another period: a sensor that is read once a day has one
part each day, and so has a period that is not divided.

The profile lies in a history of (part, level, variance), newest last, of which a part's newest
entry counts: gaps of any length leave what was known.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from corec.entities.processor import celu
from corec.processors import gate

BINS_MAX: Final = 64
LEARN: Final = 30.0
STATE: Final = {
    "since": "i8", "turn": "i8", "part": ("f4", -1.0), "known": "f4", "usual": "f4", "wide": "f4",
    "pool": "f4", "pooled": "f4", "count": "f4", "middle": "f4", "apart": "f4",
}  # fmt: skip
HISTORY: Final = {"profile": ("f4", 3 * BINS_MAX)}
PARAMS: Final = {
    "period": 1440.0, "bins": 48.0, "width": 5.0, "gamma": 0.3, "periods": 2.0, "share": 0.01,
}  # fmt: skip


def enter(me: Any) -> Any:
    """Put the part that is over into the profile."""
    if me.count == 0.0:
        return
    level = me.middle
    wide = me.apart / me.count
    if me.known > 0.0:
        d = me.middle - me.usual
        level = me.usual + me.gamma * d
        wide = me.wide + me.gamma * (wide + d * d - me.wide)
    me.profile.push(me.part)
    me.profile.push(level)
    me.profile.push(wide)


def look_up(me: Any, part: Any) -> Any:
    """Begin ``part``: what the profile says of it becomes ``usual`` and ``wide``."""
    me.part = part
    me.known = 0.0
    me.count = 0.0
    me.middle = 0.0
    me.apart = 0.0
    entries = len(me.profile) // 3
    for k in range(entries):
        if me.profile[3 * k] == part:
            me.known = 1.0
            me.usual = me.profile[3 * k + 1]
            me.wide = me.profile[3 * k + 2]


def strength(me: Any, value: Any) -> Any:
    """Of one reading; 1 is an alert."""
    x = min(max(value, -1e18), 1e18)
    period = max(int(me.period), 1)
    bins = min(max(int(me.bins), 1), BINS_MAX)
    part = np.float32(me.tick % period * bins // period)
    if me.part < 0.0:
        me.since = me.tick
    turn = me.tick // period
    if part != me.part or turn != me.turn:
        enter(me)
        look_up(me, part)
        me.turn = turn
    found = np.float32(0.0)
    if me.known > 0.0:
        e = x - me.usual
        s = np.sqrt(0.5 * (me.wide + me.pool)) + 1e-6 * abs(me.usual) + 1e-18
        most = me.width * s
        if me.tick - me.since >= int(me.periods) * period and me.pooled >= LEARN:
            found = abs(e) / most
            e = min(max(e, -most), most)
            x = me.usual + e
        me.pooled = me.pooled + 1.0
        me.pool = me.pool + max(me.share, 1.0 / me.pooled) * (e * e - me.pool)
    me.count = me.count + 1.0
    d = x - me.middle
    me.middle = me.middle + d / me.count
    me.apart = me.apart + d * (x - me.middle)
    return found


@celu(state={**STATE, **gate.STATE}, history=HISTORY, params={**PARAMS, **gate.PARAMS}, alerts=True)
def seasonal(me: Any, value: Any) -> Any:
    """Score one reading: three quarters or more is out of season."""
    return gate.speak(me, strength(me, value))
