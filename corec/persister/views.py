"""Views over ``eventos`` that show as tables what evolution and ``collect`` tell of.

Made by whoever comes first, beside the tables and under the same lock. A table or view of that name
that is there already stays as it is; a role that may make none goes on without.

They read ``eventos`` through a function, whose text PostgreSQL looks at when it is called: a view
of the table itself would keep anybody from dropping or replacing it. A plain SQL function is put
into the query that calls it, so conditions reach the table and its indexes all the same.
"""

from __future__ import annotations

from typing import Any, Final

import psycopg
from psycopg import sql

from corec.log import get_logger

log = get_logger("corec.persister")

FUNCTION: Final = "corec_eventos_de"
_FUNCTION: Final = """
    CREATE FUNCTION {}(kind text) RETURNS TABLE (
        instance_id text, "timestamp" timestamptz, tick bigint, bloque text, entidad bigint,
        detalle jsonb
    ) LANGUAGE sql STABLE AS {}
"""
_BODY: Final = """
    SELECT e.instance_id, e."timestamp", e.tick, e.bloque, e.entidad, e.detalle
      FROM {} AS e WHERE e.tipo = kind
"""
VIEWS: Final = {
    "generaciones": """
        CREATE VIEW {} AS
        SELECT instance_id, "timestamp", tick, bloque, split_part(bloque, ':', 1) AS enjambre,
               (detalle->>'generacion')::bigint AS generacion,
               (detalle->>'mejor')::float8 AS mejor, (detalle->>'media')::float8 AS media,
               (detalle->>'peor')::float8 AS peor, (detalle->>'diversidad')::float8 AS diversidad,
               (detalle->>'activas')::bigint AS activas, (detalle->>'hijos')::bigint AS hijos,
               (detalle->>'mejor_id')::bigint AS mejor_id, detalle->'genes' AS genes
          FROM {}('generation')
    """,
    "linaje": """
        CREATE VIEW {} AS
        SELECT instance_id, "timestamp", tick, bloque, entidad AS hijo,
               (detalle->>'madre')::bigint AS madre, (detalle->>'padre')::bigint AS padre,
               (detalle->>'generacion')::bigint AS generacion, detalle->>'how' AS how,
               detalle->'genes' AS genes
          FROM {}('lineage')
    """,
    "estadisticas": """
        CREATE VIEW {} AS
        SELECT e.instance_id, e."timestamp", e.tick, e.bloque,
               split_part(e.bloque, ':', 1) AS enjambre, v.key AS medida, v.value::float8 AS valor,
               (e.detalle->>'entidades')::bigint AS entidades
          FROM {}('statistics') AS e, jsonb_each_text(e.detalle->'values') AS v
    """,
    "estadisticas_enjambre": """
        CREATE VIEW {} AS
        SELECT instance_id, max("timestamp") AS "timestamp", tick, enjambre, medida,
               CASE split_part(medida, '(', 1)
                   WHEN 'mean' THEN sum(n * valor) / sum(n) FILTER (WHERE valor IS NOT NULL)
                   WHEN 'std' THEN
                       sqrt(sum(n * (valor ^ 2 + (media - centro) ^ 2))
                            / sum(n) FILTER (WHERE valor IS NOT NULL AND media IS NOT NULL))
                   WHEN 'min' THEN min(valor)
                   WHEN 'max' THEN max(valor)
                   WHEN 'sum' THEN sum(valor)
                   WHEN 'count' THEN sum(valor)
               END AS valor,
               sum(n)::bigint AS entidades
          FROM (SELECT b.*, sum(n * media) OVER w
                            / sum(n) FILTER (WHERE media IS NOT NULL) OVER w AS centro
                  FROM (SELECT e.instance_id, e."timestamp", e.tick,
                               split_part(e.bloque, ':', 1) AS enjambre, v.key AS medida,
                               v.value::float8 AS valor, (e.detalle->>'entidades')::bigint AS n,
                               (e.detalle->'means'->>v.key)::float8 AS media
                          FROM {}('statistics') AS e,
                               jsonb_each_text(e.detalle->'values') AS v) AS b
                WINDOW w AS (PARTITION BY instance_id, tick, enjambre, medida)) AS c
         GROUP BY instance_id, tick, enjambre, medida
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
                await _function(connection, schema)
                places = sql.Identifier(schema, name), sql.Identifier(schema, FUNCTION)
                await connection.execute(sql.SQL(VIEWS[name]).format(*places))
        except psycopg.errors.InsufficientPrivilege as error:
            log.warning("a view can't be made", view=name, error=str(error).strip())
        except psycopg.errors.DuplicateTable:
            continue  # somebody else was first


async def _function(connection: psycopg.AsyncConnection[Any], schema: str) -> None:
    """What both views call, unless it is there."""
    name = sql.Identifier(schema, FUNCTION)
    cursor = await connection.execute(
        "SELECT 1 FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace"
        " WHERE n.nspname = %s AND p.proname = %s",
        (schema, FUNCTION),
    )
    if await cursor.fetchone() is None:
        body = sql.SQL(_BODY).format(sql.Identifier(schema, "eventos")).as_string(connection)
        await connection.execute(sql.SQL(_FUNCTION).format(name, sql.Literal(body)))
