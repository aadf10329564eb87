"""The gate that every detector speaks through: one alert, then silence for a while.

A detector computes the *strength* of a reading: how far it lies towards an alert, 1 where the alert
begins. What becomes ``valor`` is

    0                      for ``pause`` readings after an alert
    strength / 2           below 1, so at most 0.49999997; 0 for what is not positive
    1 − 1 / (4 strength)   from 1 on, so 0.75 to 1: an alert

No value lies between a half and three quarters. A block's umbral does, at full load: it is 0.5 +
0.3 σ + 0.2 errores/n, and σ of values between 0 and 1 is hardly ever more than a half. So what the
gate lets through becomes a message, and what it does not cannot.
"""

from __future__ import annotations

from typing import Any, Final

STATE: Final = {"rest": "f4"}
PARAMS: Final = {"pause": 30.0}


def speak(me: Any, strength: Any) -> Any:
    """``valor`` for a reading of this strength; declare ``STATE`` and ``PARAMS`` for it."""
    if me.rest > 0.0:
        me.rest = me.rest - 1.0
        return 0.0
    if strength >= 1.0:
        me.rest = me.pause
        return 1.0 - 0.25 / strength
    return 0.5 * max(strength, 0.0)


def is_open(me: Any) -> Any:
    """Whether the next strength of 1 is an alert."""
    return me.rest <= 0.0
