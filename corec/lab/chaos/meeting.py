"""Entities that meet, under chaos: who sees, sends, is born, dies and moves, against the calm run.

A meadow on a plane, a town on a grid with empty cells, and pairs who whisper to each other. A value
that got lost or came twice, a column read half written, a birth in two places would show in the
digest, the rows and the messages of all that follows.
"""

from __future__ import annotations

from typing import Any, Final

from corec.entities.processor import micro

CANAL: Final = 6
_MEADOW: Final = {"kind": "plane", "position": ["x", "y"], "size": 50.0, "radius": 1.5}


@micro(state={"told": "f4", "times": "u4"}, sends=2)
def whisperer(me: Any) -> Any:
    """Hears what the one beside it said, and answers: of ids 2k and 2k + 1."""
    for value in me.inbox:
        me.told = 0.5 * me.told + value
        me.times += 1
    partner = me.id + 1 - 2 * (me.id % 2)
    me.send(partner, 0.5 * me.random())
    if me.random() < 0.2:
        me.send(partner, 0.25 * me.told)
    return me.told


SWARMS: Final[list[dict[str, Any]]] = [
    {"id": "pares", "canal": CANAL, "entidades": 240, "entidades_por_bloque": 60,
     "procesador": f"{__name__}:{whisperer.function.__name__}"},
    {"id": "pueblo", "canal": CANAL, "entidades": 340, "capacidad": 400, "procesador": "schelling",
     "parametros": {"wanted": 0.6}, "entidades_por_bloque": 90,
     "space": {"kind": "grid", "width": 20, "height": 20}},
    {"id": "grass", "canal": CANAL, "entidades": 2500, "procesador": "grass", "space": _MEADOW},
    {"id": "sheep", "canal": CANAL, "entidades": 600, "capacidad": 4000, "procesador": "sheep",
     "space": _MEADOW},
    {"id": "wolf", "canal": CANAL, "entidades": 80, "capacidad": 1000, "procesador": "wolf",
     "space": _MEADOW},
]  # fmt: skip
"""Behind everybody, so that the other ids stay what they are; the first of their ids is even."""
