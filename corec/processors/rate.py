"""A detector of jumps: a step from one reading to the next that is large among such steps.

    d = x − x₋₁;   strength = |d| / (times · s);   s² ← s² + alpha · (c² − s²)

where ``c`` is ``d`` cut to ``times · s`` in either direction, so that a jump does not hide the next
one; ``s`` is at least a millionth of the reading before. This is the rate-of-change test of
oceanographers' quality control, with an exponentially weighted root mean square in place of the
deviation over 25 hours (U.S. IOOS, *QARTOD manual for in-situ temperature and salinity data*,
version 2.1, 2020, test 7). During the first ``after`` readings ``s²`` is the plain mean of ``d²``
and the strength is 0. With ``limit`` above 0 that is the largest step allowed, whatever was usual,
from the second reading on: strength = |d| / limit.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from corec.entities.processor import celu
from corec.processors import gate

STATE: Final = {"before": "f4", "steps": "f4", "step2": "f4"}
PARAMS: Final = {"times": 8.0, "alpha": 0.02, "after": 30.0, "limit": 0.0}


def strength(me: Any, value: Any) -> Any:
    """Of one reading; 1 is an alert."""
    x = min(max(value, -1e18), 1e18)
    d = x - me.before
    if me.steps == 0.0:
        d = 0.0
    usual = np.sqrt(me.step2) + 1e-6 * abs(me.before) + 1e-18
    me.before = x
    me.steps = me.steps + 1.0
    found = abs(d) / (me.times * usual)
    if me.steps <= me.after:
        found = 0.0
        if me.steps > 1.0:
            me.step2 = me.step2 + (d * d - me.step2) / (me.steps - 1.0)
    else:
        most = me.times * usual
        cut = min(max(d, -most), most)
        me.step2 = me.step2 + me.alpha * (cut * cut - me.step2)
    if me.limit > 0.0:
        found = abs(d) / me.limit
    return found


@celu(state={**STATE, **gate.STATE}, params={**PARAMS, **gate.PARAMS}, alerts=True)
def rate(me: Any, value: Any) -> Any:
    """Score one reading: three quarters or more is a jump."""
    return gate.speak(me, strength(me, value))
