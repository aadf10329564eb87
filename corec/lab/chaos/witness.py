"""The entities that chaos holds against the oracle: they fail, are repaired, emit, have a history.

Few, because the oracle is slow; workers, lanes, sinks and faults are those of everybody else.
"""

from __future__ import annotations

import math
from typing import Any, Final

from corec.entities.processor import micro

NAME: Final = "testigos"
CANAL: Final = 4
SHARE_FAILING: Final = 0.06


def start(me: Any) -> Any:
    """At random."""
    me.level = me.random()
    return 0.0


@micro(state={"level": "f4", "turns": "u2"}, history={"past": ("f4", 4)}, init=start)
def witness(me: Any) -> Any:
    """Wanders; now and then it raises or gives a number that is none."""
    me.turns = me.turns + 1
    me.past.push(me.level)
    me.level = 0.75 * me.level + 0.5 * (me.random() - 0.25)
    chance = me.random()
    if chance < 0.5 * SHARE_FAILING:
        raise ValueError("by chance")
    if chance < SHARE_FAILING:
        return math.nan
    return 0.5 * (me.level + me.past[0]) + 0.25


SWARM: Final[dict[str, Any]] = {
    "id": NAME,
    "canal": CANAL,
    "entidades": 60,
    "entidades_por_bloque": 30,
    "procesador": f"{__name__}:{witness.function.__name__}",
}
"""Its place in ``bloques``: the last, so that the other ids stay what they are."""
