"""A simulated sensor: a stationary first-order autoregressive process, AR(1).

    x(t) = mu + phi · (x(t−1) − mu) + noise · (u − 1/2),   u uniform in [0, 1)

(Box, Jenkins, Reinsel, *Time Series Analysis*, ch. 3.) Its stationary mean is ``mu``, its
variance ``noise² / 12 / (1 − phi²)``. With the defaults σ = 0.1, and since a block's threshold
settles at 0.5 + 0.3 σ = 0.53 (carga 1), about 1 % of the entities lie above it at any tick.
The state is ``valor`` itself: a value that arrives from the stream is taken up and decays.
"""

from __future__ import annotations

import math
from typing import Any

from corec.entities.processor import micro


def start(me: Any) -> Any:
    """Draw from (nearly) the stationary distribution: four uniforms, Irwin–Hall, σ exact."""
    total = me.random() + me.random() + me.random() + me.random() - 2.0
    return me.mu + total * me.noise * 0.5 / math.sqrt(1.0 - me.phi * me.phi)


@micro(params={"mu": 0.3, "phi": 0.95, "noise": 0.1082}, init=start)
def sensor(me: Any) -> Any:
    """One step of AR(1); returns the new ``valor``."""
    return me.mu + me.phi * (me.valor - me.mu) + me.noise * (me.random() - 0.5)
