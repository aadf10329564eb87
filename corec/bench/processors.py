"""Processors that only benchmarks run."""

from __future__ import annotations

from typing import Any

from corec.entities.processor import celu, micro
from corec.processors.sensor import start

FILL = 1000.0
"""A reading that counts as four, as many as one call may keep."""


@micro(
    history={"values": ("f4", 200)},
    params={"mu": 0.3, "phi": 0.95, "noise": 0.1082},
    init=start,
)
def recorder(me: Any) -> Any:
    """The sensor that also keeps its last 200 values: after 200 ticks its whole KB was written."""
    x = me.mu + me.phi * (me.valor - me.mu) + me.noise * (me.random() - 0.5)
    me.values.push(x)
    return x


@celu(history={"values": ("f4", 200)})
def keeper(me: Any, value: Any) -> Any:
    """Keeps its last 200 readings; ``FILL`` counts as four different ones."""
    if value < 1000.0:
        me.values.push(value)
    else:
        for k in range(4):
            me.values.push(me.random() + k)
    return 0.0
