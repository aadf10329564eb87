"""Thermostats of two values: three bad readings of the last five are an alert, and so is silence.

As `plugins/thermostats.py` of a project; `thermostats.json` beside this file is its configuration.
A reading: `XADD corec:{plant}:in:1 * id 17 datos '{"t": 31.5, "h": 40}'`.
"""

from typing import Any

import corec


def gone(me: Any) -> Any:
    me.silent = 1
    return 1.0


@corec.celu(
    value={"t": "f4", "h": "f4"},
    state={"silent": "u1"},
    history={"bad": ("f4", 5)},
    silence=600,
    on_silence=gone,
    alerts=("t", "h", "silent"),
)
def thermostat(me: Any, v: Any) -> Any:
    me.silent = 0
    me.bad.push(1.0 if v.t < 15.0 or v.t > 28.0 or v.h > 70.0 else 0.0)
    return 1.0 if me.bad.sum() >= 3.0 else 0.0


@corec.task
async def note(notice: corec.Notice) -> None:
    """What to do besides the webhook: here one line, on the instance's standard error."""
    why = "says nothing" if notice.fields["silent"] else f"{notice.fields['t']:.1f} degrees"
    print(f"thermostat {notice.entity}: {notice.event} in tick {notice.tick}: {why}")
