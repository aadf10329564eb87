"""What the table ``eventos`` has of an entity's ancestors, step by step through its indexes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from corec.world.ancestry import Event

if TYPE_CHECKING:
    import psycopg

_COLUMNS: Final = ("tick", "tipo", "bloque", "entidad", "detalle")
_BIRTH: Final = """
    SELECT tick, tipo, bloque, entidad, detalle FROM eventos
     WHERE instance_id = %s AND tipo = 'lineage' AND entidad = %s AND tick <= %s
     ORDER BY tick DESC LIMIT 1
"""
_TAKEOVER: Final = """
    SELECT tick, tipo, bloque, entidad, detalle FROM eventos
     WHERE instance_id = %s AND tipo IN ('fusion', 'division') AND bloque = %s AND tick <= %s
       AND (detalle->>'places' = %s OR (%s AND tipo = 'fusion'))
     ORDER BY tick DESC LIMIT 1
"""


class Births:
    """As ``corec.world.ancestry.Told``, of a running instance's table."""

    def __init__(self, connection: psycopg.Connection[Any], instance_id: str) -> None:
        self._connection, self._instance_id = connection, instance_id

    def birth(self, place: int, upto: int) -> Event | None:
        """The last birth in a place up to a tick."""
        return self._one(_BIRTH, place, upto)

    def takeover(self, bloque: str, places: str, whole: bool, upto: int) -> Event | None:
        """The last time up to a tick that a block took over these places, or all."""
        return self._one(_TAKEOVER, bloque, upto, places, whole)

    def _one(self, query: str, *values: Any) -> Event | None:
        found = self._connection.execute(query, (self._instance_id, *values)).fetchone()
        return None if found is None else dict(zip(_COLUMNS, found, strict=True))
