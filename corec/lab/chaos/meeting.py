"""Entities that meet, under chaos: who sees, sends, is born, dies, moves and inherits, against the
calm run.

A meadow on a plane, a town on a grid with empty cells, pairs who whisper to each other, and islands
that breed. A value that got lost or came twice, a column read half written, a birth in two places,
a generation done twice would show in the digest, the rows and the messages of all that follows.
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


@micro(genes={"goal": (-1.0, 1.0, 0.1), "step": (0.0, 1.0, 0.05)}, state={"at": "f4"}, fitness="at")
def breeder(me: Any) -> Any:
    """The nearer to its island's goal, which its genes make, the fitter."""
    me.at += me.step * (me.goal - me.at) + 0.01 * me.random()
    return me.at


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
    {"id": "islas", "canal": CANAL, "entidades": 300, "entidades_por_bloque": 75,
     "procesador": f"{__name__}:{breeder.function.__name__}",
     "evolucion": {"cada": 3, "elite": 0.25, "estado": "heredado", "linaje": 0.05,
                   "migracion": {"cada": 2, "cuantos": 3, "topologia": "anillo"}}},
]  # fmt: skip
"""Behind everybody, so that the other ids stay what they are; the first of their ids is even."""
