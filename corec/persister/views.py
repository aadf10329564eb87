"""Views over ``eventos`` that show what evolution tells of as tables: ``generaciones``, ``linaje``.

Made by whoever comes first, beside the tables and under the same lock. A table or view of that name
that is there already stays as it is; a role that may make none goes on without.
"""

from __future__ import annotations

from typing import Any, Final

import psycopg
from psycopg import sql

from corec.log import get_logger

log = get_logger("corec.persister")

VIEWS: Final = {
    "generaciones": """
        CREATE VIEW {} AS
        SELECT instance_id, "timestamp", tick, bloque, split_part(bloque, ':', 1) AS enjambre,
               (detalle->>'generacion')::bigint AS generacion,
               (detalle->>'mejor')::float8 AS mejor, (detalle->>'media')::float8 AS media,
               (detalle->>'peor')::float8 AS peor, (detalle->>'diversidad')::float8 AS diversidad,
               (detalle->>'activas')::bigint AS activas, (detalle->>'hijos')::bigint AS hijos,
               (detalle->>'mejor_id')::bigint AS mejor_id, detalle->'genes' AS genes
          FROM {} WHERE tipo = 'generation'
    """,
    "linaje": """
        CREATE VIEW {} AS
        SELECT instance_id, "timestamp", tick, bloque, entidad AS hijo,
               (detalle->>'madre')::bigint AS madre, (detalle->>'padre')::bigint AS padre,
               (detalle->>'generacion')::bigint AS generacion, detalle->>'how' AS how,
               detalle->'genes' AS genes
          FROM {} WHERE tipo = 'lineage'
    """,
}


async def ensure_views(connection: psycopg.AsyncConnection[Any], schema: str, lock: int) -> None:
    """Make the views that are missing.  Raises psycopg.Error but for a lack of rights."""
    cursor = await connection.execute(
        "SELECT name FROM unnest(%s::text[]) AS name WHERE to_regclass(name) IS NULL",
        (list(VIEWS),),
    )
    for (name,) in await cursor.fetchall():
        try:
            async with connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock(%s)", (lock,))
                places = sql.Identifier(schema, name), sql.Identifier(schema, "eventos")
                await connection.execute(sql.SQL(VIEWS[name]).format(*places))
        except psycopg.errors.InsufficientPrivilege as error:
            log.warning("a view can't be made", view=name, error=str(error).strip())
        except psycopg.errors.DuplicateTable:
            continue  # somebody else was first
