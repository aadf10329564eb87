"""A detector of values that stay: a sensor that froze says the same for ever.

A run is a stretch of readings that all lie within ``band`` of its first one. The r-th reading of a
run has the strength ``(r − 1) / (many − 1)``, at most 1 and reached once: an alert at the
``many``-th. After that the strength is 0 until a reading leaves the band and begins the next run;
with ``again`` above 0 the alert is repeated each time that the run has grown by so many readings.

This is the flat-line test of oceanographers' quality control (U.S. IOOS, *QARTOD manual for in-situ
temperature and salinity data*, version 2.1, 2020, test 8) with its count and its tolerance.
Readings are counted, not ticks: a sensor that says nothing at all is another fault.
"""

from __future__ import annotations

from typing import Any, Final

from corec.entities.processor import celu
from corec.processors import gate

STATE: Final = {"anchor": "f4", "run": "f4"}
PARAMS: Final = {"many": 20.0, "band": 0.0, "again": 0.0}


def strength(me: Any, value: Any) -> Any:
    """Of one reading; 1 is an alert."""
    x = min(max(value, -1e18), 1e18)
    if me.run == 0.0 or abs(x - me.anchor) > me.band:
        me.anchor = x
        me.run = 1.0
    else:
        me.run = me.run + 1.0
        if me.again > 0.0 and me.run >= me.many + me.again:
            me.run = me.many
    if me.run >= me.many + 1.0:
        return 0.0
    if me.run >= me.many:
        return 1.0
    return (me.run - 1.0) / max(me.many - 1.0, 1.0)


@celu(state={**STATE, **gate.STATE}, params={**PARAMS, **gate.PARAMS, "pause": 0.0}, alerts=True)
def stuck(me: Any, value: Any) -> Any:
    """Score one reading: three quarters or more is a value that stayed too long."""
    return gate.speak(me, strength(me, value))
