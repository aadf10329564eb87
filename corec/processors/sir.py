"""A stochastic SIR epidemic, each block a well-mixed population (Kermack and McKendrick 1927).

A susceptible is infected in one tick with probability 1 − exp(−beta · I/N), an infected recovers
with probability 1 − exp(−gamma), I/N the infected share of the block after the last tick
(the chain-binomial form of Reed and Frost). Basic reproduction number R0 = beta / gamma.
``fase``: 0 susceptible, 1 infected, 2 recovered. ``valor`` = 1 in the tick of infection, else the
infected share divided by four: each new case is a message.
"""

from __future__ import annotations

import math
from typing import Any

from corec.entities.processor import micro


def start(me: Any) -> Any:
    """Infected with probability ``seeded``, else susceptible."""
    if me.random() < me.seeded:
        me.fase = 1
        me.infected = 1.0
    return 0.0


@micro(
    state={"fase": "u1", "infected": "f4"},
    params={"beta": 0.3, "gamma": 0.1, "seeded": 0.01},
    means=("infected",),
    init=start,
)
def sir(me: Any) -> Any:
    """One tick of infection and recovery."""
    u = me.random()
    infection = 1.0 - math.exp(-me.beta * me.mean_infected)
    recovery = 1.0 - math.exp(-me.gamma)
    valor = me.mean_infected * 0.25
    if me.fase == 0:
        if u < infection:
            me.fase = 1
            me.infected = 1.0
            valor = 1.0
    elif me.fase == 1 and u < recovery:
        me.fase = 2
        me.infected = 0.0
    return valor
