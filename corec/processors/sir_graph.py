"""An SIR epidemic on a contact network, an entity a person of a ``graph`` space.

A susceptible with k infected contacts is infected in one tick with probability 1 − exp(−beta · k),
an infected recovers with probability gamma (Pastor-Satorras et al., *Rev. Mod. Phys.* 87, 2015).
``fase``: 0 susceptible, 1 infected, 2 recovered. ``valor`` is 1 in the tick of infection, else 0.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from corec.entities.processor import micro


def start(me: Any) -> Any:
    """Infected with probability ``seeded``, else susceptible."""
    me.fase = 1 if me.random() < me.seeded else 0
    return 0.0


@micro(
    state={"fase": "u1"},
    params={"beta": 0.05, "gamma": 0.1, "seeded": 0.001},
    public=("fase",),
    init=start,
)
def sir_graph(me: Any) -> Any:
    """One tick of infection and recovery."""
    u = me.random()
    if me.fase == 0:
        ill = np.float32(me.neighbours.count_equal("fase", 1))
        if u < me.beta * ill and u < 1.0 - math.exp(-me.beta * ill):  # never more: 1 − exp(−x) ≤ x
            me.fase = 1
            return 1.0
    elif me.fase == 1 and u < me.gamma:
        me.fase = 2
    return 0.0
